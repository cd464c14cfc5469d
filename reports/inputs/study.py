"""study.json, read and checked: what was declared, what ran, on what.

Only the fields of docs/formats.md are read. A field that is absent gets its default, so that a table with a three-line
study.json still renders.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reports.contract import Entry, Study, check, from_json, hashes, read_declaration


def read_study(path: Path) -> Study:
    """study.json as a value.

    Raises:
        ValueError: the file is no JSON object, a field has the wrong type, or the declaration is refused.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path} must hold a JSON object, not {type(raw).__name__}")
    title = raw.get("title") or path.parent.name
    declared = raw.get("declaration") or {}
    try:
        study: Study = from_json(Study, {"name": title, **raw, "title": title, "declaration": {}}, "study.json")
        declaration = read_declaration({**declared, "reference": _reference_name(declared.get("reference"))})
        check(declaration)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    matches = (study.declared in hashes(declared)) if study.declared else None
    return replace(study, declaration=declaration, hash_matches=matches, ledger=read_ledger(path))


def read_ledger(study: Path) -> tuple[Entry, ...]:
    """declarations.jsonl beside a study.json, the oldest entry first; empty where there is none.

    Half a line at the end of the file is of a run that ended before its first stage: it counts as not written. Where
    another line cannot be read, no entry counts as intact.

    Raises:
        ValueError: a line is no JSON object, or lacks its time or hash.
    """
    path = study.parent / "declarations.jsonl"
    content = path.read_bytes() if path.exists() else b""
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    entries, readable = [], True
    for number, line in enumerate(lines):
        try:
            content = json.loads(line)
        except ValueError:
            readable = False
            continue
        entry: Entry = from_json(Entry, content, f"{path} line {number + 1}")
        before = hashlib.sha256(lines[number - 1]).hexdigest() if number else ""
        intact = entry.previous == before and entry.declared in hashes(entry.declaration)
        entries.append(replace(entry, intact=intact))
    return tuple(entry if readable else replace(entry, intact=False) for entry in entries)


def _reference_name(reference: object) -> str:
    """The reference as a variant's name; older files hold its levels by factor."""
    if isinstance(reference, Mapping):
        return ", ".join(str(level) for level in reference.values())
    return str(reference or "")


def with_declaration(study: Study, **changes: Any) -> Study:
    """The study with parts of its declaration replaced, as a command line may ask for.

    Raises:
        ValueError: the declaration is refused.
    """
    declaration = replace(study.declaration, **changes)
    check(declaration)
    return replace(study, declaration=declaration)
