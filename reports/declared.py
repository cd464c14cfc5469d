"""What was declared against what ran: deviations, cautions, devices. One sentence each."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd
from scipy import stats

from reports import ledger, level, prose
from reports.contract import MACRO, Stage, Study, least_p, significant_p, target_word
from reports.findings import Comparison
from reports.inputs.tables import Scores
from reports.text import count, directed, listing, p_phrase

WORDS = {"target": ("target",), "track": ("track",), "score": ("track of one target", "tracks of one target")}
"""What a contrast leaves out, as `count` takes it."""


def devices(study: Study, variant: str, reference: str) -> list[str]:
    """What the two arms ran on, sorted, where that is a confound; else empty.

    A confound are two kinds of device for the same stage, or a kind that one arm alone has. Kinds are the CPU and each
    model of card; where there were several versions of torch, with which; whether a card's kernels were free; and how
    many processes shared a training.
    """
    arms = [
        {key for t in study.trials if t.variant == name for key in t.stages.values() if key in study.stages}
        for name in (variant, reference)
    ]
    versioned = len({study.stages[key].torch for arm in arms for key in arm} - {""}) > 1
    kinds: list[dict[str, set[str]]] = [{}, {}]
    for arm, found in zip(arms, kinds, strict=True):
        for stage in (study.stages[key] for key in arm if key not in arms[0] & arms[1] and study.stages[key].device):
            found.setdefault(stage.name, set()).add(_device(stage, versioned))
    within = [kinds[0][name] | kinds[1][name] for name in kinds[0].keys() & kinds[1].keys()]
    one, other = (set().union(*found.values()) for found in kinds)
    differing = set().union(*(found for found in within if len(found) > 1))
    return sorted(differing or (one | other if one != other else ()))


def _device(stage: Stage, versioned: bool) -> str:
    card = stage.device_name if stage.device != "cpu" and stage.device_name else stage.device
    torch = f" with torch {stage.torch or 'unknown'}" if versioned else ""
    shared = f" in {stage.processes} processes" if stage.processes > 1 else ""
    return card + shared + torch + (" and free kernels" if stage.kernels == "free" else "")


def deviations(study: Study, scores: Scores, main: Comparison) -> Iterator[str]:
    """How the run differs from study.json's declaration, and this from what was declared before any score."""
    declaration = study.declaration
    yield from ledger.deviations(study, main)
    if study.hash_matches is False:
        yield (
            "The declaration does not have the hash that was stored with it "
            f"({study.declared[:12]}…): "
            "it was edited after it was declared."
        )
    for trial in study.trials:
        if trial.status == "failed":
            reason = trial.error.strip().splitlines()[-1] if trial.error.strip() else "no reason recorded"
            yield f"Trial {trial.name} failed: {reason}"
    yield from _replaced(study)
    aside = ledger.set_aside(study, [row.variant for row in main.rows if row.runs])
    if aside:
        many, verbs = ("were", "count") if len(aside) > 1 else ("was", "counts")
        yield (
            f"{listing(aside, 8)} {many} declared and not run (--only: {listing(study.ledger[-1].only, 8)}), and "
            f"{verbs} in the family."
        )
    missing = [trial.name for trial in study.trials if trial.status not in ("done", "failed", "replaced")]
    missing = [name for name in missing if name.rpartition("/seed")[0] not in aside]
    if missing:
        yield f"{count(len(missing), 'trial')} did not run: {listing(missing, 8)}."
    scored = {(row.variant, seed) for row in main.rows for seed in row.runs}
    silent = [t.name for t in study.trials if t.status == "done" and (t.variant, t.seed) not in scored]
    if silent:
        yield f"Done, but without a {main.style.label} score: {listing(silent, 8)}."
    seeds = set(declaration.seeds)
    for row in main.rows:
        extra = sorted(set(row.runs) - seeds) if seeds else []
        if len(extra) > sum(trial.status == "replaced" and trial.variant == row.variant for trial in study.trials):
            yield (f"{row.variant} has seeds that were not declared: {listing([str(s) for s in extra])}.")
    known = {trial.variant for trial in study.trials}
    stray = [name for name in scores.variants() if study.variants and name not in {r.variant for r in main.rows}]
    if stray:
        yield (f"The score table has variants that were not declared and are not compared: {listing(stray, 8)}.")
    unplanned = [row.variant for row in main.rows if known and row.variant not in known]
    if unplanned:
        yield f"No trial was planned for {listing(unplanned)}."
    if declaration.test and main.test != declaration.test:
        yield (
            f"The declared test {declaration.test!r} needs scores of at least two tracks, "
            "which this metric does not "
            f"have; {main.test_label} was used instead."
        )
    if not declaration.metric and study.variants and study.declared:
        yield f"No primary metric was declared; {main.style.label} was taken."


