"""What limits the conclusions, and what the run left out or changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from reports.document import Section
from reports.findings import Findings
from reports.inputs.directory import Tables

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section:
    """Cautions and notes."""
    notes = tuple(note_text(note.text, note.count, note.items) for note in findings.study.notes)
    parts = (Section("Notes of the run", points=notes),) if notes else ()
    return Section("Limits and notes", points=findings.cautions, parts=parts, short="Limits")


def note_text(text: str, number: int, items: Sequence[str]) -> str:
    """A note with its count and the names it is about."""
    names = ", ".join(items[:20]) + (f" and {len(items) - 20} more" if len(items) > 20 else "")
    counted = f" ({number:,})" if number and str(number) not in text else ""
    return f"{text}{counted}" + (f": {names}" if names else "")
