"""Do the small models learn what the large ones are for?  On the synthetic set, in minutes on a CPU.

    python benchmarks/learning.py [separators] [joint] [activity] [--store DIR]

``separators``  SI-SDR on held-out tracks of a vocals and a drums separator, over the mixture and over one gain a
                frequency fitted on the training tracks (a static Wiener filter).
``joint``       validation loss of the joint classifier in each of its first three epochs, with a separator trained for
                vocals and with one that starts at random; mean over seeds.
``activity``    AUC of vocals activity from the separator's latents and from the energy of the mixture alone; then what
                gating by it does to SIR and SDR, with the interval over test tracks.

A second call with the same store trains nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mss_core.graph import Context, read_history, walk
from mss_core.recipe import override
from mss_core.runtime import prepare_process
from mss_core.store import Store, materialize
from mss_core.systems import iass, msspt

STEPS = {"vocals": 500, "drums": 600}
SEEDS = range(3)


def scores(directory: Path, keep: str) -> pd.DataFrame:
    """The rows of single tracks, one column per metric."""
    table = pd.read_csv(directory / "scores.csv", keep_default_na=False, na_values={"score": [""]})
    table = table[(table.track != "") & (table.target == keep)]
    return table.pivot_table(index="track", columns="metric", values="score")


def separator(source: str, steps: int) -> dict[str, Any]:
    return {"sources": (source,), "pretrain.phases.0.epochs": steps // 50}


def separators(store: Store) -> None:
    for source, steps in STEPS.items():
        recipe = override(msspt.smoke(msspt.msspt_cnn()), separator(source, steps))
        (scored,) = [stage for stage in walk([recipe.pipeline()]).values() if stage.name == "score_separator"]
        found = scores(materialize(scored, store, Context()), source)
        ours = found.si_sdr
        print(
            f"{source}, {steps} steps, {len(found)} tracks: SI-SDR {ours.mean():.2f} dB, "
            f"{(ours - found.si_sdr_mixture).mean():+.2f} over the mixture, "
            f"{(ours - found.si_sdr_wiener).mean():+.2f} over a static Wiener filter",
            flush=True,
        )


def joint(store: Store) -> None:
    rows: dict[str, list[list[float]]] = {"vocals": [], "random": []}
    for seed in SEEDS:
        for start, changes in (("vocals", separator("vocals", STEPS["vocals"])), ("random", {"pretrain": None})):
            recipe = override(
                msspt.smoke(msspt.msspt_cnn()),
                {**changes, "finetune.phases.0.epochs": 3, "train_tail.seed": seed, "finetune.seed": seed},
            )
            (trained,) = [stage for stage in walk([recipe.pipeline()]).values() if stage.name == "finetune"]
            rows[start].append([row["valid_loss"] for row in read_history(materialize(trained, store, Context()))])
    for start, losses in rows.items():
        means = " ".join(f"{value:.3f}" for value in np.mean(losses, axis=0))
        print(
            f"joint classifier, separator {start}: validation loss by epoch {means}; at the third by seed "
            + " ".join(f"{values[-1]:.3f}" for values in losses),
            flush=True,
        )
    gain = [a[-1] - b[-1] for a, b in zip(rows["vocals"], rows["random"], strict=True)]
    test = stats.ttest_rel([each[-1] for each in rows["vocals"]], [each[-1] for each in rows["random"]])
    low, high = test.confidence_interval()
    print(
        f"  vocals - random at the third: {np.mean(gain):+.3f} [{low:+.3f}, {high:+.3f}], lower with "
        f"{sum(each < 0 for each in gain)} of {len(gain)} seeds"
    )


def activity(store: Store) -> None:
    base = {"targets": ("vocals",), "data.size": 160, "train.phases.0.epochs": 10}
    tables = {}
    for gate, changes in (
        ("off", {"gate.kind": "off"}),
        ("raw", {"gate.kind": "raw"}),
        ("median 21", {"gate.kind": "median", "gate.median": 21}),
        ("oracle", {"gate.kind": "oracle"}),
    ):
        recipe = override(iass.smoke(iass.iass_musdb()), {**base, **changes})
        tables[gate] = scores(materialize(recipe.pipeline(), store, Context()), "vocals")
        if gate == "raw":
            found = pd.read_csv(store.directory(recipe.pipeline()) / "scores.csv", keep_default_na=False)
            whole = found[(found.track == "") & (found.target == "vocals")].set_index("metric").score.astype(float)
            print(
                f"vocals activity, AUC by frame {whole.activity_auc:.3f} (energy {whole.activity_auc_energy:.3f}), "
                f"by second {whole.activity_auc_1s:.3f} (energy {whole.activity_auc_1s_energy:.3f})",
                flush=True,
            )
    for gate in list(tables)[1:]:
        for metric in ("sir", "sdr"):
            change = (tables[gate][metric] - tables["off"][metric]).dropna()
            half = stats.t.ppf(0.975, len(change) - 1) * stats.sem(change)
            print(
                f"  gate {gate}: {metric.upper()} {change.mean():+.2f} dB [{change.mean() - half:+.2f}, "
                f"{change.mean() + half:+.2f}] over {len(change)} tracks"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = {"separators": separators, "joint": joint, "activity": activity}
    parser.add_argument("parts", nargs="*", choices=[[], *parts], default=[])
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    prepare_process()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.parts or parts:
            parts[name](Store(options.store or folder))


if __name__ == "__main__":
    main()
