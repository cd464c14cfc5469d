"""Arms that lack targets, tracks or runs: what is compared is what both have, and the others go on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from tests.reports.test_edges import said
from tests.reports.test_edges import study as edge

MEANS = {"base": 5.0, "new": 5.4, "bad": 6.0}
RECIPE = {"loss.name": "l1"}


def table(
    keep: Callable[[str, int, int, str], bool], tracks: int = 20, targets: tuple[str, ...] = ("",), seeds: int = 5
) -> pd.DataFrame:
    """Scores of base, new and bad on the cells (variant, seed, track, target) that `keep` lets through."""
    rng = np.random.default_rng(3)
    songs, offset = rng.normal(0, 1, tracks), {target: 3.0 * k for k, target in enumerate(targets)}
    rows = []
    for name, mean in MEANS.items():
        for seed in range(seeds):
            run = rng.normal(0, 0.1)
            for k in range(tracks):
                for target in targets:
                    score = mean + run + songs[k] + offset[target] + rng.normal(0, 0.3)
                    if keep(name, seed, k, target):
                        rows.append((name, seed, f"t{k:02d}", target, "sdr", score))
    return pd.DataFrame(rows, columns=["variant", "seed", "track", "target", "metric", "score"])


def home(path: Path, scores: pd.DataFrame, **declare: object) -> Path:
    """The table as a study of its own."""
    variants = [{"variant": name, "levels": {"method": name}, "recipe": RECIPE} for name in MEANS]
    declared = {"factors": [], "seeds": list(range(5)), "test": "", **declare}
    written = edge(path, {"base": [1.0]}, variants=variants, declare=declared)
    scores.to_csv(written / "scores.csv", index=False)
    return written


@pytest.mark.parametrize(
    "gone",
    [
        lambda seed, k: 4 * seed <= k < 4 * seed + 4,  # no track is in all five runs
        lambda seed, k: k < 20,  # only tracks of its own
        lambda seed, k: k == 0 or k > 1 and k < 20,  # one track in common
    ],
    ids=["each run lacks others", "disjoint", "one in common"],
)
def test_a_variant_without_common_tracks_is_dropped_from_the_power_and_not_the_study(tmp_path: Path, gone) -> None:
    scores = table(lambda v, s, k, t: not gone(s, k) if v == "bad" else k < 20, tracks=40)
    written = home(tmp_path / "all", scores)
    findings = reports.read(written)
    assert findings.power is not None and findings.power.runs == 5
    assert "80 % power" in said(written)
    alone = reports.read(home(tmp_path / "two", scores[scores["variant"] != "bad"])).main.contrast("new")
    found = findings.main.contrast("new")
    assert found is not None and alone is not None and found.primary == alone.primary
