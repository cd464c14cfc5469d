"""What a study's declared test can find with the seeds that are planned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from mss_core.artefact import read_scores
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
        sd: standard deviation between seeds of one variant, in the metric's unit.
        basis: where ``sd`` comes from.
        level: alpha after the correction, as for the smallest p of the family.
        detectable: smallest difference found with 80 % power.
        smallest_p: the least p the test can give with so many seeds; 0 where it has no such bound.
        significant: the largest p that can be significant, if all other contrasts have it, too.
    """

    seeds: int
    family: int
    level: float
    sd: float
    basis: str
    detectable: float
    smallest_p: float
    significant: float

    def warning(self, test: str) -> str:
        """A sentence where no difference can become significant, however large; else empty."""
        if self.seeds < 2:
            return f"WARNING: with {self.seeds} seed the {test} test cannot be made: nothing can become significant."
        if self.smallest_p > self.significant:
            return (
                f"WARNING: the declared test ({test}) with {self.seeds} seeds gives p >= {self.smallest_p:.4g}, "
                f"never below {self.significant:.4g} (alpha over a family of {self.family}): no difference can become "
                "significant, however large. Add seeds or declare another test."
            )
        return ""


def spread(store: Store, name: str, metric: str, target: str) -> tuple[float, str] | None:
    """Pooled standard deviation between seeds in the store's earlier runs of a study, and where it comes from."""
    best: tuple[int, float, str] | None = None
    for path in sorted(store.root.glob("studies/*/scores.csv")):
        if path.parent.name != name and not path.parent.name.startswith(f"{name}-"):
            continue
        table = read_scores(path.parent)
        table = table[(table["metric"] == metric) & (table["target"] == target)].dropna(subset=["score"])
        runs = table.groupby(["variant", "seed"])["score"].mean()
        groups = [group for _, group in runs.groupby("variant") if len(group) > 1]
        freedom = sum(len(group) - 1 for group in groups)
        if freedom and (best is None or freedom > best[0]):
            pooled = (sum(group.var(ddof=1) * (len(group) - 1) for group in groups) / freedom) ** 0.5
            best = freedom, float(pooled), f"{path.parent.name}, {freedom} degrees of freedom"
    return best and best[1:]


def reach(study: Study, store: Store, seeds: int, detectable: Callable[[float, int, float], float]) -> Reach:
    """What the declared test can find with so many seeds.

    Args:
        detectable: (standard deviation, runs an arm, level) -> smallest difference found with 80 % power.
    """
    references = study.references()
    family = max(1, sum(name != reference.name for name, reference in references.items()))
    correction = SPELLINGS.get(study.correction, study.correction)
    level = study.alpha if correction == "none" else study.alpha / family
    possible = significant_p(correction, study.alpha, family)
    if study.test == "item_means":  # songs, not seeds, are the sample: how much they differ is known afterwards
        return Reach(seeds, family, level, math.nan, "", math.nan, 0.0, possible)
    sd, basis = spread(store, study.name, study.metric, study.target) or (
        ASSUMED_SD if study.metric.endswith(("auc", "accuracy")) else ASSUMED_DECIBELS,
        "assumed",
    )
    return Reach(seeds, family, level, sd, basis, detectable(sd, seeds, level), least_p(study.test, seeds), possible)