def _replaced(study: Study) -> Iterator[str]:
    """Runs that failed and that further seeds stand for, per variant."""
    gone = [trial for trial in study.trials if trial.status == "replaced"]
    for name in dict.fromkeys(trial.variant for trial in gone):
        own = [trial for trial in gone if trial.variant == name]
        reasons = listing(list(dict.fromkeys(trial.error.strip().splitlines()[-1] for trial in own)), 3)
        yield (
            f"{listing([trial.name for trial in own], 8)} failed and a further seed stands for each ({reasons}). No "
            "score had a part in it; but where runs fail that would have scored badly, those left score too well."
        )


def cautions(study: Study, given: Scores, scores: Scores, comparisons: Sequence[Comparison]) -> Iterator[str]:
    """What limits the conclusions, beside the deviations.

    Args:
        given: the table before exclusions.
        comparisons: the primary one first.
    """
    main = comparisons[0]
    label = main.style.label
    if study.smoke:
        yield study.no_result
        if study.declaration.cut:
            yield study.declaration.cut
    counts = sorted({len(row.runs) for row in main.rows if row.runs})
    aside = ledger.set_aside(study, [row.variant for row in main.rows if row.runs])
    yield from _unequal(main)
    if main.test in prose.AS_GIVEN:
        one = "Every variant has one seed: how much runs differ is unknown. " if counts == [1] else ""
        items = prose.ITEM_PLURAL.get(main.item, "clips")
        yield (
            f"{one}The {items} are the sample: what is said holds for other {items} and these models, not for other "
            "trainings of them."
        )
    elif counts == [1]:
        yield ("Every variant has one seed: how much runs differ is unknown, and no difference can be tested.")
    else:
        for row in main.rows:
            if len(row.runs) == 1:
                yield f"{row.variant} has one run: it has no standard error and cannot be tested."
        if len(counts) > 1 and study.declaration.until is None:
            each = ", ".join(f"{row.variant} {len(row.runs)}" for row in main.rows)
            yield f"The variants have unequal numbers of runs ({each})."
    scored = set(scores.frame["variant"][scores.frame["metric"] == main.style.name].unique())
    for row in main.rows:
        if not row.runs and row.variant not in aside:
            lacking = label if label.endswith("score") else f"{label} score"
            of_kind = " of the kind that others have" if row.variant in scored else ""
            yield f"{row.variant} has no {lacking}{of_kind} and is not compared; it still counts in the family."
    yield from _equal(study, main)
    for contrast in main.contrasts:
        a, b = main.row(contrast.variant).runs, main.row(contrast.reference).runs
        if a and a == b:
            yield (f"{contrast.variant} and {contrast.reference} have identical scores in every run.")
        if contrast.refused and contrast.variant not in aside:
            yield f"Contrast refused: {contrast.refused}."
        if len(contrast.devices) > 1:
            yield prose.device_sentence(contrast)
    unknown = [
        comparison.style.label
        for comparison in comparisons
        if not directed(
            comparison.style.name,
            study.declaration.higher_is_better if comparison.primary else None,
            study.declaration.own_metrics,
        )
    ]
    if unknown:
        yield (
            f"Whether more {listing(unknown, 8)} is better or worse was not declared: more is taken for better in the "
            "words and marks of the report."
        )
    yield from _in_place_of_macro(scores, main)
    yield from _out_of_reach(main)
    if main.family == 1:
        yield "The family has one contrast, so the corrected p is the p."
    for contrast in main.contrasts:
        if contrast.own_tracks:
            yield (
                f"{contrast.variant} and {contrast.reference} are scored on other tracks, as declared: their "
                "difference is that of two samples of tracks, and holds what the tracks themselves differ in."
            )
    yield from _left_out(comparisons)
    known = {contrast.refused for contrast in main.contrasts}
    for comparison in comparisons[1:]:
        for contrast in comparison.contrasts:
            if contrast.refused and contrast.refused not in known:
                yield f"Contrast refused on {comparison.style.label}: {contrast.refused}."
    if study.declaration.exclude:
        many = len(given.frame) - len(scores.frame)
        names = listing(list(study.declaration.exclude), 8)
        when = " before the run" if ledger.before_the_run(study) else ""
        yield f"{count(many, 'score')} left out as declared{when}: {names}."
    yield from _undefined(scores, bool(study.trials))
    if study.declared and not study.ledger:
        yield "No ledger of declarations lies beside study.json: nothing shows that it was declared before the run."


