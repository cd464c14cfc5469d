"""Effect against cost: one mark per variant, with an interval along either axis, and the Pareto front."""

import math
from collections.abc import Mapping, Sequence

from reports.cost import Measure, Point
from reports.drawing import svg
from reports.findings import Comparison
from reports.text import significant

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 720.0, 66.0, 486.0, 26.0, 326.0
MOST = 40
WIDE = 20.0
"""From this ratio of the largest to the smallest cost on, the axis of costs is logarithmic."""


def plane(points: Sequence[Point], main: Comparison, measure: Measure, places: Mapping[str, int]) -> str:
    """A drawing of variants of one reference; empty with fewer than two.

    Args:
        places: of each variant, its place among the study's variants, which decides its colour as in other figures.
    """
    drawn = list(points)[:MOST]
    if len(drawn) < 2:
        return ""
    scale = main.style.scale
    heights = [end * scale for p in drawn for end in (p.effect.mean, p.effect.low, p.effect.high) if math.isfinite(end)]
    y = svg.linear(*svg.padded(heights), BOTTOM, TOP)
    x, parts = _costs(drawn, measure)
    parts += svg.y_axis(y, svg.ticks(*svg.padded(heights)), LEFT, RIGHT)
    parts.append(svg.line(LEFT, y(0), RIGHT, y(0), "zero"))
    unit = f" ({main.style.unit})" if main.style.unit else ""
    reference = next((p.variant for p in drawn if p.is_reference), main.against)
    label = f"difference to {reference}, {main.style.label}{unit}; better is {_better(main)}"
    parts.append(svg.text(LEFT - 50, 14, svg.shortened(label, 80), "label"))
    parts.append(svg.polyline(_stairs(drawn, x, y, scale), "series fine shared", "Pareto front"))
    for place, point in enumerate(drawn):
        parts += _mark(point, place, x, y, main, measure, places)
    return svg.drawing(
        WIDTH,
        max(BOTTOM + 44, TOP + 20 * len(drawn) + 10),
        parts,
        f"Effect on {main.style.label} against {measure.label} per run",
    )


def _better(main: Comparison) -> str:
    return "up" if main.style.higher_is_better else "down"


def _costs(drawn: Sequence[Point], measure: Measure) -> tuple[svg.Scale, list[str]]:
    """The scale of costs, and its axis."""
    means = [point.cost.mean for point in drawn]
    ends = [end for p in drawn for end in (p.cost.mean, p.cost.low, p.cost.high) if math.isfinite(end)]
    label = f"{measure.label} per run"
    if min(means) > 0 and max(means) > WIDE * min(means):
        low, high = min(means) / 1.5, max(ends) * 1.2
        on = svg.linear(math.log10(low), math.log10(high), LEFT + 8, RIGHT)
        values = [v for v in _decades(low, high) if low <= v <= high]
        middle = (LEFT + RIGHT) / 2
        parts = svg.x_axis(lambda v: on(math.log10(max(v, low))), values, TOP, BOTTOM, "", lambda v: f"{v:g}")
        parts.append(svg.text(middle, BOTTOM + 32, f"{label}, logarithmic", "label", "middle"))
        return lambda v: on(math.log10(max(v, low))), parts
    low, high = 0.0, (max(ends) * 1.06 or 1.0)
    scale = svg.linear(low, high, LEFT + 8, RIGHT)
    return scale, svg.x_axis(scale, svg.ticks(low, high), TOP, BOTTOM, label)


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or powers alone where these are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if len(powers) > 4 else (1, 2, 5)
    return [float(f"{step}e{power}") for power in powers for step in steps]


def _stairs(drawn: Sequence[Point], x: svg.Scale, y: svg.Scale, scale: float) -> list[tuple[float, float]]:
    """The front as a line: right at what is gained, up where more is."""
    ahead = sorted((p for p in drawn if p.ahead), key=lambda p: p.cost.mean)
    stairs: list[tuple[float, float]] = []
    for point in ahead:
        here = x(point.cost.mean), y(point.effect.mean * scale)
        stairs += [(here[0], stairs[-1][1]), here] if stairs else [here]
    return [*stairs, (RIGHT, stairs[-1][1])] if stairs else []


def _mark(
    point: Point, place: int, x: svg.Scale, y: svg.Scale, main: Comparison, measure: Measure, places: Mapping[str, int]
) -> list[str]:
    """The intervals, the mark, and the name beside the plane."""
    scale = main.style.scale
    number = places.get(point.variant, place)
    colour = f"s{number % svg.COLOURS}"
    at = x(point.cost.mean), y(point.effect.mean * scale)
    dash = " dashed" if point.is_reference else ""
    parts = []
    if math.isfinite(point.effect.low) and math.isfinite(point.effect.high):
        ends = y(point.effect.low * scale), y(point.effect.high * scale)
        parts.append(svg.line(at[0], ends[0], at[0], ends[1], f"series fine {colour}{dash}"))
    if math.isfinite(point.cost.low):
        parts.append(svg.line(x(point.cost.low), at[1], x(point.cost.high), at[1], f"series fine {colour}{dash}"))
    kind = f"dot {colour}{' ahead' if point.ahead else ''}"
    shape = svg.circle if number < svg.COLOURS else svg.diamond
    effect = "the reference" if point.is_reference else main.style.difference(point.effect.mean, unit=True)
    said = f"{point.variant}: {effect}, {significant(point.cost.mean)} {measure.label} per run"
    parts.append(shape(*at, 5, kind, said))
    row = TOP + 20 * place + 6
    parts += [svg.line(RIGHT + 18, row, RIGHT + 42, row, f"series {colour}{dash}"), shape(RIGHT + 30, row, 5, kind)]
    return [*parts, svg.text(RIGHT + 50, row + 4, svg.shortened(point.variant, 26), "name")]
