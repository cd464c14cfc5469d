"""What a study whose number of seeds depends on its results decides at each look: a function of its scores alone.

The driver of a study asks it which seeds to train next, and the report shows it; so a study that was killed and
started again ends with the same report. docs/sequential.md explains the method.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from reports.comparison import comparison
from reports.contract import Study
from reports.findings import Comparison, Contrast, Course, Look, Path
from reports.inputs.tables import Scores, without
from reports.statistics import tagging
from reports.statistics.corrections import stars
from reports.statistics.hypothesis_tests import NAN, not_possible, tost
from reports.statistics.sequential import Boundary, Standing, boundary, decide, overall_p
from reports.statistics.sequential_estimates import items_needed, median_unbiased, seeds_needed

NOT_TESTED = "not tested"
"""A contrast that its first look cannot test ends there."""


def counted(study: Study) -> tuple[int, ...]:
    """Numbers of seeds at which results could be seen before the study was declared as it is now."""
    found: set[int] = set()
    for entry, later in pairwise(study.ledger):
        many = Counter(name.rpartition("/seed")[0] for name in later.scored)
        until = entry.declaration.get("until") or {}
        if until != (study.ledger[-1].declaration.get("until") or {}):
            most = max(many.values(), default=0)
            found |= {seeds for seeds in until["seeds"] if seeds <= most} if until else {min(len(entry.seeds), most)}
    return tuple(sorted(found))


def looks(study: Study) -> tuple[int, ...]:
    """Seeds at each look: the declared ones, and those at which somebody could look before."""
    until = study.declaration.until
    assert until is not None
    return tuple(sorted({*until.seeds, *(seeds for seeds in counted(study) if 2 <= seeds <= until.seeds[-1])}))


def follow(scores: Scores, study: Study, predictions: pd.DataFrame | None = None) -> Course:
    """All looks whose trials are done, in order, each contrast until it is decided."""
    return _follow(scores, study, predictions)[0]


def outcomes(course: Course) -> dict[str, dict[str, Any]]:
    """By number of seeds, what each contrast was found to be at that look: for the record in the study's folder."""
    found: dict[str, dict[str, Any]] = {}
    for path in course.paths:
        for look in path.looks:
            found.setdefault(str(look.seeds), {})[path.variant] = {
                "difference": look.result.difference,
                "p": None if math.isnan(look.result.p) else look.result.p,
                "level": look.level,
                "decision": look.decision,
            }
    return found


def apply(
    main: Comparison, scores: Scores, study: Study, predictions: pd.DataFrame | None
) -> tuple[Comparison, Course]:
    """The primary comparison with every contrast as the look that decided it left it, and the course of the study."""
    course, ended = _follow(scores, study, predictions)
    contrasts = []
    for contrast in main.contrasts:
        path, own = course.path(contrast.variant), ended.get(contrast.variant)
        if own is None:
            none = not_possible(main.test, main.test_label, (0, 0), 0, "no look is complete")
            found = replace(contrast, primary=none, p_corrected=NAN, stars="", simultaneous=(NAN, NAN))
        else:
            last = path.looks[-1]
            found = replace(
                contrast,
                primary=last.result,
                p_corrected=path.p,
                stars=stars(path.p),
                simultaneous=(last.low, last.high),
                equivalence=tost(last.result, main.alpha, study.declaration.margin),
                tests=(last.result, *contrast.tests[1:]),
                reference_mean=own.reference_mean,
            )
        contrasts.append(found)
    return replace(main, contrasts=tuple(contrasts), repeated=True), course


