"""Suggestions by Optuna: where they are stored, how they are drawn, what became of them.

What is true is the storage: an Optuna journal file beside the store's artefacts (an append-only log, safe on shared
disks), or any database that Optuna knows. A suggestion is drawn in memory and written as a whole, so a kill leaves it
there or not there, never in part. The sampler of suggestion ``n`` is made anew from (seed of the search, ``n``) and
reads what is stored, so a restart draws what an undisturbed run would have drawn.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.exceptions import StorageInternalError
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from mss_core.graph import digest, plain
from mss_core.study.search.journal import Journal, opened

Space = Callable[[Trial], dict[str, Any]]
JOURNAL = "journal.log"

optuna.logging.set_verbosity(optuna.logging.ERROR)


# ---- spaces


def probe(space: Space, count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """A few random suggestions, always the same: (departures, {path: description of its range})."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    for _ in range(count):
        trial = study.ask()
        departures = space(trial)
        found.append(
            (
                departures,
                {
                    name: json.loads(distribution_to_json(distribution))
                    for name, distribution in trial.distributions.items()
                },
            )
        )
    return found


def fitted(point: Mapping[str, Any], distributions: Mapping[str, Any]) -> dict[str, Any] | None:
    """The point of a space that is nearest to ``point``; None where a choice is not among the space's.

    A number outside its range becomes the nearer end (a weight decay of 0 the smallest of a logarithmic range).
    """
    found = {}
    for name, value in point.items():
        described = distributions.get(name)
        if described is None:
            return None
        attributes = described["attributes"]
        if "choices" in attributes:
            if value not in attributes["choices"]:
                return None
        elif isinstance(value, int | float):
            value = min(max(value, attributes["low"]), attributes["high"])
        else:
            return None
        found[name] = value
    ranges = {name: json_to_distribution(json.dumps(distributions[name])) for name in found}
    try:
        optuna.trial.create_trial(params=found, distributions=ranges, value=0.0)
    except ValueError:  # between two steps of a range
        return None
    return found or None


# ---- storage


def open_storage(where: str) -> BaseStorage:
    """The storage at a journal's path, or at a database's URL (it has ``://``)."""
    if "://" in where:
        try:
            return optuna.storages.RDBStorage(where)
        except (SQLAlchemyError, StorageInternalError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"MSS_SEARCH_STORAGE={where} is no database that can be opened ({reason})") from None
    return JournalStorage(Journal(Path(where)))


def shared(where: str) -> BaseStorage:
    """The storage of this process; it remembers what it has read."""
    return _shared(where, os.getpid())


@functools.lru_cache(maxsize=16)
def _shared(where: str, process: int) -> BaseStorage:
    return open_storage(where)


def load(where: str, name: str) -> Study:
    """The stored suggestions of a search, for reading and for the reports of its trainings."""
    return optuna.load_study(study_name=name, storage=shared(where))


def identity(storage: BaseStorage, name: str, number: int) -> int:
    """What a storage calls trial ``number`` of a search."""
    return storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(name), number)


def copy(where: str, name: str, journal: Path) -> None:
    """Write a search out of a storage into a journal of its own."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.unlink(missing_ok=True)
    optuna.copy_study(from_study_name=name, from_storage=shared(where), to_storage=open_storage(str(journal)))


# ---- samplers


def _tpe(seed: int, parallel: bool) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=parallel)


class _Nsga2(optuna.samplers.NSGAIISampler):
    """NSGA-II without Optuna's cache of parents, whose order differs between the draw that fills it and the next."""

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        if generation == 0:
            return []
        return sorted(self.select_parent(study, generation), key=lambda trial: trial.number)


MAKERS: dict[str, Callable[[int, bool], BaseSampler]] = {
    "tpe": _tpe,
    "gp": lambda seed, parallel: optuna.samplers.GPSampler(seed=seed),
    "cma_es": lambda seed, parallel: optuna.samplers.CmaEsSampler(seed=seed),
    "nsga2": lambda seed, parallel: _Nsga2(seed=seed, population_size=10),
    "random": lambda seed, parallel: optuna.samplers.RandomSampler(seed=seed),
}
"""Each sampler from a seed, and whether several suggestions are open at a time. NSGA-II's generations are small: the
budgets here are tens of trainings, not thousands."""


