"""The ablation report: score tables and study.json -> Findings.

A pure function of its inputs and one seed. One comparison per metric: the declared one is primary,
the other metrics that exist for every variant follow, each a family of its own.
"""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from reports import caveats, controls, declared, design, ledger, sequential, together
from reports.comparison import comparison
from reports.contract import MACRO, Study
from reports.conventions import by_convention
from reports.findings import Comparison, Findings
from reports.inputs.tables import Scores, select, tag_scores, without
from reports.overlap import arms, overlap
from reports.separation import BASELINES, Separation, separation
from reports.statistics import groups, tagging
from reports.statistics.calibration import simulate
from reports.statistics.effects import by_item, variance_by_factor
from reports.text import count, listing


def analyse(scores: Scores, study: Study, predictions: pd.DataFrame | None = None, brief: bool = False) -> Findings:
    """Everything the report says; `brief` leaves out all but the primary and the naive test of the primary metric.

    Where variants have different primary metrics, those that share
    one are analysed apart; the family still counts all contrasts.

    Raises:
        ValueError: the declared metric, target or reference is not in the table.
    """
    if study.declaration.controls:
        own = controls.names(study)
        kept = None if predictions is None else predictions[~predictions["variant"].isin(own)]
        frame, gone = (table[~table["variant"].isin(own)] for table in (scores.frame, scores.undefined))
        found = analyse(replace(scores, frame=frame, undefined=gone), controls.without(study), kept, brief)
        given = without(scores, study.declaration.exclude)
        judged = None if brief else controls.judged(given, study, predictions)
        aside = [name for name in ledger.set_aside(study, scores.variants()) if name in own]
        if aside:
            many = ("control", "was") if len(aside) == 1 else ("controls", "were")
            text = f"The {many[0]} {listing(aside)} {many[1]} not run (--only): nothing shows what these runs can see."
            found = replace(found, cautions=(text, *found.cautions))
        return replace(found, study=study, controls=judged if judged and judged.judged else None)
    parts = _parts(study)
    if len(parts) == 1:
        return _analyse(scores, study, predictions, brief)
    several: list[Findings] = []
    absent = []
    for label, part in parts.items():
        names = [v.name for v in part.variants]
        rows = scores.frame[scores.frame["variant"].isin(names)]
        gone = scores.undefined[scores.undefined["variant"].isin(names)]
        if rows.empty:
            absent.append(f"{label}: no trial has a score.")
            continue
        some = None if predictions is None else predictions[predictions["variant"].isin(names)]
        one = _analyse(replace(scores, frame=rows, undefined=gone), part, some, brief)
        several.append(replace(one, comparisons=tuple(_labelled(c, label) for c in one.comparisons)))
    if not several:
        return _analyse(scores, study, predictions, brief)
    first = several[0]
    return replace(
        first,
        study=study,
        comparisons=tuple(c for one in several for c in one.comparisons),
        deviations=tuple(dict.fromkeys([*absent, *(t for one in several for t in one.deviations)])),
        cautions=tuple(dict.fromkeys(text for one in several for text in one.cautions)),
        by_tag={name: each for one in several for name, each in one.by_tag.items()},
        by_track={name: each for one in several for name, each in one.by_track.items()},
        tag_areas={name: each for one in several for name, each in one.tag_areas.items()},
        separation=_apart(row for one in several for row in one.separation),
        conventions=(),
        scores=without(scores, study.declaration.exclude),
    )


def _parts(study: Study) -> dict[str, Study]:
    """The study as it is, or by label one for each primary metric, with the variants that have it."""
    metrics = study.declaration.metrics
    groups: dict[tuple[str, str], list[str]] = {}
    for variant in study.variants:
        metric, label = study.declaration.metric, ""
        for factor in study.declaration.factors:
            level = variant.levels.get(factor.name, "")
            if metrics.keys() & factor.levels.keys():
                metric, label = metrics.get(level, metric), level
        groups.setdefault((metric, label), []).append(variant.name)
    if not metrics or len(groups) < 2:
        return {"": study}
    parts = {}
    for (metric, label), names in groups.items():
        reference = study.declaration.references.get(names[0], study.declaration.reference)
        declaration = replace(study.declaration, metric=metric, reference=reference, metrics={})
        parts[label] = replace(
            study,
            declaration=declaration,
            variants=tuple(v for v in study.variants if v.name in names),
            trials=tuple(t for t in study.trials if t.variant in names),
        )
    return parts


def _apart(rows: Iterable[Separation]) -> tuple[Separation, ...]:
    """Rows of variants whose figures are equal to the last bit as one, that names them all."""
    first: dict[tuple, Separation] = {}
    for row in rows:
        figures = (row.target, row.style.name, row.model, tuple(sorted(row.baselines.items())))
        one = first.setdefault(figures, row)
        others = [name for name in (row.variant, *row.equal) if name not in (one.variant, *one.equal)]
        first[figures] = replace(one, equal=(*one.equal, *others))
    return tuple(first.values())


def _tracks(scores: Scores, rows: pd.DataFrame) -> list[str]:
    """The test tracks of the main metric's rows, or those that separators are scored on where it has none."""
    of_main = set(rows["track"].unique()) - {""}
    return sorted(of_main or set(scores.frame["track"].unique()) - {""})


