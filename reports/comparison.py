"""All variants of a study on one metric, each tested against its reference."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from reports import declared
from reports.contract import CORRECTIONS, MACRO, Study, nearest, target_word
from reports.contrasts import Comparability, compare, share_trainings
from reports.findings import Comparison, Contrast, Row
from reports.inputs.tables import Scores, select, tag_scores
from reports.overlap import NOTHING, Arm, Overlap, absent_scores, arms, overlap
from reports.statistics import crossed, groups, half_pooled, hypothesis_tests, mixed, seed_paired, tagging
from reports.statistics.corrections import correct, stars
from reports.statistics.hypothesis_tests import NAN, Result
from reports.statistics.improvement import Improvement, improvement
from reports.text import style

OVER_ITEMS = ("crossed", "paired_crossed", "mixed", "bootstrap", "item_means")
SEED = 20_240_229


def comparison(
    scores: Scores,
    study: Study,
    metric: str,
    target: str,
    primary: bool,
    areas: Mapping[str, tagging.Influence] | None = None,
    brief: bool = False,
) -> Comparison:
    """All variants on one metric and target; `brief` leaves out the tests that are neither primary nor naive."""
    declaration = study.declaration
    rows = select(scores, metric, target)
    names = [v.name for v in study.variants] or list(rows["variant"].unique())
    rows = rows[rows["variant"].isin(names)]
    reference = declaration.reference or names[0]
    against = _against(study, names, reference)
    several = rows["track"][rows["track"] != ""].nunique() > 1
    test = _test(study, rows, several, areas or {})
    scored = arms(rows)
    pairs = {
        name: overlap(name, base, scored, 2 if test in OVER_ITEMS else 0, own_tracks(study, name, base))
        for name, base in against.items()
        if base != name
    }
    table = tuple(_row(name, against[name], scored.get(name, NOTHING), pairs.get(name), study) for name in names)
    printed = style(
        metric,
        declaration.higher_is_better if primary else None,
        [score for row in table for score in row.runs.values()],
        declaration.own_metrics,
    )
    declared_pairs = declaration.references or against
    family = max(1, len([name for name, other in declared_pairs.items() if other != name]))
    rng = np.random.default_rng(SEED)
    clusters = groups.of_items(rows) if several else {}
    tags = {} if several else tag_scores(scores, metric)
    noun = _noun(scores, metric, study)
    item = ("group" if clusters else "track") if several else noun
    comparabilities = {name: compare(study, study.variant(name), study.variant(against[name])) for name in pairs}
    absent = {name: absent_scores(scores, metric, pair, name, against[name]) for name, pair in pairs.items()}
    items: dict[str, Items | None] = {}
    for name, pair in pairs.items():
        if not (absent[name] or pair.reason):
            a, b = pair.items or (None, None) if several else (tags.get(name), tags.get(against[name]))
            items[name] = None if a is None or b is None else _items((a, b), clusters)
    paired = not brief or test in ("paired_crossed", "paired_clips")
    pooled = _pooled(pairs, items, against, comparabilities, declaration.alpha, item, paired, test == "pooled")
    over_clips = _over_clips(areas or {}, items, against, comparabilities, declaration.alpha, paired)
    contrasts = []
    for name, pair in pairs.items():
        base = against[name]
        results: tuple[Result, ...] = ()
        if name in items:
            results = _tests(
                *pair.runs,
                items[name],
                item,
                declaration.alpha,
                rng,
                pooled.get(name, {}),
                brief=brief or not primary,
                primary=test,
                own=pair.own,
            )
            if name in over_clips:
                results += over_clips[name]
        refusal = comparabilities[name].refusal or pair.reason
        comparability = replace(comparabilities[name], refusal=refusal)
        one = _contrast(name, base, comparability, results, test, study, pair, absent[name], brief)
        if primary and not (brief or refusal or name not in items):
            over = items[name]
            both = over.tracks if over is not None and not pair.own else None
            one = replace(one, improvement=_improvement(pair, both, printed.higher_is_better, declaration.alpha))
        contrasts.append(one)
    corrected = correct([c.primary.p for c in contrasts], declaration.correction, family)
    contrasts = [
        _with_corrected(c, p, declaration.alpha, declaration.correction, family)
        for c, p in zip(contrasts, corrected, strict=True)
    ]
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
        items=max((_tracks(pair.variant.rows) for pair in pairs.values() if not pair.reason), default=_tracks(rows))
        if several
        else 0,
        groups=len({clusters.get(track, track) for track in rows["track"]}) if clusters else 0,
        balanced=_balanced(scored, pairs, against),
        rows=table,
        contrasts=tuple(contrasts),
        noun=noun,
    )


def _noun(scores: Scores, metric: str, study: Study) -> str:
    """What the targets of a metric are called."""
    targets = set(scores.frame["target"][scores.frame["metric"] == metric].unique()) - set(MACRO)
    return target_word(metric, targets, study.declaration.own_metrics)


def _test(study: Study, rows: pd.DataFrame, several: bool, areas: Mapping[str, tagging.Influence]) -> str:
    """The primary test: the declared one where the scores allow it, else the one that reaches furthest."""
    test = study.declaration.test
    if test and (several or test not in OVER_ITEMS):
        return test
    if several and rows.groupby("variant")["seed"].nunique().max() == 1:
        return "item_means"
    if several:
        return "paired_crossed" if share_trainings(study) else "crossed"
    if areas and max(len(area.runs) for area in areas.values()) > 1:
        return "paired_clips" if share_trainings(study) else "seeds_clips"
    if areas:
        return "delong"
    return "half_pooled"


@dataclass(frozen=True)
class Items:
    """Both arms of a contrast, where runs are crossed with items.

    Attributes:
        tracks: tables (seed x track, or tag) of the variant and of the reference.
        units: the same over what is sampled: the tracks, or groups of them.
        sizes: where these are groups, how many tracks each has.
    """

    tracks: tuple[pd.DataFrame, pd.DataFrame]
    units: tuple[pd.DataFrame, pd.DataFrame]
    sizes: Mapping[str, int] | None


def _items(both: tuple[pd.DataFrame, pd.DataFrame], clusters: Mapping[str, str]) -> Items:
    if not clusters:
        return Items(both, both, None)
    a, b = (groups.collapse(table, clusters) for table in both)
    return Items(both, (a, b), groups.sizes(list(both[0].columns.union(both[1].columns)), clusters))


def _pooled(
    pairs: Mapping[str, Overlap],
    items: Mapping[str, Items | None],
    against: Mapping[str, str],
    comparabilities: Mapping[str, Comparability],
    alpha: float,
    item: str,
    paired: bool,
    alike: bool,
) -> dict[str, dict[str, Result]]:
    """By variant, the tests that pool the variance over the variants of one reference.

    That of all arms only where they are declared to vary `alike`.
    """
    out: dict[str, dict[str, Result]] = {}
    for base in dict.fromkeys(against.values()):
        names = [name for name in items if against[name] == base and not comparabilities[name].refusal]
        runs = {name: (list(pairs[name].runs[0].values()), list(pairs[name].runs[1].values())) for name in names}
        over = {name: each for name in names if not pairs[name].own and (each := items[name])}
        for name, result in half_pooled.of_runs(runs, alpha).items():
            out[name] = {"half_pooled": result}
        for name, result in (half_pooled.of_runs(runs, alpha, "pooled") if alike else {}).items():
            out[name]["pooled"] = result
        tables, sizes = {n: each.units for n, each in over.items()}, {n: each.sizes for n, each in over.items()}
        for name, result in crossed.family(tables, alpha, item, sizes).items():
            out[name]["crossed"] = result
        for name, result in (seed_paired.family(tables, alpha, item, sizes) if paired else {}).items():
            out[name]["paired_crossed"] = result
    return out


def _over_clips(
    areas: Mapping[str, tagging.Influence],
    names: Iterable[str],
    against: Mapping[str, str],
    comparabilities: Mapping[str, Comparability],
    alpha: float,
    paired: bool,
) -> dict[str, tuple[Result, ...]]:
    """By variant, the tests that need its predictions and its reference's."""
    out: dict[str, tuple[Result, ...]] = {}
    able = [name for name in names if {name, against[name]} <= areas.keys() and not comparabilities[name].refusal]
    able = [name for name in able if areas[name].tags and areas[against[name]].tags]
    kinds = {"crossed": crossed.family, "paired_crossed": seed_paired.family}
    for base in dict.fromkeys(against[name] for name in able):
        over = {name: (areas[name].scores, areas[base].scores) for name in able if against[name] == base}
        item, sizes = "clip" if areas[base].groups is None else "group", dict.fromkeys(over, areas[base].sizes)
        found = {
            test: kinds[kind](over, alpha, item, sizes)
            for test, kind in tagging.OVER_CLIPS.items()
            if paired or kind != "paired_crossed"
        }
        for name in over:
            given = tagging.delong(areas[name], areas[base], alpha)
            out[name] = (given, *(replace(results[name], test=test) for test, results in found.items()))
    return out


