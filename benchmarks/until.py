"""Error, power and seeds of studies that stop when they know, in simulated studies without and with an effect.

    python benchmarks/until.py --out benchmarks/until.json

Thousands of studies at once go through the decisions that plan a study's next seeds. The first studies of every regime
also go through `reports.sequential.follow`, which plans and reports, as whole score tables that hold all seeds a study
could take; they must end the same. The grid has run SDs of .15, .2 and .3 dB and effects of 0, .2, .5 and 1 dB.

One more part shows what the levels cost, and why: the most that any test could find with few seeds and this error,
whatever arm varies more (`best`). `pooled`, the test for runs that are declared alike, does not allow for that.
"""

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linprog
from scipy.special import stdtr

from reports.contract import Declaration, Looks, Study, Trial, Variant
from reports.inputs.tables import Scores
from reports.sequential import follow
from reports.statistics.sequential import boundary
from reports.statistics.sequential_design import Outcome, simulate, through

LOOKS = (3, 4, 6, 8, 12)
EVERY = tuple(range(3, 13))
"""What an e-process allows: a look after every seed."""
ALPHA = 0.05
CELL, RESIDUAL = 0.25 / 0.15, 0.6 / 0.15
"""Variant x track and residual standard deviations, in those of a run."""


@dataclass(frozen=True)
class Regime:
    """Studies without an effect.

    Attributes:
        tracks: that every run is scored on; 0 for one score per run.
        sd: of a run of the first variant, of the reference; the others have 1.
        test: without tracks; the pooled one for who declares that all runs vary alike.
    """

    variants: int
    tracks: int = 0
    sd: tuple[float, float] = (1.0, 1.0)
    spending: str = "pocock"
    margin: float | None = None
    test: str = "half_pooled"
    looks: tuple[int, ...] = LOOKS


UNEQUAL = ((3.0, 1.0), (1.0, 3.0), (1.0, 1 / 3))
REGIMES = (
    *(Regime(variants) for variants in (1, 6, 20)),
    *(Regime(variants, margin=2.0, sd=(sd, 1.0)) for variants in (1, 6) for sd in (1.0, 3.0)),
    *(Regime(variants, sd=sd) for variants in (1, 2, 3, 6, 10, 20) for sd in UNEQUAL),
    *(Regime(variants, tracks=tracks) for variants, tracks in ((1, 50), (6, 10), (6, 50))),
    *(Regime(variants, 50, sd) for variants in (1, 6) for sd in ((3.0, 1.0), (1.0, 3.0))),
    *(Regime(variants, test="pooled") for variants in (1, 6, 20)),
    Regime(6, sd=(1.0, 3.0), test="pooled"),
    *(Regime(6, spending=spending) for spending in ("obf", "e")),
    *(Regime(variants, sd=sd, spending="obf") for variants in (2, 6) for sd in UNEQUAL),
    *(Regime(variants, sd=(3.0, 1.0), looks=looks) for variants in (3, 10) for looks in ((3, 5, 8), (5, 10))),
    *(Regime(3, sd=sd, spending="obf", looks=(2, 4, 8)) for sd in UNEQUAL),
    Regime(6, sd=(3.0, 1.0), spending="e", looks=EVERY),
)


def study(regime: Regime) -> Study:
    """What study.json would say of such a study, all of its trials done."""
    names = [*(f"v{number}" for number in range(regime.variants)), "reference"]
    seeds = range(regime.looks[-1])
    declaration = Declaration(
        seeds=tuple(seeds),
        reference=names[-1],
        metric="sdr",
        target="macro",
        alpha=ALPHA,
        margin=regime.margin,
        test="" if regime.test == "half_pooled" else regime.test,
        until=Looks(regime.looks, regime.spending),
    )
    trials = tuple(Trial(f"{name}/seed{seed}", name, seed) for name in names for seed in seeds)
    return Study("until", "until", declaration=declaration, variants=tuple(map(Variant, names)), trials=trials)


def draw(regime: Regime, studies: int, rng: np.random.Generator) -> np.ndarray:
    """Scores of studies without an effect, shape (study, arm, seed, track), the reference last."""
    arms, seeds = regime.variants + 1, regime.looks[-1]
    scale = np.ones(arms)
    scale[0], scale[-1] = regime.sd
    scores = rng.normal(size=(studies, arms, seeds, 1)) * scale[:, None, None]
    if regime.tracks:
        scores = scores + CELL * rng.normal(size=(studies, arms, 1, regime.tracks))
        scores = scores + RESIDUAL * scale[:, None, None] * rng.normal(size=(studies, arms, seeds, regime.tracks))
    return scores


def table(scores: np.ndarray) -> Scores:
    """One study, shape (arm, seed, track), as a score table."""
    arms, seeds, tracks = scores.shape
    names = np.array([*(f"v{number}" for number in range(arms - 1)), "reference"])
    frame = pd.DataFrame(
        {
            "variant": names.repeat(seeds * tracks),
            "seed": np.tile(np.arange(seeds).repeat(tracks), arms),
            "track": np.tile([f"t{number}" for number in range(tracks)] if tracks > 1 else [""], arms * seeds),
            "target": "macro",
            "metric": "sdr",
            "aggregation": "",
            "score": scores.ravel(),
        }
    )
    return Scores(frame, frame.iloc[:0])


