"""What a reader needs to trust a run and to repeat it: where it ran, with which commands, and what it noted."""

from collections.abc import Sequence

from reports.findings import Findings
from reports.text import duration


def commands(findings: Findings) -> list[str]:
    """What to type for each trial; trials of one command are named together."""
    groups: dict[str, list[str]] = {}
    for trial in findings.study.trials:
        if trial.command:
            state = "" if trial.status == "done" else f" ({trial.status})"
            groups.setdefault(trial.command, []).append(trial.name + state)
    return [f"{', '.join(names)}: `{command}`" for command, names in groups.items()]


def environment(findings: Findings) -> list[tuple[str, str]]:
    """Commit, versions, hardware and hours, for print."""
    given = dict(findings.study.environment)
    rows = []
    if "commit" in given:
        rows.append(
            ("commit", str(given.pop("commit")) + (" (with uncommitted changes)" if given.get("dirty") else ""))
        )
    given.pop("dirty", None)
    for name, facts in given.pop("packages", {}).items():
        changed = " (with uncommitted changes)" if facts.get("dirty") else ""
        rows.append((f"package {name}", f"{facts.get('commit') or facts.get('version') or 'unknown'}{changed}"))
    hours = given.pop("hours", None)
    rows += [(name, str(value)) for name, value in given.items() if value not in (None, "")]
    if hours is not None:
        rows.append(("time spent", duration(float(hours) * 3600)))
    stages = findings.study.stages.values()
    if stages:
        spent = sum(s.seconds for s in stages)
        rows.append(("stages", f"{len(stages)}, {duration(spent)} of computing in all"))
        devices = sorted({f"{s.device} ({s.device_name})" if s.device_name else s.device for s in stages if s.device})
        rows.append(("devices", ", ".join(devices)))
    return rows


def note_text(text: str, number: int, items: Sequence[str]) -> str:
    """A note with its count and the names it is about."""
    names = ", ".join(items[:20]) + (f" and {len(items) - 20} more" if len(items) > 20 else "")
    counted = f" ({number:,})" if number and str(number) not in text else ""
    return f"{text}{counted}" + (f": {names}" if names else "")
