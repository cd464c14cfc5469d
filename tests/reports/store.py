"""Stores of small studies, and an HTML parser that says what a page shows and where it leads."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import reports
from tests.reports.test_edges import study

WIN = {"base": [1.0, 1.1, 1.3, 1.2], "new": [3.5, 3.8, 3.4, 3.6]}
NULL = {"base": [1.0, 1.3, 1.1, 1.4], "new": [1.2, 1.1, 1.4, 1.15]}
ONE = {"base": [1.0], "new": [1.5]}
VOID = {"meta", "link", "br", "img", "input", "hr", "line", "circle", "polygon", "rect", "polyline"}


def add(store: Path, name: str, arms: dict = WIN, *, report: bool = True, **changes: Any) -> Path:
    """A study in a store under a name, with its report; `changes` go into study.json first."""
    levels = {name: {} if name == "base" else {"loss.name": "l2"} for name in arms}
    made = study(store / "made", arms, declare={"factors": [{"name": "method", "levels": levels}]})
    home = store / "studies" / name
    home.parent.mkdir(parents=True, exist_ok=True)
    made.rename(home)
    shutil.rmtree(store / "made")
    edit(home / "study.json", title=name, **changes)
    if report:
        reports.render(home)
    return home


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def stage(finished: str, seconds: float = 60.0, device: str = "cpu", status: str = "done") -> dict:
    return {"stage": "s", "status": status, "seconds": seconds, "device": device, "finished": finished}


def trial(name: str, status: str = "done") -> dict:
    return {"trial": name, "variant": name.partition("/")[0], "seed": 0, "status": status}


class Read(HTMLParser):
    """A page: its tags in order, what each card shows, where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.cards: list[dict] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        if given.get("class") == "card":
            self.cards.append({"text": "", "badges": [], "links": [], "marks": []})
        if "article" in self.open and self.cards:
            card = self.cards[-1]
            card["badges"] += [""] if str(given.get("class")).startswith("badge") else []
            card["links"] += [given["href"]] if tag == "a" else []
            card["marks"] += [given] if tag == "polygon" else []
        if "href" in given:
            self.links.append(given["href"])

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script", "title"):
            self.text += data
        if "article" in self.open:
            self.cards[-1]["text"] += data
            if self.open[-1] == "span":
                self.cards[-1]["badges"][-1] += data

    def card(self, title: str) -> dict:
        """The card whose first words are a title."""
        (found,) = [card for card in self.cards if card["text"].split()[:1] == [title]]
        return found

    def files(self, folder: Path) -> list[Path]:
        """Where the relative links lead; others must be anchors of this page or the empty icon."""
        ids = {given["id"] for _, given in self.tags if "id" in given}
        found = []
        for link in self.links:
            if link.startswith("#"):
                assert link[1:] in ids
            elif link != "data:,":
                assert ":" not in link.split("/")[0] and not link.startswith("/")
                found.append(folder / unquote_to_bytes(link).decode(errors="surrogateescape"))
        return found


def page(store: Path) -> Read:
    """The page of a store, written and read."""
    return Read(reports.index(store).read_text(encoding="utf-8"))
