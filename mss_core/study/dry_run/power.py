"""What a study's declared test can find with the seeds that are planned."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mss_core.store import Store
from mss_core.study.study import Study
from reports.contract import SPELLINGS, least_p, significant_p

ASSUMED_SD = 0.01
"""Standard deviation between seeds where no earlier run tells one: of a score between 0 and 1."""
ASSUMED_DECIBELS = 0.3
"""The same of a score in dB."""


@dataclass(frozen=True)
class Reach:
    """What a study's declared test can find.

    Attributes:
        level: alpha after the correction, as for the smallest p of the family.
        sd: standard deviation between seeds of one variant, in the metric's unit.
        spread: the parts of the scores' spread, in the metric's unit; None where seeds are no sample.
        tracks: how many are counted as a sample beside the seeds.
        basis: where ``sd`` comes from.
        plan: smallest difference found with 80 % power, and rates in simulated studies of this design.
        smallest_p: the least p the test can give with so many seeds; 0 where it has no such bound.
        significant: the largest p that can be significant, if all other contrasts have it, too.
    """

    seeds: int
    family: int
    level: float
    sd: float
    spread: Any
    tracks: int
    basis: str
    plan: Any
    smallest_p: float
    significant: float

    @property
    def detectable(self) -> float:
        """The smallest difference found with 80 % power; NaN where it cannot be told."""
        return float(self.plan.detectable)

    def warning(self, test: str) -> str:
        """A sentence where no difference can become significant, however large; else empty."""
        if self.seeds < 2:
            name = test or "default"
            return f"WARNING: with {self.seeds} seed the {name} test cannot be made: nothing can become significant."
        if self.smallest_p > self.significant:
            return (
                f"WARNING: the declared test ({test}) with {self.seeds} seeds gives p >= {self.smallest_p:.4g}, "
                f"never below {self.significant:.4g} (alpha over a family of {self.family}): no difference can become "
                "significant, however large. Add seeds or declare another test."
            )
        return ""


def spread(
    store: Store, name: str, metric: str, target: str, spread_of: Callable[[Path, str, str], Any]
) -> tuple[Any, int, str] | None:
    """Spread of scores in the store's earlier runs of a study, its tracks, and where it comes from.

    Smoke runs and rehearsals are passed over: their scores are of tiny trainings, and differ by other amounts.
    """
    best: tuple[int, Any, int, str] | None = None
    for path in sorted(store.root.glob("studies/*/scores.csv")):
        title = path.parent.name
        if not _whole(path.with_name("study.json"), name):
            continue
        try:
            found = spread_of(path, metric, target)
        except ValueError:  # an older table without this metric
            continue
        if found and (best is None or found[2] > best[0]):
            best = found[2], found[0], found[1], f"{title}, {found[2]} degrees of freedom"
    return best and best[1:]


def _whole(path: Path, name: str) -> bool:
    """Whether a study.json is of a study of that name at its own size."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return bool(told.get("name") == name and not (told.get("smoke") or told.get("rehearsal")))


def reach(study: Study, store: Store, seeds: int, design: Any) -> Reach:
    """What the declared test can find with so many seeds.

    Args:
        design: the module reports.design, which mss_core does not import.
    """
    against = Counter(reference.name for name, reference in study.references().items() if name != reference.name)
    family = max(1, against.total())
    correction = SPELLINGS.get(study.correction, study.correction)
    level = study.alpha if correction == "none" else study.alpha / family
    possible, least = significant_p(correction, study.alpha, family), least_p(study.test, seeds)
    if study.test == "item_means":  # songs, not seeds, are the sample: how much they differ is known afterwards
        return Reach(seeds, family, level, math.nan, None, 0, "", design.Planned(math.nan, 0, None), least, possible)
    found, tracks, basis = spread(store, study.name, study.metric, study.target, design.spread_of) or (
        design.Spread(ASSUMED_SD if study.metric.endswith(("auc", "accuracy")) else ASSUMED_DECIBELS),
        0,
        "assumed; tracks are not counted",
    )
    plan = design.planned(study.test, list(against.values()) or [1], seeds, tracks, found, study.alpha, level)
    sd = math.hypot(found.run, found.residual / max(tracks, 1) ** 0.5)
    return Reach(seeds, family, level, sd, found, tracks, basis, plan, least, possible)
