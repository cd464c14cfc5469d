"""All variants of a study on one metric, each tested against its reference."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from . import crossed, declared, mixed, stats, tagging
from .contrasts import Comparability, compare
from .corrections import LABELS, correct, stars
from .findings import Comparison, Contrast, Row
from .stats import NAN, Result
from .study import Study, nearest
from .table import Scores, item_scores, run_scores, select, tag_scores
from .text import style

MIXED_LIMIT = 40
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
    if reference not in names:
        raise ValueError(f"the reference {reference!r} is no variant of the study; {nearest(reference, names)}")
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
            raise ValueError(f"the reference {other!r} of {name!r} is no variant of the study; {nearest(other, names)}")
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
        contrasts.append(_contrast(name, base, comparability, results, test, study, family, runs))
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
        name for name in every if all(name in table.columns and table[name].notna().all() for table in items.values())
    ]
    return [name for name in every if name not in set(whole)] if len(whole) > 1 else []


def _item_count(items: Mapping[str, pd.DataFrame]) -> int:
    return max((table.shape[1] for table in items.values()), default=0)


def _row(name: str, reference: str, runs: Mapping[int, float], study: Study) -> Row:
    values = list(runs.values())
    sd = math.sqrt(stats.variance(values)) if len(values) > 1 else NAN
    planned = len([t for t in study.trials if t.variant == name]) or len(study.declaration.seeds) or len(values)
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
        again = stats.from_se(test, "", primary.difference, primary.se, primary.df, primary.n, alpha=alpha / family)
        wide = (again.low, again.high) if not math.isnan(primary.df) or primary.se == 0 else (NAN, NAN)
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