def _against(study: Study, names: list[str], reference: str) -> dict[str, str]:
    """By variant, the one it is compared with."""
    if reference not in names:
        raise ValueError(f"the reference {reference!r} is no variant of the study; {nearest(reference, names)}")
    against = {name: study.declaration.references.get(name, reference) for name in names}
    for name, other in against.items():
        if other not in names:
            raise ValueError(f"the reference {other!r} of {name!r} is no variant of the study; {nearest(other, names)}")
    return against


def own_tracks(study: Study, variant: str, reference: str) -> bool:
    """Whether two variants differ in a factor whose levels are declared to have test tracks of their own."""
    a, b = study.variant(variant).levels, study.variant(reference).levels
    return any(a.get(factor) != b.get(factor) for factor in study.declaration.own_tracks)


def _tracks(rows: pd.DataFrame) -> int:
    return int(rows["track"].nunique())


def _balanced(
    scored: Mapping[str, Arm], pairs: Mapping[str, Overlap], against: Mapping[str, str]
) -> dict[str, Mapping[int, float]]:
    """Run scores over what all compared variants of a block have in every run."""
    out: dict[str, Mapping[int, float]] = {}
    for base in dict.fromkeys(against.values()):
        block = {
            name: scored[name]
            for name, other in against.items()
            if other == base and name in scored and not (name in pairs and (pairs[name].reason or pairs[name].own))
        }
        shared = set.intersection(*(set(arm.complete) for arm in block.values())) if block else set()
        out |= {name: runs for name, arm in block.items() if (runs := arm.over(shared).runs)}
    return {name: out[name] for name in against if name in out}


