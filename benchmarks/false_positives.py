"""Family-wise error, coverage and power of the default tests, in simulated studies.

    python benchmarks/false_positives.py --out benchmarks/false_positives.json

A study has k variants and one reference, some seeds each, some tracks. A score is track + variant x track + run +
residual (SD 0.6, 0.25, 0.15 and 0.6 dB). "No effect" means none over runs and tracks like these. In studies of areas a
score is a clip's, and what is tested is the AUC; their tracks are clips. Of each regime the
first studies go through `reports.ablation.analyse` as whole score tables (`--entry` says how many; where a study has
at most `--rows` rows, 2,000 of them); of the others the mean squares are taken thousands at once and go through the
functions that a report calls. `--like FILE` sends as many of each regime through `analyse` as an earlier file did.
tests/reports/test_error_rates.py shows that both ways give the same p values and intervals. The smallest studies come
first, and each regime is written down as soon as it is known.
"""

import argparse
import json
import math
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from reports.ablation import analyse
from reports.findings import Contrast
from reports.inputs.study import Study, with_declaration
from reports.inputs.tables import Scores, bare_study
from reports.level import few_runs
from reports.statistics import seed_paired
from reports.statistics.auc import auc, placements_by_cell
from reports.statistics.half_pooled import Errors, MeanSquares, errors, p_values

RUN, CELL, RESIDUAL, TRACK = 0.15, 0.25, 0.6, 0.6
ALPHA = 0.05
THROUGH = 2_000
COLUMNS = ["variant", "seed", "track", "target", "metric", "aggregation", "score"]


