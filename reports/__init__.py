"""Reports of studies, from their tables alone: `render(directory)` writes them,
`summary(findings)` prints one.

Nothing of mss_core is imported; docs/formats.md says what is read. Inference takes training runs
as the replicates: scores of one run on many tracks are not independent evidence about a method.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.findings import Findings
    from reports.inputs.directory import Tables

FORMATS = {"html": "report.html", "md": "report.md", "csv": "report.csv", "tex": "report.tex", "json": "report.json"}

COSTS = {"csv": "report-cost.csv", "tex": "report-cost.tex"}
"""What of a report tells measured times and energy, which no second run has again: beside the tables, not in them."""


def study_tables(directory: Path) -> "Tables":
    """What a study directory (study.json, scores.csv, and what else there is) holds, read when it is asked for."""
    from reports.inputs.directory import Tables

    return Tables(Path(directory), Path(directory).parent.parent)


def read(place: "Path | Tables") -> "Findings":
    """The findings of a study directory, or of its tables."""
    from reports.ablation import analyse

    tables = study_tables(place) if isinstance(place, (str, Path)) else place
    return analyse(tables.scores, tables.study, tables.predictions)


def render(directory: Path, formats: tuple[str, ...] = tuple(FORMATS)) -> dict[str, Path]:
    """Write the reports of a study into its directory.

    Args:
        directory: <store>/studies/<title>.
        formats: any of `FORMATS`.

    Returns:
        format -> path of the file written.
    """
    tables = study_tables(directory)
    return write(read(tables), tables, Path(directory), formats)


def write(
    findings: "Findings", tables: "Tables", out: Path, formats: tuple[str, ...] = tuple(FORMATS)
) -> dict[str, Path]:
    """Write findings in the formats asked for below `out`, with what the tables they were made from hold beside; those
    of `COSTS` have a file of costs, too, where stages are known to have taken time."""
    from reports import cost, export
    from reports.assembly import report
    from reports.sections.cost import per_run
    from reports.sections.result import matrix
    from reports.writers import data, html, latex, markdown
    from reports.writers.files import replace_file

    made = report(findings, tables)
    texts: dict[str, Callable[[], str]] = {
        "html": lambda: html.to_html(made),
        "md": lambda: markdown.to_markdown(made),
        "csv": lambda: data.to_csv(export.rows(findings)),
        "tex": lambda: latex.to_latex(matrix(findings), findings.study.title),
        "json": lambda: data.to_json(export.document(findings)),
    }
    paths = {}
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"unknown format {name!r}; choose from {', '.join(FORMATS)}")
        paths[name] = out / FORMATS[name]
        replace_file(paths[name], texts[name]())
    costs: dict[str, Callable[[], str]] = {
        "csv": lambda: data.to_csv(export.cost_rows(findings)),
        "tex": lambda: latex.to_latex(per_run(findings), f"{findings.study.title}-cost"),
    }
    for name in COSTS.keys() & set(formats) if cost.is_known(findings.study) else ():
        replace_file(out / COSTS[name], costs[name]())
    return paths


def index(store: Path) -> Path:
    """Write the page of a store, `<store>/index.html`: a card per study; returns its path.

    Raises:
        ValueError: it is no store.
    """
    from reports.overview.page import write

    return write(Path(store))


def summary(place: "Path | Findings") -> str:
    """The table to print at the end of a run: one row per variant, the family, and the finding in a sentence."""
    from reports.sections import result
    from reports.writers.terminal import to_text

    return to_text(result.summary(read(place) if isinstance(place, (str, Path)) else place))
