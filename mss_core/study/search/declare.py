"""Hyperparameter search as part of a study: what is searched, how, and the stage that holds the outcome.

A search is made before the confirmatory trials are planned. Every suggestion is a copy of a variant's recipe with a
few values changed; the training stage that it ends in goes into the store like any other, so what two suggestions (or
a suggestion and a confirmatory trial) have in common is trained once. Only what that stage reports of the validation
split is looked at. The search itself is a stage too (:func:`search`): equal searches share one artefact, whose
``winner.json`` says which values the confirmatory trials are built from.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import math
import shutil
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mss_core.disk import write_atomically
from mss_core.errors import choose
from mss_core.graph import Context, Stage, plain, walk
from mss_core.recipe import flatten, override

SAMPLERS = ("tpe", "gp", "cma_es", "nsga2", "random")
SCOPES = ("each_variant", "baseline")
PROBES = 8
"""Suggestions drawn only to see that a space fits the recipe and what it leads to."""

Space = Callable[..., dict[str, Any]]
"""From an Optuna trial to departures; see ``search_spaces/``. One with a parameter ``recipe`` gets the variant's."""


@dataclass(frozen=True)
class Asha:
    """Asynchronous successive halving [Li et al., A System for Massively Parallel Hyperparameter Tuning, 2020].

    At ``first``, ``first * factor``, ``first * factor**2``, ... epochs a training goes on only if its value is among
    the best ``1 / factor`` of those that have come as far (the first to come always goes on). With ``brackets`` above
    one it is Hyperband: trials are spread over brackets whose first rung is ``factor`` times later each.

    Every decision is written down with the trial before it is acted on, so a restart finds all rungs as they were.
    """

    first: int = 1
    factor: int = 3
    brackets: int = 1

    def __post_init__(self) -> None:
        if self.first < 1 or self.factor < 2 or self.brackets < 1:
            raise ValueError(f"a pruner needs first >= 1, factor >= 2 and brackets >= 1; got {self}")

    def bracket(self, number: int) -> int:
        """The bracket of a trial. Its shares are Hyperband's; a golden-ratio sequence spreads them evenly."""
        shares = [
            math.ceil(self.brackets * self.factor ** (self.brackets - 1 - s) / (self.brackets - s))
            for s in range(self.brackets)
        ]
        place = (number * 0.6180339887498949) % 1.0 * sum(shares)
        for bracket, share in enumerate(shares):
            place -= share
            if place < 0:
                return bracket
        return self.brackets - 1

    def is_rung(self, epoch: int, number: int) -> bool:
        """Whether a decision about trial ``number`` falls after ``epoch`` epochs."""
        rung: int = self.first * self.factor ** self.bracket(number)
        while rung < epoch:
            rung *= self.factor
        return rung == epoch

    def keeps(self, value: float, arrived: Sequence[float], maximise: bool) -> bool:
        """Whether ``value`` goes on; ``arrived`` are all values at this rung so far, its own among them."""
        if not math.isfinite(value):
            return False
        least = sorted(arrived, reverse=maximise)[max(1, len(arrived) // self.factor) - 1]
        return value >= least if maximise else value <= least


@dataclass(frozen=True)
class Search:
    """What is searched and how; part of a study's declaration.

    Attributes:
        space: a space for each training stage it may be about. A variant is searched with the space of its last
            training stage that is listed, and judged by what that stage reports of the validation split.
        trials: finished suggestions an arm gets (pruned and diverged ones count; crashed ones are replaced).
        scope: ``"each_variant"`` gives every variant a search of its own, all with this budget; ``"baseline"``
            searches once and uses the values in every variant.
        metric: what the stage reports at the epoch whose weights are kept, ``valid_...``; or ``"parameters"``, the
            size of the model. Two make the search multi-objective; the first then names the winner of the front.
        maximise: which of them are better when higher.
        sampler: one of SAMPLERS.
        pruner: None trains every suggestion to its end.
        concurrency: suggestions of one arm that are open at a time. With 1 the whole search is a function of its
            seed; with more, what a suggestion could know of the others depends on their durations.
        top, reruns: that many of the best suggestions are trained again with so many fresh seeds, and the winner is
            the best mean of those; the value that made a suggestion look good is not among them. 0 reruns: the best.
        seed: of the sampler and of the trainings; reruns take the numbers after it. None may be a replicate's.
        warm_start: keys (or their beginnings) of finished searches in the store whose winners are suggested first,
            after the recipe's own values.
        smoke_trials: ``trials`` of a smoke run, which reruns the best two once.
    """

    space: Mapping[str, Space]
    trials: int = 20
    scope: str = "each_variant"
    metric: str | tuple[str, ...] = "valid_loss"
    maximise: tuple[str, ...] = ()
    sampler: str = "tpe"
    pruner: Asha | None = None
    concurrency: int = 4
    top: int = 3
    reruns: int = 2
    seed: int = 1000
    warm_start: tuple[str, ...] = ()
    smoke_trials: int = 3

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)

    @property
    def directions(self) -> list[str]:
        return ["maximize" if metric in self.maximise else "minimize" for metric in self.metrics]

    def seeds(self) -> list[int]:
        """Seeds of the reruns."""
        return [self.seed + 1 + index for index in range(self.reruns)]

    def check(self, seeds: Sequence[int]) -> None:
        """Raise ValueError for what does not fit together; ``seeds`` are the study's replicates."""
        choose("scope of the search", self.scope, SCOPES)
        choose("sampler", self.sampler, SAMPLERS)
        if not self.space:
            raise ValueError("the search has no space: name a training stage and its space")
        if self.trials < 1 or self.concurrency < 1 or self.top < 1 or self.reruns < 0 or self.smoke_trials < 1:
            raise ValueError(
                "a search needs trials, concurrency, top and smoke_trials of at least 1 and reruns of at "
                f"least 0; got {self.trials}, {self.concurrency}, {self.top}, {self.smoke_trials}, "
                f"{self.reruns}"
            )
        for metric in self.metrics:
            if metric != "parameters" and not metric.startswith("valid_"):
                raise ValueError(
                    f"the search's metric {metric!r} is not of the validation split; it must be "
                    "'valid_...' as the training stage reports it, or 'parameters'"
                )
        for metric in self.maximise:
            choose("metric in 'maximise'", metric, self.metrics)
        if len(self.metrics) > 2 or len(set(self.metrics)) < len(self.metrics):
            raise ValueError(f"a search has one metric or two different ones, not {self.metrics}")
        if len(self.metrics) == 2 and self.sampler == "cma_es":
            raise ValueError("the sampler 'cma_es' knows one metric only; with two choose 'nsga2', 'tpe' or 'gp'")
        if len(self.metrics) == 2 and self.pruner is not None:
            raise ValueError("a search with two metrics cannot prune: halving needs one order")
        if self.metrics[0] == "parameters" and len(self.metrics) == 1:
            raise ValueError("a search for the smallest model alone needs no training: add 'valid_loss'")
        both = sorted({self.seed, *self.seeds()} & set(seeds))
        if both:
            raise ValueError(
                f"seed {both[0]} is a replicate's and the search's: the winner would be confirmed on a "
                "training it was selected by"
            )


@dataclass(frozen=True)
class Arm:
    """One variant's search.

    Attributes:
        variant: its name; ``"baseline"`` where the search is made once.
        recipe: resolved, with the search's seed.
        seeded: paths that take the seed.
        trained: name of the training stage that is judged.
        points: departures suggested first.
        stage: the search itself, as a stage.
        common: stages that every suggestion reads.
    """

    variant: str
    recipe: Any
    seeded: tuple[str, ...]
    search: Search
    trained: str
    points: tuple[dict[str, Any], ...]
    stage: Stage
    common: tuple[Stage, ...]

    @property
    def space(self) -> Space:
        return bound(self.search.space[self.trained], self.recipe)

    def stages(self, departures: Mapping[str, Any], seed: int) -> list[Stage]:
        """The trainings that a suggestion is judged by: one, or one a target where the recipe has several."""
        return _trained(self.recipe, self.seeded, departures, seed, self.trained)


def bound(space: Space, recipe: Any) -> Space:
    """A space that reads a recipe, with it."""
    return functools.partial(space, recipe=recipe) if "recipe" in inspect.signature(space).parameters else space


def make_arm(
    variant: str,
    recipe: Any,
    seeded: Sequence[str],
    declared: Search,
    taken: Mapping[str, str],
    levels: Sequence[tuple[str, Mapping[str, Any]]],
    warm: Sequence[Mapping[str, Any]],
) -> Arm:
    """An arm, with its space tried on the recipe.

    Args:
        recipe: resolved, with the search's seed.
        taken: paths that the space may not suggest, and what sets them.
        levels: of each factor the departures; a space may tune part of what a level sets, but not all there is to it.
        warm: departures to suggest after the recipe's own values (each moved into the space's ranges).

    Raises ValueError where the variant trains nothing that has a space, the space speaks of paths the recipe lacks
    or that are set otherwise, or a pruner would have to follow several trainings at once.
    """
    from mss_core.study.search import optuna_storage

    names = [stage.name for stage in walk([recipe.pipeline()]).values()]
    trained = next((name for name in reversed(names) if name in declared.space), "")
    if not trained:
        spaces = ", ".join(map(repr, declared.space))
        raise ValueError(
            f"variant {variant!r} trains nothing that the search has a space for ({spaces}); add a space "
            f"for one of its stages: {', '.join(dict.fromkeys(names))}"
        )
    space = declared.space[trained]
    probes = optuna_storage.probe(bound(space, recipe), PROBES)
    distributions = {path: described for _, found in probes for path, described in found.items()}
    own = flatten(recipe)
    suggested = dict.fromkeys(path for departures, _ in probes for path in departures)
    barred = {**taken, **{path: by for by, level in levels for path in _all_of(level, suggested)}}
    for path in suggested:
        for other, by in barred.items():
            if overlap(path, other):
                raise ValueError(f"the search of {trained!r} suggests {path!r}, which is set by {by}")
    try:
        reached = [_trained(recipe, seeded, departures, declared.seed, trained) for departures, _ in probes]
    except ValueError as error:
        raise ValueError(f"the space of {trained!r} does not fit variant {variant!r}: {error}") from None
    if declared.pruner is not None and len(reached[0]) > 1:
        raise ValueError(
            f"variant {variant!r} trains {trained!r} {len(reached[0])} times; a pruner can follow one "
            "training only: leave 'pruner' out"
        )
    base = _trained(recipe, seeded, {}, declared.seed, trained)
    candidates = [{path: own[path] for path in distributions if path in own}, *warm]
    fitted = [optuna_storage.fitted(point, distributions) for point in candidates]
    points = tuple({json.dumps(plain(point), sort_keys=True): point for point in fitted if point is not None}.values())
    stage = Stage(
        search,
        trained=trained,
        base=[each.key for each in base],
        space=distributions,
        source=_source(space),
        probes=[[each.key for each in stages] for stages in reached],
        points=list(points),
        trials=declared.trials,
        metrics=list(declared.metrics),
        directions=declared.directions,
        sampler=declared.sampler,
        pruner=declared.pruner,
        concurrency=declared.concurrency,
        top=declared.top,
        seeds=[declared.seed, *declared.seeds()],
    )
    shared = set.intersection(
        *(
            {key for each in stages for upstream in each.inputs.values() for key in walk([upstream])}
            for stages in [base, *reached]
        )
    )
    common = tuple(each for key, each in walk(base).items() if key in shared)
    return Arm(variant, recipe, tuple(seeded), declared, trained, points, stage, common)


def overlap(path: str, other: str) -> bool:
    """Whether one of two dotted paths is the other or lies below it."""
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")


def _all_of(level: Mapping[str, Any], suggested: Iterable[str]) -> list[str]:
    """What a level sets, if suggestions would overwrite all of it; else nothing."""
    own = [path for path, value in level.items() if value is not None]
    erased = all(any(f"{path}.".startswith(f"{other}.") for other in suggested) for path in own)
    return own if erased else []


def _trained(recipe: Any, seeded: Sequence[str], departures: Mapping[str, Any], seed: int, name: str) -> list[Stage]:
    changed = override(recipe, departures)
    known = flatten(changed)
    changed = override(changed, {path: seed for path in seeded if path in known})
    return [stage for stage in walk([changed.pipeline()]).values() if stage.name == name]


def _source(space: Space) -> str:
    """A hash of a space's code, blind to comments, docstring, layout and whatever stands beside it."""
    tree = ast.Module([_written(space)], [])
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef) and isinstance(body, list) and ast.get_docstring(node) is not None:
            node.body = body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _written(space: Space) -> ast.stmt:
    """The definition of a space in its file, that of a lambda as an expression.

    Raises ValueError where the space is no function, or its file cannot be read or has changed since.
    """
    code = getattr(inspect.unwrap(space), "__code__", None)
    if code is None:
        raise ValueError(f"a search space must be a function, not {space!r}")
    try:
        lines, _ = inspect.findsource(code)
        tree = ast.parse("".join(lines))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"the source of the search space {space.__name__!r} cannot be read: {error}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda) and _is(node, code):
            return node if isinstance(node, ast.FunctionDef) else ast.Expr(node)
    raise ValueError(f"the search space {space.__name__!r} is not in its file {code.co_filename}: was it changed?")


