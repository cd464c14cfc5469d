"""What each variant costs beside what it gains: hours and energy per run, and the Pareto front of effect and cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports import cost, prose
from reports.contract import Study
from reports.cost import Amounts, Measure, VariantCost
from reports.document import Cell, Figure, Section, Table
from reports.drawing import cost as draw
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import count, listing, significant

OPTIONS: dict[str, str] = {}

COUNTED = "A run of a variant costs all that it needs, from its first stage to its last, also what other runs share."
SHARED = (
    "A stage that several variants or seeds need counts in full for each of them. So the rows add up to more than "
    "the study took, which has each stage once."
)
HOURS = (
    "An hour of a stage counts once per GPU that it held (a quarter of a GPU is 0.25), or once per core where it ran "
    "on a CPU."
)
LOST = (
    "Trainings that failed are not counted, nor is what an attempt did between its last report and the moment when it "
    "was cut off."
)


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """Two tables and a drawing per reference; None where no stage is known to have taken time."""
    costs = cost.of_variants(findings.study)
    if not (cost.is_known(findings.study) and costs):
        return None
    measure = cost.axis(costs)
    planes = cost.planes(findings, costs, measure)
    places = {row.variant: place for place, row in enumerate(findings.main.rows)}
    drawn = tuple(
        Figure(draw.plane(points, findings.main, measure, places), caption=_caption(findings, measure))
        for points in planes
    )
    return Section(
        "Cost beside effect",
        tuple(_words(findings, planes, measure)),
        (per_run(findings),),
        drawn,
        parts=(
            Section("What all runs took", tables=(in_all(findings, costs),), kind="fold"),
            Section("What is counted", points=tuple(_rules(findings.study)), kind="fold"),
        ),
        short="Cost",
    )


def _rules(study: Study) -> Iterator[str]:
    """What costs are of, one sentence each."""
    yield from (SHARED, HOURS, LOST)
    stages = [stage for stage in study.stages.values() if stage.status == "done"]
    guessed = sum(stage.cost is None for stage in stages)
    if guessed:
        yield (
            f"{guessed} of {count(len(stages), 'stage')} do not say what they held: each counts as one whole GPU, or "
            "one core, per process."
        )
    if study.declaration.search:
        yield "The search for hyperparameters is not in these costs; its own section has its time."
    if study.ahead:
        yield "What ran ahead of a look and was not needed is not in these costs."


def _words(findings: Findings, planes: Sequence[Sequence[cost.Point]], measure: Measure) -> list[str]:
    study = findings.study
    stages = [stage for stage in study.stages.values() if stage.status == "done"]
    told = []
    if study.no_result:
        told.append(f"{study.no_result} These are its costs, not those of the study.")
    told += filter(None, [COUNTED, " ".join(cost.energy_sentences(stages))])
    placed = {point.variant for points in planes for point in points}
    absent = [each.variant for each in cost.of_variants(study) if each.variant not in placed]
    controls = {control.name for control in study.controls}
    if planes and (without := [name for name in absent if name not in controls]):
        told.append(f"Not in the figure, for want of an effect: {listing(without)}.")
    for points in planes:
        ahead = [point.variant for point in points if point.ahead]
        behind = [point.variant for point in points if not point.ahead]
        among = f" among the variants compared with {points[0].variant}" if len(planes) > 1 else ""
        told.append(
            f"By the means alone, {_are(ahead)} on the Pareto front of effect and {measure.label} per run{among}: no "
            "other variant gains as much for less, or more for as little. "
            f"{f'Not on it: {listing(behind)}. ' if behind else ''}The intervals say how far each may lie elsewhere."
        )
    return told


def _are(names: Sequence[str]) -> str:
    return f"{listing(names)} {'is' if len(names) == 1 else 'are'}"


def _caption(findings: Findings, measure: Measure) -> str:
    main = findings.main
    return (
        f"Effect against cost: difference to the reference with its {prose.interval_name(main)}, and {measure.label} "
        f"per run with the {prose.confidence(main)} t interval of its mean over runs. Dashed: the reference. Filled: "
        "on the Pareto front of the means, which the grey line follows."
    )


def per_run(findings: Findings) -> Table:
    """One row per variant: what a run costs, mean and interval over runs, beside the effect."""
    main, costs = findings.main, cost.of_variants(findings.study)
    measures = cost.shown(costs)
    ahead = {p.variant for points in cost.planes(findings, costs, cost.axis(costs)) for p in points if p.ahead}
    rows = []
    for each in costs:
        effect = _effect(findings, each.variant)
        rows.append(
            (
                Cell(each.variant, kind="reference" if each.variant in main.references else ""),
                Cell(str(len(each.runs)), len(each.runs)),
                *effect,
                *(_estimate(each, measure, main.alpha) for measure in measures),
                Cell("yes", kind="yes") if each.variant in ahead else Cell(""),
            )
        )
    head = ("variant", "runs", "difference", prose.interval_name(main))
    caption = (
        f"What one run costs: mean over runs and its {prose.confidence(main)} t interval, which does not see what all "
        f"runs share. Difference on {main.style.label}. Front: the Pareto front of difference and "
        f"{cost.axis(costs).label} per run."
    )
    return Table((*head, *(measure.label for measure in measures), "front"), tuple(rows), caption)


def _effect(findings: Findings, variant: str) -> tuple[Cell, Cell]:
    main = findings.main
    control = findings.controls.comparison if findings.controls else None
    contrast = main.contrast(variant) or (control.contrast(variant) if control else None)
    if contrast is None or contrast.refused:
        return Cell("reference" if variant in main.references else ""), Cell("")
    found, ends = contrast.primary, contrast.simultaneous
    return (
        Cell(main.style.difference(found.difference), found.difference),
        Cell(main.style.interval(*ends, contrast.reference_mean), ends[0]),
    )


def _estimate(each: VariantCost, measure: Measure, alpha: float) -> Cell:
    found = cost.over_runs([measure.of(run) for run in each.runs.values()], alpha)
    ends = f" [{significant(found.low)}, {significant(found.high)}]" if found.low < found.high else ""
    return Cell(significant(found.mean) + ends, found.mean)


def in_all(findings: Findings, costs: Sequence[VariantCost]) -> Table:
    """One row per variant: what all its runs cost, and what of it no other needs; and what the study took."""
    measures = cost.shown(costs)
    rows = [
        (
            Cell(each.variant, kind="reference" if each.variant in findings.main.references else ""),
            *_totals(each.whole, measures),
            *_totals(each.own, measures),
        )
        for each in costs
    ]
    whole = cost.spent(findings.study)
    rows.append((Cell("the study"), *_totals(whole, measures), *[Cell("")] * (1 + len(measures))))
    heads = ("stages", *(measure.label for measure in measures))
    caption = (
        "What all runs of a variant need, each stage once. Own: the part of it that no other variant or control needs. "
        "The last row is the whole study, each stage once."
    )
    return Table(("variant", *heads, *(f"own {name}" for name in heads)), tuple(rows), caption)


def _totals(amounts: Amounts, measures: Sequence[Measure]) -> list[Cell]:
    stages = amounts.gpu.stages + amounts.cpu.stages
    values = [measure.of(amounts) for measure in measures]
    return [Cell(str(stages), stages), *(Cell(significant(value), value) for value in values)]
