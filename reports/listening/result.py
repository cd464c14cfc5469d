"""What listeners said, tested: each variant against what it is compared with, over listeners, songs and runs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.contract import Study
from reports.document import Cell, Report, Section, Table
from reports.inputs.directory import Tables
from reports.listening.levels import ANCHORS
from reports.listening.plan import HIDDEN, Plan
from reports.listening.ratings import screened
from reports.statistics import groups, listeners
from reports.statistics.corrections import correct, stars
from reports.statistics.hypothesis_tests import NAN, Result, paired
from reports.statistics.seed_paired import FEW
from reports.text import count, listing, number, p_phrase, p_value

LABEL = {"mushra": "MUSHRA rating", "ab": "preference"}


@dataclass(frozen=True)
class Contrast:
    """One variant against its reference.

    Attributes:
        differences: rating of the variant less that of its reference, (listener, song, run); of pairs 1 or -1.
        result: the t test; its interval holds together with those of the family.
        p, corrected, naive: of the primary test; over the family; and of all ratings as if they were independent.
    """

    variant: str
    reference: str
    differences: np.ndarray
    result: Result
    p: float
    corrected: float
    naive: float


@dataclass(frozen=True)
class Heard:
    """A listening test that was read back.

    Attributes:
        ratings: those of `ratings.table` that count.
        left_out: listeners left out, with the reason.
        songs: how many in the contrast with fewest, and with most; runs: how many of each variant.
    """

    study: Study
    plan: Plan
    ratings: pd.DataFrame
    left_out: Mapping[str, str]
    contrasts: tuple[Contrast, ...]
    songs: tuple[int, int]
    runs: int


def test(tables: Tables, plan: Plan, ratings: pd.DataFrame) -> Heard:
    """The test of a table of ratings.

    Raises:
        ValueError: post-screening leaves nobody.
    """
    study, left_out = tables.study, screened(plan, ratings)
    kept = ratings[~ratings["listener"].isin(list(left_out))]
    if kept.empty:
        raise ValueError(f"post-screening leaves no listener: {listing([f'{n} ({w})' for n, w in left_out.items()])}")
    has_scores = tables.directory is not None and (tables.directory / "scores.csv").is_file()
    songs = groups.of_items(tables.scores.frame) if has_scores else {}
    run = {trial.id: trial.run for trial in plan.trials}
    wide = kept.assign(song=kept["track"].map(lambda name: songs.get(name, name)), run=kept["trial"].map(run))
    variants = dict.fromkeys(each.variant for trial in plan.trials for each in trial.conditions if each.variant)
    names = [v.name for v in study.variants if v.name in variants] or [*variants]
    pairs = [(v, r) for v in names if v != (r := study.reference_of(v)) and r in variants]
    tables_of = {pair: _differences(wide, *pair) for pair in pairs}
    alpha = study.declaration.alpha / max(1, len(pairs))
    results = {pair: listeners.crossed(table, alpha) for pair, table in tables_of.items()}
    if plan.test == "ab":
        p = [listeners.preferred((tables_of[pair] + 1) / 2) for pair in pairs]
        naive = [_coin(tables_of[pair]) for pair in pairs]
    else:
        p = [results[pair].p for pair in pairs]
        zeros = [dict.fromkeys(range(tables_of[pair].size), 0.0) for pair in pairs]
        naive = [
            paired(dict(enumerate(tables_of[pair].ravel())), zero).p for pair, zero in zip(pairs, zeros, strict=True)
        ]
    corrected = correct(p, "bonferroni")
    contrasts = [
        Contrast(*pair, tables_of[pair], results[pair], *values)
        for pair, *values in zip(pairs, p, corrected, naive, strict=True)
    ]
    many = [contrast.differences.shape[1] for contrast in contrasts] or [0]
    return Heard(study, plan, kept, left_out, tuple(contrasts), (min(many), max(many)), len({*run.values()}))


def _differences(wide: pd.DataFrame, variant: str, reference: str) -> np.ndarray:
    """Ratings of a variant less those of its reference in the same trials, the mean over what a song has of them, of
    the songs that every run was heard on. Shape: (listener, song, run)."""
    keys = ["listener", "song", "run", "trial"]
    arms = [wide[wide["variant"] == name].set_index(keys)["rating"].astype(float) for name in (variant, reference)]
    apart = (arms[0] - arms[1]).dropna().groupby(level=keys[:3]).mean().unstack("run")  # noqa: PD010
    cube: np.ndarray = apart.to_numpy().reshape(apart.index.unique("listener").size, -1, apart.shape[1])
    return np.asarray(cube[:, ~np.isnan(cube).any(axis=(0, 2))])


def _coin(table: np.ndarray) -> float:
    return listeners.binomial(int((table > 0).sum()), int((table != 0).sum()))


# ---- what is shown


def headline(heard: Heard) -> str:
    """The verdict in a sentence."""
    alpha = heard.study.declaration.alpha
    clear = [c for c in heard.contrasts if c.corrected < alpha]
    told = []
    for contrast in clear:
        amount = _amount(heard, contrast)
        way = {"mushra": ("rated higher", "rated lower"), "ab": ("preferred", "not preferred")}[heard.plan.test]
        word = way[contrast.result.difference < 0]
        p = p_phrase(contrast.corrected)
        told.append(f"{contrast.variant} ({amount}, corrected {p}) is {word} {_than(heard, contrast)}")
    others = len(heard.contrasts) - len(clear)
    if others:
        what = count(others, "other variant") if clear else count(others, "variant")
        told.append(f"for {what} no difference could be heard beyond chance")
    text = "; ".join(told) or "nothing is compared"
    return f"By {LABEL[heard.plan.test]}, {text}."


def _than(heard: Heard, contrast: Contrast) -> str:
    if heard.plan.test == "mushra":
        return f"than {contrast.reference}"
    return f"{'to' if contrast.result.difference > 0 else 'beside'} {contrast.reference}"


def _amount(heard: Heard, contrast: Contrast) -> str:
    if heard.plan.test == "ab":
        return f"in {50 + 50 * contrast.result.difference:.0f} % of the pairs"
    return number(contrast.result.difference, 1, signed=True)


def reach(heard: Heard) -> list[str]:
    """What the verdict is about, and what it is not."""
    many = heard.ratings["listener"].nunique()
    fewest, most = heard.songs
    songs = count(most, "song") if fewest == most else f"{fewest} to {most} songs"
    told = [f"{count(many, 'listener')}, {songs}, {count(heard.runs, 'run')} of each variant."]
    seeds = sorted({int(seed) for seed in heard.ratings["seed"].dropna()})
    if heard.runs == 1:
        which = f" (seed {listing([*map(str, seeds)])})" if seeds else ""
        told.append(
            f"One run of each variant was heard{which}: the claim is about these runs only. Another training of the "
            "same variant may sound otherwise; --runs plays several."
        )
    else:
        told.append(
            f"Listeners, songs and runs are crossed samples; equal seeds of two variants are a pair (seeds "
            f"{listing([*map(str, seeds)])}): the claim is about other runs, too."
        )
    if fewest == 1:
        where = "" if most == 1 else " for some variants"
        told.append(f"One song was heard{where}: the claim is about this song only.")
    if many == 1:
        told.append("One listener cannot show how much listeners differ: nothing is tested.")
    elif many < FEW:
        told.append(
            f"With {count(many, 'listener')} only large differences can be found: there is little to say how much "
            "listeners differ."
        )
    sizes = [size for contrast in heard.contrasts for size in contrast.differences.shape if size > 1]
    least = max((2.0 ** (1 - size) for size in sizes), default=0.0)
    if heard.plan.test == "ab" and least >= heard.study.declaration.alpha / max(1, len(heard.contrasts)):
        told.append(f"With so few the least p of a sign test is {p_value(least)}, which cannot be significant.")
    told += [f"{name} is left out by post-screening (ITU-R BS.1534-3): {why}." for name, why in heard.left_out.items()]
    return told


def rated(heard: Heard) -> Table:
    """MUSHRA: one row per condition."""
    family = len(heard.contrasts)
    level = 100 * (1 - heard.study.declaration.alpha)
    head = (
        "variant",
        "mean rating",
        "difference",
        f"{level:g} % simultaneous CI",
        "t",
        "df",
        "p",
        "p corr.",
        "naive p",
    )
    by = {contrast.variant: contrast for contrast in heard.contrasts}
    conditions = [HIDDEN, *_variants(heard), *reversed(ANCHORS)]
    rows = []
    for name in (name for name in conditions if name in set(heard.ratings["variant"])):
        of = heard.ratings[heard.ratings["variant"] == name].groupby("listener")["rating"].mean()
        se = of.std(ddof=1) / len(of) ** 0.5 if len(of) > 1 else NAN
        cells = [Cell(name), Cell(f"{number(of.mean(), 1)} ± {number(se, 1)}", float(of.mean()))]
        if name not in by:
            compared = name in {contrast.reference for contrast in heard.contrasts}
            cells += [Cell("reference" if compared else "", NAN, "reference" if compared else ""), *[Cell("", NAN)] * 6]
        else:
            c, r = by[name], by[name].result
            interval = f"[{number(r.low, 1, signed=True)}, {number(r.high, 1, signed=True)}]"
            cells += [
                Cell(number(r.difference, 1, signed=True), r.difference),
                Cell(interval, r.low),
                Cell(number(r.statistic, 2), r.statistic),
                Cell(number(r.df, 1), r.df),
                *_ps(c),
            ]
        rows.append(tuple(cells))
    label = heard.contrasts[0].result.label if heard.contrasts else ""
    notes = "".join(f" {c.variant}: {c.result.note}." for c in heard.contrasts if c.result.note)
    caption = (
        f"MUSHRA ratings, 0 to 100: mean ± standard error over listeners; {label}, Bonferroni, family of {family}. The "
        f"naive p takes every rating as independent.{notes}"
    )
    return Table(head, tuple(rows), caption)


def preferred(heard: Heard) -> Table:
    """Pairs: one row per pair of variants."""
    sizes = [contrast.differences.shape for contrast in heard.contrasts]
    factors = [f for axis, f in enumerate(listeners.FACTORS) if any(size[axis] > 1 for size in sizes)]
    head = ("variant", "against", "preferred", *(f"{f}s for it" for f in factors), "p", "p corr.", "naive p")
    rows = []
    for c in heard.contrasts:
        found = listeners.signs((c.differences + 1) / 2)
        share = (c.differences.mean() + 1) / 2
        signs = [Cell("{} of {}".format(*found[f]), found[f][0]) if f in found else Cell("–", NAN) for f in factors]
        rows.append((Cell(c.variant), Cell(c.reference), Cell(f"{100 * share:.0f} %", float(share)), *signs, *_ps(c)))
    caption = (
        f"Share of pairs in which the variant was preferred. p is the larger of the exact sign tests over "
        f"{listing([f'{f}s' for f in factors])}, ties left out; Bonferroni, family of {len(rows)}. The naive p is the "
        "binomial test of all pairs as if they were independent."
    )
    return Table(head, tuple(rows), caption)


def _ps(contrast: Contrast) -> list[Cell]:
    corrected = f"{p_value(contrast.corrected)} {stars(contrast.corrected)}".strip()
    return [
        Cell(p_value(contrast.p), contrast.p),
        Cell(corrected, contrast.corrected, "p"),
        Cell(p_value(contrast.naive), contrast.naive, "naive"),
    ]


def _variants(heard: Heard) -> list[str]:
    return [*dict.fromkeys(name for c in heard.contrasts for name in (c.reference, c.variant))]


def section(heard: Heard) -> Section:
    """The table with what it reaches to."""
    table = rated(heard) if heard.plan.test == "mushra" else preferred(heard)
    return Section("Listening test", tables=(table,), points=tuple(reach(heard)))


def report(heard: Heard) -> Report:
    """The result as a report, for a page or a text file."""
    asked = f"Listeners were asked: {heard.plan.question} Page {heard.plan.page}."
    no_result = [heard.study.no_result] if heard.study.no_result else []
    return Report(
        heard.study.title,
        heard.study.question or heard.study.name,
        headline(heard),
        (*no_result, asked),
        (section(heard),),
    )
