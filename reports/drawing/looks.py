"""The path of each contrast over the looks of a study, one small panel each."""

import math

from reports.drawing import svg
from reports.findings import Comparison, Course, Path

WIDTH, HEIGHT, LEFT, ACROSS = 352.0, 150.0, 52.0, 2
MOST = 24


def paths(main: Comparison, course: Course) -> str:
    """Panels of at most `MOST` contrasts: difference and repeated interval against seeds, and the band within which
    a difference is not significant; empty where no look is complete.
    """
    drawn = [path for path in course.paths if any(math.isfinite(look.low) for look in path.looks)][:MOST]
    if not drawn:
        return ""
    parts = []
    for number, path in enumerate(drawn):
        x, y = (number % ACROSS) * (WIDTH + 16), (number // ACROSS) * (HEIGHT + 12)
        parts.append(f'<g transform="translate({x:g} {y:g})">{_panel(main, course, path)}</g>')
    rows = math.ceil(len(drawn) / ACROSS)
    whole = min(len(drawn), ACROSS) * (WIDTH + 16) - 16
    return svg.drawing(whole, rows * (HEIGHT + 12), parts, "Differences over the looks")


def _panel(main: Comparison, course: Course, path: Path) -> str:
    scale = main.style.scale
    known = [look for look in path.looks if math.isfinite(look.low)]
    halves = [(look.high - look.low) / 2 * scale for look in known]
    values = [value * scale for look in known for value in (look.low, look.high)]
    low, high = svg.padded([0.0, *values, *halves, *[-half for half in halves]])
    x = svg.linear(0, course.looks[-1], LEFT, WIDTH - 8)
    y = svg.linear(low, high, HEIGHT - 24, 22)
    parts = svg.y_axis(y, svg.ticks(low, high, 3), LEFT, WIDTH - 8)
    parts += [svg.text(x(seeds), HEIGHT - 8, str(seeds), "tick", "middle") for seeds in course.looks]
    parts.append(svg.line(LEFT, y(0), WIDTH - 8, y(0), "zero"))
    for look, half in zip(known, halves, strict=True):
        place = x(look.seeds)
        kind = "clear" if look.decision == "significant" else "unclear"
        parts.append(svg.line(place - 4, y(-half), place - 4, y(half), "thick faint"))
        parts.append(svg.line(place, y(look.low * scale), place, y(look.high * scale), f"thin {kind}"))
        told = f"{look.seeds} seeds: {main.style.difference(look.result.difference)} {look.decision or 'goes on'}"
        parts.append(svg.diamond(place, y(look.result.difference * scale), 5, f"mark {kind}", told))
    if len(known) > 1:
        line = [(x(look.seeds), y(look.result.difference * scale)) for look in known]
        parts.insert(len(svg.ticks(low, high, 3)) * 2, svg.polyline(line, "series fine"))
    name = svg.shortened(path.variant, 26)
    return "".join([*parts, svg.text(LEFT, 14, f"{name}: {path.decision or 'goes on'}", "name")])