def _is(node: ast.FunctionDef | ast.Lambda, code: types.CodeType) -> bool:
    """Whether a definition is where ``code`` was compiled from; a lambda by where its value begins, since several may
    stand on one line."""
    if isinstance(node, ast.FunctionDef):
        first = min([node.lineno, *(line.lineno for line in node.decorator_list)])
        return (node.name, first) == (code.co_name, code.co_firstlineno)
    starts = [(row, column) for row, end, column, last in code.co_positions() if row and (row, column) != (end, last)]
    return code.co_name == "<lambda>" and (node.body.lineno, node.body.col_offset) == min(starts)


# ---- the stage


def suggestions(key: str, searches: Path) -> Path:
    """The folder of a search's journal while it is made, below the store's folder of searches."""
    return searches / f"{key}.suggestions"


def search(
    *,
    trained: str,
    base: list[str],
    space: dict[str, Any],
    source: str,
    probes: list[list[str]],
    points: list[dict[str, Any]],
    trials: int,
    metrics: list[str],
    directions: list[str],
    sampler: str,
    pruner: Asha | None,
    concurrency: int,
    top: int,
    seeds: list[int],
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Sum up a finished search; leaves winner.json and history.csv beside the journal of its suggestions.

    The suggestions were made and trained by :mod:`mss_core.study.search.scheduler`, which wrote each into an Optuna
    journal beside ``out`` (:func:`suggestions`). The arguments are what the outcome depends on; ``base`` and
    ``probes`` are keys of the trainings that the recipe itself and a few fixed suggestions lead to, so recipe, data and
    space are in.

    Raises RuntimeError where the journal holds fewer than ``trials`` finished suggestions or no winner.
    """
    from mss_core.study.search import optuna_storage

    shutil.copyfile(
        suggestions(out.name.split(".")[0], out.parent) / optuna_storage.JOURNAL, out / optuna_storage.JOURNAL
    )
    rows = optuna_storage.history(out, metrics)
    finished = [row for row in rows if row["rerun"] is None and row["state"] not in ("running", "failed")]
    if len(finished) < trials:
        raise RuntimeError(f"{len(finished)} of {trials} suggestions have finished")
    winner = optuna_storage.winner(rows, directions, top, seeds[1:])
    table = optuna_storage.table(rows, metrics)
    write_atomically(out / "history.csv", table.encode())
    write_atomically(out / "winner.json", json.dumps(plain(winner), indent=1).encode())
