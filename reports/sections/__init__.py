"""Parts of a report that a study asks for by name, beside the usual.

A study declares `{"kind": "<module>", **options}`; the module reports/sections/<module>.py has

    section(findings, options, tables, store) -> Section | None

with `tables`, the study's directory (scores.csv and the other files of docs/formats.md), and `store`, from which an
artefact's files are read by study.json's `directory`. None leaves the part out. Both the HTML and the Markdown
report show it; figures are SVG (reports/drawing/svg.py) and appear in the HTML alone.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path

from reports.findings import Findings
from reports.inputs.study import nearest


@dataclass(frozen=True)
class Table:
    """A table: `numeric` says which columns are right-aligned numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    numeric: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Figure:
    """An SVG drawing, or a picture as a `data:` URI, with its caption."""

    svg: str = ""
    image: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One part of a report."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()

    @property
    def anchor(self) -> str:
        """The title as an HTML id."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def kinds() -> list[str]:
    """Names of the sections there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def sections(findings: Findings, tables: Path | None, store: Path) -> list[Section]:
    """The parts that the study declared, in its order.

    Raises:
        ValueError: a kind that does not exist.
    """
    found = []
    for declared in findings.study.declaration.sections:
        options = dict(declared)
        kind = str(options.pop("kind", ""))
        if kind not in kinds():
            raise ValueError(f"no report section {kind!r}; {nearest(kind, kinds())}")
        if tables is not None:
            module = importlib.import_module(f"{__name__}.{kind}")
            section = module.section(findings, options, tables, store)
            found += [section] if section is not None else []
    return found
