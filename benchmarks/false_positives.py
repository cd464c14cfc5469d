"""False-positive rate and coverage of the tests of reports/, in simulated studies without effect.

    python benchmarks/false_positives.py --out reports/statistics/false_positives.json

One study: two variants of equal mean, 5 seeds each, 50 tracks. A score is track + variant x track
+ run + residual, all normal; "no effect" means none over tracks like these, so the
variant-by-track part counts as noise. Track SD 0.6 dB, residual SD 0.6 dB (one run on one track),
run SD and variant-by-track SD as given.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from reports.statistics import crossed, hypothesis_tests
from reports.statistics import mixed as mixed_model
from reports.statistics.hypothesis_tests import Result

SEEDS, TRACKS, TRACK_SD, RESIDUAL_SD = 5, 50, 0.6, 0.6
RUN_SDS = (0.05, 0.10, 0.15, 0.30)
CELL_SDS = (0.0, 0.25, 0.5)
COLUMNS = [f"track{k:02d}" for k in range(TRACKS)]


def study(rng: np.random.Generator, run_sd: float, cell_sd: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of both arms, (seed, track)."""
    track = rng.normal(0, TRACK_SD, TRACKS)
    arms = []
    for _ in range(2):
        cell = rng.normal(0, cell_sd, TRACKS)
        run = rng.normal(0, run_sd, (SEEDS, 1))
        residual = rng.normal(0, RESIDUAL_SD, (SEEDS, TRACKS))
        arms.append(pd.DataFrame(track + cell + run + residual, columns=COLUMNS))
    return arms[0], arms[1]


def tests(a: pd.DataFrame, b: pd.DataFrame, rng: np.random.Generator, with_mixed: bool) -> list[Result]:
    """Every test on one study."""
    x, y = (dict(enumerate(arm.mean(axis=1).tolist())) for arm in (a, b))
    flat = list(x.values()), list(y.values())
    found = [
        crossed.crossed(a, b),
        hypothesis_tests.welch(*flat),
        hypothesis_tests.student(*flat),
        hypothesis_tests.paired(x, y),
        hypothesis_tests.wilcoxon(x, y),
        hypothesis_tests.permutation(*flat),
        crossed.bootstrap(a, b, rng),
        crossed.item_means(a, b),
        crossed.naive(a, b),
    ]
    return [*found, mixed_model.mixed(a, b)] if with_mixed else found


def setting(run_sd: float, cell_sd: float, studies: int, mixed: int, seed: int) -> list[dict]:
    """One row a test: rate of p < .05 and coverage of the 95 % interval."""
    rng = np.random.default_rng([seed, int(100 * run_sd), int(100 * cell_sd)])
    hits: dict[str, list[bool]] = {}
    covers: dict[str, list[bool]] = {}
    for k in range(studies):
        a, b = study(rng, run_sd, cell_sd)
        for result in tests(a, b, rng, with_mixed=k < mixed):
            hits.setdefault(result.test, []).append(result.p < 0.05)
            # Every interval moves with the difference, so covering zero is covering any true one.
            if result.low == result.low:
                covers.setdefault(result.test, []).append(result.low <= 0 <= result.high)
    return [
        {
            "test": name,
            "run_sd": run_sd,
            "variant_by_track_sd": cell_sd,
            "studies": len(found),
            "false_positives": float(np.mean(found)),
            "coverage": float(np.mean(covers[name])) if name in covers else None,
        }
        for name, found in hits.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2_000)
    parser.add_argument("--mixed", type=int, default=200, help="studies with the (slow) mixed model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict] = []
    for run_sd in RUN_SDS:
        for cell_sd in CELL_SDS:
            start = time.perf_counter()
            rows += setting(run_sd, cell_sd, args.studies, args.mixed, args.seed)
            shown = {
                r["test"]: round(100 * r["false_positives"], 1)
                for r in rows
                if (r["run_sd"], r["variant_by_track_sd"]) == (run_sd, cell_sd)
            }
            print(run_sd, cell_sd, shown, f"{time.perf_counter() - start:.0f} s", flush=True)
    if args.out:
        about = {
            "seeds": SEEDS,
            "tracks": TRACKS,
            "track_sd": TRACK_SD,
            "residual_sd": RESIDUAL_SD,
            "alpha": 0.05,
            "seed": args.seed,
        }
        args.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
