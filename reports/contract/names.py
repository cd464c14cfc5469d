"""The names a declaration may use (tests, corrections, metrics), and what is known of each."""

import difflib
import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

TESTS = (
    *("crossed", "half_pooled", "seeds_clips", "welch", "student", "pooled"),
    *("paired", "paired_crossed", "paired_clips"),
    *("wilcoxon", "permutation", "mixed", "bootstrap", "delong", "item_means"),
)
"""Primary tests.

An empty one is `crossed` for scores of tracks, `seeds_clips` for AUCs with predictions (`paired_crossed` and
`paired_clips` where equal seeds share trainings, `item_means` and `delong` with one run each), else `half_pooled`.
"""
CORRECTIONS = {"bonferroni": "Bonferroni", "holm": "Holm", "bh": "Benjamini-Hochberg", "none": "uncorrected"}
"""Corrections for the family of contrasts, and what a report calls them."""
OF_CLIPS = ("delong", "seeds_clips", "paired_clips")
"""Tests of ROC-AUCs, from the predictions for every clip."""
SPELLINGS = {"benjamini_hochberg": "bh"}
"""Other spellings of a correction."""
SPENDING = ("pocock", "obf", "e")
"""How a study that looks at its results spends its error: alike at every look, most of it at the last, an e-process."""
SEQUENTIAL = (
    *("", "crossed", "half_pooled", "seeds_clips", "welch", "student", "pooled"),
    *("paired", "paired_crossed", "paired_clips"),
)
"""Tests that can be made at every look: training runs are a sample, and the difference has a standard error."""
COLUMNS = ("study", "trial", "variant", "seed", "track", "group", "target", "metric", "aggregation", "score")
"""Columns of scores.csv beside the factors, so no names of factors."""
MACRO = ("macro", "")
"""Targets of a mean over all tags or sources."""
OF_TAGS = ("roc_auc", "pr_auc", "accuracy", "weighted_accuracy", "f1")
"""Metrics whose targets are what is predicted of a clip."""
OF_SOUND = ("l1", "activity_", "activation_", "tag_probability", "steered_probability")
"""How metrics begin that are of a source, as those in dB are."""
EXACT_RELABELLINGS = 20_000
"""A permutation test enumerates so many relabellings at most, and else draws 9,999."""


@dataclass(frozen=True)
class Metric:
    """How a metric is called, printed and judged.

    Attributes:
        label: name in the field; empty for the name in the score table.
        unit: "points" for a share printed in percent, "dB", any other, or empty.
        higher_is_better: direction.
        digits: decimals printed; None for two with a unit, else as many as show the spread.
    """

    label: str = ""
    unit: str = ""
    higher_is_better: bool = True
    digits: int | None = None


METRICS = {
    "roc_auc": Metric("ROC-AUC", "points"),
    "pr_auc": Metric("PR-AUC", "points"),
    "accuracy": Metric("accuracy", "points"),
    "weighted_accuracy": Metric("weighted accuracy", "points"),
    "f1": Metric("F1", "points"),
    "sdr": Metric("SDR", "dB"),
    "si_sdr": Metric("SI-SDR", "dB"),
    "usdr": Metric("uSDR", "dB"),
    "csdr": Metric("cSDR", "dB"),
    "si_sir": Metric("SI-SIR", "dB"),
    "si_sar": Metric("SI-SAR", "dB"),
    "log_wmse": Metric("log-WMSE", "", True, 2),
    "bleedless": Metric("bleedless", "", True, 1),
    "fullness": Metric("fullness", "", True, 1),
    "sir": Metric("SIR", "dB"),
    "sar": Metric("SAR", "dB"),
    "isr": Metric("ISR", "dB"),
    "avg": Metric("mean of SDR, SIR and SAR", "dB"),
    "sdr_all": Metric("SDR, no second left out", "dB"),
    "activity_auc": Metric("activity AUC by frame", "points"),
    "activity_auc_1s": Metric("activity AUC by second", "points"),
    "activation_rate": Metric("share of active frames", "points"),
    "mixture_sdr": Metric("SDR of the mixture", "dB"),
    "spectrogram_sdr": Metric("spectrogram SDR", "dB"),
    "global_sdr": Metric("global SDR", "dB"),
    "mae": Metric("MAE", "", False, 5),
    "tag_probability": Metric("probability of the tags to a tagger that was not steered", "points"),
    "steered_probability": Metric("probability of the tags to the steered tagger", "points"),
    "l1": Metric("L1", "", False, 5),
    "loss": Metric("loss", "", False, 4),
}
ALIKE = (("sdr", "usdr", "csdr", "si_sdr", "global_sdr", "sdr_all"),)
"""Metrics that are conventions of one kind of score, in small letters."""
SUFFIXES = {
    "_improvement": " improvement",
    "_mixture": " of the mixture",
    "_reference": " of the source itself",
    "_silence": " of silence",
    "_best_scalar": " of the best scalar",
    "_wiener": " of a static Wiener filter",
    "_ideal_mask": " of the ideal mask",
    "_energy": " of the mixture's energy",
    "_mean": ", means over frames",
}
"""What a metric of another estimate, or a gain, is called after the metric."""