def _follow(scores: Scores, study: Study, predictions: pd.DataFrame | None) -> tuple[Course, dict[str, Contrast]]:
    declaration, at = study.declaration, looks(study)
    assert declaration.until is not None
    done = {(trial.variant, trial.seed) for trial in study.trials if trial.status == "done"}
    against, seeds_of = _against(study), _seeds(study)
    family = len(against) if declaration.correction != "none" else 1
    paths: dict[str, list[Look]] = {name: [] for name in against}
    bounds: dict[str, Boundary] = {}
    ended: dict[str, Contrast] = {}
    wanted: dict[str, int] = {}
    going, together = dict(against), Counter(against.values())
    for number, seeds in enumerate(at):
        wanted |= {name: seeds for pair in going.items() for name in pair}
        taken = {name: seeds_of.get(name, ())[:many] for name, many in wanted.items()}
        if not all(len(taken[n]) == many and all((n, s) in done for s in taken[n]) for n, many in wanted.items()):
            break
        main = _compare(scores, study, taken, predictions)
        level, spending = declaration.alpha / family, declaration.until.spending
        bounds = {base: boundary(many, at, level, spending, main.test) for base, many in together.items()}
        for name in list(going):
            contrast = next(c for c in main.contrasts if c.variant == name)
            look = _look(contrast, bounds[against[name]], number, declaration.margin)
            paths[name].append(look)
            ended[name] = contrast
            if look.decision:
                del going[name]
        if not going:
            break
    made = tuple(_path(name, base, paths[name], bounds.get(base), family) for name, base in against.items())
    names = [variant.name for variant in study.variants]
    course = Course(
        at,
        tuple(seeds for seeds in counted(study) if seeds in at),
        declaration.until.spending,
        declaration.alpha / family,
        made,
        {name: wanted.get(name, at[0]) for name in names},
    )
    return course, ended


def _against(study: Study) -> dict[str, str]:
    """By variant, the one it is compared with; without the references."""
    declaration = study.declaration
    pairs = {v.name: declaration.references.get(v.name, declaration.reference) for v in study.variants}
    return {name: base for name, base in pairs.items() if name != base}


def _seeds(study: Study) -> dict[str, tuple[int, ...]]:
    """By variant, its seeds in the order they are taken: those that failed and were replaced left out."""
    found: dict[str, tuple[int, ...]] = {}
    for trial in study.trials:
        if trial.status != "replaced":
            found[trial.variant] = (*found.get(trial.variant, ()), trial.seed)
    return found


def _compare(
    scores: Scores, study: Study, taken: Mapping[str, Sequence[int]], predictions: pd.DataFrame | None
) -> Comparison:
    """The primary comparison of these seeds of each variant."""
    declaration = study.declaration
    chosen = [(name, seed) for name, seeds in taken.items() for seed in seeds]

    def kept(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[pd.MultiIndex.from_frame(frame[["variant", "seed"]]).isin(chosen)]

    cut = replace(scores, frame=kept(scores.frame), undefined=kept(scores.undefined))
    areas: dict[str, tagging.Influence] = {}
    if predictions is not None and declaration.metric == "roc_auc":
        areas = tagging.influences(kept(predictions), declaration.target)
    left = without(cut, declaration.exclude)
    return comparison(left, study, declaration.metric, declaration.target, True, areas, brief=True)


def _look(contrast: Contrast, bounds: Boundary, number: int, margin: float | None) -> Look:
    result, seeds = contrast.primary, bounds.looks[number]
    if not (result.se > 0 and result.df > 0):
        return Look(seeds, result, 0.0, NAN, NAN, NOT_TESTED)
    now = Standing(
        np.array(result.difference),
        np.array(result.se),
        np.array(result.df),
        np.array(float(result.n[0])),
        np.array(float(result.n[1])),
        np.array(result.lasting),
    )
    level = float(bounds.level(number, result.df, *result.n))
    half = float(stdtrit(result.df, 1 - level / 2)) * result.se if level > 0 else math.inf
    decision = str(decide(bounds, number, now, margin))
    return Look(seeds, result, level, result.difference - half, result.difference + half, decision)


def _path(name: str, reference: str, found: list[Look], bounds: Boundary | None, family: int) -> Path:
    if not found or bounds is None or found[-1].decision == NOT_TESTED:
        return Path(name, reference, tuple(found), NAN, NAN, math.inf, math.inf)
    last, number = found[-1], len(found) - 1
    estimate = median_unbiased(last.result.difference, last.result.p, bounds, number, [look.level for look in found])
    p = min(1.0, family * overall_p(bounds, number, last.result.p, last.level))
    final = float(bounds.level(len(bounds.looks) - 1, last.result.df, bounds.looks[-1], bounds.looks[-1]))
    kept, most = last.result.lasting / last.result.se**2, bounds.looks[-1]
    seeds = seeds_needed(last.result.p, final, last.seeds, kept)
    items = items_needed(last.result.p, final, last.seeds, most, kept, last.result.items)
    return Path(name, reference, tuple(found), estimate, p, seeds, items)
