"""mss publish STORE SITE: a folder that any web server shows, with the page of a store and its reports.

SITE gets index.html, and per study its report in all formats and its tables: no artefacts, no MLflow, and no sounds but
those within the reports. Tables and reports name commands, paths and machines as the runs had them. Publish again into
the same SITE to bring it up to date; what other programs put there stays. A SITE with other content is refused.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from reports import COSTS, FORMATS
from reports.contract.flags import Flags
from reports.overview.page import NAME, folders, page, write
from reports.text import count
from reports.writers.files import copy_file, replace_file

MARK = "published.json"
"""Lists what `mss publish` wrote into a site, and says by being there that it did."""
TABLES = (
    *("study.json", "scores.csv", "predictions.parquet", "curves.csv"),
    *("search.json", "search.csv", "looks.json", "declarations.jsonl"),
)
PUBLISHED = (*FORMATS.values(), *COSTS.values(), *TABLES)


def publish(store: Path, site: Path) -> Path:
    """Write the site of a store; returns its page.

    Raises:
        ValueError: it is no store, the site holds what this did not write, or a study's file leads out of the store.
        OSError: a file cannot be read or written.
    """
    chosen = {home.name: _files(home, store) for home in folders(store)}
    inside, outside = (os.path.realpath(path) for path in (store, site))
    if Path(outside).is_relative_to(inside) or Path(inside).is_relative_to(outside):
        raise ValueError(f"{site} and the store {store} lie in each other; name a folder beside the store")
    before = _written_before(site)
    files = [NAME, *(f"studies/{study}/{name}" for study, names in chosen.items() for name in names)]
    for folder in (site / "studies", *(site / "studies" / study for study in {*chosen, *map(_study, before)} - {""})):
        if folder.is_symlink():
            raise ValueError(f"{folder} is a link: remove it, for what is published would be written elsewhere")
    (site / "studies").mkdir(parents=True, exist_ok=True)
    _mark(site, sorted({*before, *files}))
    for study, names in chosen.items():
        (site / "studies" / study).mkdir(exist_ok=True)
        for name in names:
            copy_file(store / "studies" / study / name, site / "studies" / study / name)
    for name in set(before) - set(files):
        (site / name).unlink(missing_ok=True)
    for study in set(map(_study, before)) - {"", *chosen}:
        home = site / "studies" / study
        if home.is_dir() and not any(home.iterdir()):
            home.rmdir()
    written = write(site)
    _mark(site, sorted(files))
    return written


def _study(name: str) -> str:
    """Of which study a published file is; empty for none."""
    return name.split("/")[1] if "/" in name else ""


def _files(home: Path, store: Path) -> list[str]:
    """The files of a study that are published."""
    if not home.resolve().is_relative_to(store.resolve()):
        raise ValueError(f"{home} leads out of the store: copy the study there, or remove the link")
    found = [name for name in PUBLISHED if (home / name).is_file()]
    for name in found:
        if not (home / name).resolve().is_relative_to(store.resolve()):
            raise ValueError(f"{home / name} leads out of the store: copy the file there, or remove the link")
    return found


def _written_before(site: Path) -> list[str]:
    """What this command wrote into the site; ValueError where something else did."""
    if not site.exists() and not site.is_symlink():
        return []
    if not site.is_dir():
        raise ValueError(f"{site} is a file: name a folder")
    mark = site / MARK
    if not mark.is_file():
        other = sorted(path.name for path in site.iterdir())
        if other:
            raise ValueError(
                f"{site} holds {other[0]!r} and no {MARK}: mss publish did not make it, and writes into no folder of "
                "others; name a new one"
            )
        return []
    try:
        listed = json.loads(mark.read_text(encoding="utf-8"))["files"]
        return [name for name in listed if _ours(name)]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{mark} cannot be read ({error}): remove it with all that mss publish wrote there") from None


def _ours(name: object) -> bool:
    """Whether a path is one that this command writes: nothing else is ever removed."""
    parts = name.split("/") if isinstance(name, str) else []
    return parts == [NAME] or (
        len(parts) == 3 and parts[0] == "studies" and parts[1] not in ("", ".", "..") and parts[2] in PUBLISHED
    )


def _mark(site: Path, files: Sequence[str]) -> None:
    content: Mapping[str, object] = {"made by": "mss publish", "files": list(files)}
    replace_file(site / MARK, json.dumps(content, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish, and print where the page lies and what cannot be read; 2 for a mistake."""
    parser = Flags("mss publish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", metavar="STORE", type=Path)
    parser.add_argument("site", metavar="SITE", type=Path)
    given = parser.parse_args(arguments)
    try:
        written = publish(given.store, given.site)
        shown = page(given.site)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for each in shown.unreadable:
        print(f"unreadable: {each.title}: {each.why}", file=sys.stderr)
    print(f"{written}  ({count(len(shown.cards), 'study', 'studies')})")
    return 0
