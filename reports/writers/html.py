"""A report as one HTML file: no network, no external resource, equal bytes for equal input."""

import itertools
import math
import re
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from reports.document import Cell, Report

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


@cache
def exploring() -> str:
    """The script of the panel that takes the primary comparison again."""
    files = ("numbers", "tests", "compare", "words", "panel")
    text = "".join((HERE / "explore" / f"{name}.js").read_text(encoding="utf-8") for name in files)
    return f"(() => {{\n{text}}})();\n"


def to_html(report: Report) -> str:
    """The whole page."""
    css, *scripts = ((HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js", "players.js"))
    js = "".join([*scripts, exploring() if any(section.data for section in report.sections) else ""])
    return each_sound_once(template("report.html").render(report=report, css=css, js=js)) + "\n"


def each_sound_once(page: str) -> str:
    """The page with a sound that occurs again replaced by the number of the player that holds it, for the script.

    >>> each_sound_once('<audio src="data:audio/flac;base64,A"></audio><audio src="data:audio/flac;base64,A"></audio>')
    '<audio src="data:audio/flac;base64,A"></audio><audio data-same="0"></audio>'
    """
    places: dict[str, int] = {}
    numbers = itertools.count()

    def shared(found: re.Match[str]) -> str:
        number = next(numbers)
        first = places.setdefault(found[1], number)
        return found[0] if first == number else f'data-same="{first}"'

    return re.sub(r'src="(data:audio/flac;base64,[^"]*)"', shared, page)
