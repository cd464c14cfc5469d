"""``--dry-run``: what would run, what it will cost and what it can find, as text or as JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mss_core.graph import Context, Stage, walk
from mss_core.recipe import has, value_at
from mss_core.store import Store
from mss_core.store.catalogue import size_of
from mss_core.study.dry_run.cost import Price, price
from mss_core.study.dry_run.power import Reach
from mss_core.study.dry_run.timings import Timing, estimates, timings
from mss_core.study.plan import Plan
from mss_core.study.resources import resources
from mss_core.study.study import Study
from reports.contract import Metric, known_metric

BASIS = {
    "store": "timed in this store",
    "probe": "probed",
    "near": "from a stage not quite like it",
    "unknown": "not known: run with --probe",
}


def quote(plan: Plan, store: Store, cpus: int, gpus: int, ray: bool, probed: Sequence[Timing]) -> Price:
    """The price of a plan on this many CPUs and GPUs."""

    def device(stage: Stage) -> str:
        return "cuda" if resources(stage, gpus).get("GPU") else "cpu"

    measured = [*timings(store, dict.fromkeys(stage.name for stage in plan.stages.values())), *probed]
    return price(plan, estimates(plan, measured, device), cpus, gpus, ray)


def measure(
    plan: Plan, store: Store, ctx: Context, seconds: float, absent: Mapping[str, str], say: Callable[[str], None]
) -> list[Timing]:
    """Probe what the store has no timing of; nothing where data sets are absent."""
    if absent:
        say(f"--probe needs the data: {', '.join(sorted(absent))} not on this machine; nothing is measured")
        return []
    from mss_core.study.dry_run.probe import probe

    return probe(plan, store, ctx, seconds, say)


def as_json(title: str, plan: Plan, absent: Mapping[str, str], cost: Price, found: Reach, test: str) -> dict[str, Any]:
    """The whole plan as plain data; a difference that cannot be told is null."""
    counts = plan.counts()
    known = found.detectable == found.detectable
    return {
        "title": title,
        "trials": [
            {
                "trial": trial.name,
                "variant": trial.variant.name,
                "seed": trial.seed,
                "stages": {stage.name: key for key, stage in walk([trial.root]).items()},
            }
            for trial in plan.trials
        ],
        "stages": counts,
        "totals": {
            "trials": len(plan.trials),
            "calls": sum(row["calls"] for row in counts.values()),
            "distinct": len(plan.stages),
            "done": len(plan.done),
            "to_run": len(plan.needed),
        },
        "absent_data": dict(absent),
        "price": cost.to_json(),
        "power": {
            "seeds": found.seeds,
            "family": found.family,
            "level": found.level,
            "sd": found.sd if found.sd == found.sd else None,
            "sd_from": found.basis,
            "tracks": found.tracks,
            "detectable": found.detectable if known else None,
            "reference_seeds": found.plan.reference_runs or None,
            "simulated": dataclasses.asdict(found.plan.calibration) if found.plan.calibration else None,
            "smallest_p": found.smallest_p,
            "warning": "" if test == "item_means" else found.warning(test),
        },
    }


def as_text(
    title: str, summary: str, plan: Plan, absent: Mapping[str, str], cost: Price, found: Reach, study: Study
) -> str:
    """The whole plan as a person reads it."""
    lines = [
        f"{title}: {summary}",
        "",
        f"  {'stage':<18}{'calls':>8}{'distinct':>10}{'in store':>10}{'to run':>8}{'each':>9}{'all':>10}"
        f"{'disk':>9}  from",
    ]
    for name, row in plan.counts().items():
        priced = cost.by_stage.get(name)
        line = f"  {name:<18}{row['calls']:>8}{row['distinct']:>10}{row['done']:>10}{row['to_run']:>8}"
        if priced and priced["basis"] != ["unknown"]:
            line += (
                f"{clock(priced['seconds'] / priced['stages']):>9}{clock(priced['seconds']):>10}"
                f"{size_of(priced['disk_bytes']):>9}"
            )
        elif priced:
            line += f"{'?':>9}{'?':>10}{'?':>9}"
        lines.append(line + ("  " + ", ".join(BASIS[basis] for basis in priced["basis"]) if priced else ""))
    lines += ["", *_cost(cost), "", *_reach(found, study), ""]
    lines += _variants(plan, study)
    if absent:
        lines += ["", *(f"  data set {name!r} is not on this machine: {how}" for name, how in absent.items())]
    return "\n".join(lines)


def _variants(plan: Plan, study: Study) -> list[str]:
    """What each level changes of the baseline, what a search chose, and which levels run together on which seeds."""
    seeds: dict[str, list[int]] = {}
    for trial in plan.trials:
        seeds.setdefault(trial.variant.name, []).append(trial.seed)
    used = {pair for trial in plan.trials for pair in trial.variant.levels.items()}
    recipes = _recipes(plan)
    rows = [
        (
            factor.name if number == 0 else "",
            label,
            changes(used_values(factor.levels[label], recipes[factor.name, label])),
        )
        for factor in study.factors
        for number, label in enumerate(label for label in factor.levels if (factor.name, label) in used)
    ]
    rows += [
        ("tuned" if number == 0 else "", name, changes(values))
        for number, (name, values) in enumerate((name, values) for name, values in study.chosen.items() if values)
    ]
    rows += [
        (
            "control" if number == 0 else "",
            control.name,
            changes(control.departures) if control.departures else "fresh draws",
        )
        for number, control in enumerate(study.controls)
    ]
    first, second = (max((len(row[column]) for row in rows), default=0) + 2 for column in (0, 1))
    lines = [line for factor, label, text in rows for line in _wrapped(f"  {factor:<{first}}{label:<{second}}", text)]
    names: dict[str, list[str]] = {}
    for name, numbers in seeds.items():
        names.setdefault(spans(numbers), []).append(name)
    for found, variants in names.items():
        count = f"{len(variants)} variant{'s' if len(variants) > 1 else ''}"
        whole = "; ".join(name.replace(" ", "\N{NO-BREAK SPACE}") for name in variants)  # no line ends within a name
        lines += [
            *([""] if lines else []),
            *(line.replace("\N{NO-BREAK SPACE}", " ") for line in _wrapped(f"  {count}, {found}: ", whole, 4)),
        ]
    return lines


def _recipes(plan: Plan) -> dict[tuple[str, str], list[Any]]:
    """By factor and label, a recipe of every variant that has it."""
    found: dict[tuple[str, str], list[Any]] = {}
    for trial in {trial.variant.name: trial for trial in plan.trials}.values():
        for pair in trial.variant.levels.items():
            found.setdefault(pair, []).append(trial.recipe)
    return found


def used_values(departures: Mapping[str, Any], recipes: Sequence[Any]) -> dict[str, Any]:
    """What the recipes of a level hold at the paths that it departs in: smoke size and ``--set`` come after a level, so
    the value it declares may not be the one that is used. Where its variants differ, all their values as one text."""
    found: dict[str, Any] = {}
    for path in departures:
        values: list[Any] = []
        for value in (value_at(recipe, path) for recipe in recipes if has(recipe, path)):
            values += [value] if value not in values else []
        if values:
            found[path] = values[0] if len(values) == 1 else " or ".join(map(brief, values))
    return found


def changes(departures: Mapping[str, Any]) -> str:
    """Departures on one line."""
    return ", ".join(f"{path}={brief(value)}" for path, value in departures.items()) or "baseline"


def _wrapped(head: str, text: str, indent: int | None = None) -> list[str]:
    margin = len(head) if indent is None else indent
    return textwrap.wrap(
        text, max(margin + 60, 120), initial_indent=head, subsequent_indent=" " * margin, break_on_hyphens=False
    )


def brief(value: Any) -> str:
    """A value of a recipe in few words: of a dataclass only what is not its default, of a model its name first.

    >>> brief({"name": "ast_tail", "depth": 12}), brief(("vocals", "bass")), brief(("vocals",))
    ('ast_tail(depth=12)', '(vocals, bass)', '(vocals,)')
    """
    if isinstance(value, tuple):
        return f"({', '.join(map(brief, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        rest = ", ".join(f"{name}={brief(item)}" for name, item in value.items() if name != "name")
        return f"{value['name']}({rest})" if "name" in value else f"{{{rest}}}"
    if dataclasses.is_dataclass(value):
        parts = [
            f"{field.name}={brief(getattr(value, field.name))}"
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != field.default
        ]
        return f"{type(value).__name__}({', '.join(parts)})"
    return str(value)


def spans(seeds: Sequence[int]) -> str:
    """Seeds in few words.

    >>> spans([0, 1, 2]), spans([3]), spans([1, 5, 7]), spans([0, 1, 2, 9, 10, 11])
    ('seeds 0-2', 'seed 3', 'seeds 1, 5, 7', 'seeds 0-2, 9-11')
    """
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    words = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(words)}"


def _cost(cost: Price) -> list[str]:
    at = f"{cost.cpus} CPUs" + (f" and {cost.gpus} GPUs" if cost.gpus else "")
    if cost.unknown and not any(set(row["basis"]) - {"unknown"} for row in cost.by_stage.values()):
        return ["  cost      not known: no stage like these was timed in this store; --probe measures one of each kind"]
    unit, ours, theirs = (
        ("GPU-hours", cost.gpu_hours, cost.naive["gpu_hours"])
        if cost.gpus
        else ("CPU-hours", cost.cpu_hours, cost.naive["cpu_hours"])
    )
    naive = cost.naive
    lines = [
        f"  cost      {ours:.2f} {unit}, {size_of(cost.bytes)} of disk, about {clock(cost.wall_seconds)} on {at}",
        f"  naive     {theirs:.2f} {unit}, {size_of(naive['disk_bytes'])}, {clock(naive['wall_seconds'])} at best: "
        f"every trial on its own, {naive['stages']:.0f} stages",
    ]
    if cost.unknown:
        lines.append(
            "  left out  "
            + ", ".join(f"{count} {name}" for name, count in cost.unknown.items())
            + ": never timed; --probe measures them"
        )
    return lines


def _reach(found: Reach, study: Study) -> list[str]:
    warning = found.warning(study.test)
    lines = []
    if study.test == "item_means":
        return [
            f"  power     songs are the sample, family of {found.family}, alpha {study.alpha:g} "
            f"({study.correction}): more seeds add nothing; what can be found depends on how much songs differ"
        ]
    if found.detectable == found.detectable:
        share = (known_metric(study.metric, study.own_metrics) or Metric()).unit == "points"
        none = share and found.detectable > 1
        from_which = "no difference" if none else f"differences from {found.detectable:.3g}"
        lines.append(
            f"  power     {found.seeds} seeds, family of {found.family}, alpha {study.alpha:g} "
            f"({study.correction}): {from_which} of {study.metric} {'is' if none else 'are'} found with "
            f"80 % power (seed SD {found.sd:.3g}, {found.basis}"
            + (f"; {found.tracks} {'clips' if study.metric == 'roc_auc' else 'tracks'})" if found.tracks else ")")
        )
    rates = found.plan.calibration
    if rates:
        unlike = f"; up to {100 * rates.worst:.1f} % if {rates.worst_case}" if rates.worst_case else ""
        lines.append(
            f"            {rates.studies:,} simulated studies of this design without an effect: "
            f"{100 * rates.false_positives:.1f} % call something significant{unlike}"
        )
    if found.plan.reference_runs:
        lines.append(
            f"            the reference is in every contrast: about {found.plan.reference_runs} seeds of it and fewer "
            "of each variant find more at the same cost"
        )
    return lines + ([f"  {warning}"] if warning else [])


def clock(seconds: float) -> str:
    """A duration in the unit a person would use.

    >>> clock(42), clock(600), clock(9000), clock(400_000)
    ('42 s', '10 min', '2.5 h', '4.6 days')
    """
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}" if unit != "min" else f"{seconds / size:.0f} min"
    return f"{seconds:.0f} s"
