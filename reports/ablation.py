"""The ablation report: score tables and study.json -> Findings.

A pure function of its inputs and one seed. One comparison a metric: the declared one is primary,
the other metrics that exist for every variant follow, each a family of its own.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from . import crossed, declared, mixed, stats, tagging
from .contrasts import Comparability, compare
from .corrections import LABELS, correct, stars
from .effects import BASELINES, by_item, separation, variance_by_factor
from .findings import Comparison, Contrast, Findings, Power, Row, Separation
from .power import detectable, nice_differences, runs_needed
from .stats import NAN, Result
from .study import Study, nearest
from .table import MACRO, Scores, item_scores, run_scores, select, tag_scores, without
from .text import count, listing, style

MIXED_LIMIT = 40
SEED = 20_240_229


def analyse(scores: Scores, study: Study, predictions: pd.DataFrame | None = None) -> Findings:
    """Everything the report says. Where variants have different primary metrics, those that share
    one are analysed apart; the family still counts all contrasts.

    Raises:
        ValueError: the declared metric, target or reference is not in the table.
    """
    parts = _parts(study)
    if len(parts) == 1:
        return _analyse(scores, study, predictions)
    found, absent = [], []
    for label, part in parts.items():
        names = [v.name for v in part.variants]
        rows = scores.frame[scores.frame["variant"].isin(names)]
        gone = scores.undefined[scores.undefined["variant"].isin(names)]
        if rows.empty:
            absent.append(f"{label}: no trial has a score.")
            continue
        some = None if predictions is None else predictions[predictions["variant"].isin(names)]
        one = _analyse(replace(scores, frame=rows, undefined=gone), part, some)
        found.append(replace(one, comparisons=tuple(_labelled(c, label) for c in one.comparisons)))
    if not found:
        return _analyse(scores, study, predictions)
    first = found[0]
    return replace(
        first,
        study=study,
        comparisons=tuple(c for one in found for c in one.comparisons),
        deviations=tuple(dict.fromkeys([*absent, *(t for one in found for t in one.deviations)])),
        cautions=tuple(dict.fromkeys(text for one in found for text in one.cautions)),
        by_tag={name: each for one in found for name, each in one.by_tag.items()},
        by_track={name: each for one in found for name, each in one.by_track.items()},
        tag_areas={name: each for one in found for name, each in one.tag_areas.items()},
        separation=_apart(row for one in found for row in one.separation),
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
    """Rows without those of variants that share an earlier one's separator: equal to the last bit."""
    first: dict[tuple, Separation] = {}
    for row in rows:
        figures = (row.target, row.style.name, row.model, tuple(sorted(row.baselines.items())))
        first.setdefault(figures, row)
    return tuple(first.values())


def _labelled(comparison: Comparison, label: str) -> Comparison:
    style = comparison.style
    return replace(comparison, style=replace(style, label=f"{style.label}, {label}"))


