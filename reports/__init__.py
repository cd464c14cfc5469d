"""Reports of studies, from their tables alone: `render(directory)` writes them,
`summary(findings)` prints one.

Nothing of mss_core is imported; docs/formats.md says what is read. Inference takes training runs
as the replicates: scores of one run on many tracks are not independent evidence about a method.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.findings import Findings
    from reports.inputs.directory import Tables

FORMATS = {"html": "report.html", "md": "report.md", "csv": "report.csv", "tex": "report.tex", "json": "report.json"}


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
    """Write findings in the formats asked for below `out`, with what the tables they were made from hold beside."""
    from reports.sections import sections
    from reports.writers import html, latex, markdown, terminal

    extra = sections(findings, tables)
    paths = {}
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"unknown format {name!r}; choose from {', '.join(FORMATS)}")
        if name == "html":
            text = html.to_html(findings, tables, extra)
        elif name == "md":
            text = markdown.to_markdown(findings, extra)
        else:
            text = {"csv": terminal.to_csv, "tex": latex.to_latex, "json": terminal.to_json}[name](findings)
        paths[name] = out / FORMATS[name]
        paths[name].write_text(text, encoding="utf-8")
    return paths


def summary(place: "Path | Findings") -> str:
    """The table to print at the end of a run: one row per variant, the family, and the finding in a sentence."""
    from reports.writers import terminal

    return terminal.summary(read(place) if isinstance(place, (str, Path)) else place)
