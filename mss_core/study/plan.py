"""What a study would run: its trials, their distinct stages, and which of those the store already has."""

from __future__ import annotations

import copy
import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mss_core.data import packaged
from mss_core.data.config import CLIPS, TRACKS
from mss_core.data.doubts import cautions, require_labels
from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.sets import ClipSet, TrackSet, WeightSet, needs_folder, survey
from mss_core.graph import LEAVES, Stage, walk
from mss_core.recipe import children
from mss_core.store import Store
from mss_core.study.facts import reported
from mss_core.study.study import Trial

ABSENT = "absent"


@dataclasses.dataclass
class Plan:
    """The stages of a study.

    Attributes:
        trials: every variant with every seed.
        stages: distinct stages, inputs before what reads them.
        done: keys the store holds, verified.
        needed: keys to execute, in that order.
        damaged: keys whose artefact cannot be used, with the reason; whoever makes it anew sets it aside.
    """

    trials: Sequence[Trial]
    stages: dict[str, Stage]
    done: set[str]
    needed: list[str]
    damaged: dict[str, str]

    def summary(self) -> str:
        """Trials, stages, and how many of these the store has."""
        return (
            f"{len(self.trials)} trials, {len(self.calls)} stage calls, {len(self.stages)} distinct: "
            f"{len(self.done)} in the store, {len(self.needed)} to run"
        )

    @functools.cached_property
    def calls(self) -> list[str]:
        """The keys of each trial's stages, one trial after another."""
        return [key for trial in self.trials for key in walk([trial.root])]

    def counts(self) -> dict[str, dict[str, int]]:
        """By stage name: calls over all trials, distinct stages, those in the store, those to execute."""
        calls = Counter(self.stages[key].name for key in self.calls)
        distinct = Counter(stage.name for stage in self.stages.values())
        done = Counter(self.stages[key].name for key in self.done)
        needed = Counter(self.stages[key].name for key in self.needed)
        return {
            name: {"calls": calls[name], "distinct": distinct[name], "done": done[name], "to_run": needed[name]}
            for name in distinct
        }


def make_plan(
    trials: Sequence[Trial], store: Store, settle: bool = True, verified: Collection[str] = frozenset()
) -> Plan:
    """Compare the trials' graph with the store.

    A stage is needed where it is missing and something needed reads it, or the study's tables do. A damaged artefact
    is computed again, even where nothing needed reads it: it would be taken for true otherwise. What is there is forced
    out, unless only a plan is wanted. Keys that were just ``verified`` are taken to be in the store without a look.
    """
    stages = walk(trial.root for trial in trials)
    done = {key for key in stages if key in verified}
    damaged: dict[str, str] = {}
    for stage in store.among([stage for key, stage in stages.items() if key not in done]):
        key = stage.key
        reason = store.damage(stage)
        if reason is not None:
            damaged[key] = reason
        else:
            done.add(key)
    wanted: set[str] = set()

    def want(stage: Stage) -> None:
        if stage.key in done or stage.key in wanted:
            return
        wanted.add(stage.key)
        for upstream in stage.inputs.values():
            want(upstream)

    for stage in reported((trial.root for trial in trials), stages):
        want(stage)
    for key in damaged:
        want(stages[key])
    if settle:
        store.settle(stages[key] for key in done)
    return Plan(trials, stages, done, [key for key in stages if key in wanted], damaged)


def descendants(stages: Mapping[str, Stage], keys: Sequence[str]) -> dict[str, int]:
    """How many of ``keys`` lie downstream of each: what holds up most is started first."""
    below: dict[str, set[str]] = {key: set() for key in keys}
    for key in reversed(keys):
        for upstream in stages[key].inputs.values():
            if upstream.key in below:
                below[upstream.key] |= below[key] | {key}
    return {key: len(found) for key, found in below.items()}


class Binder:
    """Fills the fingerprint of every data set into a recipe that a stage of its pipeline reads; each set is surveyed
    once. Sets that no stage reads are left as they are: they need not be on the machine.

    With ``lenient``, a set whose folder is not known gets the fingerprint ``"absent"`` and its message is kept in
    ``absent``: a plan can be made before the data are on the machine.
    """

    def __init__(
        self,
        data: Mapping[str, Path],
        store: Store,
        lenient: bool = False,
        say: Callable[[str], None] = lambda text: None,
        rehash: bool = False,
    ) -> None:
        self.data, self.lenient, self.say = data, lenient, say
        self.hashes = Fingerprints(store.root / "fingerprints.json", rehash)
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
