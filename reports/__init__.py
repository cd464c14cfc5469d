"""Reports of studies, from their tables alone: `render(directory)` writes them,
`summary(directory)` prints one.

Nothing of mss_core is imported; docs/formats.md says what is read. Inference takes training runs
as the replicates: scores of one run on many tracks are not independent evidence about a method.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.findings import Findings

FORMATS = {"html": "report.html", "md": "report.md", "csv": "report.csv", "tex": "report.tex", "json": "report.json"}


def read(directory: Path) -> "Findings":
    """The findings of a study directory (study.json, scores.csv, and predictions.parquet where
    there is one).
    """
    from reports.ablation import analyse
    from reports.inputs.study import read_study
    from reports.inputs.tables import read_predictions, read_scores

    directory = Path(directory)
    for name in ("study.json", "scores.csv"):
        if not (directory / name).exists():
            raise ValueError(f"{directory} has no {name}: it is no study directory, or the study has not run yet")
    return analyse(
        read_scores(directory / "scores.csv"),
        read_study(directory / "study.json"),
        read_predictions(directory / "predictions.parquet"),
    )


def render(directory: Path, formats: tuple[str, ...] = tuple(FORMATS)) -> dict[str, Path]:
    """Write the reports of a study into its directory.

    Args:
        directory: <store>/studies/<title>.
        formats: any of `FORMATS`.

    Returns:
        format -> path of the file written.
    """
    directory = Path(directory)
    return write(read(directory), directory, formats, store=directory.parent.parent, tables=directory)


def write(
    found: "Findings", out: Path, formats: tuple[str, ...], store: Path, tables: Path | None = None
) -> dict[str, Path]:
    """Write findings in the formats asked for below `out`; curves and predictions are read from
    `tables`.
    """
    from reports.inputs.tables import read_curves, read_predictions
    from reports.sections import sections
    from reports.writers import html, latex, markdown, terminal

    extra = sections(found, tables, store)
    paths = {}
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"unknown format {name!r}; choose from {', '.join(FORMATS)}")
        if name == "html":
            predictions = read_predictions(tables / "predictions.parquet") if tables else None
            curves = read_curves(tables / "curves.csv") if tables else None
            text = html.to_html(found, predictions, curves, store, extra)
        elif name == "md":
            text = markdown.to_markdown(found, extra)
        else:
            text = {"csv": terminal.to_csv, "tex": latex.to_latex, "json": terminal.to_json}[name](found)
        paths[name] = out / FORMATS[name]
        paths[name].write_text(text, encoding="utf-8")
    return paths


def summary(directory: Path) -> str:
    """The table to print at the end of a run: a row a variant, the family, and the finding in a
    sentence.
    """
    from reports.writers import terminal

    return terminal.summary(read(Path(directory)))
