"""What a rehearsal found: whether the study's tables would be whole, and what the rehearsal has not tried."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from reports.contract import MACRO
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.sections import sections
from reports.text import MISSING


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
    return list(dict.fromkeys([*_refused(findings), *_unscored(findings, tables), *_alone(findings, tables)]))


def _refused(findings: Findings) -> Iterable[str]:
    for comparison in findings.comparisons:
        for contrast in comparison.contrasts:
            if contrast.refused:
                yield f"contrast refused on {comparison.style.label}: {contrast.refused}"


def _unscored(findings: Findings, tables: Tables) -> Iterable[str]:
    """Scores of the declared metrics that are not in the table at all, and those undefined in every variant.

    A variant may lack another metric by design, as one without a classifier has no area under its curve.
    """
    empty = tables.scores.undefined
    for comparison in (each for each in findings.comparisons if each.primary):
        for row in comparison.rows:
            of_row = (empty["variant"] == row.variant) & (empty["metric"] == comparison.style.name)
            if not row.runs and not of_row.any():
                yield f"{row.variant} has no {comparison.style.label}"
    one_sided = set(_one_sided(tables))
    defined = set(_cells(tables.scores.frame, "metric", "target"))
    for cell in dict.fromkeys(_cells(empty, "metric", "target")):
        if cell not in defined and cell not in one_sided:
            yield f"no variant has a {_named(*cell)} that is defined"


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


def untrained(tables: Tables) -> list[str]:
    """The cells that are undefined in all runs of a variant and defined in another's: an untrained network's estimate
    is silent, or its gate closed, and training cures that."""
    defined = tables.scores.frame
    own, anybody = (set(_cells(defined, *names)) for names in (("metric", "target", "variant"), ("metric", "target")))
    return [
        f"{_named(metric, target)} of {variant}"
        for metric, target, variant in dict.fromkeys(_cells(tables.scores.undefined, "metric", "target", "variant"))
        if (metric, target, variant) not in own and (metric, target) in anybody
    ]


def _cells(scores: pd.DataFrame, *names: str) -> Iterable[tuple[str, ...]]:
    return zip(*(scores[name] for name in names), strict=True)


def _alone(findings: Findings, tables: Tables) -> Iterable[str]:
    """Printed figures beside which nothing of ours stands, and tables of a paper that are declared and not made."""
    cured = bool(untrained(tables))
    for declared in findings.study.declaration.sections:
        if not ("published" in str(declared["kind"]) or "table" in declared):
            continue
        made = sections(findings, tables, (declared,))
        if not made:
            yield f"the paper's table that {findings.study.name} declares ({declared['kind']}) is not made"
        for table in (table for section in made for table in section.tables):
            columns = [index for index, head in enumerate(table.head) if head == "published" and index]
            rows = [[cell.text for cell in row] for row in table.cells]
            printed = [(row, index) for row in rows for index in columns if row[index] not in ("", MISSING)]
            if columns and not printed:
                yield f"{made[0].title}: no row of ours stands beside a printed one"
            for row, index in printed:
                if row[index - 1] in ("", MISSING) and not cured:
                    yield f"{made[0].title}: nothing of ours beside {row[0]}, {table.head[index - 1]}"


def uncovered(findings: Findings, tables: Tables) -> list[str]:
    """What these data and this machine left untried, one sentence each."""
    devices = sorted({stage.device for stage in findings.study.stages.values() if stage.device})
    told = [f"All ran on {' and '.join(devices)}."] if devices else []
    told += [f"{note.text}: {', '.join(note.items)}." for note in findings.study.notes if note.kind == "rare"]
    one_sided = _one_sided(tables)
    if one_sided:
        names = ", ".join(_named(*cell) for cell in one_sided)
        told.append(f"What was read holds a target throughout or not at all, which leaves without a value: {names}.")
    cells = untrained(tables)
    if cells:
        more = ", ..." if len(cells) > 8 else ""
        told.append(f"{len(cells)} cells are undefined without training: {', '.join(cells[:8])}{more}.")
    return told
