"""IRMAS [Bosch et al. 2012]: 11 instruments; 3-s training excerpts with one label, longer test excerpts with several.

``<root>/IRMAS-TrainingData/<class>/*.wav`` and ``<root>/IRMAS-TestingData-Part{1,2,3}/**/*.wav`` with a ``.txt`` of
labels beside each. Splits: ``thesis`` [Ligtenberg] trains on the training data and Part 2, tests on Part 3 and holds
``valid_share`` of the training excerpts out; ``grouped`` is that with whole recordings held out; ``part1_valid``
trains on all of it and validates on Part 1; ``official`` tests on all three parts. The excerpts of one recording
(``0189__1`` to ``0189__3``) are near copies: with the thesis's split 96.6 % of the validation excerpts have another one
of their recording in training (1,538 of 1,592, by mirdata's index), and ``check`` says so.
"""

from __future__ import annotations

from pathlib import Path

from mss_core.bad_file import BadFile
from mss_core.data.config import ClipSet, split_policy
from mss_core.data.files import Clip, clip_items, read_lines, reason
from mss_core.data.items import Note, Survey, hold_out, require_splits
from mss_core.errors import choose, nearest
from mss_core.folders import find, plain, subfolders, walk

LABELS = ("cel", "cla", "flu", "gac", "gel", "org", "pia", "sax", "tru", "vio", "voi")
PARTS = {
    "thesis": {2: "train", 3: "test"},
    "grouped": {2: "train", 3: "test"},
    "part1_valid": {2: "train", 1: "valid", 3: "test"},
    "official": {1: "test", 2: "test", 3: "test"},
}


def survey(config: ClipSet, root: Path) -> Survey:
    """All excerpts of the chosen split."""
    training = root / "IRMAS-TrainingData"
    if not training.is_dir():
        raise ValueError(f"data set 'irmas': no folder IRMAS-TrainingData in {root}; name the folder that holds it")
    clips, bad = [], []
    for folder in subfolders(training):
        if folder.name not in LABELS:
            bad.append(f"{training.name}/{folder.name}/ (no class folder; {nearest(folder.name, LABELS)})")
            continue
        clips += [
            Clip(plain(path.relative_to(root).as_posix()), "train", (folder.name,), path, recording(path.stem), 3.0)
            for path in walk(folder, ".wav")
        ]
    for part, split in PARTS[split_policy(config)].items():
        folder = root / f"IRMAS-TestingData-Part{part}"
        if not folder.is_dir():
            raise ValueError(f"data set 'irmas': no folder {folder.name} in {root}; fetch it, or choose another split")
        for path in walk(folder, ".wav"):
            name = plain(path.relative_to(root).as_posix())
            try:
                labels = labels_of(find(path.parent, f"{path.stem}.txt"))
            except BadFile as error:
                bad.append(f"{name} ({reason(error)})")
                continue
            clips.append(Clip(name, split, labels, path, f"Part{part}/" + path.stem.rsplit("-", 1)[0]))
    items, notes = clip_items("irmas", clips)
    if bad:
        notes.append(Note("skipped", "folders that are no class, and excerpts without labels of the set", tuple(bad)))
    whole = split_policy(config) == "grouped"
    held, more = hold_out(items, config.valid_share, config.split_seed, "irmas", notes, by_artist=whole)
    require_splits(held, "irmas", root, notes)
    return Survey(held, (*notes, *more), LABELS)


def recording(stem: str) -> str:
    """The recording that a training excerpt was cut from.

    >>> recording("[cel][cla]0058__2")
    'IRMAS 0058'
    """
    return "IRMAS " + stem.rsplit("]", 1)[-1].split("__")[0]


def labels_of(path: Path) -> tuple[str, ...]:
    """Labels of a test excerpt: one per line, with blanks behind them. BadFile where it has none of the set's."""
    if not path.is_file():
        raise BadFile(f"{path.parent}: no {path.name} beside its .wav")
    labels = tuple(dict.fromkeys(line.strip() for line in read_lines(path) if line.strip()))
    try:
        for label in labels:
            choose(f"label in {path.name}", label, LABELS)
    except ValueError as error:
        raise BadFile(f"{path}: {error}") from None
    if not labels:
        raise BadFile(f"{path}: {path.name} names no label")
    return labels