def known_metric(name: str, own: Mapping[str, Metric] | None = None) -> Metric | None:
    """The metric of that name, or of a name made of one, with its label; None where nobody declared it. A measure of
    sound may be spelled in capitals, as museval does; a share may not, which others print in percent.

    >>> known_metric("si_sdr_improvement").label, known_metric("width"), known_metric("SDR").unit
    ('SI-SDR improvement', None, 'dB')
    """
    metric = {**METRICS, **(own or {})}.get(name)
    if metric is None and (lower := METRICS.get(name.lower())) and lower.unit != "points":
        metric = lower
    if metric is not None:
        return metric if metric.label else replace(metric, label=name)
    for suffix, words in SUFFIXES.items():
        if name.endswith(suffix) and (base := known_metric(name.removesuffix(suffix), own)):
            return replace(base, label=base.label + words)
    return None


def target_word(metric: str, targets: Iterable[str] = (), own: Mapping[str, Metric] | None = None) -> str:
    """What a target of a metric is called, and so an item of a comparison over targets: a `tag` that is predicted, a
    `source` that is separated or found to play; of what a study declares itself, and of levels of a hierarchy, no more
    is known than that it is a `target`.

    >>> target_word("pr_auc"), target_word("si_sdr_improvement"), target_word("activity_auc"), target_word("width")
    ('tag', 'source', 'source', 'target')
    """
    found = known_metric(metric, own)
    if found is None or metric in (own or {}) or any(name.startswith("level ") for name in targets):
        return "target"
    if metric in OF_TAGS:
        return "tag"
    return "source" if found.unit == "dB" or metric.startswith(OF_SOUND) else "target"


def nearest(value: object, choices: Iterable[object]) -> str:
    """The end of an error message: the nearest valid choice, or all of them.

    >>> nearest("Welsh", ["welch", "student"])
    "did you mean 'welch'?"
    >>> nearest("x", ["mean", "max"])
    "choose from 'max', 'mean'"
    """
    names = sorted({str(choice) for choice in choices})
    by_lower = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(str(value).lower(), by_lower, n=1)
    if close:
        return f"did you mean {by_lower[close[0]]!r}?"
    return "choose from " + ", ".join(map(repr, names)) if names else "there is none to choose"


def least_p(test: str, runs: int, reference_runs: int | None = None) -> float:
    """The least two-sided p of an exact test with so many runs per arm; 0 for a test without such a bound.

    >>> least_p("wilcoxon", 5), least_p("permutation", 3), least_p("welch", 2)
    (0.0625, 0.1, 0.0)
    """
    others = runs if reference_runs is None else reference_runs
    if test == "wilcoxon":
        return min(1.0, 2.0 ** (1 - min(runs, others)))
    if test == "permutation":
        relabellings = math.comb(runs + others, runs)
        exact = (2 if runs == others else 1) / relabellings
        return min(1.0, exact) if relabellings <= EXACT_RELABELLINGS else 1e-4
    return 0.0


def significant_p(correction: str, alpha: float, family: int) -> float:
    """The largest p with which some contrast of the family can be significant, if the others are as small.

    Bonferroni and Holm ask alpha / family of the smallest p; Benjamini-Hochberg rejects all if none is over alpha.

    >>> significant_p("holm", 0.05, 5), significant_p("bh", 0.05, 5)
    (0.01, 0.05)
    """
    return alpha if correction in ("none", "bh") else alpha / family


def spelled_alike(names: Iterable[object]) -> tuple[object, object] | None:
    """The first two of distinct names that differ only by blanks, case, accents' coding or the form of a number."""
    forms: dict[object, object] = {}
    for name in dict.fromkeys(names):
        text = " ".join(as_seen(str(name)).split()).lower()
        try:
            form: object = float(text)
        except ValueError:
            form = text
        if form in forms:
            return forms[form], name
        forms[form] = name
    return None


def as_seen(text: str) -> str:
    """A text as it looks: accents composed, characters without a width gone."""
    return "".join(each for each in unicodedata.normalize("NFC", text) if unicodedata.category(each) != "Cf")