def _analyse(scores: Scores, study: Study, predictions: pd.DataFrame | None = None) -> Findings:
    given, scores = scores, without(scores, study.declaration.exclude)
    if scores.frame.empty:
        raise ValueError(
            "the score table holds no defined score: every trial is missing, failed or undefined"
        )
    metric = study.declaration.metric or _first_metric(scores)
    areas: dict[str, tagging.Influence] = {}
    if predictions is not None and metric == "roc_auc":
        areas = tagging.influences(predictions, study.declaration.target)
    main = comparison(scores, study, metric, study.declaration.target, True, areas)
    others = tuple(
        comparison(scores, study, other, target, False)
        for other, target in secondary_metrics(scores, study, metric)
    )
    tags = tag_scores(scores, metric)
    tracks = item_scores(select(scores, metric, study.declaration.target))
    return Findings(
        study=study,
        comparisons=(main, *others),
        deviations=tuple(declared.deviations(study, scores, main)),
        cautions=tuple(declared.cautions(study, given, scores, main)),
        by_tag=by_item(tags, main, study.declaration.alpha),
        by_track=by_item(tracks, main, study.declaration.alpha),
        tag_areas={
            contrast.variant: tagging.by_tag(
                areas[contrast.variant], areas[contrast.reference], main.alpha
            )
            for contrast in main.contrasts
            if contrast.variant in areas and contrast.reference in areas and not contrast.refused
        },
        separation=_apart(separation(scores, metric)),
        power=_power(main, tracks),
        variance=variance_by_factor(main, study),
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
            names = set(group["variant"])
            needs_no_model = str(metric).endswith(tuple(BASELINES))
            both = study.declaration.reference in names and len(names) > 1
            if metric != primary and both and not needs_no_model:
                found.append((str(metric), chosen))
    return list({metric: (metric, chosen) for metric, chosen in reversed(found)}.values())[::-1]


def comparison(
    scores: Scores,
    study: Study,
    metric: str,
    target: str,
    primary: bool,
    areas: Mapping[str, tagging.Influence] | None = None,
) -> Comparison:
    """All variants on one metric and target."""
    declaration = study.declaration
    rows = select(scores, metric, target)
    names = [v.name for v in study.variants] or list(dict.fromkeys(rows["variant"]))
    rows = rows[rows["variant"].isin(names)]
    reference = declaration.reference or names[0]
    if reference not in names:
        raise ValueError(
            f"the reference {reference!r} is no variant of the study; {nearest(reference, names)}"
        )
    against = {name: declaration.references.get(name, reference) for name in names}
    items = item_scores(rows)
    item, left_out = "track" if items else "", []
    for base in dict.fromkeys(against.values()):  # a block of its own has tracks of its own
        block = [name for name in names if against[name] == base]
        gone = _incomplete({name: items[name] for name in block if name in items})
        rows = rows[~(rows["variant"].isin(block) & rows["track"].isin(gone))]
        items |= {name: items[name].drop(columns=gone, errors="ignore") for name in block if name in items}
        left_out += [name for name in gone if name not in left_out]
    runs = run_scores(rows)
    several = item and all(table.shape[1] > 1 for table in items.values())
    test = declaration.test or ("crossed" if several else "welch")
    if test in ("crossed", "mixed", "bootstrap", "item_means") and not several:
        test = "welch"
    printed = style(
        metric,
        declaration.higher_is_better if primary else None,
        [score for arm in runs.values() for score in arm.values()],
    )
    for name, other in against.items():
        if other not in names:
            raise ValueError(
                f"the reference {other!r} of {name!r} is no variant of the study; {nearest(other, names)}"
            )
    declared_pairs = declaration.references or against
    family = max(1, len([name for name, other in declared_pairs.items() if other != name]))
    contrasts = []
    rng = np.random.default_rng(SEED)
    crossed_items = items if several else tag_scores(scores, metric)
    for name in names:
        base = against[name]
        if base == name:
            continue
        comparability = compare(study, study.variant(name), study.variant(base))
        results = _tests(
            runs.get(name, {}),
            runs.get(base, {}),
            crossed_items.get(name),
            crossed_items.get(base),
            "track" if several else "tag",
            declaration.alpha,
            rng,
            fit_mixed=primary and family <= MIXED_LIMIT,
            brief=not primary,
            primary=test,
        )
        if areas and name in areas and base in areas:
            results += tagging.tests(areas[name], areas[base], declaration.alpha)
        contrasts.append(
            _contrast(name, base, comparability, results, test, study, family, runs)
        )
    corrected = correct([c.primary.p for c in contrasts], declaration.correction, family)
    contrasts = [_with_corrected(c, p) for c, p in zip(contrasts, corrected, strict=True)]
    return Comparison(
        style=printed,
        target=target,
        primary=primary,
        reference=reference,
        within=declaration.within,
        test=test,
        test_label=next((c.primary.label for c in contrasts if c.primary.label != test), test),
        alpha=declaration.alpha,
        correction=declaration.correction,
        correction_label=LABELS[declaration.correction],
        family=family,
        item=item if several else "",
        items=_item_count(items) if several else 0,
        left_out=tuple(left_out),
        rows=tuple(_row(name, against[name], runs.get(name, {}), study) for name in names),
        contrasts=tuple(contrasts),
    )


def _incomplete(items: Mapping[str, pd.DataFrame]) -> list[str]:
    """Items without a score in some run; none if that would leave fewer than two."""
    every = sorted({str(name) for table in items.values() for name in table.columns})
    whole = [
        name
        for name in every
        if all(name in table.columns and table[name].notna().all() for table in items.values())
    ]
    return [name for name in every if name not in set(whole)] if len(whole) > 1 else []


def _item_count(items: Mapping[str, pd.DataFrame]) -> int:
    return max((table.shape[1] for table in items.values()), default=0)


def _row(name: str, reference: str, runs: Mapping[int, float], study: Study) -> Row:
    values = list(runs.values())
    sd = math.sqrt(stats.variance(values)) if len(values) > 1 else NAN
    planned = (
        len([t for t in study.trials if t.variant == name])
        or len(study.declaration.seeds)
        or len(values)
    )
    return Row(
        name,
        name == reference,
        dict(runs),
        planned,
        float(np.mean(values)) if values else NAN,
        sd,
        sd / math.sqrt(len(values)) if len(values) > 1 else NAN,
    )


def _tests(
    a: Mapping[int, float],
    b: Mapping[int, float],
    items_a: pd.DataFrame | None,
    items_b: pd.DataFrame | None,
    item: str,
    alpha: float,
    rng: np.random.Generator,
    fit_mixed: bool,
    brief: bool,
    primary: str,
) -> tuple[Result, ...]:
    """Every test that applies to one contrast; for a secondary metric only the primary test and
    the naive one.
    """
    x, y = list(a.values()), list(b.values())
    found: dict[str, Result] = {"welch": stats.welch(x, y, alpha)}
    if not brief or primary not in found:
        found["student"] = stats.student(x, y, alpha)
        found["paired"] = stats.paired(a, b, alpha)
        found["wilcoxon"] = stats.wilcoxon(a, b, alpha)
        found["permutation"] = stats.permutation(x, y, alpha, rng)
    if items_a is not None and items_b is not None:
        if not brief or primary in ("crossed", "mixed", "bootstrap", "item_means"):
            found["crossed"] = crossed.crossed(items_a, items_b, alpha, item)
            found["bootstrap"] = crossed.bootstrap(items_a, items_b, rng, alpha, item)
            if fit_mixed or primary == "mixed":
                found["mixed"] = mixed.mixed(items_a, items_b, alpha, item)
            found["item_means"] = crossed.item_means(
                items_a, items_b, alpha, item, declared=primary == "item_means"
            )
        found["naive"] = crossed.naive(items_a, items_b, alpha, item)
    return tuple(found.values())


def _contrast(
    name: str,
    reference: str,
    comparability: Comparability,
    results: tuple[Result, ...],
    test: str,
    study: Study,
    family: int,
    runs: Mapping[str, Mapping[int, float]],
) -> Contrast:
    alpha = study.declaration.alpha
    if comparability.refusal:
        results = (stats.not_possible(test, results[0].label, (0, 0), 0, "refused"),)
    absent = f"{name if not runs.get(name) else reference} has no score"
    none = stats.not_possible(test, test, (0, 0), 0, absent)
    primary = next((r for r in results if r.test == test), none)
    wide = (NAN, NAN)
    if primary.se >= 0 and not math.isnan(primary.low):
        again = stats.from_se(
            test, "", primary.difference, primary.se, primary.df, primary.n, alpha=alpha / family
        )
        wide = (
            (again.low, again.high)
            if not math.isnan(primary.df) or primary.se == 0
            else (NAN, NAN)
        )
    a, b = list(runs.get(name, {}).values()), list(runs.get(reference, {}).values())
    no_effect = stats.Effect(NAN, NAN, NAN)
    return Contrast(
        variant=name,
        reference=reference,
        comparability=comparability,
        primary=primary,
        p_corrected=NAN,
        stars="",
        simultaneous=wide,
        effect=no_effect if comparability.refusal else stats.hedges(a, b, alpha),
        equivalence=stats.tost(primary, alpha, study.declaration.margin),
        naive=next((r for r in results if r.test == "naive"), None),
        tests=(primary, *(r for r in results if r is not primary)),
        devices=tuple(declared.devices(study, name, reference)),
    )


def _with_corrected(contrast: Contrast, p: float) -> Contrast:
    return replace(contrast, p_corrected=p, stars=stars(p))


def _power(main: Comparison, tracks: Mapping[str, pd.DataFrame]) -> Power | None:
    spread = [(row.sd**2, len(row.runs) - 1) for row in main.rows if len(row.runs) > 1]
    runs = [len(row.runs) for row in main.rows if row.runs]
    df = sum(dof for _, dof in spread)
    if not df:
        return None
    sd = math.sqrt(sum(var * dof for var, dof in spread) / df)
    if sd == 0:
        return None
    shared = 0.0
    if main.test in ("crossed", "mixed", "bootstrap"):
        parts = []
        for contrast in main.contrasts:
            arms = [
                tracks[name].drop(columns=list(main.left_out), errors="ignore")
                for name in (contrast.variant, contrast.reference)
                if name in tracks
            ]
            if len(arms) == 2 and min(len(arm) for arm in arms) > 1 and not contrast.refused:
                found = crossed.components(*crossed.align(*arms)[:2])
                parts.append(max(0.0, found.item - found.residual))
        shared = float(np.mean(parts)) if parts else 0.0
    each = int(np.median(runs))
    alpha = main.alpha / main.family if main.correction != "none" else main.alpha
    least = detectable(sd, each, alpha, shared)
    differences = nice_differences(least)
    return Power(
        each, sd, alpha, least, tuple((d, runs_needed(d, sd, alpha, shared)) for d in differences)
    )


def describe_design(findings: Findings) -> str:
    """One sentence: variants, seeds, trials done."""
    study = findings.study
    trials = study.trials
    done = sum(t.status == "done" for t in trials)
    seeds = (
        count(len(study.declaration.seeds), "seed")
        if study.declaration.seeds
        else "unlisted seeds"
    )
    text = f"{count(len(findings.main.rows), 'variant')}, {seeds}"
    if trials:
        text += f", {done} of {count(len(trials), 'trial')} done"
    if study.declaration.factors:
        names = [factor.name for factor in study.declaration.factors]
        text += f"; {count(len(names), 'factor')}: {listing(names)}"
    return text