def _equal(study: Study, main: Comparison) -> Iterator[str]:
    """Rows whose runs are all equal: those that are one and the same stages, in which nothing is random, in one
    sentence."""
    stages: dict[str, set[frozenset[str]]] = {}
    for trial in study.trials:
        stages.setdefault(trial.variant, set()).add(frozenset(trial.stages.values()))
    equal = [row for row in main.rows if len(row.runs) > 1 and row.sd == 0]
    seedless = [row.variant for row in equal if len(each := stages.get(row.variant, set())) == 1 and any(each)]
    if seedless:
        it = "each" if seedless[1:] else "it"
        yield f"Nothing in {listing(seedless, 8)} depends on the seed: the runs of {it} are one."
    for row in (row for row in equal if row.variant not in seedless):
        yield f"All {len(row.runs)} runs of {row.variant} have exactly the same {main.style.label}."


def _in_place_of_macro(scores: Scores, main: Comparison) -> Iterator[str]:
    """Said where no run has a mean over targets, since some of them have no score: then it is one over the others."""
    mine = [frame[frame["metric"] == main.style.name] for frame in (scores.frame, scores.undefined)]
    having, lacking = (set(rows["target"]) for rows in mine)
    if main.target in MACRO and not having & set(MACRO) and "macro" in lacking:
        of = listing(sorted(lacking - having - set(MACRO)), 8)
        yield (
            f"{main.style.label} is a mean over the {main.noun}s that have one ({listing(sorted(having), 8)}): no run "
            f"has one of {of}."
        )


def _unequal(main: Comparison) -> Iterator[str]:
    """Said where the reference's runs differ far more or less than the variants', which few runs cannot show safely."""
    for name in main.references if main.test in level.BY_SPREAD else ():
        arms = [main.row(c.variant) for c in main.contrasts if c.reference == name and not c.refused]
        known = [(row.sd**2, len(row.runs) - 1) for row in arms if row.sd > 0]
        own, df = main.row(name).sd, sum(dof for _, dof in known)
        if not (known and own > 0):
            continue
        ratio = own**2 * df / sum(square * dof for square, dof in known)
        last = len(main.row(name).runs) - 1
        p = 2 * min(stats.f.sf(ratio, last, df), stats.f.cdf(ratio, last, df))
        if p < 0.05:
            yield (
                f"The runs of {name} differ {math.sqrt(ratio):.1f} times as much as those of the variants (F test of "
                f"the variances, {p_phrase(p)}): the intervals of its contrasts are less sure than they say."
            )


