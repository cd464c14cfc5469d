"""``python -m mss_core.data list`` and ``python -m mss_core.data check NAME PATH [--study FILE] [--json]``.

check ends with 0 where the set is usable, 1 where it is usable with named exclusions or warnings, 3 where it is not,
and 2 for a command that makes no sense.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mss_core.data.check import Report, check, configure, of_study
from mss_core.data.config import ClipSet, TrackSet
from mss_core.data.files import facts
from mss_core.errors import Flags
from mss_core.folders import place

SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Flags(prog="python -m mss_core.data", description="The data sets of the studies.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="what each set is, its licence, where to get it, how big it is")
    listing.add_argument("--json", action="store_true")
    checking = commands.add_parser("check", help="is a set on disk what the papers used?")
    checking.add_argument("name")
    checking.add_argument("path", type=place)
    checking.add_argument("--study", type=Path, metavar="FILE", help="read the set as the variants of this study do")
    checking.add_argument("--split", default="", help="split policy, where the set has a choice")
    checking.add_argument("--labels", default="", help="labels, where the set has a choice")
    checking.add_argument(
        "--tolerance-ms", type=float, metavar="MS", help="cut stems of one track that differ in length by no more"
    )
    checking.add_argument("--quick", action="store_true", help="headers only, decode nothing")
    checking.add_argument("--workers", type=int, default=None, help="threads (one a core)")
    checking.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.command == "list":
        show_list(chosen.json)
        return 0
    if chosen.workers is not None and chosen.workers < 1:
        print(f"error: --workers takes a number of threads of at least 1, not {chosen.workers}", file=sys.stderr)
        return 2
    if chosen.study and (chosen.split or chosen.labels or chosen.tolerance_ms is not None):
        print(
            "error: --study says how the set is read; leave --split, --labels and --tolerance-ms out", file=sys.stderr
        )
        return 2
    try:
        if chosen.study:
            configs = of_study(chosen.name, chosen.study)
        else:
            configs = [
                configure(chosen.name, chosen.path, chosen.labels, split=chosen.split, tolerance_ms=chosen.tolerance_ms)
            ]
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    reports = [check(config, chosen.path, chosen.quick, chosen.workers) for config in configs]
    if chosen.json:
        plain = [
            {**report.plain(), **_read_as(config, chosen)} for config, report in zip(configs, reports, strict=True)
        ]
        print(json.dumps(plain if len(plain) > 1 else plain[0], indent=1))
    else:
        for config, report in zip(configs, reports, strict=True):
            print("\n".join([*(f"read as {config}" for _ in _read_as(config, chosen)), *lines(report)]))
    return max(report.code for report in reports)


def _read_as(config: TrackSet | ClipSet, chosen: argparse.Namespace) -> dict[str, Any]:
    """How a study reads the set, where one was named."""
    return {"read_as": asdict(config)} if chosen.study else {}


def show_list(as_json: bool) -> None:
    sets: dict[str, Any] = facts()["sets"]
    if as_json:
        print(json.dumps(sets, indent=1))
        return
    for name, about in sets.items():
        print(
            f"{name} ({about['kind']})\n    {about['what']}\n    licence: {about['licence']}\n"
            f"    from: {about['where']}\n    size: {about['size']}"
        )
        if about["sources"]:
            print(f"    figures: {about['sources']}")
        if about["unverified"]:
            print(f"    unverified: {', '.join(about['unverified'])}")
        for line in about["not_checked"]:
            print(f"    not checked: {line}")
        if about["note"]:
            print(f"    note: {about['note']}")


def lines(report: Report) -> list[str]:
    """The report as text."""
    text = [f"{report.name} in {report.path}"]
    text += [f"  {split}: {count} items, {report.hours.get(split, 0.0):.2f} h" for split, count in report.items.items()]
    for what, table in (("Hz", report.rates), ("channels", report.channels)):
        if table:
            text.append("  " + ", ".join(f"{count} of {value} {what}" for value, count in sorted(table.items())))
    if report.agreement:
        text.append(
            "  mixture against the sum of its stems: lowest {lowest_db:.1f}, median {median_db:.1f}, highest "
            "{highest_db:.1f} dB".format(**report.agreement)
        )
    for name, sources in list(report.levels.items())[:SHOWN]:
        told = (
            f"{source} {of['rms_db']:.1f} dB {100 * of['active']:.0f} %" if of["rms_db"] > -120 else f"{source} silent"
            for source, of in sources.items()
        )
        text.append(f"  level, and seconds above -60 dB, {name}: {', '.join(told)}")
    if len(report.levels) > SHOWN:
        text.append(f"  level of {len(report.levels) - SHOWN} more (all of them with --json)")
    for label, counts in report.labels.items():
        text.append(f"  label {label}: " + ", ".join(f"{split} {count}" for split, count in counts.items()))
    for row in report.published:
        verdict = "agrees" if row["agrees"] else "DIFFERS"
        doubt = "" if row["verified"] else " (unverified)"
        text.append(f"  {row['what']}: published {row['published']}{doubt}, found {row['found']}: {verdict}")
    for title, found in (
        ("found", report.facts),
        ("not checked", report.not_checked),
        ("error", report.errors),
        ("excluded", report.excluded),
        ("warning", report.warnings),
    ):
        text += [f"  {title}: {line}" for line in found[:SHOWN]]
        if len(found) > SHOWN:
            text.append(f"  {title}: and {len(found) - SHOWN} more (all of them with --json)")
    if report.fingerprint:
        text.append(f"  fingerprint: {report.fingerprint}")
    verdict = {0: "usable", 1: "usable, with the exclusions and warnings above", 3: "NOT usable"}[report.code]
    return [*text, f"  {verdict}"]


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that goes away, as `| head` does, is no error
    sys.exit(main())