@dataclass(frozen=True)
class Regime:
    """One kind of study.

    Attributes:
        reference, first, half: what run and residual SDs of the reference, of the first variant, and of the first half
            of the variants are multiplied with.
        tails: of runs, interactions and residuals: `normal`, `t3` (Student, 3 degrees of freedom) or `exponential`.
        correlation: of equal seeds of different arms.
        album: tracks per album, half of whose interaction variance is the album's.
        grouped: whether the table names the albums, in its column `group`.
        positives: test clips with the tag, where the score is an AUC over the split; 0 where tracks have scores.
        apart: how far clips with the tag and without it are apart, in SDs of the clips.
        test: what is declared; empty for the default.
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
    half: float = 1.0
    grouped: bool = False
    positives: int = 0
    apart: float = 1.2
    test: str = ""


UNEQUAL = {
    "reference varies 3 x": {"reference": 3.0},
    "reference varies 1/3": {"reference": 1 / 3},
    "one variant varies 3 x": {"first": 3.0},
    "half of the variants vary 3 x": {"half": 3.0},
}
ODD = {
    "t3 runs, interactions, residuals": {"tails": "t3"},
    "exponential runs and interactions": {"tails": "exponential"},
    "no run effect": {"run": 0.0},
    "interaction SD 0.5": {"cell": 0.5},
}
ALBUMS = {"cell": 0.5, "album": 5}


def regimes() -> list[Regime]:
    """The grid with arms that are alike, and the harder cases."""
    out = [Regime("alike", *sizes) for sizes in product((2, 3, 4, 5, 8, 12), (10, 50, 200), (1, 6, 20))]
    for seeds, tracks, (case, changes) in product((2, 3, 4, 5, 8), (50, 200), UNEQUAL.items()):
        several = (1, 6, 20) if "reference" in changes else (2, 6, 20)
        for contrasts in several if tracks == 200 else (6,):
            out.append(Regime(case, seeds, tracks, contrasts, **changes))
    out += [Regime(case, seeds, 50, 6, **changes) for seeds in (2, 3, 5, 8) for case, changes in ODD.items()]
    for seeds in (3, 5):
        out.append(Regime("albums of 5, ICC .5, nobody says so", seeds, 50, 6, **ALBUMS))
    for seeds, tracks, contrasts in product((2, 3, 5), (50, 200), (1, 6)):
        out.append(Regime("albums of 5, ICC .5, named as groups", seeds, tracks, contrasts, grouped=True, **ALBUMS))
    for seeds, contrasts, share in product((2, 3, 5), (1, 6), (0.0, 0.5, 0.9)):
        if share:
            out.append(Regime(f"equal seeds correlate {share:g}", seeds, 50, contrasts, correlation=share))
        name = f"seed-paired, equal seeds correlate {share:g}"
        out.append(Regime(name, seeds, 50, contrasts, correlation=share, test="paired_crossed"))
    power = {"run": 0.2, "cell": 0.0, "residual": 0.05, "effect": 0.5}
    out += [Regime("power: .5 dB, run SD .2", n, 200, k, **power) for n, k in ((3, 6), (5, 6), (5, 20))]
    shared = {"run": 0.2, "cell": 0.1, "residual": 0.2, "effect": 0.3}
    for test in ("", "paired_crossed"):
        name = f"power: .3 dB, run SD .2, equal seeds correlate 0.5{', seed-paired' if test else ''}"
        out += [Regime(name, n, 50, 6, correlation=0.5, test=test, **shared) for n in (3, 5)]
    return out + areas()


def areas() -> list[Regime]:
    """AUCs over a split: of few and many clips, rare tags, areas near one, arms that are not alike."""
    out = []
    for seeds, contrasts in product((2, 3, 5), (1, 6)):
        out += [Regime("areas, a third has the tag", seeds, n, contrasts, positives=n // 3) for n in (45, 200)]
        out.append(Regime("areas, no run effect", seeds, 45, contrasts, positives=15, run=0.0))
        out.append(Regime("areas, 10 of 200 have the tag", seeds, 200, contrasts, positives=10))
        out.append(Regime("areas of .98", seeds, 200, contrasts, positives=60, apart=3.0))
        out.append(Regime("areas, runs vary 3 x as much", seeds, 200, contrasts, positives=60, run=0.45))
        for share in (0.0, 0.8):
            name = f"areas, seed-paired, equal seeds correlate {share:g}"
            paired = {"correlation": share, "test": "paired_clips", "positives": 15, "run": 0.3}
            out.append(Regime(name, seeds, 45, contrasts, **paired))
    for seeds in (2, 3, 5, 8):
        for case, changes in UNEQUAL.items():
            out.append(Regime(f"areas, {case}", seeds, 200, 6, positives=60, run=0.3, **changes))
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
    times[: max(1, regime.contrasts // 2)] = regime.half
    times[0], times[-1] = max(regime.first, times[0]), regime.reference
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


def predictions(regime: Regime, studies: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores of clips: ease of the clip, arm x clip, residual, and by run how far the classes are apart.

    Shape:
        (study, 1, 1, clip) and (study, arm, seed, clip), the reference last.
    """
    arms, clips = regime.contrasts + 1, regime.tracks
    times = np.ones(arms)
    times[: max(1, regime.contrasts // 2)] = regime.half
    times[0], times[-1] = max(regime.first, times[0]), regime.reference
    own, common = (rng.standard_normal((studies, many, regime.seeds, 1)) for many in (arms, 1))
    run = math.sqrt(1 - regime.correlation) * own + math.sqrt(regime.correlation) * common
    truth = rng.permuted(np.tile(np.arange(clips) < regime.positives, (studies, 1)), axis=1)[:, None, None]
    score = rng.standard_normal((studies, 1, 1, clips)) + 0.3 * rng.standard_normal((studies, arms, 1, clips))
    score = score + 0.3 * rng.standard_normal((studies, arms, regime.seeds, clips))
    return truth, score + truth * (regime.apart + times[:, None, None] * regime.run * run)


def draw(regime: Regime, studies: int, rng: np.random.Generator) -> tuple[np.ndarray | None, np.ndarray]:
    """Truth, for areas, and scores of studies without effect."""
    return predictions(regime, studies, rng) if regime.positives else (None, tables(regime, studies, rng))


def pseudo_values(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """What `tagging.Influence.scores` has for each run and clip. Shape: that of `score`."""
    truth = np.broadcast_to(truth, score.shape)
    clips, positives = score.shape[-1], int(truth[0, 0, 0].sum())
    cell = np.repeat(np.arange(score.size // clips), clips)
    place = placements_by_cell(truth.ravel(), score.ravel(), cell).reshape(score.shape)
    area = np.where(truth, place, 0.0).sum(axis=-1, keepdims=True) / positives
    of_class = np.where(truth, positives, clips - positives)
    return np.asarray(area + clips * (place - area) / np.sqrt(of_class * (of_class - 1.0)))


def mean_squares(scores: np.ndarray) -> tuple[np.ndarray, MeanSquares]:
    """Differences (study, variant) and mean squares of whole tables."""
    _, arms, seeds, tracks = scores.shape
    runs, items = scores.mean(axis=3), scores.mean(axis=2)
    left = scores - runs[..., None] - items[:, :, None] + runs.mean(axis=2)[:, :, None, None]
    residual = (left**2).sum(axis=(2, 3)) / ((seeds - 1) * (tracks - 1))
    run, grand = runs.var(axis=2, ddof=1), runs.mean(axis=2)
    item = (items[:, :-1] - items[:, -1:]).var(axis=2, ddof=1)
    counts, many = np.full(arms - 1, float(seeds)), np.full(arms - 1, tracks)
    squares = MeanSquares(
        counts, run[:, :-1], residual[:, :-1], counts[:1], run[:, -1:], residual[:, -1:], many, item, many - 1
    )
    return grand[:, :-1] - grand[:, -1:], squares


def contrasts(regime: Regime, scores: np.ndarray) -> tuple[np.ndarray, Errors]:
    """Differences, standard errors and degrees of freedom, as a report takes them. Shape: (study, variant)."""
    if regime.grouped:
        scores = scores.reshape(*scores.shape[:3], -1, regime.album).mean(axis=4)
    differences, squares = mean_squares(scores)
    if regime.test in ("paired_crossed", "paired_clips"):
        items = scores.shape[3]
        return differences, seed_paired.errors_of(seed_paired.mean_squares(scores, np.full(items, 1 / items)))
    return differences, errors(squares)


def through_the_report(regime: Regime, scores: np.ndarray, truth: np.ndarray | None = None) -> list[Contrast]:
    """What `analyse` says of one study's table, or of its predictions for clips of that truth."""
    if truth is not None:
        return of_predictions(regime, scores, truth)
    main = analyse(*as_table(regime, scores), brief=True).main
    assert main.test == (regime.test or "crossed") and bool(main.groups) == regime.grouped
    return list(main.contrasts)


def as_table(regime: Regime, scores: np.ndarray) -> tuple[Scores, Study]:
    """Scores (arm, seed, track) as a report reads them, and what was declared."""
    arms, seeds, tracks = scores.shape
    names = [f"v{k}" for k in range(arms - 1)] + ["reference"]
    index = pd.MultiIndex.from_product([names, range(seeds), [f"t{k:03d}" for k in range(tracks)]])
    frame = index.to_frame(index=False, name=COLUMNS[:3])
    if regime.grouped:
        frame["group"] = [f"album {int(track[1:]) // regime.album}" for track in frame["track"]]
    frame = frame.assign(target="", metric="sdr", aggregation="", score=scores.ravel())
    whole = Scores(frame, frame.iloc[:0])
    study = bare_study(whole, "simulated", "model", "reference", "sdr", "")
    return whole, with_declaration(study, test=regime.test)


def of_predictions(regime: Regime, scores: np.ndarray, truth: np.ndarray) -> list[Contrast]:
    """The same for predictions. Shape: (arm, seed, clip) and (clip,)."""
    arms, seeds, clips = scores.shape
    names = [f"v{k}" for k in range(arms - 1)] + ["reference"]
    index = pd.MultiIndex.from_product([names, range(seeds), [f"c{k:03d}" for k in range(clips)]])
    table = index.to_frame(index=False, name=["variant", "seed", "item"])
    table = table.assign(target="tag", truth=np.tile(truth, arms * seeds).astype(int), score=scores.ravel())
    runs = pd.MultiIndex.from_product([names, range(seeds)])
    frame = runs.to_frame(index=False, name=COLUMNS[:2])
    means = [auc(truth, run) for run in scores.reshape(-1, clips)]
    frame = frame.assign(track="", target="macro", metric="roc_auc", aggregation="", score=means)
    whole = Scores(frame[COLUMNS], frame.iloc[:0])
    study = with_declaration(bare_study(whole, "simulated", "model", "reference", "roc_auc", "macro"), test=regime.test)
    main = analyse(whole, study, table, brief=True).main
    assert main.test == (regime.test or "seeds_clips")
    return list(main.contrasts)


def rates(regime: Regime, studies: int, entry: int, seed: int) -> dict[str, object]:
    """Error, coverage and power of one regime, and whether the headline of its reports warns."""
    rng = np.random.default_rng([seed, regimes().index(regime)])
    some, covered, powered = [], [], []
    chunk = max(1, min(studies, int(4e6 / size(regime))))
    for first in range(0, studies, chunk):
        truth, given = draw(regime, min(chunk, studies - first), rng)
        scores = given if truth is None else pseudo_values(truth, given)
        differences, found = contrasts(regime, scores)
        p, half = p_values(differences, found), stats.t.ppf(1 - ALPHA / 2, found.df) * found.se
        reject, hold = p < ALPHA / regime.contrasts, np.abs(differences) <= half
        for k in range(min(entry - first, len(scores)) if first < entry else 0):
            said = through_the_report(regime, given[k], None if truth is None else truth[k, 0, 0])
            np.testing.assert_allclose([c.primary.p for c in said], p[k], rtol=1e-6, atol=1e-12)
            reject[k] = [contrast.p_corrected < ALPHA for contrast in said]
            hold[k] = [contrast.primary.low <= 0 <= contrast.primary.high for contrast in said]
        some.append(reject.any(axis=1))
        covered.append(hold)
        powered.append(p_values(differences + regime.effect, found) < ALPHA / regime.contrasts)
    return {
        "case": regime.case,
        "seeds": regime.seeds,
        "tracks": regime.tracks,
        "contrasts": regime.contrasts,
        "studies": studies,
        "through_analyse": min(entry, studies),
        "family_wise_error": round(float(np.mean(np.concatenate(some))), 3),
        "coverage": round(float(np.mean(np.concatenate(covered))), 3),
        "power": round(float(np.mean(np.concatenate(powered))), 3) if regime.effect else None,
        "headline_warns": few_runs(regime.seeds, regime.contrasts),
    }


def size(regime: Regime) -> int:
    """Rows of one study's score table, or of its predictions."""
    return (regime.contrasts + 1) * regime.seeds * regime.tracks


def wanted(regime: Regime, args: argparse.Namespace, before: int) -> tuple[int, int]:
    """How many studies of a regime are simulated, and how many of them, at least `before`, go through `analyse`."""
    studies = args.studies // 2 if regime.positives else args.studies
    return studies, min(studies, max(before, THROUGH if size(regime) <= args.rows else args.entry))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4_000, help="per regime; half as many of areas")
    parser.add_argument("--entry", type=int, default=3, help="studies per regime that also go through analyse")
    parser.add_argument("--rows", type=int, default=0, help=f"where a study has at most so many rows, {THROUGH} go")
    parser.add_argument("--like", type=Path, help="a file that was written before")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument(
        "--out", type=Path, required=True, help="what it holds already is kept; delete it to begin anew"
    )
    args = parser.parse_args()
    about = {"seed": args.seed, "alpha": ALPHA, "run": RUN, "cell": CELL, "residual": RESIDUAL, "track": TRACK}
    every = regimes()
    rows = dict(enumerate(json.loads(args.out.read_text())["rows"] if args.out.exists() else []))
    before = (
        [row["through_analyse"] for row in json.loads(args.like.read_text())["rows"]] if args.like else [0] * len(every)
    )
    asked = {
        k: wanted(regime, args, before[k]) for k, regime in sorted(enumerate(every), key=lambda pair: size(pair[1]))
    }
    left = [
        k for k, (_, through) in asked.items() if (rows.get(k) or {"through_analyse": 0})["through_analyse"] < through
    ]
    with ProcessPoolExecutor(args.jobs) as pool:
        made = {pool.submit(rates, every[k], *asked[k], args.seed): k for k in left}
        for future in as_completed(made):
            rows[made[future]] = future.result()
            print(*rows[made[future]].values(), flush=True)
            written = {"about": about, "rows": [rows.get(k, {}) for k in range(len(every))]}
            args.out.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
