"""Published weights that a Python package carries: no download at run time, and no code of the package is run.

Where the package is installed its files are found by themselves; elsewhere ``--data NAME=FOLDER`` names a folder with
them, as for any file of weights. What is missing is said with the one line that installs it. Like all weights they are
known by their content: its fingerprint is part of every key that depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mss_core.data import bundles, weights
from mss_core.data.config import WeightSet
from mss_core.data.items import Item, Sound, Survey
from mss_core.disk import checksum
from mss_core.errors import choose


@dataclass(frozen=True)
class Packaged:
    """Where a set of weights lies in which package, and what must be said beside its results.

    Attributes:
        package, folder: of the import system; ``folder`` is below it.
        install: the line to type.
        licence: of the weights.
        trained: on what, and its printed figures where it has any.
    """

    package: str
    folder: str
    install: str
    licence: str
    trained: str


_MUSICNN = "pip install --no-deps musicnn==0.1.0"
"""Without --no-deps it asks for TensorFlow and an old NumPy, which reading its files does not need."""
PACKAGED = {
    "mtt_musicnn": Packaged(
        *("musicnn", "MTT_musicnn", _MUSICNN, "ISC"),
        "trained on MagnaTagATune; its own test figures there: ROC-AUC .9067, PR-AUC .3831",
    ),
    "mtt_vgg": Packaged(
        *("musicnn", "MTT_vgg", _MUSICNN, "ISC"),
        "trained on MagnaTagATune; its own test figures there: ROC-AUC .9030, PR-AUC .3823",
    ),
    "msd_musicnn": Packaged(
        *("musicnn", "MSD_musicnn", _MUSICNN, "ISC"),
        "trained on the Million Song Dataset; its own test figures there: ROC-AUC .8802, PR-AUC .2891",
    ),
    "msd_vgg": Packaged(
        *("musicnn", "MSD_vgg", _MUSICNN, "ISC"),
        "trained on the Million Song Dataset; its own test figures there: ROC-AUC .8768, PR-AUC .2819",
    ),
    "silero_vad": Packaged(
        *("silero_vad", "data", "pip install --no-deps silero-vad==6.2.3", "MIT"), "trained on speech, not on song"
    ),
}
"""By the name that a :class:`WeightSet` has. The figures are those of the package's files ``experiment.result``."""


def installed(name: str) -> Path | None:
    """The folder of a set of weights in this Python's packages; None where the package is not there."""
    place = PACKAGED[name]
    spec = find_spec(place.package)
    for base in (spec.submodule_search_locations or ()) if spec else ():
        if (folder := Path(base) / place.folder).is_dir():
            return folder
    return None


def root(name: str, data: Mapping[str, Path]) -> Path:
    """The folder of a set of weights: the one that ``--data`` names where this machine has it, or the package's.

    Raises ValueError with the line that installs the package.
    """
    choose("weights of a package", name, PACKAGED)
    if name in data and Path(data[name]).is_dir():
        return Path(data[name])
    if name in data and not installed(name):
        raise ValueError(f"weights {name!r}: {data[name]} is not a folder; {missing(name)}")
    folder = installed(name)
    if folder is None:
        raise ValueError(f"weights {name!r}: {missing(name)}")
    return folder


def missing(name: str) -> str:
    """What to do where a package is not installed."""
    place = PACKAGED[name]
    return (
        f"they come with the package {place.package} ({place.licence} licence), which is not installed here: "
        f"{place.install}   (or --data {name}=FOLDER with its files)"
    )


def survey(config: WeightSet, folder: Path) -> Survey:
    """The files of a set of weights, as a data set of one item: its fingerprint is their content."""
    return Survey((Item(config.name, "train", _silent, files=files(config.name, folder)),))


def files(name: str, folder: Path) -> tuple[Path, ...]:
    """The index and the shards of a bundle, or the one file of other weights; ValueError where there is none."""
    index = sorted(folder.glob("*.index")) + [path for path in (folder / ".index",) if path.is_file()]
    found = tuple(dict.fromkeys(index))
    if not found:
        return (weights.find(WeightSet(name), folder),)
    if len(found) > 1:
        raise ValueError(f"weights {name!r}: {folder} holds several bundles: {', '.join(p.name for p in found)}")
    return (*found, *bundles.shards(found[0]))


def note(name: str, paths: tuple[Path, ...]) -> dict[str, object]:
    """What a stage notes of weights it took: licence, what they were trained on, printed figures, checksums."""
    place = PACKAGED[name]
    text = f"published weights {name!r} of the package {place.package} ({place.licence} licence), {place.trained}"
    items = [f"{path.name}, sha256 {checksum(path)}" for path in paths]
    return {"kind": "weights", "text": text, "count": 1, "items": items}


def _silent() -> Sound:
    raise AssertionError("weights are not audio")
