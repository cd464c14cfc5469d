"""A report as Markdown: all that a page holds but its pictures and sounds, which are named."""

from collections.abc import Sequence

from reports.sections import Report, Section, Table


def to_markdown(report: Report) -> str:
    """Heading, what is said first, every section."""
    parts = [f"# {report.title}", report.question, report.lead, *report.about]
    parts.append("\n".join(f"- {line}" for line in report.warnings))
    parts += [block for section in report.sections for block in blocks(section)]
    return "\n\n".join(part for part in parts if part) + "\n"


def blocks(section: Section, level: int = 2) -> list[str]:
    """A section's blocks; an empty one is a caption that a table lacks, or the title of an untitled part."""
    out = [f"{'#' * level} {section.title}" if section.title else "", *section.paragraphs]
    out.append("\n".join(f"- {line}" for line in section.points))
    for part in section.tables:
        out += [part.caption, table(part)]
    out += [f"(Figure in the HTML report: {figure.caption})" for figure in section.figures if figure.caption]
    return out + [block for part in section.parts for block in blocks(part, level + bool(section.title))]


def table(shown: Table) -> str:
    """A table as Markdown; bars and stars within cells are escaped."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|").replace("*", r"\*") for cell in cells) + " |"

    rows = [line([cell.text for cell in row]) for row in shown.cells]
    return "\n".join([line(shown.head), "|" + "---|" * len(shown.head), *rows])
