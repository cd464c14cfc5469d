"""The page of a store as one HTML file, in the style of the reports that it leads to."""

import os
from urllib.parse import quote

from reports.overview.cards import Card, Unreadable
from reports.overview.page import Page
from reports.writers.html import HERE, template


def link(of: Card | Unreadable, name: str = "") -> str:
    """The way from the page to a study's file, whatever bytes its folder's name has."""
    return "/".join(quote(os.fsencode(part), safe="") for part in ("studies", of.folder, name) if part)


def to_html(page: Page) -> str:
    """The whole page: no network, no external resource, equal bytes for equal studies."""
    css = "".join((HERE / name).read_text(encoding="utf-8") for name in ("report.css", "index.css"))
    js = (HERE / "report.js").read_text(encoding="utf-8")
    return template("index.html").render(page=page, link=link, css=css, js=js) + "\n"
