"""The figures of a hyperparameter search: history, parallel coordinates, importance, expected best."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.drawing import svg
from reports.inputs import searches
from reports.inputs.searches import Arm
from reports.text import number

WIDTH = 760.0


def history(arm: Arm) -> str:
    """Value against suggestion, with the best so far; empty without a value."""
    points = [
        (t, t.values[0] if not math.isnan(t.values[0]) else t.reported[-1] if t.reported else math.nan)
        for t in arm.trials
    ]
    points = [(t, value) for t, value in points if math.isfinite(value)]
    if not points:
        return ""
    low, high = svg.padded([value for _, value in points])
    left, right, top, bottom = 64.0, 720.0, 12.0, 232.0
    last = max(t.trial for t in arm.trials)
    x, y = svg.linear(0, max(1, last), left + 8, right - 8), svg.linear(low, high, bottom, top)
    parts = svg.y_axis(y, svg.ticks(low, high), left, right)
    parts += svg.x_axis(x, [t for t in svg.ticks(0, max(1, last), 8) if t == round(t)], top, bottom, "suggestion")
    line: list[tuple[float, float]] = []
    for trial, value in arm.best_so_far():
        if line:
            line.append((x(trial), line[-1][1]))
        line.append((x(trial), y(value)))
    if line:
        line.append((x(last), line[-1][1]))
        parts.append(svg.polyline(line, "series s0", "best so far"))
    for t, value in points:
        title = f"trial {t.trial}, {t.state}: {number(value, 4)}"
        kind = "run" if t.state == "complete" else "dot s7"
        parts.append(svg.circle(x(t.trial), y(value), 4 if t.trial != arm.winner else 6.5, kind, title))
    return svg.drawing(WIDTH, bottom + 42, parts, f"History of the search of {arm.variant}: {arm.metrics[0]}")


def parallel(arm: Arm, names: Mapping[str, str]) -> str:
    """One vertical axis a setting and one for the value; empty with nothing to draw."""
    rows = [t for t in arm.trials if t.state == "complete" and all(p in t.departures for p in arm.ranges)]
    if not rows:
        return ""
    values = [t.values[0] for t in rows]
    low, high = min(values), max(values)
    axes = [*arm.ranges, ""]
    top, bottom = 34.0, 250.0
    place = svg.linear(0, max(1, len(axes) - 1), 60, WIDTH - 70)
    y = svg.linear(0, 1, bottom, top)
    parts = []
    for index, path in enumerate(axes):
        parts.append(svg.line(place(index), top, place(index), bottom, "grid"))
        parts.append(svg.text(place(index), 16, svg.shortened(names.get(path, arm.metrics[0]), 18), "label", "middle"))
        ends = (number(low, 4), number(high, 4)) if not path else extent(arm.ranges[path])
        parts.append(svg.text(place(index), bottom + 15, ends[0], "tick", "middle"))
        parts.append(svg.text(place(index), top - 5, ends[1], "tick", "middle"))
    ahead = set(arm.candidates)
    for t in sorted(rows, key=lambda t: (t.trial == arm.winner, t.trial in ahead)):
        line = [(place(i), y(searches.unit(t.departures[p], arm.ranges[p]))) for i, p in enumerate(arm.ranges)]
        line.append((place(len(axes) - 1), y((t.values[0] - low) / ((high - low) or 1.0))))
        kind = "series s0" if t.trial == arm.winner else "series fine s1" if t.trial in ahead else "series fine faint"
        parts.append(svg.polyline(line, kind, f"trial {t.trial}: {number(t.values[0], 4)}"))
    return svg.drawing(WIDTH, bottom + 24, parts, f"Parallel coordinates of the search of {arm.variant}")


def importance(shares: Mapping[str, tuple[float, float, float]], names: Mapping[str, str]) -> str:
    """One bar per setting, with its interval."""
    left, right = 170.0, 700.0
    x = svg.linear(0, 1, left, right)
    bottom = 14 + 26.0 * len(shares)
    parts = svg.x_axis(
        x, [0.0, 0.25, 0.5, 0.75, 1.0], 8, bottom, "share of variance", lambda value: f"{100 * value:.0f} %"
    )
    for row, (path, (middle, low, high)) in enumerate(shares.items()):
        y = 26.0 + 26 * row
        parts.append(svg.text(left - 10, y + 4, svg.shortened(names[path], 22), "name", "end"))
        parts.append(svg.line(x(low), y, x(min(1.0, high)), y, "whisker"))
        parts.append(svg.diamond(x(middle), y, 6, "clear", f"{path}: {100 * middle:.0f} %"))
    return svg.drawing(WIDTH, bottom + 42, parts, "Importance of the settings")


def expected(arms: Sequence[Arm], band: bool = False) -> str:
    """Expected best against budget, one line per arm; empty with too few suggestions."""
    curves = [(arm, *searches.expected_best(values)) for arm in arms if len(values := searches.scores(arm)) >= 2]
    if not curves:
        return ""
    lines = [(arm, [arm.sign() * m for m in means], deviations) for arm, means, deviations in curves]
    reach = [
        m + side * d
        for _, means, deviations in lines
        for m, d in zip(means, deviations, strict=True)
        for side in ((-1, 1) if band else (0,))
    ]
    low, high = svg.padded(reach)
    left, right, top, bottom = 64.0, 560.0, 12.0, 222.0
    longest = max(len(means) for _, means, _ in lines)
    x, y = svg.linear(1, max(2, longest), left, right), svg.linear(low, high, bottom, top)
    parts = svg.y_axis(y, svg.ticks(low, high), left, right)
    parts += svg.x_axis(
        x,
        [t for t in svg.ticks(1, longest, 8) if t >= 1 and t == round(t)],
        top,
        bottom,
        "suggestions",
        lambda value: f"{value:.0f}",
    )
    for index, (arm, means, deviations) in enumerate(lines):
        if band:
            for side in (-1, 1):
                edge = [
                    (x(n), y(m + side * d)) for n, (m, d) in enumerate(zip(means, deviations, strict=True), start=1)
                ]
                parts.append(svg.polyline(edge, f"series fine dashed s{index}"))
        line = [(x(n), y(m)) for n, m in enumerate(means, start=1)]
        parts.append(svg.polyline(line, f"series s{index}", arm.variant))
        if not band:
            row = top + 20 * index + 10
            parts.append(svg.line(right + 16, row - 4, right + 40, row - 4, f"series s{index}"))
            parts.append(svg.text(right + 48, row, svg.shortened(arm.variant, 20), "name"))
    return svg.drawing(WIDTH, bottom + 42, parts, f"Expected best {arms[0].metrics[0]} against budget")


def shown(value: Any) -> str:
    """A setting's value: three significant digits for a number with decimals."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def extent(described: Mapping[str, Any]) -> tuple[str, str]:
    """The ends of a range as text."""
    attributes = described["attributes"]
    ends = attributes.get("choices") or [attributes["low"], attributes["high"]]
    return shown(ends[0]), shown(ends[-1])
