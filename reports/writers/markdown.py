"""A report as Markdown: all that a page holds but its pictures and sounds, which are named."""

import re
from collections.abc import Sequence
from functools import lru_cache

from reports.document import Report, Section, Table
from reports.text import visible

CODE = re.compile(r"(?<!`)(`(?:[^`<\]]|\](?!\())+`)(?!`)")
SPECIAL = re.compile(r"""
    [\\`*~]                            # escapes, code, emphasis, strikes
    | (?<![^\W_])_ | _(?![^\W_])       # emphasis; not the line within a word
    | (?<=\])[(\[:]                   # links and what they refer to; intervals stay
    | \#(?=\#*\Z)                     # the end of a heading
""", re.VERBOSE)  # fmt: skip
START = re.compile(r"(\d{0,9})(#{1,6}(?=\s|\Z)|>|[-+](?=\s|\Z)|-+\Z|=+\Z|[.)](?=\s|\Z))")


def to_markdown(report: Report) -> str:
    """Heading, what is said first, every section."""
    parts = [f"# {literal(report.title)}", *map(literal, (report.question, report.lead, *report.about))]
    parts.append(points(report.warnings))
    parts += [block for section in report.sections if section.kind != "explore" for block in blocks(section)]
    return "\n\n".join(part for part in parts if part) + "\n"


def blocks(section: Section, level: int = 2) -> list[str]:
    """A section's blocks; an empty one is a caption that a table lacks, or the title of an untitled part."""
    out = [f"{'#' * level} {literal(section.title)}" if section.title else "", *map(literal, section.paragraphs)]
    out.append(points(section.points))
    for part in section.tables:
        out += [literal(part.caption), table(part)]
    out += [f"(Figure in the HTML report: {literal(figure.caption)})" for figure in section.figures if figure.caption]
    return out + [block for part in section.parts for block in blocks(part, level + bool(section.title))]


def points(lines: Sequence[str]) -> str:
    """Lines as a list."""
    return "\n".join(f"- {literal(line)}" for line in lines)


def table(shown: Table) -> str:
    """A table as Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(literal(cell).replace("|", r"\|") for cell in cells) + " |"

    return "\n".join([line(shown.head), "|" + "---|" * len(shown.head), *map(line, shown.texts)])


@lru_cache(4096)
def literal(text: str) -> str:
    r"""A text in one line that Markdown shows as it is, without HTML, links or headings of its own; what stands between
    backticks is code.

    >>> literal("`a_b` *c* <script> < .0001 [x](y) [+0.1, +0.2]")
    '`a_b` \\*c\\* &lt;script> < .0001 [x]\\(y) [+0.1, +0.2]'
    """
    pieces = CODE.split(re.sub(" +", " ", visible(text)).strip(" "))
    pieces[::2] = [_escaped(piece) for piece in pieces[::2]]
    return START.sub(r"\1\\\2", "".join(pieces), count=1) if START.match("".join(pieces)) else "".join(pieces)


def _escaped(text: str) -> str:
    text = SPECIAL.sub(lambda found: "\\" + found[0], text)
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
