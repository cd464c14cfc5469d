"""The ablation report: score tables and study.json -> Findings.

A pure function of its inputs and one seed. One comparison a metric: the declared one is primary,
the other metrics that exist for every variant follow, each a family of its own.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from . import crossed, declared, mixed, stats, tagging
from .contrasts import Comparability, compare
from .corrections import LABELS, correct, stars
from .effects import BASELINES, by_item, separation, variance_by_factor
from .findings import Comparison, Contrast, Findings, Power, Row
from .power import detectable, nice_differences, runs_needed
from .stats import NAN, Result
from .study import Study, nearest
from .table import MACRO, Scores, item_scores, run_scores, select, tag_scores, without
from .text import count, listing, style

MIXED_LIMIT = 40
SEED = 20_240_229


def analyse(scores: Scores, study: Study, predictions: pd.DataFrame | None = None) -> Findings:
    """Everything the report says.

    Raises:
        ValueError: the declared metric, target or reference is not in the table.
    """
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
        separation=separation(scores, metric),
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
    items = item_scores(rows)
    item, left_out = ("track", _incomplete(items)) if items else ("", [])
    if left_out:
        rows = rows[~rows["track"].isin(left_out)]
        items = {
            name: table.drop(columns=left_out, errors="ignore") for name, table in items.items()
        }
    runs = run_scores(rows)
    reference = declaration.reference or names[0]
    if reference not in names:
        raise ValueError(
            f"the reference {reference!r} is no variant of the study; {nearest(reference, names)}"
        )
    several = item and all(table.shape[1] > 1 for table in items.values())
    test = declaration.test or ("crossed" if several else "welch")
    if test in ("crossed", "mixed", "bootstrap") and not several:
        test = "welch"
    printed = style(
        metric,
        declaration.higher_is_better if primary else None,
        [score for arm in runs.values() for score in arm.values()],
    )
    against = {name: declaration.references.get(name, reference) for name in names}
    for name, other in against.items():
        if other not in names:
            raise ValueError(
                f"the reference {other!r} of {name!r} is no variant of the study; {nearest(other, names)}"
            )
    family = max(1, len([name for name in names if against[name] != name]))
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
        if not brief or primary in ("crossed", "mixed", "bootstrap"):
            found["crossed"] = crossed.crossed(items_a, items_b, alpha, item)
            found["bootstrap"] = crossed.bootstrap(items_a, items_b, rng, alpha, item)
            if fit_mixed or primary == "mixed":
                found["mixed"] = mixed.mixed(items_a, items_b, alpha, item)
            found["item_means"] = crossed.item_means(items_a, items_b, alpha, item)
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
        results = (
            Result(
                test, results[0].label, NAN, NAN, NAN, NAN, NAN, NAN, NAN, (0, 0), 0, "refused"
            ),
        )
    absent = f"{name if not runs.get(name) else reference} has no score"
    none = Result(test, test, NAN, NAN, NAN, NAN, NAN, NAN, NAN, (0, 0), 0, absent)
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