def _out_of_reach(main: Comparison) -> Iterator[str]:
    """Said where the primary test has too few runs to be significant whatever the scores."""
    counts = [len(row.runs) for row in main.rows if row.runs]
    runs = min(counts, default=0)
    floor = least_p(main.test, runs)
    if floor > significant_p(main.correction, main.alpha, main.family):
        yield (
            f"With {count(runs, 'run')} per variant the declared test cannot give a p below "
            f"{floor:.3g}, so after correction no contrast can be significant at {main.alpha:g}."
        )


def _left_out(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """What not every run of an arm has, and which contrasts are therefore not taken over it."""
    metrics: dict[tuple[str, str, str], list[str]] = {}
    for comparison in comparisons:
        variants: dict[tuple[str, str], list[str]] = {}
        for contrast in comparison.contrasts:
            for arm, kinds in contrast.left_out.items():
                lacking = [f"{count(len(names), *WORDS[kind])} ({listing(names, 8)})" for kind, names in kinds.items()]
                variants.setdefault((arm, listing(lacking)), []).append(contrast.variant)
        against = {contrast.variant: contrast.reference for contrast in comparison.contrasts}
        for (arm, what), names in variants.items():
            other = f"the comparison with {listing(names, 8)}"
            where = f"its mean and its comparison with {against[arm]}" if arm in names else other
            metrics.setdefault((arm, what, where), []).append(comparison.style.label)
    for (arm, what, where), labels in metrics.items():
        yield f"Not every run of {arm} is scored on {what}, left out of {where} ({listing(labels, 8)})."
    yield from prose.over_both(comparisons[0])


def _undefined(scores: Scores, ours: bool) -> Iterator[str]:
    """Scores that are empty or not finite: those that no run has, whose cause are the data, apart from the others.

    Why they are is known of our own studies alone.
    """
    cell = ["track", "target", "metric"]
    here, there = (pd.MultiIndex.from_frame(frame[cell]) for frame in (scores.undefined, scores.frame))
    of_run = here.isin(there)
    yield from _undefined_in_runs(scores.undefined[of_run], scores.frame)
    for target, rows in scores.undefined[~of_run].groupby("target", sort=False):
        metrics = listing(list(rows["metric"].unique()))
        tracks = [track for track in rows["track"].unique() if track]
        of = " of the mean over targets" if target == "macro" else f" of {target}" if target else ""
        where = f" on {listing(tracks, 6)}" if tracks else ""
        if not ours:
            why = "no run has one"
        elif target == "macro" and not all("auc" in metric for metric in rows["metric"]):
            why = "where one target has none, their mean has none"
        elif tracks:
            why = "a source that is silent in the reference, or an estimate that is silent throughout, has no score"
        elif any("auc" in metric for metric in rows["metric"]):
            word = target_word(next(metric for metric in rows["metric"] if "auc" in metric))
            sounds = "a source that always plays, or never, has none"
            why = (
                sounds if word == "source" else f"a {word} without a positive (or without a negative) example has none"
            )
        else:
            why = "no track gives it a value"
        yield f"{count(len(rows), f'{metrics} score')}{of}{where} undefined and left out: {why}."


def _undefined_in_runs(undefined: pd.DataFrame, defined: pd.DataFrame) -> Iterator[str]:
    """Scores that some runs lack and others have, by metric; first the runs that have none of a metric."""
    keys = ["variant", "seed", "metric"]
    scored = set(defined.groupby(keys, sort=False).groups)
    lacking = undefined.groupby(keys, sort=False).size()
    for whole in (True, False):
        runs: dict[str, list[str]] = {}
        scores: dict[str, int] = {}
        for (variant, seed, metric), many in lacking.items():
            if whole == ((variant, seed, metric) not in scored):
                runs.setdefault(metric, []).append(f"{variant}/seed{seed}")
                scores[metric] = scores.get(metric, 0) + many
        for metric, names in runs.items():
            what = f"All {metric} scores" if whole else count(scores[metric], f"{metric} score")
            without = f"; {'this run is' if len(names) == 1 else 'these runs are'} left out" if whole else ""
            yield (
                f"{what} of {listing(names, 8)} undefined (empty or not finite), "
                f"where other runs have a score{without}."
            )
