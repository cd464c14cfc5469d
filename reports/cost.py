"""What variants cost: hours of GPUs or cores, and energy where it was counted.

A variant's run costs all that it needs, from its first stage to its last, whoever else needs the same stage. So costs
of variants add up to more than the study took, which has each stage once.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from reports.contract import Cost, Stage, Study
from reports.findings import Comparison, Findings
from reports.statistics.hypothesis_tests import variance
from reports.text import count, listing

JOULES = 3.6e6
"""In a kWh."""
UNRECORDED = "they were made before energy was recorded"


@dataclass(frozen=True)
class Amount:
    """What stages of one kind of device took: device-hours, and the joules of the `measured` ones of these stages."""

    stages: int = 0
    hours: float = 0.0
    joules: float = 0.0
    measured: int = 0

    @property
    def kwh(self) -> float:
        """Of all stages; NaN where one was not measured."""
        return self.joules / JOULES if self.measured == self.stages else math.nan


@dataclass(frozen=True)
class Amounts:
    """What stages took, by the kind of device that each ran on."""

    gpu: Amount = Amount()
    cpu: Amount = Amount()

    @property
    def kwh(self) -> float:
        """Of all stages; NaN where one was not measured."""
        return self.gpu.kwh + self.cpu.kwh


@dataclass(frozen=True)
class Measure:
    """One way to say a cost: what a table calls it, and what it is of some amounts (NaN where nobody knows)."""

    name: str
    label: str
    of: Callable[[Amounts], float]


GPU_HOURS = Measure("gpu_hours", "GPU-hours", lambda each: each.gpu.hours)
CORE_HOURS = Measure("core_hours", "CPU core-hours", lambda each: each.cpu.hours)
GPU_KWH = Measure("gpu_kwh", "kWh of GPUs", lambda each: each.gpu.kwh)
CPU_KWH = Measure("cpu_kwh", "kWh of CPUs", lambda each: each.cpu.kwh)
KWH = Measure("kwh", "kWh of GPUs and CPUs", lambda each: each.kwh)
MEASURES = (GPU_HOURS, CORE_HOURS, GPU_KWH, CPU_KWH)


@dataclass(frozen=True)
class VariantCost:
    """What a variant costs.

    Attributes:
        runs: by seed, of the runs that have ended, all that each needs.
        whole: of all these runs, each stage once.
        own: the part of that which no other variant or control needs.
    """

    variant: str
    runs: Mapping[int, Amounts]
    whole: Amounts
    own: Amounts


@dataclass(frozen=True)
class Estimate:
    """A mean over runs and its t interval, which ends at 0 below; NaN with one run, where no spread is seen."""

    mean: float
    low: float
    high: float


def is_gpu(stage: Stage) -> bool:
    """Whether a stage ran on a GPU."""
    return stage.device.startswith("cuda")


def hours(stage: Stage) -> float:
    """Device-hours of a stage: a quarter of a GPU for an hour is 0.25. One device per process where nobody recorded it.

    >>> hours(Stage(seconds=1800.0, processes=2)), hours(Stage(seconds=1800.0, cost=Cost(devices=0.25)))
    (1.0, 0.125)
    """
    devices = stage.cost.devices if stage.cost else float(max(1, stage.processes))
    return stage.seconds * devices / 3600


def joules(stage: Stage) -> float | None:
    """Energy that was given to a stage; None where it was not measured."""
    return stage.cost.joules if stage.cost else None


def amounts(stages: Iterable[Stage]) -> Amounts:
    """What stages took together."""
    kinds: dict[bool, list[Stage]] = {True: [], False: []}
    for stage in stages:
        kinds[is_gpu(stage)].append(stage)
    return Amounts(*(_amount(kinds[gpu]) for gpu in (True, False)))


def _amount(stages: Sequence[Stage]) -> Amount:
    known = [found for stage in stages if (found := joules(stage)) is not None]
    return Amount(len(stages), math.fsum(map(hours, stages)), math.fsum(known), len(known))


def spent(study: Study) -> Amounts:
    """What a study took: each stage once."""
    return amounts(stage for stage in study.stages.values() if stage.status == "done")


def is_known(study: Study) -> bool:
    """Whether a run has ended, and any of its stages is known to have taken time."""
    keys = {key for trial in study.trials if trial.status == "done" for key in trial.stages.values()}
    return any(study.stages[key].seconds > 0 for key in keys & study.stages.keys())


def of_variants(study: Study) -> tuple[VariantCost, ...]:
    """The cost of each variant, and control, that has a run."""
    needed: dict[str, dict[int, frozenset[str]]] = {}
    for trial in study.trials:
        keys = frozenset(key for key in trial.stages.values() if key in study.stages)
        if trial.status == "done" and keys:
            needed.setdefault(trial.variant, {})[trial.seed] = keys
    unions = {variant: frozenset[str]().union(*runs.values()) for variant, runs in needed.items()}
    users = Counter(key for union in unions.values() for key in union)

    def of(keys: Iterable[str]) -> Amounts:
        return amounts(study.stages[key] for key in sorted(keys))

    return tuple(
        VariantCost(
            variant,
            {seed: of(keys) for seed, keys in runs.items()},
            of(unions[variant]),
            of(key for key in unions[variant] if users[key] == 1),
        )
        for variant, runs in needed.items()
    )


def over_runs(values: Sequence[float], alpha: float) -> Estimate:
    """The mean of a cost over runs, and its interval at level 1 - alpha."""
    mean = math.fsum(values) / len(values) if values else math.nan
    if len(values) < 2 or math.isnan(mean):
        return Estimate(mean, math.nan, math.nan)
    half = float(stats.t.ppf(1 - alpha / 2, len(values) - 1)) * math.sqrt(variance(values) / len(values))
    return Estimate(mean, max(0.0, mean - half), mean + half)


def shown(costs: Sequence[VariantCost]) -> list[Measure]:
    """The measures that say something of these variants: of devices that were used, and of energy that was counted."""
    whole = [cost.whole for cost in costs]
    found = []
    for measure, kind in zip(MEASURES, ("gpu", "cpu", "gpu", "cpu"), strict=True):
        parts = [getattr(each, kind) for each in whole]
        energy = measure in (GPU_KWH, CPU_KWH)
        if any(part.measured if energy else part.stages for part in parts):
            found.append(measure)
    return [*found, KWH] if {GPU_KWH, CPU_KWH} <= set(found) else found


def axis(costs: Sequence[VariantCost]) -> Measure:
    """What a figure draws: energy where all of it was counted, else that of GPUs where GPUs were used and all of theirs
    was; else hours, of GPUs where these were used."""
    there = shown(costs)
    whole = [cost.whole for cost in costs]
    for measure in (KWH, GPU_KWH):
        if measure in there and not any(math.isnan(measure.of(each)) for each in whole):
            return measure
    if GPU_HOURS in there:
        return GPU_HOURS
    counted = CPU_KWH in there and not any(math.isnan(each.cpu.kwh) for each in whole)
    return CPU_KWH if counted else CORE_HOURS


# ---- effect against cost


@dataclass(frozen=True)
class Point:
    """A variant in the plane of effect and cost.

    Attributes:
        effect: difference to the reference and its interval, as the report's first table has them; 0 without an
            interval for the reference.
        cost: per run.
        ahead: whether it is on the Pareto front.
    """

    variant: str
    is_reference: bool
    effect: Estimate
    cost: Estimate
    ahead: bool


def front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """The names of the points (gain, cost) to which no other is preferred: one that gains as much or more for the same
    cost or less, and is better in one of the two.

    >>> sorted(front({"base": (0.0, 1.0), "dear": (0.0, 2.0), "good": (1.0, 2.0)}))
    ['base', 'good']
    """
    found, best = set[str](), -math.inf
    last = math.nan
    for name, (gain, cost) in sorted(points.items(), key=lambda point: (point[1][1], -point[1][0])):
        if gain > best or (gain == best and cost == last):
            found.add(name)
            best, last = gain, cost
    return found


def planes(findings: Findings, costs: Sequence[VariantCost], measure: Measure) -> list[list[Point]]:
    """The variants of each reference, the reference first: those that have an effect and a cost."""
    main = findings.main
    by_name = {cost.variant: cost for cost in costs}
    found = []
    for reference in main.references:
        names = [reference, *(each.variant for each in main.contrasts if each.reference == reference)]
        drawn = []
        for name in dict.fromkeys(names):
            effect = _effect(main, name, reference)
            runs = by_name[name].runs.values() if name in by_name else ()
            cost = over_runs([measure.of(run) for run in runs], main.alpha)
            if math.isfinite(effect.mean) and math.isfinite(cost.mean):
                drawn.append((name, effect, cost))
        sign = 1 if main.style.higher_is_better else -1
        ahead = front({name: (sign * effect.mean, cost.mean) for name, effect, cost in drawn})
        if len(drawn) > 1:
            found.append([Point(n, n == reference, effect, cost, n in ahead) for n, effect, cost in drawn])
    return found


def _effect(main: Comparison, name: str, reference: str) -> Estimate:
    if name == reference:
        return Estimate(0.0, math.nan, math.nan)
    contrast = main.contrast(name)
    if contrast is None or contrast.refused:
        return Estimate(math.nan, math.nan, math.nan)
    return Estimate(contrast.primary.difference, *contrast.simultaneous)


# ---- words


def energy_sentences(stages: Sequence[Stage]) -> list[str]:
    """By kind of device: what counted its energy, and how it was shared; or that it was not measured, and why."""
    told = []
    for gpu, name in ((True, "GPUs"), (False, "CPUs")):
        here = [stage for stage in stages if is_gpu(stage) is gpu]
        known = [stage.cost for stage in here if stage.cost and stage.cost.joules is not None]
        reasons = Counter(
            (stage.cost.unmeasured or "no reason was recorded") if stage.cost else UNRECORDED
            for stage in here
            if joules(stage) is None
        )
        why = listing([f"{text} ({count(many, 'stage')})" if known else text for text, many in reasons.most_common()])
        if here and not known:
            told.append(f"Energy of {name}: not measured on {_machines(here)}: {why}.")
        elif here:
            told.append(f"Energy of {name} was counted by {_counted(known, gpu)}.")
        if known and reasons:
            told.append(f"{len(known)} of {count(len(here), 'stage')} on {name} were measured; the others not: {why}.")
    return told


def _machines(stages: Sequence[Stage]) -> str:
    several = len({stage.device_name for stage in stages}) > 1
    return "these machines" if several else "this machine"


def _counted(known: Sequence[Cost], gpu: bool) -> str:
    names = listing(sorted({cost.counter for cost in known}))
    of = "the card alone, without the machine around it" if gpu else "packages of the CPU and their memory"
    shares = sorted({cost.share for cost in known})
    text = f"{names} ({of}), idle power and other programs included"
    if shares[0] == 1:
        return f"{text}, while one stage ran at a time"
    several = f"{shares[0]:.2g}" if len(shares) == 1 else f"{shares[0]:.2g} to {shares[-1]:.2g}"
    asked = "a GPU" if gpu else "the machine's cores"
    return f"{text}; a stage is given the share of {asked} that it asked for ({several})"
