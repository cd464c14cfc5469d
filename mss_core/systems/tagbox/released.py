"""Stages ``prepare_vqvae`` and ``prepare_tagger``: released weights, checked against the model and renamed to ours.

The folder of a set of weights holds the one released file; a tagger's also ``labels.txt``, a tag per line in the order
of its outputs, since no checkpoint holds their names and orders differ between releases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mss_core import models
from mss_core.artefact import write_json, write_notes
from mss_core.data import weights
from mss_core.data.sets import WeightSet, find_root
from mss_core.graph import Context
from mss_core.systems.tagbox.taggers import from_released
from mss_core.systems.tagbox.vqvae import from_jukebox


def prepare_vqvae(*, data: WeightSet, vqvae: dict[str, Any], version: int = 2, out: Path, ctx: Context) -> None:
    """Jukebox's VQ-VAE (``vqvae.pth.tar`` of the 5b release) as an artefact; ValueError where it is another model's."""
    path = weights.find(data, find_root(data.name, ctx.data))
    module = models.build(vqvae)
    models.take_all(module, from_jukebox(weights.read(path)), f"weights {data.name!r} ({path.name})")
    models.save(out, vqvae, module)
    write_notes(out, [weights.note(f"released weights {data.name!r}", path)])


def prepare_tagger(*, data: WeightSet, tagger: dict[str, Any], version: int = 2, out: Path, ctx: Context) -> None:
    """A released tagger as an artefact with its labels; ValueError where file, labels and model do not fit.

    Whether ShortChunkCNN has residual blocks is told from the tensors: the release has both under one name.
    """
    root = find_root(data.name, ctx.data)
    path = weights.find(data, root)
    names = root / "labels.txt"
    if not names.exists():
        raise ValueError(
            f"weights {data.name!r}: {names} is missing: one tag per line, in the order of the tagger's "
            "outputs (checkpoints do not name them, and releases differ in their order)"
        )
    labels = [line.strip() for line in names.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(set(labels)) < len(labels):
        raise ValueError(f"weights {data.name!r}: {names} names a tag twice")
    state = from_released(weights.read(path))
    described = {**tagger, "classes": len(labels)}
    if tagger["name"] == "short_chunk_cnn":
        described["residual"] = any(name.startswith("layer1.conv_1.") for name in state)
    module = models.build(described)
    models.take_all(module, state, f"weights {data.name!r} ({path.name})")
    models.save(out, described, module)
    write_json(out, "labels.json", labels)
    write_notes(out, [weights.note(f"released weights {data.name!r}", path)])
