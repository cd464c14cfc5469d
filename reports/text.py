"""How numbers are written: metrics in their usual unit, p values, intervals, counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Style:
    """How a metric is called and written.

    Attributes:
        name: column value in the score table.
        label: name in the field.
        scale: printed value = score x scale.
        unit: unit of a printed difference; empty for none.
        digits: decimals printed.
        higher_is_better: direction.
    """

    name: str
    label: str
    scale: float = 1.0
    unit: str = ""
    digits: int = 3
    higher_is_better: bool = True

    def value(self, score: float) -> str:
        """A score as printed, e.g. 91.85."""
        return number(score * self.scale, self.digits)

    def difference(self, score: float, unit: bool = False) -> str:
        """A signed difference as printed, e.g. +0.38 points."""
        text = number(score * self.scale, self.digits, signed=True)
        return f"{text} {self.unit}" if unit and self.unit and text != MISSING else text

    def amount(self, score: float) -> str:
        """An unsigned amount with its unit, e.g. 0.38 points."""
        text = number(abs(score) * self.scale, self.digits)
        return f"{text} {self.unit}" if self.unit and text != MISSING else text

    def interval(self, low: float, high: float) -> str:
        """A confidence interval as printed, e.g. [+0.28, +0.48]."""
        if math.isnan(low) or math.isnan(high):
            return MISSING
        return f"[{self.difference(low)}, {self.difference(high)}]"


MISSING = "–"
PERCENT = {"scale": 100.0, "unit": "points", "digits": 2}
DECIBEL = {"unit": "dB", "digits": 2}
STYLES = {
    "roc_auc": Style("roc_auc", "ROC-AUC", 100.0, "points", 2),
    "pr_auc": Style("pr_auc", "PR-AUC", 100.0, "points", 2),
    "accuracy": Style("accuracy", "accuracy", 100.0, "points", 2),
    "weighted_accuracy": Style("weighted_accuracy", "weighted accuracy", 100.0, "points", 2),
    "f1": Style("f1", "F1", 100.0, "points", 2),
    "sdr": Style("sdr", "SDR", 1.0, "dB", 2),
    "si_sdr": Style("si_sdr", "SI-SDR", 1.0, "dB", 2),
    "usdr": Style("usdr", "uSDR", 1.0, "dB", 2),
    "csdr": Style("csdr", "cSDR", 1.0, "dB", 2),
    "sir": Style("sir", "SIR", 1.0, "dB", 2),
    "sar": Style("sar", "SAR", 1.0, "dB", 2),
    "isr": Style("isr", "ISR", 1.0, "dB", 2),
    "avg": Style("avg", "mean of SDR, SIR and SAR", 1.0, "dB", 2),
    "sdr_all": Style("sdr_all", "SDR, no second left out", 1.0, "dB", 2),
    "activity_auc": Style("activity_auc", "activity AUC by frame", 100.0, "points", 2),
    "activity_auc_1s": Style("activity_auc_1s", "activity AUC by second", 100.0, "points", 2),
    "spectrogram_sdr": Style("spectrogram_sdr", "spectrogram SDR", 1.0, "dB", 2),
    "global_sdr": Style("global_sdr", "global SDR", 1.0, "dB", 2),
    "mae": Style("mae", "MAE", 1.0, "", 5, higher_is_better=False),
    "l1": Style("l1", "L1", 1.0, "", 5, higher_is_better=False),
    "loss": Style("loss", "loss", 1.0, "", 4, higher_is_better=False),
}

SUFFIXES = {
    "_improvement": " improvement",
    "_mixture": " of the mixture",
    "_silence": " of silence",
    "_best_scalar": " of the best scalar",
    "_wiener": " of a static Wiener filter",
    "_ideal_mask": " of the ideal mask",
    "_mean": ", means over frames",
}
"""What a metric of another estimate, or a gain, is called after the metric."""


def known(metric: str) -> Style | None:
    """The style of a metric with a name of its own, or made of one.

    >>> known("si_sdr_improvement").label, known("width")
    ('SI-SDR improvement', None)
    """
    if metric in STYLES:
        return STYLES[metric]
    for suffix, words in SUFFIXES.items():
        if metric.endswith(suffix) and (base := known(metric.removesuffix(suffix))):
            return replace(base, name=metric, label=base.label + words)
    return None


def style(metric: str, higher_is_better: bool | None = None, scores: Sequence[float] = ()) -> Style:
    """The style of a metric; of an unknown one, decimals that show three digits of its spread."""
    found = known(metric)
    if found is None:
        spread = max(scores) - min(scores) if len(scores) > 1 else 0.0
        size = spread or max((abs(score) for score in scores), default=1.0) or 1.0
        digits = min(8, max(2, 2 - math.floor(math.log10(size))))
        lower = any(word in metric.lower() for word in ("loss", "error", "l1", "l2", "mse"))
        found = Style(metric, metric, digits=digits, higher_is_better=not lower)
    if higher_is_better is None or higher_is_better == found.higher_is_better:
        return found
    return Style(found.name, found.label, found.scale, found.unit, found.digits, higher_is_better)


def number(value: float, digits: int = 2, signed: bool = False) -> str:
    """A number with a true minus sign; a dash for NaN; never a negative zero.

    >>> number(-0.001, 2), number(0.382, 2, signed=True), number(float("nan"))
    ('0.00', '+0.38', '–')
    """
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{abs(value):.{digits}f}"
    if not text.strip("0."):
        return text
    return ("−" if value < 0 else "+" if signed else "") + text


def p_value(p: float) -> str:
    """A p value without its leading zero, e.g. .012; < .0001 below that; a dash for NaN.

    >>> p_value(0.0123), p_value(0.3), p_value(1e-6), p_value(1)
    ('.012', '.30', '< .0001', '1')
    """
    if math.isnan(p):
        return MISSING
    if p >= 0.9995:
        return "1"
    if p < 0.0001:
        return "< .0001"
    digits = 4 if p < 0.001 else 3 if p < 0.0995 else 2
    text = f"{p:.{digits}f}".lstrip("0")
    return "1" if text == "1.00" else text


def p_phrase(p: float, name: str = "p") -> str:
    """`p = .012` or `p < .0001`."""
    text = p_value(p)
    return f"{name} {text}" if text.startswith("<") else f"{name} = {text}"


def count(n: int, noun: str, plural: str = "") -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def listing(names: Sequence[str], limit: int = 0) -> str:
    """`a, b and c`; with a limit, `a, b and 7 more`."""
    names = list(names)
    if limit and len(names) > limit + 1:
        return ", ".join(names[:limit]) + f" and {len(names) - limit} more"
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else "none"


def duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
