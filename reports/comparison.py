"""All variants of a study on one metric, each tested against its reference."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from reports import declared
from reports.contract import CORRECTIONS, Study, nearest
from reports.contrasts import Comparability, compare
from reports.findings import Comparison, Contrast, Row
from reports.inputs.tables import Scores, run_scores, select, tag_scores
from reports.overlap import Overlap, overlap, whole
from reports.statistics import crossed, hypothesis_tests, mixed, tagging
from reports.statistics.corrections import correct, stars
from reports.statistics.hypothesis_tests import NAN, Result
from reports.text import count, listing, style

MIXED_LIMIT = 40
OVER_ITEMS = ("crossed", "mixed", "bootstrap", "item_means")
SEED = 20_240_229


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
    against = _against(study, names, reference)
    several = rows["track"][rows["track"] != ""].nunique() > 1
    test = declaration.test or ("crossed" if several else "welch")
    if test in OVER_ITEMS and not several:
        test = "welch"
    pairs = {
        name: overlap(name, base, rows, 2 if test in OVER_ITEMS else 0)
        for name, base in against.items()
        if base != name
    }
    table = tuple(_row(name, against[name], rows, pairs.get(name), study) for name in names)
    printed = style(
        metric,
        declaration.higher_is_better if primary else None,
        [score for row in table for score in row.runs.values()],
        declaration.own_metrics,
    )
    declared_pairs = declaration.references or against
    family = max(1, len([name for name, other in declared_pairs.items() if other != name]))
    rng = np.random.default_rng(SEED)
    tags = {} if several else tag_scores(scores, metric)
    contrasts = []
    for name, pair in pairs.items():
        base = against[name]
        comparability = compare(study, study.variant(name), study.variant(base))
        runs, absent = pair.runs, _absent(scores, metric, pair, name, base)
        results: tuple[Result, ...] = ()
        if not (absent or pair.reason):
            results = _tests(
                *runs,
                *(pair.items or (None, None)) if several else (tags.get(name), tags.get(base)),
                "track" if several else "tag",
                declaration.alpha,
                rng,
                fit_mixed=primary and family <= MIXED_LIMIT,
                brief=not primary,
                primary=test,
            )
            if areas and name in areas and base in areas:
                results += tagging.tests(areas[name], areas[base], declaration.alpha)
        comparability = replace(comparability, refusal=comparability.refusal or pair.reason)
        contrasts.append(_contrast(name, base, comparability, results, test, study, family, pair, absent))
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
        correction_label=CORRECTIONS[declaration.correction],
        family=family,
        item="track" if several else "",
        items=max((_tracks(pair.variant) for pair in pairs.values() if not pair.reason), default=_tracks(rows))
        if several
        else 0,
        balanced=_balanced(rows, pairs, against),
        rows=table,
        contrasts=tuple(contrasts),
    )


def _against(study: Study, names: list[str], reference: str) -> dict[str, str]:
    """By variant, the one it is compared with."""
    if reference not in names:
        raise ValueError(f"the reference {reference!r} is no variant of the study; {nearest(reference, names)}")
    against = {name: study.declaration.references.get(name, reference) for name in names}
    for name, other in against.items():
        if other not in names:
            raise ValueError(f"the reference {other!r} of {name!r} is no variant of the study; {nearest(other, names)}")
    return against


def _tracks(rows: pd.DataFrame) -> int:
    return int(rows["track"].nunique())


def _balanced(
    rows: pd.DataFrame, pairs: Mapping[str, Overlap], against: Mapping[str, str]
) -> dict[str, dict[int, float]]:
    """Run scores over what all compared variants of a block have in every run."""
    out: dict[str, dict[int, float]] = {}
    for base in dict.fromkeys(against.values()):
        block = [
            name for name, other in against.items() if other == base and not (name in pairs and pairs[name].reason)
        ]
        out |= run_scores(whole(rows[rows["variant"].isin(block)]))
    return {name: out[name] for name in against if name in out}


def _absent(scores: Scores, metric: str, pair: Overlap, name: str, base: str) -> str:
    """Which arm has no score at all, and why; empty where both have some."""
    gone = scores.undefined[scores.undefined["metric"] == metric]["variant"]
    lacking = []
    for arm, rows in ((name, pair.variant), (base, pair.reference)):
        if rows.empty and (many := int((gone == arm).sum())):
            lacking.append(f"{arm} has no defined score ({count(many, 'score')} empty or not finite)")
        elif rows.empty:
            lacking.append(f"{arm} has no score")
    return listing(lacking) if lacking else ""


def _row(name: str, reference: str, rows: pd.DataFrame, pair: Overlap | None, study: Study) -> Row:
    own = rows[rows["variant"] == name]
    compared = pair is not None and not pair.reason and not pair.reference.empty
    shown = pair.variant if pair is not None and compared else whole(own)
    ragged = shown.empty and not own.empty  # no target and track is in all runs
    runs = run_scores(own if ragged else shown).get(name, {})
    values = list(runs.values())
    sd = math.sqrt(hypothesis_tests.variance(values)) if len(values) > 1 and not ragged else NAN
    planned = len([t for t in study.trials if t.variant == name]) or len(study.declaration.seeds) or len(values)
    mean = float(np.mean(values)) if values else NAN
    return Row(name, name == reference, runs, planned, mean, sd, sd / math.sqrt(len(values)) if values else NAN)


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
    found: dict[str, Result] = {"welch": hypothesis_tests.welch(x, y, alpha)}
    if not brief or primary not in found:
        found["student"] = hypothesis_tests.student(x, y, alpha)
        found["paired"] = hypothesis_tests.paired(a, b, alpha)
        found["wilcoxon"] = hypothesis_tests.wilcoxon(a, b, alpha)
        found["permutation"] = hypothesis_tests.permutation(x, y, alpha, rng)
    if items_a is not None and items_b is not None:
        if not brief or primary in OVER_ITEMS:
            found["crossed"] = crossed.crossed(items_a, items_b, alpha, item)
            found["bootstrap"] = crossed.bootstrap(items_a, items_b, rng, alpha, item)
            if fit_mixed or primary == "mixed":
                found["mixed"] = mixed.mixed(items_a, items_b, alpha, item)
            found["item_means"] = crossed.item_means(items_a, items_b, alpha, item, declared=primary == "item_means")
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
    pair: Overlap,
    absent: str,
) -> Contrast:
    alpha = study.declaration.alpha
    if comparability.refusal:
        label = next((r.label for r in results if r.test == test), test)
        results = (hypothesis_tests.not_possible(test, label, (0, 0), 0, "refused"),)
    none = hypothesis_tests.not_possible(
        test, test, (0, 0), 0, absent or f"the test {test} does not apply to these scores"
    )
    primary = next((r for r in results if r.test == test), none)
    wide = (NAN, NAN)
    if primary.se >= 0 and not math.isnan(primary.low):
        again = hypothesis_tests.from_se(
            test, "", primary.difference, primary.se, primary.df, primary.n, alpha=alpha / family
        )
        wide = (again.low, again.high) if not math.isnan(primary.df) or primary.se == 0 else (NAN, NAN)
    a, b = (list(runs.values()) for runs in pair.runs)
    no_effect = hypothesis_tests.Effect(NAN, NAN, NAN)
    return Contrast(
        variant=name,
        reference=reference,
        comparability=comparability,
        primary=primary,
        p_corrected=NAN,
        stars="",
        simultaneous=wide,
        effect=no_effect if comparability.refusal else hypothesis_tests.hedges(a, b, alpha),
        equivalence=hypothesis_tests.tost(primary, alpha, study.declaration.margin),
        naive=next((r for r in results if r.test == "naive"), None),
        tests=(primary, *(r for r in results if r is not primary)),
        devices=tuple(declared.devices(study, name, reference)),
        left_out=pair.left_out,
        reference_mean=float(np.mean(b)) if b else NAN,
    )


def _with_corrected(contrast: Contrast, p: float) -> Contrast:
    return replace(contrast, p_corrected=p, stars=stars(p))
