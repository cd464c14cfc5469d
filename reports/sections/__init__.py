"""Parts of a report that a study asks for by name, beside the usual.

A study declares `{"kind": name, **options}`; the name is one of `KINDS` (reports/contract/check.py), or, with a dot, a
module of any package (`my_paper.report`). The module has

    OPTIONS = {"option": "what it holds"}, as reports/contract/check.py says; with it options are checked before a run
    section(findings, options, tables) -> Section | None

with `tables` (reports/inputs/directory.py), the study's scores, predictions, curves and searches, each read once, and
the store, below which an artefact's files"""

import importlib
from dataclasses import dataclass
from types import ModuleType

from reports.contract import section_module
from reports.findings import Findings
from reports.inputs.directory import Tables


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


def module(kind: str) -> ModuleType:
    """The module of a kind of section.

    Raises:
        ValueError: no such kind, no such module, or a module without a function `section`.
    """
    try:
        found = importlib.import_module(section_module(kind))
    except ModuleNotFoundError as error:
        raise ValueError(f"the report section {kind!r} cannot be imported: {error}") from error
    if not hasattr(found, "section"):
        raise ValueError(f"the module {kind!r} is no report section: it has no function `section`")
    return found


def sections(findings: Findings, tables: Tables) -> list[Section]:
    """The parts that the study declared, in its order.

    Raises:
        ValueError: a kind that does not exist.
    """
    made = []
    for declared in findings.study.declaration.sections:
        options = dict(declared)
        part = module(str(options.pop("kind", "")))
        section = part.section(findings, options, tables)
        made += [section] if section is not None else []
    return made
