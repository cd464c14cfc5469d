"""Is the instrument classifier better than chance on real clips?  Cross-validation over all of them.

    python benchmarks/instruments.py CLIPS [--seeds 5] [--store DIR]

CLIPS is a folder with clips.csv, one label per clip. Each seed draws other folds and networks and classifies every
clip once, by the fold it was held out of. The same is done with the labels shuffled: what that reaches is chance. The
interval of the balanced accuracy counts both the clips (within each class) and the seeds.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from mss_core.data.sets import ClipSet
from mss_core.graph import Context, walk
from mss_core.models import model
from mss_core.runtime import prepare_process
from mss_core.store import Store, materialize
from mss_core.systems.aemic import AEMIC, aemic, smoke
from mss_core.systems.aemic.classifier import THESIS
from mss_core.systems.aemic.decibels import Grid
from mss_core.training import Phase, TrainConfig

FOLDS = 5
SMALL = {**THESIS, "filters": (8, 16, 16, 32, 32, 64, 64), "bn_momentum": 0.1, "dropout": 0.1}


def recipe(seed: int, fold: int) -> AEMIC:
    """The classifier on the clips themselves; what the thesis describes, narrow, on 3 s at 16 kHz."""
    tagging = ClipSet("clips", labels="label", samplerate=16_000, split=f"fold{fold}of{FOLDS}", split_seed=seed)
    train = TrainConfig((Phase("adam", lr=3e-3, epochs=8),), batch=8, epoch_steps=12, seed=seed)
    return replace(
        smoke(aemic()),
        tagging=tagging,
        grid=Grid(512, 375, 47_250),
        stem="base",
        classifier=model("aemic_classifier", **SMALL),
        train_classifier=train,
    )


def predictions(clips: Path, store: Store, seeds: int) -> pd.DataFrame:
    """Every clip's class and what it was taken for, by seed."""
    rows = []
    for seed in range(seeds):
        for fold in range(1, FOLDS + 1):
            root = recipe(seed, fold).pipeline()
            stage = next(stage for stage in walk([root]).values() if stage.name == "infer")
            folder = materialize(stage, store, Context(data={"clips": clips}))
            table = pd.read_parquet(folder / "predictions.parquet")
            for column in ("truth", "score"):
                best = table.loc[table.groupby("item")[column].idxmax()].set_index("item")["target"]
                rows += [(seed, item, column, target) for item, target in best.items()]
    wide = pd.DataFrame(rows, columns=["seed", "item", "what", "target"])
    return wide.pivot(index=["seed", "item"], columns="what", values="target").reset_index()


def balanced_accuracy(table: pd.DataFrame) -> tuple[float, float, list[float]]:
    """Mean over seeds, lower end of its two-sided 95 % interval over clips and seeds, and each seed's."""
    right = table.assign(right=(table["truth"] == table["score"]).astype(float))
    by_class = right.groupby(["seed", "truth"])["right"].mean().unstack()
    each = by_class.mean(axis=1)
    by_clip = right.groupby(["truth", "item"])["right"].mean()
    within = by_clip.groupby("truth").agg(["var", "count"])
    of_clips = float((within["var"] / within["count"]).sum()) / len(within) ** 2
    of_seeds = float(each.var(ddof=1)) / len(each)
    half = stats.t.ppf(0.975, len(each) - 1) * np.sqrt(of_seeds + of_clips)
    return float(each.mean()), float(each.mean() - half), each.tolist()


def shuffled(clips: Path, out: Path, seed: int) -> Path:
    """The same clips with their labels in another order."""
    out.mkdir(parents=True, exist_ok=True)
    with open(clips / "clips.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = np.random.default_rng(seed).permutation([row["label"] for row in rows])
    with open(out / "clips.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for row, label in zip(rows, labels, strict=True):
            (out / row["path"]).unlink(missing_ok=True)
            (out / row["path"]).symlink_to((clips / row["path"]).absolute())
            writer.writerow([row["path"], label, row["split"]])
    return out


def main() -> None:
    """Print both accuracies with their lower bounds."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("clips", type=Path)
    flags.add_argument("--seeds", type=int, default=5)
    flags.add_argument("--store", type=Path)
    options = flags.parse_args()
    prepare_process()
    with tempfile.TemporaryDirectory() as scratch:
        base = options.store or Path(scratch)
        for name, clips in (
            ("labels as they are", options.clips),
            ("labels shuffled", shuffled(options.clips, base / "shuffled", 1)),
        ):
            begun = time.process_time()
            table = predictions(clips, Store(base / name.replace(" ", "_")), options.seeds)
            mean, low, each = balanced_accuracy(table)
            chance = 1 / table["truth"].nunique()
            print(
                f"{name}: balanced accuracy {mean:.3f}, lower end of the 95 % interval {low:.3f}, chance {chance:.3f}"
                f"; {table['item'].nunique()} clips, {options.seeds} seeds: "
                f"{', '.join(f'{value:.3f}' for value in each)}; {time.process_time() - begun:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
