"""Family-wise error, coverage and power of the default test, in simulated studies.

    python benchmarks/false_positives.py --out benchmarks/false_positives.json

A study has k variants and one reference, some seeds each, some tracks. A score is track + variant x track + run +
residual (SD 0.6, 0.25, 0.15 and 0.6 dB). "No effect" means none over runs and tracks like these. Mean squares of
thousands of studies are taken at once and go through the functions that a report calls; the first studies of every
regime also go through `reports.ablation.analyse` as whole score tables, and must give the same p values.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from reports.ablation import analyse
from reports.inputs.tables import Scores, bare_study
from reports.statistics.half_pooled import MeanSquares, errors, p_values

RUN, CELL, RESIDUAL, TRACK = 0.15, 0.25, 0.6, 0.6
ALPHA = 0.05
COLUMNS = ["variant", "seed", "track", "target", "metric", "aggregation", "score"]


@dataclass(frozen=True)
class Regime:
    """One kind of study.

    Attributes:
        reference, first: what run and residual SDs of the reference and of the first variant are multiplied with.
        tails: of runs, interactions and residuals: `normal`, `t3` (Student, 3 degrees of freedom) or `exponential`.
        correlation: of equal seeds of different arms.
        album: tracks per album, half of whose interaction variance is the album's.
        effect: true difference of every variant, for power.
    """

    case: str
    seeds: int
    tracks: int
    contrasts: int
    reference: float = 1.0
    first: float = 1.0
    tails: str = "normal"
    run: float = RUN
    cell: float = CELL
    residual: float = RESIDUAL
    correlation: float = 0.0
    album: int = 1
    effect: float = 0.0


def regimes() -> list[Regime]:
    """The grid with arms that are alike, and the harder cases."""
    out = [Regime("alike", *sizes) for sizes in product((2, 3, 4, 5, 8, 12), (10, 50, 200), (1, 6, 20))]
    for seeds in (2, 3, 5, 8):
        base = Regime("", seeds, 50, 6)
        out += [
            replace(base, case="reference varies 3 x", reference=3.0),
            replace(base, case="reference varies 1/3", reference=1 / 3),
            replace(base, case="one variant varies 3 x", first=3.0),
            replace(base, case="t3 runs, interactions, residuals", tails="t3"),
            replace(base, case="exponential runs and interactions", tails="exponential"),
            replace(base, case="no run effect", run=0.0),
            replace(base, case="interaction SD 0.5", cell=0.5),
        ]
    for seeds in (3, 5):
        base = Regime("", seeds, 50, 6)
        out += [
            replace(base, case="equal seeds correlate .5", correlation=0.5),
            replace(base, case="albums of 5, ICC .5, interaction SD 0.5", cell=0.5, album=5),
        ]
    out += [
        Regime("power: .5 dB, run SD .2", seeds, 200, k, run=0.2, cell=0.0, residual=0.05, effect=0.5)
        for seeds, k in ((3, 6), (5, 6), (5, 20))
    ]
    return out


def noise(rng: np.random.Generator, tails: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of mean zero and variance one."""
    if tails == "t3":
        return np.asarray(rng.standard_t(3, shape) / math.sqrt(3))
    return np.asarray(rng.exponential(1.0, shape) - 1 if tails == "exponential" else rng.standard_normal(shape))


