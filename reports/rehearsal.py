"""What a rehearsal found: whether the study's tables would be whole, and what the rehearsal has not tried."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from reports import ledger
from reports.assembly import sections
from reports.contract import MACRO, Metric, known_metric
from reports.document import Cell
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.separation import BASELINES
from reports.text import MISSING, count

Score = tuple[str, str, str]
"""Metric, target and variant of a score."""


def conclude(findings: Findings, tables: Tables, untried: Sequence[str], say: Callable[[str], None]) -> bool:
    """Say what was not tried and what the study would lack; whether it would lack nothing."""
    say("\nwhat this rehearsal has not tried:")
    for text in (*untried, *uncovered(findings, tables)):
        say(f"  {text}")
    wanting = faults(findings, tables)
    if wanting:
        say("what the study would lack:")
    for text in wanting:
        say(f"  {text}")
    say(f"{findings.study.title}: {'not as it should be' if wanting else 'every table is whole'}")
    return not wanting


def faults(findings: Findings, tables: Tables) -> list[str]:
    """What a study would be missing that has run to its end, one sentence each: contrasts that were refused, rows and
    cells without a score that no training gives them, printed figures without one of ours beside them."""
    return list(dict.fromkeys([*_refused(findings, tables), *_unscored(findings, tables), *_alone(findings, tables)]))


def _refused(findings: Findings, tables: Tables) -> Iterable[str]:
    aside = _aside(findings, tables)
    for comparison in findings.comparisons:
        for contrast in comparison.contrasts:
            if contrast.refused and contrast.variant not in aside:
                yield f"contrast refused on {comparison.style.label}: {contrast.refused}"


def _unscored(findings: Findings, tables: Tables) -> Iterable[str]:
    """Variants without a primary score, and every other score that is undefined and that no training would give.

    A variant may lack another metric by design, as one without a classifier has no area under its curve.
    """
    for comparison in (each for each in findings.comparisons if each.primary):
        aside = _aside(findings, tables)
        for row in comparison.rows:
            if not row.runs and row.variant not in aside:
                yield f"{row.variant} has no {comparison.style.label} that is defined"
    defined = set(_cells(tables.scores.frame, "metric", "target"))
    excused = {(metric, target) for metric, target in _one_sided(tables)}
    trained = untrained(findings, tables)
    for metric, target, variant in _undefined(tables):
        if (metric, target) not in defined:
            if (metric, target) not in excused:
                yield f"no variant has a {_named(metric, target)} that is defined"
        elif (metric, target, variant) not in trained:
            yield f"{variant} has no {_named(metric, target)} that is defined, and training is not what it lacks"


def _aside(findings: Findings, tables: Tables) -> list[str]:
    """Variants that this run was told to leave out."""
    return ledger.set_aside(findings.study, set(tables.scores.frame["variant"]))


def _one_sided(tables: Tables) -> list[tuple[str, ...]]:
    """Areas under a curve that no variant has of a target: all of the little that was read holds it, or none of it.
    Their mean is one where no target has any."""
    defined = set(_cells(tables.scores.frame, "metric", "target"))
    metrics = {metric for metric, _ in defined}
    undefined = dict.fromkeys(_cells(tables.scores.undefined, "metric", "target"))
    return [
        cell
        for cell in undefined
        if cell not in defined and "auc" in cell[0] and not (cell[0] in metrics and cell[1] in MACRO)
    ]


def _named(metric: str, target: str) -> str:
    return f"{metric} of {target}" if target else metric


def _undefined(tables: Tables) -> list[Score]:
    """The scores (metric, target, variant) that are undefined in all runs and tracks of a variant."""
    own = set(_cells(tables.scores.frame, "metric", "target", "variant"))
    cells = dict.fromkeys(_cells(tables.scores.undefined, "metric", "target", "variant"))
    return [(metric, target, variant) for metric, target, variant in cells if (metric, target, variant) not in own]


def untrained(findings: Findings, tables: Tables) -> list[Score]:
    """The undefined scores whose cause is an untrained network: its estimate is silent, or its gate closed, which
    training cures.

    So much is known of each of them: the variant has a network that was trained; the metric is one of sound, which a
    silent estimate has not; another variant has it; and other scores of the same estimate are defined, so it was made,
    and its samples are numbers.
    """
    scores, study = tables.scores.frame, findings.study
    anybody = set(_cells(scores, "metric", "target"))
    of_models = scores[~scores["metric"].str.endswith(tuple(BASELINES))]
    made = set(_cells(of_models, "target", "variant"))
    learned = _trained(tables)
    variants = {trial.variant for trial in study.trials if learned & set(trial.stages.values())}
    return [
        (metric, target, variant)
        for metric, target, variant in _undefined(tables)
        if variant in variants
        and (known_metric(metric) or Metric()).unit == "dB"
        and (metric, target) in anybody
        and (target, variant) in made
    ]


def _trained(tables: Tables) -> set[str]:
    """Keys of the stages that trained something."""
    curves = tables.curves
    return set() if curves is None else set(curves["key"][curves["metric"] == "train_loss"])


def _cells(scores: pd.DataFrame, *names: str) -> Iterable[tuple[str, ...]]:
    return zip(*(scores[name] for name in names), strict=True)


def _alone(findings: Findings, tables: Tables) -> Iterable[str]:
    """Printed figures beside which nothing of ours stands, and tables of a paper that are declared and not made.

    Reports of a rehearsal show no printed figures; those of the study will.
    """
    cured, aside = set(untrained(findings, tables)), _aside(findings, tables)
    real = replace(findings, study=replace(findings.study, rehearsal=False))
    for declared in findings.study.declaration.sections:
        if not ("published" in str(declared["kind"]) or "table" in declared):
            continue
        made = sections(real, tables, (declared,))
        if not made and not _elsewhere(declared, findings, aside):
            yield f"the paper's table that {findings.study.name} declares ({declared['kind']}) is not made"
        for table in (table for section in made for table in section.tables):
            columns = [index for index, head in enumerate(table.head) if head == "published" and index]
            printed = [(row, index) for row in table.cells for index in columns if _filled(row[index])]
            if columns and not printed:
                yield f"{made[0].title}: no row of ours stands beside a printed one"
            for row, index in printed:
                ours = row[index - 1]
                known = ours.score is not None and (ours.score in cured or ours.score[2] in aside)
                if not _filled(ours) and not known:
                    place = [cell.text for cell in row[: columns[0] - 1]]
                    yield f"{made[0].title}: nothing of ours beside {', '.join(place)}, {table.head[index - 1]}"


def _elsewhere(declared: Mapping[str, Any], findings: Findings, aside: Collection[str]) -> bool:
    """Whether a section shows a part of the study of which this run was told to leave every variant out."""
    parts = [declared[key] for key in ("within", "where", "columns") if isinstance(declared.get(key), Mapping)]
    place = {factor: level for part in parts for factor, level in part.items()}
    shown = [v for v in findings.study.variants if all(v.levels.get(f) == level for f, level in place.items())]
    return bool(shown) and all(variant.name in aside for variant in shown)


def _filled(cell: Cell) -> bool:
    return cell.text not in ("", MISSING)


def uncovered(findings: Findings, tables: Tables) -> list[str]:
    """What these data and this machine left untried, one sentence each."""
    devices = sorted({stage.device for stage in findings.study.stages.values() if stage.device})
    told = [f"All ran on {' and '.join(devices)}."] if devices else []
    told += [f"{note.text}: {', '.join(note.items)}." for note in findings.study.notes if note.kind == "rare"]
    one_sided = _one_sided(tables)
    if one_sided:
        names = ", ".join(_named(*cell) for cell in one_sided)
        told.append(f"What was read holds a target throughout or not at all, which leaves without a value: {names}.")
    cells = untrained(findings, tables)
    if cells:
        names = ", ".join(f"{_named(metric, target)} of {variant}" for metric, target, variant in cells)
        told.append(
            f"{count(len(cells), 'score')} undefined without training (a silent estimate, a closed gate): {names}."
        )
    return told
