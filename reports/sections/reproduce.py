"""What a reader needs to trust a run and to repeat it: where it ran, and with which commands."""

from collections.abc import Mapping
from typing import Any

from reports.document import Section, Table
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import duration

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section:
    """Environment, commands, and the key of every stage of every trial."""
    lines = tuple(f"{name}: {value}" for name, value in environment(findings))
    parts, typed = [], tuple(commands(findings))
    if typed:
        parts.append(Section("The command behind each trial", points=typed, kind="fold"))
    if findings.study.trials:
        rows = tuple(
            (trial.name, trial.status, ", ".join(f"`{stage} {key[:10]}`" for stage, key in trial.stages.items()))
            for trial in findings.study.trials
        )
        parts.append(
            Section("The stages of each trial", tables=(Table(("trial", "status", "stages"), rows),), kind="fold")
        )
    return Section("Reproduce", points=lines, parts=tuple(parts))


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