def _row(name: str, reference: str, own: Arm, pair: Overlap | None, study: Study) -> Row:
    compared = pair is not None and not pair.reason and not pair.reference.rows.empty
    shown = pair.variant if pair is not None and compared else own.over(own.complete)
    ragged = shown.rows.empty and not own.rows.empty  # no target and track is in all runs
    runs = dict((own if ragged else shown).runs)
    values = list(runs.values())
    sd = math.sqrt(hypothesis_tests.variance(values)) if len(values) > 1 and not ragged else NAN
    planned = len([t for t in study.trials if t.variant == name]) or len(study.declaration.seeds) or len(values)
    mean = float(np.mean(values)) if values else NAN
    return Row(name, name == reference, runs, planned, mean, sd, sd / math.sqrt(len(values)) if values else NAN)


def _tests(
    a: Mapping[int, float],
    b: Mapping[int, float],
    items: Items | None,
    item: str,
    alpha: float,
    rng: np.random.Generator,
    pooled: Mapping[str, Result],
    brief: bool,
    primary: str,
    own: bool,
) -> tuple[Result, ...]:
    """Every test that applies to one contrast; for a secondary metric only the primary test and
    the naive one.
    """
    x, y = list(a.values()), list(b.values())
    found = {name: result for name, result in pooled.items() if not brief or name == primary}
    if not brief or primary not in (*OVER_ITEMS, *found):
        found["welch"] = hypothesis_tests.welch(x, y, alpha)
        found["student"] = hypothesis_tests.student(x, y, alpha)
        found["paired"] = hypothesis_tests.paired(a, b, alpha)
        found["wilcoxon"] = hypothesis_tests.wilcoxon(a, b, alpha)
        found["permutation"] = hypothesis_tests.permutation(x, y, alpha, rng)
    if items is not None and own:
        found[primary] = crossed.own_items(*items.units, alpha, item, primary, items.sizes)
    elif items is not None:
        units, sizes = items.units, items.sizes
        if not brief or primary in ("mixed", "bootstrap", "item_means"):
            found["bootstrap"] = crossed.bootstrap(*units, rng, alpha, item, sizes=sizes)
            if primary == "mixed":  # its Wald z errs too often with few runs to stand beside the others unasked
                equal = "every group counts the same, however many tracks it has" if sizes else ""
                found["mixed"] = replace(fit := mixed.mixed(*units, alpha, item), note=fit.note or equal)
            given = primary == "item_means"
            found["item_means"] = crossed.item_means(*units, alpha, item, declared=given, sizes=sizes)
        found["naive"] = crossed.naive(*items.tracks, alpha, "track" if item == "group" else item)
    return tuple(found.values())


