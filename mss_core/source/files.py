"""The files of packages as a table, to compare the code of two machines, and what is known of a copied checkout.

Commit and uncommitted changes travel with a copy that has no ``.git`` in a small file, CHECKOUT, beside the package.
It holds the table of files too, so that it says nothing of a copy that was changed later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.source.modules import roots
from mss_core.source.stage import PROJECT

CHECKOUT = ".checkout.json"


def table(packages: Iterable[str] = ()) -> dict[str, str]:
    """The start of the SHA-256 of each file of this project's packages and of ``packages``, by path from where a
    package lies. Files that Python makes by itself are left out."""
    found = {}
    for top in sorted(PROJECT | set(packages)):
        for root in roots(top):
            for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
                name = path.relative_to(root.parent)
                if path.suffix != ".pyc" and not any(part.startswith(".") for part in name.parts) and path.is_file():
                    found[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def fingerprint(files: Mapping[str, str]) -> str:
    """The start of the SHA-256 of a table."""
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()[:16]


def other_code(here: Mapping[str, str], files: Mapping[str, str]) -> str:
    """What is wrong with a table that should hold all ``files``, or nothing.

    Files that are only here are none of it: a copy does not remove what was deleted where it is from.

    >>> other_code({"a.py": "1", "b.py": "2"}, {"a.py": "1", "b.py": "3", "c.py": "4"})
    'it has other code: b.py differs, c.py is missing'
    """
    wrong = [f"{name} {'differs' if name in here else 'is missing'}" for name in files if here.get(name) != files[name]]
    more = f" and {len(wrong) - 3} more files" if len(wrong) > 3 else ""
    return f"it has other code: {', '.join(wrong[:3])}{more}" if wrong else ""


def write_checkout(folder: Path, facts: Mapping[str, Any]) -> None:
    """Leave ``facts`` (``commit``, ``dirty``, ``committed``) and the table of files beside this project's packages."""
    disk.write_atomically(folder / CHECKOUT, json.dumps({**facts, "files": table()}).encode(), durable=False)


def read_checkout(folder: Path) -> dict[str, Any]:
    """The facts that lie beside the packages of a copy; ``dirty`` where it was changed since. Empty where none do."""
    try:
        facts = json.loads((folder / CHECKOUT).read_text(encoding="utf-8"))
        commit, dirty, files = str(facts["commit"]), bool(facts["dirty"]), dict(facts["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {
        "commit": commit,
        "dirty": dirty or bool(other_code(table(), files)),
        "committed": str(facts.get("committed", "")),
    }
