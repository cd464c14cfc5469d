"""A forest plot so small that many have room on one page: names and intervals, without their numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.drawing import svg

WIDTH, LEFT, ROW = 396.0, 152.0, 22.0
MOST, LETTERS = 7, 17


@dataclass(frozen=True)
class Line:
    """One row, in the unit of the axis; `clear` is significant after correction, `told` shows on hover."""

    name: str
    value: float
    thick: tuple[float, ...]
    thin: tuple[float, ...]
    clear: bool
    told: str = ""


def forest(lines: Sequence[Line], axis: str, higher_is_better: bool) -> str:
    """At most `MOST` rows in their order, those that are clear before the others; empty without any."""
    known = [line for line in lines if math.isfinite(line.value)]
    chosen = sorted(range(len(known)), key=lambda place: (not known[place].clear, place))[:MOST]
    drawn = [known[place] for place in sorted(chosen)]
    if not drawn:
        return ""
    low, high = svg.padded([0.0, *(value for line in drawn for value in (line.value, *line.thick, *line.thin))])
    x = svg.linear(low, high, LEFT, WIDTH - 14)
    top = 22.0
    bottom = top + 6 + ROW * len(drawn)
    parts = svg.x_axis(x, svg.ticks(low, high, 3), top, bottom, "")
    parts.append(svg.line(x(0), top - 4, x(0), bottom, "zero"))
    for at, words, anchor in ((x(0) - 6, "← {}", "end"), (x(0) + 6, "{} →", "start")):
        better = higher_is_better == (anchor == "start")
        if LEFT / 2 < at < WIDTH - 46:
            parts.append(svg.text(at, top - 8, words.format("better" if better else "worse"), "tick", anchor))
    for k, line in enumerate(drawn):
        y = top + 3 + ROW * (k + 0.5)
        parts.append(svg.text(LEFT - 12, y + 4, svg.shortened(line.name, LETTERS), "name", "end"))
        parts += svg.estimate(x, y, line.value, line.thick, line.thin, "clear" if line.clear else "unclear", line.told)
    more = len(known) - len(drawn)
    parts.append(svg.text(WIDTH - 14, bottom + 32, svg.shortened(axis, 52), "label", "end"))
    if more:
        parts.append(svg.text(LEFT - 12, bottom + 15, f"{more} more", "tick", "end"))
    return svg.drawing(WIDTH, bottom + 40, parts, f"Forest plot, {axis}")