class Derived(BaseSampler):
    """An Optuna sampler whose random stream depends on (seed, number of the trial) alone."""

    def __init__(self, name: str, seed: int, parallel: bool) -> None:
        self.name, self.seed, self.parallel = name, seed, parallel
        self._made: tuple[int, BaseSampler] | None = None

    def of(self, trial: FrozenTrial) -> BaseSampler:
        if self._made is None or self._made[0] != trial.number:
            stream = int(digest([self.seed, trial.number])[:8], 16)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._made = trial.number, MAKERS[self.name](stream, self.parallel)
        return self._made[1]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.of(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.of(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self.of(trial).after_trial(study, trial, state, values)


class Suggestions:
    """The suggestions of one search: drawn here, stored there.

    Args:
        where, name: storage and name of the search in it; made where it is new.
        points: departures of the first suggestions.
    """

    def __init__(
        self,
        where: str,
        name: str,
        space: Space,
        directions: Sequence[str],
        sampler: str,
        seed: int,
        parallel: bool,
        points: Sequence[Mapping[str, Any]],
    ) -> None:
        if "://" not in where:
            opened(Path(where))
        self.space, self.points = space, points
        self.storage = shared(where)
        toward = [StudyDirection[direction.upper()] for direction in directions]
        self.stored = optuna.create_study(study_name=name, storage=self.storage, directions=toward, load_if_exists=True)
        self.memory = optuna.storages.InMemoryStorage()
        self.drawn = optuna.create_study(
            storage=self.memory, directions=toward, sampler=Derived(sampler, seed, parallel)
        )
        for trial in self.trials():
            self.drawn.add_trial(trial)

    def trials(self) -> list[FrozenTrial]:
        """All suggestions as stored."""
        return self.stored.get_trials(deepcopy=False)

    def draw(self) -> FrozenTrial:
        """The next suggestion, stored; its departures are the user attribute ``departures``."""
        number = len(self.drawn.get_trials(deepcopy=False))
        if number < len(self.points):
            self.drawn.enqueue_trial(dict(self.points[number]))
        trial: Trial = self.drawn.ask()
        trial.set_user_attr("departures", plain(self.space(trial)))
        self.stored.add_trial(self.drawn.get_trials(deepcopy=False)[number])
        found = self.trials()[number]
        assert found.state == TrialState.RUNNING and found.number == trial.number == number
        return found

    def note(self, facts: Mapping[int, Mapping[str, Any]]) -> None:
        """Store what each suggestion's training took."""
        self.stored.set_user_attr("trainings", plain(facts))

    def reruns(self) -> dict[tuple[int, int], dict[str, Any]]:
        """What is known of trainings made again: (trial, seed) -> facts."""
        return reruns(self.stored)

    def note_rerun(self, number: int, seed: int, facts: Mapping[str, Any]) -> None:
        """Store how a training made again has ended; a finished trial itself can take no more facts."""
        self.stored.set_user_attr(f"rerun {number} {seed}", plain(facts))

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None) -> None:
        """Store how a suggestion ended. The memory learns first what the storage knows: values by epoch."""
        copy = self.drawn.get_trials(deepcopy=False)[number]
        for epoch, value in self.trials()[number].intermediate_values.items():
            if epoch not in copy.intermediate_values:
                self.memory.set_trial_intermediate_value(
                    identity(self.memory, self.drawn.study_name, number), epoch, value
                )
        self.drawn.tell(number, None if values is None else list(values), state=state)
        self.stored.tell(number, None if values is None else list(values), state=state)


# ---- what became of them


def history(folder: Path, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """A row for every training of the search whose journal lies in ``folder``.

    ``trial``; ``rerun`` (its seed, None for the suggestion itself); ``state``: complete, pruned, diverged, failed or
    running; ``values``, NaN where there is none; ``departures``; ``epochs`` run of at most ``most``; ``seconds``.
    """
    storage = open_storage(str(folder / JOURNAL))
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    again, taken = reruns(study), study.user_attrs.get("trainings", {})
    rows = []
    for trial in study.get_trials(deepcopy=False):
        facts = taken.get(str(trial.number), {})
        reported = [value for _, value in sorted(trial.intermediate_values.items())]
        state = ended(trial)
        values = trial.values if trial.values and state != "diverged" else [math.nan] * len(metrics)
        first = {"trial": trial.number, "departures": trial.user_attrs["departures"]}
        rows.append({**first, "rerun": None, "state": state, "values": values, "reported": reported, **_facts(facts)})
        for (number, seed), facts in again.items():
            if number == trial.number:
                values = facts["values"] or [math.nan] * len(metrics)
                rows.append(
                    {**first, "rerun": seed, "state": facts["state"], "values": values, "reported": [], **_facts(facts)}
                )
    return rows


def ended(trial: FrozenTrial) -> str:
    """How a suggestion ended: complete, pruned, diverged (its values are infinite), failed; or running."""
    if trial.state == TrialState.COMPLETE and not math.isfinite(trial.values[0]):
        return "diverged"
    return {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}.get(
        trial.state, "running"
    )


def reruns(study: Study) -> dict[tuple[int, int], dict[str, Any]]:
    """The trainings made again of a stored search, by (trial, seed)."""
    return {
        (int(name.split()[1]), int(name.split()[2])): facts
        for name, facts in sorted(study.user_attrs.items())
        if name.startswith("rerun ")
    }


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts.get(name, 0) for name in ("epochs", "most", "seconds")}


def candidates(rows: Sequence[Mapping[str, Any]], directions: Sequence[str], top: int) -> list[int]:
    """Numbers of the ``top`` best finished suggestions by the first metric (with two: of the Pareto front first)."""
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    points = {
        row["trial"]: tuple(sign * value for sign, value in zip(signs, row["values"], strict=True))
        for row in rows
        if row["rerun"] is None and row["state"] == "complete"
    }
    front = {number: not any(_dominates(other, point) for other in points.values()) for number, point in points.items()}
    return sorted(points, key=lambda number: (not front[number], points[number], number))[:top]


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


def winner(
    rows: Sequence[Mapping[str, Any]], directions: Sequence[str], top: int, seeds: Sequence[int]
) -> dict[str, Any]:
    """The chosen suggestion and the sums of its search.

    With ``seeds``, the candidate with the best mean of the first metric over its reruns; one that diverged in any of
    them is out. Raises RuntimeError where nothing is left to choose.
    """
    sign = -1.0 if directions[0] == "maximize" else 1.0
    chosen = candidates(rows, directions, top)
    by_trial = {row["trial"]: row for row in rows if row["rerun"] is None}
    means: dict[int, float] = {}
    for number in chosen:
        again = [
            row
            for row in rows
            if row["trial"] == number and row["rerun"] is not None and row["state"] in ("complete", "diverged")
        ]
        if not seeds:
            means[number] = by_trial[number]["values"][0]
        elif again and all(row["state"] == "complete" for row in again):
            means[number] = sum(row["values"][0] for row in again) / len(again)
    if not means:
        raise RuntimeError(
            "no suggestion trained to its end: every one diverged or failed; narrow the space's ranges "
            "(a lower learning rate first)"
        )
    best = min(means, key=lambda number: (sign * means[number], chosen.index(number)))
    counts = {
        state: sum(row["state"] == state and row["rerun"] is None for row in rows)
        for state in ("complete", "pruned", "diverged", "failed")
    }
    return {
        "trial": best,
        "departures": by_trial[best]["departures"],
        "value": means[best],
        "values": by_trial[best]["values"],
        "candidates": chosen,
        **counts,
        "reruns": sum(row["rerun"] is not None and row["state"] != "failed" for row in rows),
        "epochs": sum(row["epochs"] for row in rows),
        "most": sum(row["most"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 3),
    }


def table(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> str:
    """The history as CSV; docs/formats.md describes its columns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["trial", "rerun", "state", *metrics, "epochs", "most", "seconds", "departures", "reported"])
    for row in rows:
        values = ["" if math.isnan(value) else repr(float(value)) for value in row["values"]]
        writer.writerow(
            [
                row["trial"],
                "" if row["rerun"] is None else row["rerun"],
                row["state"],
                *values,
                row["epochs"],
                row["most"],
                f"{row['seconds']:.3f}",
                json.dumps(plain(row["departures"])),
                json.dumps([float(f"{value:.8g}") for value in row["reported"]]),
            ]
        )
    return out.getvalue()
