"""Stages ``embed`` and ``probe``: frozen embeddings of a published tagger, and a linear classifier on them.

A baseline beside the tail: how far does one get with what others trained on other music, and no training of a network?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from mss_core import models
from mss_core.artefact import write_json
from mss_core.data.config import WeightSet
from mss_core.data.packed import Packed
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.models import model

POOLINGS = ("mean", "max", "both")
EMBEDDINGS = "embeddings.npz"


@dataclass(frozen=True)
class Embedding:
    """What is probed.

    Attributes:
        weights, tagger: a published tagger, as TagBox has them.
        layer: of its ``layers``: for musicnn ``timbral``, ``temporal``, ``cnn1`` to ``cnn3``, ``max_pool``,
            ``mean_pool`` and ``penultimate``; for the VGG ``pool1`` to ``pool5``.
        pooling: over the frames and pieces of a clip, ``"mean"``, ``"max"`` or ``"both"`` side by side.
        strengths: inverse weights of the L2 penalty, of which the validation clips choose one.
    """

    weights: WeightSet = WeightSet("mtt_musicnn")
    tagger: dict[str, Any] = field(default_factory=lambda: model("published_musicnn"))
    layer: str = "penultimate"
    pooling: str = "mean"
    strengths: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

    def __post_init__(self) -> None:
        choose("pooling", self.pooling, POOLINGS)
        if not self.strengths or min(self.strengths) <= 0:
            raise ValueError(f"'strengths' needs at least one number above 0; got {self.strengths}")


def embed(*, data: Path, tagger: Path, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves embeddings.npz: ``"<layer> mean"`` and ``"<layer> max"`` over a clip's pieces and frames, float32 (clip,
    channel), in the order of the packed clips; the last piece of a clip is filled with silence."""
    packed = Packed(data)
    module = models.load(tagger).to(ctx.device)
    piece = round(float(module.seconds) * packed.samplerate)
    rows: dict[str, list[np.ndarray]] = {}
    with torch.inference_mode():
        for number, item in enumerate(packed.items, start=1):
            wave = torch.from_numpy(packed.read(item)).to(ctx.device)
            pieces = functional.pad(wave, (0, -len(wave) % piece)).unflatten(0, (-1, piece))
            found: dict[str, list[torch.Tensor]] = {}
            for part in pieces.split(8):
                for layer, value in module.layers(module.features(part)).items():
                    columns = value.flatten(2) if value.dim() > 2 else value[..., None]
                    found.setdefault(layer, []).append(columns)
            for layer, values in found.items():
                joined = torch.cat(values)  # (piece, channel, frame)
                rows.setdefault(f"{layer} mean", []).append(joined.mean((0, 2)).cpu().numpy())
                rows.setdefault(f"{layer} max", []).append(joined.amax((0, 2)).cpu().numpy())
            if number % 20 == 0 or number == len(packed.items):
                ctx.report(step=number, total=len(packed.items))
    np.savez(out / EMBEDDINGS, **{name: np.stack(values) for name, values in rows.items()})


def probe(
    *,
    data: Path,
    embeddings: Path,
    layer: str,
    pooling: str,
    strengths: Sequence[float],
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Logistic regression on standardised embeddings; leaves predictions.parquet of the test clips, as ``infer`` does,
    and probe.json with the strength that had the least cross-entropy on the validation clips.

    A class of all training clips or of none is predicted by its share. Raises ValueError for a layer that the tagger
    lacks.
    """
    import pandas as pd  # slow to import, and every process of a study imports this module

    packed = Packed(data)
    with np.load(embeddings / EMBEDDINGS) as arrays:
        choose("layer of the embeddings", layer, {name.rsplit(" ", 1)[0] for name in arrays})
        kinds = ("mean", "max") if pooling == "both" else (pooling,)
        table = np.concatenate([arrays[f"{layer} {kind}"] for kind in kinds], 1).astype(np.float64)
    place = {item.name: row for row, item in enumerate(packed.items)}
    splits = {name: packed.split(name) for name in ("train", "valid", "test")}
    x = {name: table[[place[item.name] for item in items]] for name, items in splits.items()}
    y = {name: packed.truth(items) for name, items in splits.items()}
    mean, deviation = x["train"].mean(0), x["train"].std(0)
    x = {name: (values - mean) / np.where(deviation > 1e-8, deviation, 1.0) for name, values in x.items()}
    losses, said = [], []
    for number, strength in enumerate(strengths, start=1):
        predict = fitted(x["train"], y["train"], strength, packed.single_label)
        losses.append(cross_entropy(y["valid"], predict(x["valid"])))
        said.append(predict(x["test"]))
        ctx.report(step=number, total=len(strengths))
    best = int(np.argmin(losses))
    write_json(out, "probe.json", {"strength": strengths[best], "valid_loss": losses[best], "losses": losses})
    targets = len(packed.labels)
    frame = pd.DataFrame(
        {
            "item": np.repeat([clip.name for clip in splits["test"]], targets),
            "target": np.tile(packed.labels, len(splits["test"])),
            "truth": y["test"].astype(np.int8).ravel(),
            "score": said[best].astype(np.float64).ravel(),
        }
    )
    frame.to_parquet(out / "predictions.parquet", index=False)


def fitted(x: np.ndarray, y: np.ndarray, strength: float, single_label: bool) -> Any:
    """A function from (clip, channel) to probabilities (clip, class): one logistic regression a class, or, where every
    clip has one label, one of all classes."""
    from sklearn.linear_model import LogisticRegression

    def learn(labels: np.ndarray) -> Any:
        return LogisticRegression(C=strength, max_iter=500).fit(x, labels)

    if single_label and len(set(y.argmax(1))) > 1:
        whole = learn(y.argmax(1))

        def of_all(rows: np.ndarray) -> np.ndarray:
            found = np.zeros((len(rows), y.shape[1]))
            found[:, whole.classes_] = whole.predict_proba(rows)
            return found

        return of_all
    columns = [learn(column) if 0 < column.mean() < 1 else float(column.mean()) for column in (y.T > 0)]

    def of_each(rows: np.ndarray) -> np.ndarray:
        found = [np.full(len(rows), c) if isinstance(c, float) else c.predict_proba(rows)[:, 1] for c in columns]
        return np.stack(found, 1)

    return of_each


def cross_entropy(truth: np.ndarray, said: np.ndarray) -> float:
    """Mean over clips and classes."""
    safe = np.clip(said, 1e-6, 1 - 1e-6)
    return float(-(truth * np.log(safe) + (1 - truth) * np.log(1 - safe)).mean())
