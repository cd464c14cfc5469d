"""The data sets that a recipe reads: their fingerprints, and the paths by which it names them."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mss_core.data import packaged
from mss_core.data.config import CLIPS, TRACKS
from mss_core.data.doubts import cautions, require_labels
from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.sets import ClipSet, TrackSet, WeightSet, needs_folder, survey
from mss_core.errors import nearest
from mss_core.folders import place
from mss_core.graph import LEAVES, Stage, walk
from mss_core.recipe import children
from mss_core.study.search.declare import overlap
from mss_core.study.study import Study, Trial

ABSENT = "absent"


class Binder:
    """Fills the fingerprint of every data set into a recipe that a stage of its pipeline reads; each set is surveyed
    once. Sets that no stage reads are left as they are: they need not be on the machine.

    What it learns of files it keeps in the store's folder ``root``. With ``lenient``, a set whose folder is not known
    gets the fingerprint ``"absent"`` and its message is kept in ``absent``: a plan can be made before the data are on
    the machine.
    """

    def __init__(
        self,
        data: Mapping[str, Path],
        root: Path,
        lenient: bool = False,
        say: Callable[[str], None] = lambda text: None,
        rehash: bool = False,
    ) -> None:
        self.data, self.lenient, self.say = data, lenient, say
        self.hashes = Fingerprints(root / "fingerprints.json", rehash)
        self.absent: dict[str, str] = {}
        self.used: set[str] = set()
        self._known: dict[str, str] = {}

    def __call__(self, recipe: Any) -> Any:
        return self._bind(recipe, sets_read(recipe))

    def twin(self) -> Binder:
        """One that is lenient, for recipes that are not run; it shares what is known of the data sets."""
        other = copy.copy(self)
        other.lenient, other.absent, other.say = True, {}, lambda text: None
        return other

    def _bind(self, node: Any, read: Collection[tuple[type, str]] | None) -> Any:
        if isinstance(node, TrackSet | ClipSet | WeightSet):
            needed = read is None or (type(node), node.name) in read
            return dataclasses.replace(node, fingerprint=self._fingerprint(node)) if needed else node
        below = None if isinstance(node, dict) else children(node)
        bound = {name: self._bind(part, read) for name, part in (below or {}).items() if type(part) not in LEAVES}
        changed = {name: part for name, part in bound.items() if below and part is not below[name]}
        if not below or not changed:
            return node
        if isinstance(node, tuple):
            return tuple((below | changed).values())
        return dataclasses.replace(node, **changed)

    def _fingerprint(self, config: TrackSet | ClipSet | WeightSet) -> str:
        name = repr(config)
        self.used.add(config.name)
        if name not in self._known:
            start = time.monotonic()
            if isinstance(config, WeightSet) and config.name in packaged.PACKAGED:
                self._known[name] = self._packaged(config)
                return self._known[name]
            if self.lenient and config.name not in self.data and needs_folder(config.name):
                self.absent[config.name] = f"pass --data {config.name}=PATH"
                self._known[name] = ABSENT
                return ABSENT
            found = survey(config, self.data)
            if isinstance(config, ClipSet) and config.excerpt is None:
                require_labels(config.name, found.items, found.labels)
            root = Path(self.data[config.name]) if config.name in self.data else None
            self._known[name] = fingerprint(found, root, self.hashes)
            for text in [] if config.name == "synthetic" else cautions(config.name, found, self.hashes.of):
                self.say(f"caution: {text}")
            self.hashes.save()
            if root is not None and time.monotonic() - start > 2:
                self.say(f"data set {config.name}: {len(found.items)} items fingerprinted")
        return self._known[name]

    def _packaged(self, config: WeightSet) -> str:
        """The fingerprint of weights that a package carries; their folder is found without being told."""
        try:
            root = packaged.root(config.name, self.data)
        except ValueError:
            if not self.lenient:
                raise
            self.absent[config.name] = packaged.PACKAGED[config.name].install
            return ABSENT
        self.data = {**self.data, config.name: root}
        print_ = fingerprint(packaged.survey(config, root), root, self.hashes)
        self.hashes.save()
        return print_


def sets_read(recipe: Any) -> set[tuple[type, str]] | None:
    """Kind and name of every data set that a stage of a recipe's pipeline has among its arguments; None for what has no
    pipeline."""
    if not hasattr(recipe, "pipeline"):
        return None
    return {(type(config), config.name) for config in sets_of(recipe)}


def sets_of(recipe: Any) -> Iterator[TrackSet | ClipSet | WeightSet]:
    """The data sets among the arguments of all stages of a recipe's pipeline."""
    for stage in walk([recipe.pipeline()]).values():
        yield from _sets(stage.arguments)


def _sets(node: Any) -> Iterator[TrackSet | ClipSet | WeightSet]:
    if isinstance(node, TrackSet | ClipSet | WeightSet):
        yield node
    elif not isinstance(node, Stage):
        below = node if isinstance(node, Mapping) else children(node)
        for value in below.values() if below else ():
            if type(value) not in LEAVES:
                yield from _sets(value)


def data_paths(recipe: Any, name: str) -> list[str]:
    """The dotted paths by which a recipe would be told to read the track or clip set ``name``.

    Sets that no stage reads are left out, as are sets of the other kind.
    """
    places = dict(_places(recipe, name, ""))
    if not hasattr(recipe, "pipeline"):
        return list(places)
    read = list(sets_of(recipe))
    as_given = [path for path, config in places.items() if config in read]
    names = {(type(config), config.name) for config in read}  # a stage may read a set with other settings
    return as_given or [path for path, config in places.items() if (type(config), config.name) in names]


def _places(node: Any, name: str, prefix: str) -> Iterator[tuple[str, TrackSet | ClipSet]]:
    if isinstance(node, TrackSet | ClipSet):
        if name in (TRACKS if isinstance(node, TrackSet) else CLIPS):
            yield f"{prefix}name", node
        return
    for part, value in (children(node) or {}).items():
        yield from _places(value, name, f"{prefix}{part}.")


def check_data(pairs: Sequence[str], binder: Binder, study: Study, trials: Sequence[Trial]) -> None:
    """A folder that is given and not read would let somebody take other music's results for their own."""
    for pair in pairs:
        name, _, path = pair.partition("=")
        if not place(path).is_dir():
            raise ValueError(f"--data {pair}: {path} is not a folder")
        if name not in binder.used:
            if not binder.used:
                raise ValueError(f"--data {pair}: this study reads no data set")
            read = ", ".join(sorted(binder.used))
            raise ValueError(
                f"--data {pair}: this study reads {read}, not {name!r}; {_how_to_read(name, binder, study, trials)}"
            )


def _how_to_read(name: str, binder: Binder, study: Study, trials: Sequence[Trial]) -> str:
    """The flags by which a study reads a data set, without paths that a factor varies; else the nearest name it has."""
    varied = tuple(path for factor in study.factors for changes in factor.levels.values() for path in changes)
    paths = dict.fromkeys(
        path
        for trial in trials
        for path in data_paths(trial.recipe, name)
        if not any(overlap(path, each) for each in varied)
    )
    if not paths:
        return nearest(name, binder.used)
    return "choose it with " + " or ".join(f"--set {path}={name}" for path in paths)
