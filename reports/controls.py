"""Controls: arms whose truth is known in advance. A study in which they do not come out as declared has no verdict.

They are compared with the study's reference in a family of their own, on the primary metric and by the primary test.
A planted loss or gain must be found, with the right sign, after correction over the controls. A placebo must be shown
to be equivalent within its margin (two one-sided tests at alpha: that each of several controls comes out needs no
correction, because all of them must).
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from reports import ledger
from reports.comparison import comparison
from reports.contract import Factor, Study
from reports.findings import Comparison, Control, Controls
from reports.inputs.tables import Scores
from reports.statistics import tagging
from reports.statistics.hypothesis_tests import Result, tost
from reports.text import Style, p_phrase

FACTOR = "control"


def names(study: Study) -> set[str]:
    """The variants that are controls."""
    return {control.name for control in study.declaration.controls}


def without(study: Study) -> Study:
    """The study as its question has it."""
    gone = names(study)
    return replace(
        study,
        declaration=replace(study.declaration, controls=()),
        controls=(),
        trials=tuple(trial for trial in study.trials if trial.variant not in gone),
    )


def judged(scores: Scores, study: Study, predictions: pd.DataFrame | None) -> Controls:
    """The controls against the study's reference, each with whether it came out as declared; without those that the
    last run was told to leave out."""
    compared = _comparison(scores, study, predictions)
    aside = ledger.set_aside(study, scores.variants())
    found = []
    for control in study.declaration.controls:
        if control.name in aside:
            continue
        contrast = compared.contrast(control.name) if compared is not None else None
        if compared is None or contrast is None or contrast.refused or math.isnan(contrast.primary.p):
            reason = (contrast.refused or contrast.primary.note) if contrast else "it has no score"
            found.append(
                Control(control.name, control.expected, False, f"{control.name} could not be judged: {reason}")
            )
            continue
        style, result = compared.style, contrast.primary
        why = f" ({control.why})" if control.why else ""
        if control.expected == "equivalent":
            shown = tost(result, compared.alpha, control.margin)
            within = style.amount(control.margin or math.nan)
            came_out = shown.p < compared.alpha if not math.isnan(shown.p) else shown.smallest == 0
            verdict = "was" if came_out else "was not shown to be"
            told = f"the {control.name}{why} {verdict} equivalent within {within} (difference {_signed(style, result)})"
        else:
            sign = 1 if style.higher_is_better == (control.expected == "better") else -1
            clear = contrast.p_corrected < compared.alpha
            came_out = clear and sign * result.difference > 0
            corrected = f"corrected {p_phrase(contrast.p_corrected)}"
            if came_out:
                told = f"the {control.name}{why} of {style.amount(result.difference)} was found ({corrected})"
            else:
                other = ", in the other direction" if clear else ""
                told = f"the {control.name}{why} was not found ({_signed(style, result)}, {corrected}{other})"
        found.append(Control(control.name, control.expected, came_out, told))
    return Controls(compared, tuple(found))


def _signed(style: Style, result: Result) -> str:
    return style.difference(result.difference, unit=True)


def _comparison(scores: Scores, study: Study, predictions: pd.DataFrame | None) -> Comparison | None:
    declaration, reference = study.declaration, study.declaration.reference
    every = (reference, *(control.name for control in declaration.controls))
    rows = scores.frame[scores.frame["variant"].isin(every)]
    if set(rows["variant"]) < {reference} or rows.empty or reference not in set(rows["variant"]):
        return None
    base = study.variant(reference)
    changes: Mapping[str, Mapping[str, object]] = {control.name: control.departures for control in declaration.controls}
    part = replace(
        study,
        variants=tuple(replace(v, levels={FACTOR: v.name}) for v in (base, *study.controls)),
        trials=tuple(trial for trial in study.trials if trial.variant in every),
        controls=(),
        declaration=replace(
            declaration,
            factors=(Factor(FACTOR, {reference: {}, **changes}),),
            references={},
            within=(),
            metrics={},
            own_tracks=(),
            controls=(),
            margin=None,
            until=None,
        ),
    )
    areas: dict[str, tagging.Influence] = {}
    if predictions is not None and declaration.metric == "roc_auc":
        areas = tagging.influences(predictions[predictions["variant"].isin(every)], declaration.target)
    gone = scores.undefined[scores.undefined["variant"].isin(every)]
    metric = declaration.metric or str(rows["metric"].iloc[0])
    if metric not in set(rows["metric"]):
        return None
    return comparison(replace(scores, frame=rows, undefined=gone), part, metric, declaration.target, True, areas)
