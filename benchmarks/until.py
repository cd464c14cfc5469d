"""Error, power and seeds of studies that stop when they know, in simulated studies without and with an effect.

    python benchmarks/until.py --out benchmarks/until.json

Thousands of studies at once go through the decisions that plan a study's next seeds. The first studies of every regime
also go through `reports.sequential.follow`, which plans and reports, as whole score tables that hold all seeds a study
could take; they must end the same. The grid has the run SDs and effects of the audit: .15, .2, .3 dB; 0, .2, .5, 1 dB.
"""

import argparse
import json
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.contract import Declaration, Looks, Study, Trial, Variant
from reports.inputs.tables import Scores
from reports.sequential import follow
from reports.statistics.sequential import boundary
from reports.statistics.sequential_design import Outcome, simulate, through

LOOKS = (3, 4, 6, 8, 12)
ALPHA = 0.05
CELL, RESIDUAL = 0.25 / 0.15, 0.6 / 0.15
"""Variant x track and residual standard deviations, in those of a run."""


@dataclass(frozen=True)
class Regime:
    """Studies without an effect.

    Attributes:
        tracks: that every run is scored on; 0 for one score per run.
        sd: of a run of the first variant, of the reference; the others have 1.
    """

    variants: int
    tracks: int = 0
    sd: tuple[float, float] = (1.0, 1.0)
    spending: str = "pocock"
    margin: float | None = None


REGIMES = (
    *(Regime(variants) for variants in (1, 6, 20)),
    *(Regime(variants, margin=2.0) for variants in (1, 6)),
    *(Regime(variants, sd=sd) for variants in (1, 6) for sd in ((3.0, 1.0), (1.0, 3.0), (1.0, 1 / 3))),
    *(Regime(variants, tracks=tracks) for variants, tracks in ((1, 50), (6, 10), (6, 50))),
    *(Regime(6, spending=spending) for spending in ("obf", "e")),
)


def study(regime: Regime) -> Study:
    """What study.json would say of such a study, all of its trials done."""
    names = [*(f"v{number}" for number in range(regime.variants)), "reference"]
    seeds = range(LOOKS[-1])
    declaration = Declaration(
        seeds=tuple(seeds),
        reference=names[-1],
        metric="sdr",
        target="macro",
        alpha=ALPHA,
        margin=regime.margin,
        until=Looks(LOOKS, regime.spending),
    )
    trials = tuple(Trial(f"{name}/seed{seed}", name, seed) for name in names for seed in seeds)
    return Study("until", "until", declaration=declaration, variants=tuple(map(Variant, names)), trials=trials)


def draw(regime: Regime, studies: int, rng: np.random.Generator) -> np.ndarray:
    """Scores of studies without an effect, shape (study, arm, seed, track), the reference last."""
    arms, seeds = regime.variants + 1, LOOKS[-1]
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
    test = "crossed" if regime.tracks else "half_pooled"
    bounds = boundary(regime.variants, LOOKS, ALPHA / regime.variants, regime.spending, test)
    parts = []
    for first in range(0, studies, 250):
        scores = draw(regime, min(250, studies - first), rng)
        parts.append(through(bounds, scores, regime.margin))
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
        "margin": regime.margin,
        "studies": studies,
        "family_wise_error": found.error,
        "ends": {str(end): found.share(end) for end in np.unique(found.decision)},
        "trials": found.trainings,
        "fixed": (regime.variants + 1) * LOOKS[-1],
        "seconds": round(time.monotonic() - begun, 1),
    }


def grid(studies: int) -> list[dict[str, Any]]:
    """Six variants with one effect, by spending, run SD and margin."""
    rows = []
    for spending in ("pocock", "obf", "e"):
        bounds = boundary(6, LOOKS, ALPHA / 6, spending, "half_pooled")
        for sd in (0.15, 0.2, 0.3):
            for effect in (0.0, 0.2, 0.5, 1.0):
                found = simulate(bounds, [effect / sd] * 6, 0.5 / sd, studies)
                row = {"spending": spending, "sd": sd, "effect": effect, "error": found.error}
                rows.append(
                    row | {"power": found.share("significant"), "seeds": found.seeds, "trials": found.trainings}
                )
    alone = boundary(1, LOOKS, ALPHA, "pocock", "half_pooled")
    for effect in (0.0, 1.0, 2.0, 3.0):
        found = simulate(alone, [effect], None, studies)
        row = {"spending": "pocock", "variants": 1, "sd": 1.0, "effect": effect, "error": found.error}
        rows.append(row | {"power": found.share("significant"), "seeds": found.seeds, "trials": found.trainings})
    return rows


def main() -> None:
    """Write or print all figures."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--studies", type=int, default=2_000)
    flags.add_argument("--tables", type=int, default=10, help="of every regime, as whole tables (10)")
    flags.add_argument("--regimes", type=int, nargs="*", help="only these, by number")
    flags.add_argument("--out", type=Path)
    options = flags.parse_args()
    chosen = [REGIMES[number] for number in options.regimes] if options.regimes is not None else REGIMES
    told = {"looks": list(LOOKS), "alpha": ALPHA, "null": [], "grid": grid(options.studies)}
    for number, regime in enumerate(chosen):
        told["null"].append(rates(regime, options.studies, options.tables, number))
        print(json.dumps(told["null"][-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
