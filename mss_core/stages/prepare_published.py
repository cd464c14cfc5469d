"""Stage ``prepare_published``: a published tagger that a package carries, as an artefact with its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mss_core import models
from mss_core.artefact import write_json, write_notes
from mss_core.data import bundles, packaged
from mss_core.data.config import WeightSet
from mss_core.graph import Context
from mss_core.models.musicnn import MSD, MTT, from_bundle, trained

LABELS = {"mtt_musicnn": MTT, "mtt_vgg": MTT, "msd_musicnn": MSD, "msd_vgg": MSD}
"""The tags of each, in the order of its outputs."""


def prepare_published(*, data: WeightSet, tagger: dict[str, Any], version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves model.json, weights.pt, labels.json, and a note with licence, printed figures and checksums.

    Raises ValueError where the package is missing, or where bundle and model do not fit.
    """
    paths = packaged.files(data.name, packaged.root(data.name, ctx.data))
    labels = LABELS[data.name]
    described = {**tagger, "classes": len(labels)}
    module = models.build(described)
    arrays = bundles.read(paths[0], trained)
    models.take_all(
        module, from_bundle(tagger["name"], arrays, module.state_dict()), f"weights {data.name!r} ({paths[0].parent})"
    )
    models.save(out, described, module)
    write_json(out, "labels.json", list(labels))
    write_notes(out, [packaged.note(data.name, paths)])
