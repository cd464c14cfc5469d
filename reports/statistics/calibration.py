"""What each test does to studies without an effect: the recorded outcome of
benchmarks/false_positives.py.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_name("false_positives.json")
LABELS = {
    "crossed": "seeds x tracks t (default where there are tracks)",
    "mixed": "mixed model (REML, Wald z)",
    "bootstrap": "hierarchical bootstrap",
    "welch": "Welch t on runs (default where there are none)",
    "student": "Student t on runs",
    "paired": "paired t on common seeds",
    "wilcoxon": "Wilcoxon signed-rank on common seeds",
    "permutation": "exact permutation of runs",
    "item_means": "track means (naive: takes these runs as the only ones)",
    "naive": "pooled pairs (naive: takes every seed x track pair as independent)",
}


@dataclass(frozen=True)
class Rates:
    """One test's smallest and largest rates over the simulated settings, as shares.

    Attributes:
        same: false positives where variants do not interact with tracks (run SD 0.05 to 0.30 dB).
        interacting: the same with variant-by-track SD 0.25 or 0.5 dB.
        coverage: of the 95 % interval, over all settings; None without an interval.
        studies: simulated studies a setting.
    """

    test: str
    label: str
    same: tuple[float, float]
    interacting: tuple[float, float]
    coverage: tuple[float, float] | None
    studies: int


@cache
def record() -> dict[str, Any]:
    """The recorded simulation."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def rates() -> tuple[Rates, ...]:
    """One row a test, in the order of LABELS."""
    rows = record()["rows"]
    found = []
    for test, label in LABELS.items():
        mine = [row for row in rows if row["test"] == test]
        same = [row["false_positives"] for row in mine if row["variant_by_track_sd"] == 0]
        other = [row["false_positives"] for row in mine if row["variant_by_track_sd"] > 0]
        covered = [row["coverage"] for row in mine if row["coverage"] is not None]
        coverage = (min(covered), max(covered)) if covered else None
        found.append(
            Rates(
                test,
                label,
                (min(same), max(same)),
                (min(other), max(other)),
                coverage,
                min(row["studies"] for row in mine),
            )
        )
    return tuple(found)


def percent(low: float, high: float) -> str:
    """`3.9 to 5.1 %`; one number where they agree.

    >>> percent(0.039, 0.051)
    '3.9 to 5.1 %'
    """
    first, last = f"{100 * low:.1f}", f"{100 * high:.1f}"
    return f"{first} %" if first == last else f"{first} to {last} %"


def about() -> str:
    """One sentence on the simulated studies."""
    given = record()["about"]
    return (
        f"Simulated studies without an effect: {given['seeds']} seeds, {given['tracks']} "
        "tracks, track SD "
        f"{given['track_sd']} dB, residual SD {given['residual_sd']} dB, run SD 0.05 to "
        "0.30 dB, nominal level 5 %."
    )
