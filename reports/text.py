"""How numbers are written: metrics in their usual unit, p values, intervals, counts."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.contract import Metric, known_metric


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
        scientific: printed as 1.23e12, for scores that no decimals suit.
    """

    name: str
    label: str
    scale: float = 1.0
    unit: str = ""
    digits: int = 3
    higher_is_better: bool = True
    scientific: bool = False

    def value(self, score: float) -> str:
        """A score as printed, e.g. 91.85."""
        return (scientific if self.scientific else number)(score * self.scale, self.digits)

    def difference(self, score: float, unit: bool = False) -> str:
        """A signed difference as printed, e.g. +0.38 points."""
        text = self._amount(score * self.scale, signed=True)
        return f"{text} {self.unit}" if unit and self.unit and text != MISSING else text

    def amount(self, score: float) -> str:
        """An unsigned amount with its unit, e.g. 0.38 points."""
        text = self._amount(abs(score) * self.scale)
        return f"{text} {self.unit}" if self.unit and text != MISSING else text

    def spread(self, score: float) -> str:
        """A standard error or deviation as printed behind a mean."""
        return self._amount(score * self.scale)

    def _amount(self, value: float, signed: bool = False) -> str:
        """A difference, of which three digits say enough; one that decimals would hide is written as 1.23e-12."""
        hidden = self.digits >= MOST_DIGITS and 0 < abs(value) < 10.0 ** (2 - self.digits)
        return scientific(value, 2, signed) if self.scientific or hidden else number(value, self.digits, signed)

    def most(self, base: float = math.nan) -> tuple[float, float]:
        """The greatest loss (negative) and gain that a difference to a score can be: a share lies between 0 and 100
        points; without the score, it is that of any two."""
        if self.unit != "points":
            return -math.inf, math.inf
        whole = 100 / self.scale
        return (-whole, whole) if math.isnan(base) else (min(-base, 0.0), max(whole - base, 0.0))

    def interval(self, low: float, high: float, base: float = math.nan) -> str:
        """A confidence interval of a difference as printed, e.g. [+0.28, +0.48], no wider than a difference to the
        score ``base`` can be; a dash for one without a width, of equal runs, which would pass for certainty."""
        if math.isnan(low) or math.isnan(high) or low == high:
            return MISSING
        least, most = self.most(base)
        low, high = min(max(low, least), most), max(min(high, most), least)
        return f"[{self.difference(low)}, {self.difference(high)}]"


def largest(style: Style, references: Sequence[float]) -> tuple[float, float]:
    """The greatest loss and gain, both positive, that a difference to any of the references' scores can be."""
    bounds = [style.most(score) for score in references] or [style.most()]
    return max(-low for low, _ in bounds), max(high for _, high in bounds)


MISSING = "–"
MOST_DIGITS = 8
PLAIN = (1e-4, 1e6)
"""Scores without a unit whose greatest lies outside are printed as 1.23e12."""
SCALES = {"points": 100.0}
"""Printed value = score x scale, by unit."""


def style(
    metric: str,
    higher_is_better: bool | None = None,
    scores: Sequence[float] = (),
    own: Mapping[str, Metric] | None = None,
) -> Style:
    """How a metric is written: as it is known, or as the study declares it (`own`), in the direction asked for.

    One without a unit and without declared decimals gets as many as show three digits of the spread of its scores, and
    powers of ten where its scores are great or small. A share whose scores exceed 1 is in percent already and is not
    multiplied again. The direction of a metric that nobody declared is not guessed from its name: `directed` says
    whether it is known.

    >>> style("si_sdr_improvement").label
    'SI-SDR improvement'
    """
    found = known_metric(metric, own)
    if found is None:
        found = Metric(metric)
    greatest = max((abs(score) for score in scores if math.isfinite(score)), default=0.0)
    powers = found.digits is None and not found.unit and greatest > 0 and not PLAIN[0] <= greatest < PLAIN[1]
    if (digits := found.digits) is None and found.unit:
        digits = 2
    elif digits is None:
        spread = max(scores) - min(scores) if len(scores) > 1 else 0.0
        size = spread or greatest or 1.0
        power = math.floor(math.log10(greatest)) if powers else 0
        digits = min(MOST_DIGITS, max(2, 2 + power - math.floor(math.log10(size))))
    better = found.higher_is_better if higher_is_better is None else higher_is_better
    percent = found.unit == "points" and max(map(abs, scores), default=0.0) > 1.0
    scale = 1.0 if percent else SCALES.get(found.unit, 1.0)
    return Style(metric, found.label, scale, found.unit, digits, better, powers)


def directed(metric: str, higher_is_better: bool | None = None, own: Mapping[str, Metric] | None = None) -> bool:
    """Whether it is known which way a metric is better: asked for, declared, or one of those known by name."""
    return higher_is_better is not None or known_metric(metric, own) is not None


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


def significant(value: float, digits: int = 3) -> str:
    """A number above 0 with so many digits that count, and no power of ten where five zeros say it; a dash for NaN.

    >>> significant(0.0012345), significant(1234.5), significant(12.0), significant(0.0), significant(1.5e-9)
    ('0.00123', '1,234', '12.0', '0', '1.50e-9')
    """
    if math.isnan(value):
        return MISSING
    if value == 0:
        return "0"
    if value < 1e-6:
        return scientific(value, digits - 1)
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(value)))}f}"


def scientific(value: float, digits: int = 2, signed: bool = False) -> str:
    """A number with a power of ten; a dash for NaN.

    >>> scientific(3.0016e12), scientific(-1.5e-12, 1, signed=True), scientific(0.0)
    ('3.00e12', '−1.5e-12', '0.00')
    """
    if not math.isfinite(value) or value == 0:
        return number(value, digits)
    mantissa, _, power = f"{abs(value):.{digits}e}".partition("e")
    return f"{'−' if value < 0 else '+' if signed else ''}{mantissa}e{int(power)}"


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


def visible(text: str) -> str:
    r"""A text of one line: what would steer a terminal or turn the reading direction is written out.

    >>> visible("a\x1b[31m\nb")
    'a\\x1b[31m b'
    """
    return STEERING.sub(lambda found: " " if found[0].isspace() else ascii(found[0])[1:-1], text)


STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, ends of lines, marks of direction."""