def _labelled(comparison: Comparison, label: str) -> Comparison:
    style = comparison.style
    return replace(comparison, style=replace(style, label=f"{style.label}, {label}"))


def _analyse(scores: Scores, study: Study, predictions: pd.DataFrame | None, brief: bool) -> Findings:
    given, scores = scores, without(scores, study.declaration.exclude)
    if scores.frame.empty:
        raise ValueError("the score table holds no defined score: every trial is missing, failed or undefined")
    metric = study.declaration.metric or _first_metric(scores)
    areas: dict[str, tagging.Influence] = {}
    if predictions is not None and metric == "roc_auc":
        areas = tagging.influences(predictions, study.declaration.target)
    main = comparison(scores, study, metric, study.declaration.target, True, areas, brief)
    course = None
    if study.declaration.until is not None:
        main, course = sequential.apply(main, given, study, predictions)
    if brief:
        return Findings(study, (main,), (), (), {}, {}, {}, (), None, (), course=course)
    secondary = secondary_metrics(scores, study, metric)
    others = tuple(comparison(scores, study, other, target, False) for other, target in secondary)
    apart = _apart(separation(scores.frame, metric))
    made = [c for c in main.contrasts if not c.refused]
    rows, tags = select(scores, metric, study.declaration.target), tag_scores(scores, metric)
    scored = arms(rows)
    tracks = {c.variant: items for c in made if (items := overlap(c.variant, c.reference, scored, 0).items)}
    by_tag = {c.variant: (tags[c.variant], tags[c.reference]) for c in made if {c.variant, c.reference} <= tags.keys()}
    clusters = groups.of_items(rows) if main.groups else {}
    units = {n: tuple(groups.collapse(arm, clusters) for arm in pair) for n, pair in tracks.items()}
    over_clips = {
        c.variant: (areas[c.variant].scores, areas[c.reference].scores)
        for c in made
        if {c.variant, c.reference} <= areas.keys()
    }
    power, spread, blocks = design.of_study(main, over_clips or (units if clusters else tracks))
    whole = together.tables(main, scored)
    return Findings(
        study=study,
        comparisons=(main, *others),
        deviations=tuple(declared.deviations(study, scores, main)),
        cautions=tuple(
            dict.fromkeys(
                [
                    *caveats.cautions(study, areas, apart, _tracks(scores, rows)),
                    *declared.cautions(study, given, scores, (main, *others)),
                ]
            )
        ),
        by_tag=by_item(by_tag, main.style.higher_is_better, study.declaration.alpha),
        by_track=by_item(tracks, main.style.higher_is_better, study.declaration.alpha),
        tag_areas={
            contrast.variant: tagging.by_tag(areas[contrast.variant], areas[contrast.reference], main.alpha)
            for contrast in main.contrasts
            if contrast.variant in areas and contrast.reference in areas and not contrast.refused
        },
        separation=apart,
        power=None if course else power,
        variance=variance_by_factor(main.balanced, study),
        calibration=simulate(blocks, spread, main.alpha, power.detectable) if power and not course else None,
        course=course,
        systems=together.all_systems(main, whole, clusters),
        effects=together.factor_effects(study, main, whole, clusters, areas),
        conventions=by_convention(scores, (main, *others)),
        scores=scores,
    )


def _first_metric(scores: Scores) -> str:
    return "roc_auc" if "roc_auc" in scores.metrics() else scores.metrics()[0]


def secondary_metrics(scores: Scores, study: Study, primary: str) -> list[tuple[str, str]]:
    """(metric, target) beside the primary one that the reference and some other variant have.

    Scores over a whole split count if they are a mean over tags or have no target, scores of
    tracks if they are of the declared target.
    """
    frame, target = scores.frame, study.declaration.target
    split = (frame["track"] == "") & frame["target"].isin(MACRO)
    by_track = (frame["track"] != "") & (frame["target"] == target)
    found = []
    for rows, chosen in ((frame[split], ""), (frame[by_track], target)):
        for metric, group in rows.groupby("metric", sort=False):
            names = set(group["variant"].unique())
            needs_no_model = str(metric).endswith(tuple(BASELINES))
            both = study.declaration.reference in names and len(names) > 1
            if metric != primary and both and not needs_no_model:
                found.append((str(metric), chosen))
    return list({metric: (metric, chosen) for metric, chosen in reversed(found)}.values())[::-1]


def describe_design(findings: Findings) -> str:
    """One sentence: variants, seeds, trials done."""
    study = findings.study
    trials = study.trials
    done = sum(t.status == "done" for t in trials)
    most = "up to " if study.declaration.until else ""
    seeds = most + count(len(study.declaration.seeds), "seed") if study.declaration.seeds else "unlisted seeds"
    text = f"{count(len(findings.main.rows), 'variant')}, {seeds}"
    if trials:
        text += f", {done} of {count(len(trials), 'trial')} done"
    if study.declaration.factors:
        names = [factor.name for factor in study.declaration.factors]
        text += f"; {count(len(names), 'factor')}: {listing(names)}"
    return text
