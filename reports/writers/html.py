"""A report as one HTML file: no network, no external resource, equal bytes for equal input."""

import math
import re
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from reports.sections import Cell, Report

HERE = Path(__file__).parent


def inline(text: str) -> Markup:
    """A text with what stands between backticks as code.

    >>> inline("`a` < b")
    Markup('<code>a</code> &lt; b')
    """
    escaped = str(escape(text))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped) if "`" in escaped else escaped)


def sort_key(cell: Cell) -> str:
    """What a cell with a value sorts by."""
    return "" if cell.value is None or math.isnan(cell.value) else repr(float(cell.value))


@cache
def template(name: str) -> jinja2.Template:
    """A page's template, by the name of its file."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    env.filters |= {"inline": inline, "sort_key": sort_key}
    return env.get_template(name)


def to_html(report: Report) -> str:
    """The whole page."""
    css, *scripts = ((HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js", "players.js"))
    js = "".join(scripts)
    return template("report.html").render(report=report, css=css, js=js) + "\n"
