"""Stage ``infer_steered``: one target's estimates of all test tracks, by steering a frozen VQ-VAE with frozen taggers.

Nothing is trained; the stage is a gradient search a clip, kept after every batch of clips, so that a killed one goes
on from there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mss_core import models
from mss_core.artefact import read_json, write_notes
from mss_core.data.packed import Packed, PackedItem
from mss_core.disk import write_atomically
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.systems.tagbox.estimates import write_index
from mss_core.systems.tagbox.steering import SteerConfig, Wanted, steer


def infer_steered(
    *,
    data: Path,
    vqvae: Path,
    taggers: Sequence[Path],
    tags: Sequence[Sequence[str]],
    target: str,
    tracks: int | None,
    config: SteerConfig,
    version: int = 3,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves, for every test track, <track>/masked.npy and reference.npy (float32 (time,)), and steps.csv.

    Args:
        tags: for each tagger, the names of the tags that say ``target``.
        tracks: how many test tracks, in their order; None: all.

    Raises ValueError for a tag that a tagger does not know. A silent clip is not steered: its estimate is silence,
    and notes.json names its track.
    """
    packed = Packed(data)
    items = packed.split("test")[:tracks]
    module = models.load(vqvae).to(ctx.device)
    wanted = [_wanted(folder, names, ctx.device) for folder, names in zip(taggers, tags, strict=True)]
    length = round(config.segment_seconds * packed.samplerate)
    clips = [(item, start) for item in items for start in range(0, item.length, length)]
    heard = [place for place in clips if np.any(packed.read(place[0], "mixture", place[1], length))]
    journal = ctx.work / "steered.json"
    whole = all((ctx.work / item.name / "reference.npy").exists() for item in items)  # not moved out already
    done: dict[str, list[list[float]]] = json.loads(journal.read_text()) if journal.exists() and whole else {}
    arrays = _arrays(ctx.work, items)  # the scratch folder is what a later attempt finds as it was
    for first in range(0, len(heard), config.clips):
        if str(first) in done:
            continue
        group = heard[first : first + config.clips]
        waves = np.stack([packed.read(item, "mixture", start, length) for item, start in group])
        found = steer(module, wanted, torch.from_numpy(waves).to(ctx.device), packed.samplerate, config, first)
        ctx.guard()
        for row, (item, start) in enumerate(group):
            stop = min(item.length, start + length)
            for kind, value in (("masked", found.masked), ("reference", found.reference)):
                arrays[item.name, kind][start:stop] = value[row, : stop - start].cpu().numpy()
        for array in arrays.values():
            array.flush()
        done[str(first)] = torch.stack([found.loss.mean(1), found.probability.mean(1)]).tolist()
        write_atomically(journal, json.dumps(done).encode())
        if ctx.clock is not None:
            ctx.clock.save()
        ctx.report(step=min(first + config.clips, len(heard)), total=len(heard))
    for item in items:
        (ctx.work / item.name).rename(out / item.name)
    _steps(out, list(done.values()))
    silent = sorted({item.name for item, start in clips if (item, start) not in heard})
    text = f"clips of silence, not steered towards {target}"
    write_notes(out, [{"kind": "silent", "text": text, "count": len(silent), "items": silent}])
    write_index(out, target, items, packed.samplerate)


def _wanted(folder: Path, tags: Sequence[str], device: str) -> Wanted:
    labels = read_json(folder, "labels.json")
    target = torch.zeros(len(labels))
    for tag in tags:
        choose("tag of the tagger", tag, labels)
        target[labels.index(tag)] = 1.0
    return Wanted(models.load(folder).to(device), target.to(device))


def _arrays(work: Path, items: Sequence[PackedItem]) -> dict[tuple[str, str], np.memmap]:
    """Two mapped files a track, silent where nothing has been written yet; those of an earlier attempt are kept."""
    found = {}
    for item in items:
        folder = work / item.name
        folder.mkdir(parents=True, exist_ok=True)
        for kind in ("masked", "reference"):
            path = folder / f"{kind}.npy"
            if not path.exists():
                np.save(path, np.zeros(item.length, np.float32))
            found[item.name, kind] = np.lib.format.open_memmap(path, mode="r+")
    return found


def _steps(out: Path, batches: Sequence[Sequence[Sequence[float]]]) -> None:
    """Loss and probability of the wanted tags at each step, mean over clips."""
    means = np.mean(np.array([batch for batch in batches]), axis=0) if batches else np.zeros((2, 0))
    lines = ["step,loss,probability", *(f"{i},{loss:.9g},{said:.9g}" for i, (loss, said) in enumerate(means.T))]
    (out / "steps.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