def _contrast(
    name: str,
    reference: str,
    comparability: Comparability,
    results: tuple[Result, ...],
    test: str,
    study: Study,
    pair: Overlap,
    absent: str,
    brief: bool,
) -> Contrast:
    alpha = study.declaration.alpha
    if comparability.refusal:
        label = next((r.label for r in results if r.test == test), test)
        results = (hypothesis_tests.not_possible(test, label, (0, 0), 0, "refused"),)
    none = hypothesis_tests.not_possible(
        test, test, (0, 0), 0, absent or f"the test {test} does not apply to these scores"
    )
    primary = next((r for r in results if r.test == test), none)
    a, b = (list(runs.values()) for runs in pair.runs)
    no_effect = hypothesis_tests.Effect(NAN, NAN, NAN)
    return Contrast(
        variant=name,
        reference=reference,
        comparability=comparability,
        primary=primary,
        p_corrected=NAN,
        stars="",
        simultaneous=(NAN, NAN),
        effect=no_effect if comparability.refusal or brief else hypothesis_tests.hedges(a, b, alpha),
        equivalence=hypothesis_tests.tost(primary, alpha, study.declaration.margin),
        naive=next((r for r in results if r.test == "naive"), None),
        tests=(primary, *(r for r in results if r is not primary)),
        devices=tuple(declared.devices(study, name, reference)),
        left_out=pair.left_out,
        reference_mean=float(np.mean(b)) if b else NAN,
        own_tracks=pair.own,
    )


def _improvement(
    pair: Overlap, tracks: tuple[pd.DataFrame, pd.DataFrame] | None, higher_is_better: bool, alpha: float
) -> Improvement:
    """Over runs and tracks where there are any, else over runs."""
    if tracks is not None:
        a, b, *_ = crossed.align(*tracks)
        if a.size and b.size:
            return improvement(a, b, higher_is_better, alpha)
    x, y = (np.array(list(runs.values())) for runs in pair.runs)
    return improvement(x, y, higher_is_better, alpha)


def _with_corrected(contrast: Contrast, p: float, alpha: float, correction: str, family: int) -> Contrast:
    """The contrast with its corrected p and the interval that leaves out zero where this p is below alpha."""
    result = contrast.primary
    multiple = {"none": 1.0, "bonferroni": float(family)}.get(correction)
    if multiple is None:  # by rank: what this p was multiplied with
        multiple = max(1.0, p / result.p) if result.p > 0 and p < 1 else float(family)
    wide = (NAN, NAN)
    if multiple == 1.0:
        wide = (result.low, result.high)
    elif result.se >= 0 and not math.isnan(result.low) and (result.se == 0 or not math.isnan(result.df)):
        again = hypothesis_tests.from_se(
            result.test, "", result.difference, result.se, result.df, result.n, alpha=alpha / multiple
        )
        wide = (again.low, again.high)
    return replace(contrast, p_corrected=p, stars=stars(p), simultaneous=wide)