def tables(regime: Regime, studies: int, rng: np.random.Generator) -> np.ndarray:
    """Scores without effect. Shape: (study, arm, seed, track), the reference last."""
    arms, shape = regime.contrasts + 1, (regime.seeds, regime.tracks)
    times = np.ones(arms)
    times[0], times[-1] = regime.first, regime.reference
    own, common = (noise(rng, regime.tails, (studies, many, regime.seeds, 1)) for many in (arms, 1))
    run = math.sqrt(1 - regime.correlation) * own + math.sqrt(regime.correlation) * common
    cell = noise(rng, regime.tails, (studies, arms, 1, regime.tracks))
    if regime.album > 1:
        album = noise(rng, regime.tails, (studies, arms, 1, -(-regime.tracks // regime.album)))
        cell = (cell + np.repeat(album, regime.album, axis=3)[..., : regime.tracks]) / math.sqrt(2)
    tails = "normal" if regime.tails == "exponential" else regime.tails
    residual = noise(rng, tails, (studies, arms, *shape))
    scale = times[:, None, None]
    track = TRACK * rng.standard_normal((studies, 1, 1, regime.tracks))
    return np.asarray(track + regime.cell * cell + scale * (regime.run * run + regime.residual * residual))


def mean_squares(scores: np.ndarray) -> tuple[np.ndarray, MeanSquares]:
    """Differences (study, variant) and mean squares of whole tables."""
    _, arms, seeds, tracks = scores.shape
    runs, items = scores.mean(axis=3), scores.mean(axis=2)
    left = scores - runs[..., None] - items[:, :, None] + runs.mean(axis=2)[:, :, None, None]
    residual = (left**2).sum(axis=(2, 3)) / ((seeds - 1) * (tracks - 1))
    run, grand = runs.var(axis=2, ddof=1), runs.mean(axis=2)
    item = (items[:, :-1] - items[:, -1:]).var(axis=2, ddof=1)
    counts, many = np.full(arms - 1, float(seeds)), np.full(arms - 1, tracks)
    squares = MeanSquares(counts, run[:, :-1], residual[:, :-1], counts[:1], run[:, -1:], residual[:, -1:], many, item)
    return grand[:, :-1] - grand[:, -1:], squares


def through_the_report(scores: np.ndarray) -> list[float]:
    """p values that `analyse` gives for one study's table."""
    arms, seeds, tracks = scores.shape
    names = [f"v{k}" for k in range(arms - 1)] + ["reference"]
    index = pd.MultiIndex.from_product([names, range(seeds), [f"t{k:03d}" for k in range(tracks)]])
    frame = pd.DataFrame(index.to_list(), columns=COLUMNS[:3])
    frame = frame.assign(target="", metric="sdr", aggregation="", score=scores.ravel())
    whole = Scores(frame, frame.iloc[:0])
    main = analyse(whole, bare_study(whole, "simulated", "model", "reference", "sdr", ""), brief=True).main
    assert main.test == "crossed"
    return [contrast.primary.p for contrast in main.contrasts]


def rates(regime: Regime, studies: int, entry: int, seed: int) -> dict[str, object]:
    """Error, coverage and power of one regime, and whether a report of it warns."""
    rng = np.random.default_rng([seed, regimes().index(regime)])
    some, covered, powered, warned = [], [], [], []
    size = max(1, min(studies, int(4e6 / (regime.contrasts + 1) / regime.seeds / regime.tracks)))
    for first in range(0, studies, size):
        scores = tables(regime, min(size, studies - first), rng)
        differences, squares = mean_squares(scores)
        found = errors(squares)
        p = p_values(differences, found)
        for k in range(min(entry - first, len(scores)) if first < entry else 0):
            np.testing.assert_allclose(through_the_report(scores[k]), p[k], rtol=1e-6, atol=1e-12)
        some.append((p < ALPHA / regime.contrasts).any(axis=1))
        covered.append(np.abs(differences) <= stats.t.ppf(1 - ALPHA / 2, found.df) * found.se)
        powered.append(p_values(differences + regime.effect, found) < ALPHA / regime.contrasts)
        ratio = squares.reference_run[:, 0] / squares.run.mean(axis=1)
        df = regime.seeds - 1, (regime.seeds - 1) * regime.contrasts
        unequal = 2 * np.minimum(stats.f.sf(ratio, *df), stats.f.cdf(ratio, *df)) < 0.05
        warned.append(unequal | (regime.seeds < 5))
    return {
        "case": regime.case,
        "seeds": regime.seeds,
        "tracks": regime.tracks,
        "contrasts": regime.contrasts,
        "studies": studies,
        "family_wise_error": float(np.mean(np.concatenate(some))),
        "coverage": float(np.mean(np.concatenate(covered))),
        "power": float(np.mean(np.concatenate(powered))) if regime.effect else None,
        "warned": float(np.mean(np.concatenate(warned))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4_000)
    parser.add_argument("--entry", type=int, default=3, help="studies per regime that also go through analyse")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for regime in regimes():
        start = time.perf_counter()
        rows.append(rates(regime, args.studies, args.entry, args.seed))
        shown = {key: round(100 * value, 1) for key, value in rows[-1].items() if isinstance(value, float)}
        print(
            regime.case,
            regime.seeds,
            regime.tracks,
            regime.contrasts,
            shown,
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    if args.out:
        about = {"seed": args.seed, "alpha": ALPHA, "run": RUN, "cell": CELL, "residual": RESIDUAL, "track": TRACK}
        args.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
