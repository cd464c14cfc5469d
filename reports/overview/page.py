"""The page of a store as a value, and as a file that is written anew after every study."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from reports.document import Cell, Section, Table
from reports.overview.beside import STATES, Claim, absent, together
from reports.overview.cards import SAYS, Card, Unreadable, card, shown
from reports.published import paper
from reports.text import count, listing
from reports.writers.files import replace_file
from reports.writers.html import HERE, template

NAME = "index.html"
MARK = b'<meta name="generator" content="mss index">'
TRIES = 5
"""How often a page is written again because a study was written meanwhile."""


@dataclass(frozen=True)
class Page:
    """A store at a glance.

    Attributes:
        cards: the newest first; those without a date last.
        unreadable: folders of which there is no card, by name.
        claims: what papers printed beside what was found; None where no study repeats a printed table.
    """

    cards: tuple[Card, ...]
    unreadable: tuple[Unreadable, ...]
    claims: Section | None

    @property
    def badges(self) -> dict[str, str]:
        """What the badges on this page mean."""
        used = {badge for each in self.cards for badge in each.badges}
        return {badge: words for badge, words in SAYS.items() if badge in used}

    @property
    def about(self) -> str:
        """How many studies there are."""
        text = count(len(self.cards), "study", "studies")
        return text + (f", and {count(len(self.unreadable), 'folder')} that cannot be read" if self.unreadable else "")


def folders(store: Path) -> list[Path]:
    """The folders of a store's studies, by name.

    Raises:
        ValueError: the store has no folder `studies`.
    """
    home = store / "studies"
    if not home.is_dir():
        raise ValueError(f"there is no folder {home}: {store} is no store, or no study was run on it")
    return sorted(filter(_may_be_a_study, home.iterdir()))


def _may_be_a_study(path: Path) -> bool:
    """Whether it is a folder, or a link that leads nowhere; a hidden one only with what a study leaves."""
    if path.name.startswith("."):
        return any(os.path.isfile(path / name) for name in ("study.json", "declarations.jsonl"))
    return path.is_dir() or (path.is_symlink() and not path.exists())


def page(store: Path) -> Page:
    """What the store's studies say now."""
    found = [card(home) for home in folders(store)]
    cards = [each for each in found if isinstance(each, Card)]
    cards.sort(key=lambda each: (each.when is None, -each.when.timestamp() if each.when else 0.0, each.folder))
    return Page(tuple(cards), tuple(each for each in found if isinstance(each, Unreadable)), _claims(cards))


def _claims(cards: Sequence[Card]) -> Section | None:
    held = [claim for each in cards for claim in each.claims]
    if not held:
        return None
    every = together([*held, *absent(sorted({claim.study for claim in held}))])
    order = {name: rank for rank, name in enumerate(dict.fromkeys(claim.paper for claim in every))}
    every.sort(key=lambda claim: (order[claim.paper], STATES.index(claim.state)))
    rows = [
        (
            Cell(paper(claim.paper).short),
            Cell(claim.title or claim.study),
            Cell(shown(claim.order)),
            Cell(shown(claim.ours)),
            Cell(claim.state, kind={"holds": "yes", "fails": "no"}.get(claim.state, "")),
        )
        for claim in every
    ]
    told = (
        "Where a study repeats two printed rows as a variant and its reference, and reads the paper's own data: a "
        "printed order holds where our difference has its sign and is significant after correction, fails where it is "
        "significant with the other sign, and is undecided else. A printed order need not have been tested by the "
        "paper; * is a star as printed. What the printed tables themselves allow to be recomputed: "
        "`python -m reports.claims`."
    )
    sums = tuple(_sum(name, [claim for claim in every if claim.paper == name]) for name in order)
    head = ("paper", "study", "printed order", "ours", "does it hold?")
    return Section("What the papers printed", (told,), (Table(head, tuple(rows)),), points=sums, short="Papers")


def _sum(name: str, of: Sequence[Claim]) -> str:
    many = Counter(claim.state for claim in of)
    parts = [f"{many['holds']} {'holds' if many['holds'] == 1 else 'hold'}", f"{many['undecided']} undecided"]
    parts.append(f"{many['fails']} {'fails' if many['fails'] == 1 else 'fail'}")
    judged = sum(many[state] for state in STATES[:3])
    text = f"{count(judged, 'printed order')}: {listing(parts)}" if judged else "no printed order was put to the test"
    gone = [claim.study for claim in of if claim.state == "not run"]
    return f"{paper(name).short}: {text}{f'; not run: {listing(gone)}' if gone else ''}."


def link(of: Card | Unreadable, name: str = "") -> str:
    """The way from the page to a study's file, whatever bytes its folder's name has."""
    return "/".join(quote(os.fsencode(part), safe="") for part in ("studies", of.folder, name) if part)


def to_html(page: Page) -> str:
    """The whole page: no network, no external resource, equal bytes for equal studies."""
    css = "".join((HERE / name).read_text(encoding="utf-8") for name in ("report.css", "index.css"))
    js = (HERE / "report.js").read_text(encoding="utf-8")
    return template("index.html").render(page=page, link=link, css=css, js=js) + "\n"


def write(store: Path) -> Path:
    """Write the page of a store, index.html beside its folder `studies`; returns its path.

    Several studies may end at once. Each looks again after it has written, so that the last page has all of them.

    Raises:
        ValueError: it is no store, or has an index.html that somebody else wrote.
        OSError: the page cannot be written.
    """
    if (store / NAME).exists() and MARK not in (store / NAME).read_bytes():
        raise ValueError(f"{store / NAME} is not the page of a store: move it away, and `mss index {store}` writes one")
    for _ in range(TRIES):
        before = _state(store)
        replace_file(store / NAME, to_html(page(store)))
        if _state(store) == before:
            break
    return store / NAME


def _state(store: Path) -> list[tuple[str, str, int, int, int]]:
    """What tells that a study was written since: its files' inodes, sizes and times."""
    found = []
    for home in folders(store):
        try:
            entries = [(entry.name, entry.stat()) for entry in os.scandir(home)]
        except OSError:
            continue
        found += [(home.name, name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in entries]
    return sorted(found)