def rates(regime: Regime, studies: int, tables: int, seed: int) -> dict[str, Any]:
    """Share of studies in which some contrast is called significant, and what they took."""
    rng, begun = np.random.default_rng(seed), time.monotonic()
    test = "crossed" if regime.tracks else regime.test
    bounds = boundary(regime.variants, regime.looks, ALPHA / regime.variants, regime.spending, test)
    parts = []
    for first in range(0, studies, 250):
        scores = draw(regime, min(250, studies - first), rng)
        parts.append(through(bounds, scores, regime.margin, test))
        for number in range(min(len(scores), tables - first)):
            course = follow(table(scores[number]), study(regime))
            ends = [(path.decision, path.looks[-1].seeds) for path in course.paths]
            assert ends == list(zip(parts[-1].decision[number], parts[-1].runs[number], strict=True)), number
    found = Outcome(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Outcome)))
    return {
        "variants": regime.variants,
        "tracks": regime.tracks,
        "sd": list(regime.sd),
        "spending": regime.spending,
        "test": test,
        "margin": regime.margin,
        "studies": studies,
        "family_wise_error": found.error,
        "ends": {str(end): found.share(end) for end in np.unique(found.decision)},
        "trials": found.trainings,
        "looks": list(regime.looks),
        "fixed": (regime.variants + 1) * regime.looks[-1],
        "seconds": round(time.monotonic() - begun, 1),
    }


def grid(studies: int) -> list[dict[str, Any]]:
    """Six variants with one effect and a margin of .5 dB, by test, spending and run SD."""
    rows = []
    for test, spending in itertools.product(("half_pooled", "pooled"), ("pocock", "obf", "e")):
        looks = EVERY if spending == "e" else LOOKS
        bounds = boundary(6, looks, ALPHA / 6, spending, test)
        for sd in (0.15, 0.2, 0.3):
            for effect in (0.0, 0.2, 0.5, 1.0):
                found = simulate(bounds, [effect / sd] * 6, 0.5 / sd, studies, test=test)
                row = {"test": test, "spending": spending, "looks": list(looks), "sd": sd, "effect": effect}
                rows.append(row | _ends(found))
    return rows


def alone(studies: int) -> list[dict[str, Any]]:
    """One contrast without a margin, its effect in standard deviations of a run."""
    rows = []
    for test in ("half_pooled", "pooled"):
        bounds = boundary(1, LOOKS, ALPHA, "pocock", test)
        for effect in (0.0, 1.0, 2.0, 3.0):
            found = simulate(bounds, [effect], None, studies, test=test)
            rows.append({"test": test, "effect": effect, "studies": studies} | _ends(found))
    return rows


def _ends(found: Outcome) -> dict[str, float]:
    power = found.share("significant")
    return {"error": found.error, "power": power, "seeds": found.seeds, "trials": found.trainings}


def best(seeds: int, effect: float, error: float, scales: Sequence[float], studies: int = 500_000) -> dict[str, Any]:
    """The largest power of any test of one contrast, by its t and the ratio of its variances, that keeps an error where
    the runs of one arm vary so many times as much (`scales`); beside it those of Welch's t, on cells of both.

    A linear program: the probability to reject in each cell.
    """
    rng = np.random.default_rng(seeds)

    def draw(scale: float, effect: float) -> tuple[np.ndarray, np.ndarray]:
        a = effect + scale * rng.normal(size=(studies, seeds))
        b = rng.normal(size=(studies, seeds))
        one, other = a.var(axis=1, ddof=1), b.var(axis=1, ddof=1)
        return np.abs(a.mean(axis=1) - b.mean(axis=1)) / np.sqrt((one + other) / seeds), np.abs(np.log(one / other))

    def p(t: np.ndarray, log_ratio: np.ndarray) -> np.ndarray:
        share = 1 / (1 + np.exp(log_ratio))
        return np.asarray(2 * stdtr((seeds - 1) / (share**2 + (1 - share) ** 2), -t))

    cells = np.r_[0, np.linspace(1.5, 8, 40), np.geomspace(8.3, 60, 25), np.inf], np.r_[np.linspace(0, 6, 13), np.inf]
    null, found = {scale: draw(scale, 0.0) for scale in {1.0, *scales}}, draw(1.0, effect)
    counts = [np.histogram2d(*drawn, cells)[0].ravel() / studies for drawn in (*(null[s] for s in scales), found)]
    most = linprog(-counts[-1], np.array(counts[:-1]), np.full(len(scales), error), bounds=(0, 1)).fun
    safe = min(float(np.quantile(p(*null[scale]), error)) for scale in scales)
    exact = float(np.quantile(p(*null[1.0]), error))
    return {
        "seeds": seeds,
        "effect": effect,
        "error": error,
        "scales": list(scales),
        "any_test": -float(most),
        "welch": float((p(*found) < safe).mean()),
        "welch_alike": float((p(*found) < exact).mean()),
    }


def main() -> None:
    """Write or print all figures."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--studies", type=int, default=20_000, help="without an effect, a tenth of them with one")
    flags.add_argument("--tables", type=int, default=10, help="of every regime, as whole tables (10)")
    flags.add_argument("--regimes", type=int, nargs="*", help="only these, by number")
    flags.add_argument("--out", type=Path)
    options = flags.parse_args()
    chosen = [REGIMES[number] for number in options.regimes] if options.regimes is not None else REGIMES
    told: dict[str, Any] = {"looks": list(LOOKS), "alpha": ALPHA, "null": []}
    told["grid"], told["alone"] = grid(options.studies // 10), alone(options.studies)
    for number, regime in enumerate(chosen):
        told["null"].append(rates(regime, options.studies, options.tables, number))
        print(json.dumps(told["null"][-1]), flush=True)
    told["best"] = [
        best(seeds, 2.0, error, scales)
        for seeds, error in ((3, 0.018), (4, 0.01), (6, 0.015))
        for scales in ((1.0, 2.0, 3.0), (1.0,))
    ]
    print(json.dumps(told["best"], indent=1))
    if options.out:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
