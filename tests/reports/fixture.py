"""A plausible study directory with known effects: `python -m tests.reports.fixture DIRECTORY`
writes one to look at.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import wavfile

import reports
from reports.assembly import sections
from reports.contract import hashes
from reports.document import Section
from reports.findings import Findings
from reports.statistics.auc import auc
from reports.statistics.hypothesis_tests import Result

TAGS = ("guitar", "vocals", "drums", "techno", "piano", "quiet")
EFFECTS = {
    "no U-Net": 0.0,
    "random init": -0.02,
    "bass": 0.0,
    "drums": 0.04,
    "other": 0.10,
    "vocals": 0.30,
    "multiple": 0.05,
}
SOURCES = ("bass", "drums", "other", "vocals")
BASELINE = {
    "data.name": "synthetic",
    "separation.steps": 300,
    "tail.lr": 1e-4,
    "finetune.lr": 1e-4,
    "finetune.seed": 0,
    "tail.seed": 0,
}


def recipe(variant: str) -> dict:
    """The flat resolved recipe of a variant."""
    out = dict(BASELINE)
    if variant == "no U-Net":
        return {k: v for k, v in out.items() if not k.startswith(("separation", "finetune"))} | {
            "separation": None,
            "finetune": None,
        }
    if variant == "random init":
        return {k: v for k, v in out.items() if not k.startswith("separation")} | {"separation": None}
    sources = list(SOURCES) if variant == "multiple" else [variant]
    return out | {"separation.sources": sources, "separation.lr": 1e-3 if variant == "vocals" else 2e-4}


def departures(variant: str) -> dict:
    """What the level of that name declares."""
    if variant == "no U-Net":
        return {"separation": None, "finetune": None}
    if variant == "random init":
        return {"separation": None}
    return {key: recipe(variant)[key] for key in ("separation.sources", "separation.lr")}


def predictions(variants: dict[str, float], seeds: int, clips: int, rng: np.random.Generator) -> pd.DataFrame:
    """Scores in [0, 1] of every run on the same clips; the tag `quiet` has no positive example."""
    frames = []
    ease = rng.normal(0, 1, (len(TAGS), clips))
    truths = [np.zeros(clips, int) if tag == "quiet" else (rng.random(clips) < 0.3).astype(int) for tag in TAGS]
    for variant, gain in variants.items():
        for seed in range(seeds):
            luck = rng.normal(0, 0.05)
            for k, tag in enumerate(TAGS):
                logit = (1.2 + gain + luck) * (truths[k] * 2 - 1) * 0.7 + ease[k] + rng.normal(0, 0.4, clips)
                frames.append(
                    pd.DataFrame(
                        {
                            "trial": f"{variant}/seed{seed}",
                            "variant": variant,
                            "seed": seed,
                            "item": [f"clip{i:04d}" for i in range(clips)],
                            "target": tag,
                            "truth": truths[k],
                            "score": 1 / (1 + np.exp(-logit)),
                        }
                    )
                )
    return pd.concat(frames, ignore_index=True)


def score_rows(table: pd.DataFrame, title: str) -> list[dict]:
    """AUC and PR-AUC rows of predictions, by tag and macro."""
    from sklearn.metrics import average_precision_score

    rows = []
    for (trial, variant, seed), run in table.groupby(["trial", "variant", "seed"], sort=False):
        values = {"roc_auc": [], "pr_auc": []}
        for tag, group in run.groupby("target", sort=False):
            truth, score = group["truth"].to_numpy(), group["score"].to_numpy()
            area = auc(truth, score)
            precision = average_precision_score(truth, score) if truth.any() else np.nan
            for metric, value in (("roc_auc", area), ("pr_auc", precision)):
                values[metric].append(value)
                rows.append(
                    dict(
                        trial=trial, variant=variant, seed=seed, target=tag, metric=metric, aggregation="", score=value
                    )
                )
        for metric, each in values.items():
            rows.append(
                dict(
                    trial=trial,
                    variant=variant,
                    seed=seed,
                    target="macro",
                    metric=metric,
                    aggregation="mean over tags",
                    score=np.nanmean(each),
                )
            )
    return [{"study": title, "track": "", "source": row["variant"]} | row for row in rows]


def separation_rows(variants: list[str], seeds: int, title: str, rng: np.random.Generator) -> list[dict]:
    """L1 of each single-source separator on three tracks, with its baselines."""
    rows = []
    for variant in variants:
        for source in SOURCES:
            if variant not in (source, "multiple"):
                continue
            for k in range(3):
                silence = rng.uniform(0.02, 0.05)
                for metric, factor in (("l1", 0.6), ("l1_silence", 1.0), ("l1_best_scalar", 0.9), ("l1_mixture", 1.4)):
                    rows += [
                        dict(
                            study=title,
                            trial=f"{variant}/seed{seed}",
                            variant=variant,
                            source=variant,
                            seed=seed,
                            track=f"track {k}",
                            target=source,
                            metric=metric,
                            aggregation="mean over samples",
                            score=silence * factor,
                        )
                        for seed in range(seeds)
                    ]
    return rows


def write_study(directory: Path, seeds: int = 3, clips: int = 240, seed: int = 0, missing: str = "drums/seed2") -> Path:
    """A whole study directory below `directory` as store; returns <store>/studies/<title>."""
    rng = np.random.default_rng(seed)
    title = "source_ablation-smoke"
    home = directory / "studies" / title
    home.mkdir(parents=True, exist_ok=True)
    table = predictions(EFFECTS, seeds, clips, rng)
    rows = score_rows(table, title) + separation_rows(list(EFFECTS), seeds, title, rng)
    frame = pd.DataFrame(rows)
    frame = frame[frame["trial"] != missing]
    columns = ["study", "trial", "variant", "source", "seed", "track", "target", "metric", "aggregation", "score"]
    frame[columns].to_csv(home / "scores.csv", index=False)
    table[table["trial"] != missing].to_parquet(home / "predictions.parquet")
    stages, trials, curves = {}, [], []
    for variant in EFFECTS:
        for k in range(seeds):
            names = {
                "train_tail": "none",
                "pretrain": variant,
                "finetune": f"{variant}{k}",
                "predict": f"{variant}{k}",
                "evaluate": f"{variant}{k}",
            }
            if variant == "no U-Net":
                del names["pretrain"], names["finetune"]
            if variant == "random init":
                del names["pretrain"]
            keys = {
                n: hashlib.sha256(f"{n}/{word}{k if n == 'train_tail' else ''}".encode()).hexdigest()
                for n, word in names.items()
            }
            name = f"{variant}/seed{k}"
            status = "missing" if name == missing else "done"
            trials.append(
                {
                    "trial": name,
                    "variant": variant,
                    "seed": k,
                    "status": status,
                    "error": None,
                    "stages": keys,
                    "command": f"python studies/source_ablation.py --smoke --trial '{name}'",
                }
            )
            for n, key in keys.items():
                if key in stages:
                    continue
                stages[key] = {
                    "stage": n,
                    "status": "done",
                    "seconds": float(20 * rng.random()),
                    "cached": False,
                    "device": "cuda" if (n, variant) == ("pretrain", "bass") else "cpu",
                    "device_name": "",
                    "directory": f"artefacts/{key[:2]}/{key}",
                    "started": "",
                }
                if n in ("pretrain", "finetune", "train_tail"):
                    for metric, level in (("train_loss", 0.30), ("valid_loss", 0.34)):
                        curves += [
                            dict(
                                stage=n,
                                key=key,
                                step=step,
                                metric=metric,
                                value=level * (0.4 + 0.6 * np.exp(-step / 80)) + rng.normal(0, 0.004),
                            )
                            for step in range(0, 301, 15)
                        ]
    pd.DataFrame(curves).to_csv(home / "curves.csv", index=False)
    declaration = {
        "factors": [{"name": "source", "levels": {v: departures(v) for v in EFFECTS}}],
        "design": "one_at_a_time",
        "seeds": list(range(seeds)),
        "seeded": ["tail.seed", "finetune.seed"],
        "shared": "each separator is trained once for all seeds",
        "reference": "no U-Net",
        "metric": "roc_auc",
        "target": "macro",
        "higher_is_better": True,
        "test": "welch",
        "alpha": 0.05,
        "correction": "bonferroni",
        "baseline": BASELINE,
    }
    document = {
        "title": title,
        "name": "source_ablation",
        "smoke": True,
        "question": "Does separation pre-training help tagging, and with which source?",
        "declared": hashes(declaration)[0],
        "declaration": declaration,
        "variants": [
            {"variant": v, "levels": {"source": v}, "departures": departures(v), "recipe": recipe(v)} for v in EFFECTS
        ],
        "trials": trials,
        "stages": stages,
        "notes": [
            {
                "kind": "padded",
                "text": "Clips shorter than a segment were padded with silence",
                "count": 4,
                "items": ["clip0001", "clip0002", "clip0040", "clip0113"],
            },
            {
                "kind": "silent",
                "text": "Source silent in this track, left out of its score",
                "count": 1,
                "items": ["track 2: vocals"],
            },
        ],
        "examples": write_examples(directory, rng),
        "environment": {
            "commit": "0123456789abcdef",
            "dirty": False,
            "python": "3.11",
            "torch": "2.11.0",
            "platform": "Linux",
            "cpu": "2 cores",
            "gpu": None,
            "hours": 0.14,
        },
    }
    (home / "study.json").write_text(json.dumps(document, indent=1))
    return home


def write_examples(store: Path, rng: np.random.Generator) -> list[dict]:
    """Two seconds of mixture, reference and estimate for two variants."""
    rate, (folder) = 16_000, store / "artefacts" / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(2 * rate) / rate
    voice = 0.3 * np.sin(2 * np.pi * (220 + 10 * np.sin(2 * np.pi * 5 * time)) * time) * (time > 0.5)
    band = 0.2 * np.sin(2 * np.pi * 110 * time) + 0.05 * rng.normal(size=len(time))
    sounds = {
        "mixture": voice + band,
        "reference": voice,
        "vocals": voice + 0.2 * band,
        "multiple": 0.7 * voice + 0.4 * band,
    }
    for name, sound in sounds.items():
        wavfile.write(folder / f"{name}.wav", rate, (sound * 32767).astype(np.int16))
    return [
        {
            "track": "track 0",
            "target": "vocals",
            "variant": variant,
            "seed": 0,
            "mixture": "artefacts/examples/mixture.wav",
            "reference": "artefacts/examples/reference.wav",
            "estimate": f"artefacts/examples/{variant}.wav",
        }
        for variant in ("vocals", "multiple")
    ]


def declared_sections(home: Path, findings: Findings | None = None) -> list[Section]:
    """What a study directory's report has beside the usual."""
    findings = findings or reports.read(home)
    return list(sections(findings, reports.study_tables(home), findings.study.declaration.sections))


def alone(family: Callable[..., dict[str, Result]]) -> Callable[..., Result]:
    """A test of all variants that share a reference, as the test of one variant that shares its with no other."""

    def test(a: pd.DataFrame, b: pd.DataFrame, sizes: Mapping[str, int] | None = None) -> Result:
        return family({"": (a, b)}, sizes={"": sizes})[""]

    return test


def delong(truth: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Difference of two AUCs of the same items and its standard error, by their definition [DeLong et al. 1988]."""

    def psi(score: np.ndarray) -> np.ndarray:
        x, y = score[truth == 1][:, None], score[truth == 0][None]
        return (x > y) + 0.5 * (x == y)

    pa, pb = psi(a), psi(b)
    m, n = pa.shape
    contrast = np.array([1, -1])
    variance = contrast @ (np.cov(pa.mean(1), pb.mean(1)) / m + np.cov(pa.mean(0), pb.mean(0)) / n) @ contrast
    return float(pa.mean() - pb.mean()), float(np.sqrt(max(0.0, variance)))


if __name__ == "__main__":
    print(write_study(Path(sys.argv[1])))
