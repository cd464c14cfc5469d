"""Small pieces of SVG as strings. Colours and fonts come from CSS classes, so a figure follows
the page's theme.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

COLOURS = 8
Scale = Callable[[float], float]
"""From a value to a place on the drawing."""


def drawing(width: float, height: float, parts: Sequence[str], title: str, left: float = 0.0) -> str:
    """A whole <svg> that scales with its container; `title` is what a screen reader says, `left`
    the room to the left of x = 0.
    """
    label = escape(title, quote=True)
    return (
        f'<svg viewBox="{0.0 - left:g} 0 {left + width:g} {height:g}" role="img" aria-label="{label}" '
        f'class="figure" style="max-width:{left + width:g}px">' + "".join(parts) + "</svg>"
    )


def linear(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """The map of [low, high] onto [start, end]."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def ticks(low: float, high: float, many: int = 5) -> list[float]:
    """Round numbers within [low, high], about `many` of them.

    >>> ticks(0, 1, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    raw = span / max(1, many)
    decade = 10.0 ** math.floor(math.log10(raw))
    step = next(m * decade for m in (1, 2, 2.5, 5, 10) if m * decade >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) + 0.0 for k in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_digits(values: Sequence[float]) -> int:
    """Decimals that tell the ticks apart."""
    step = min((b - a for a, b in zip(values, values[1:], strict=False)), default=1.0)
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return digits + (1 if step > 0 and abs(step * 10**digits - round(step * 10**digits)) > 1e-6 else 0)


def padded(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """The range of the finite values, widened on both sides; (0, 1) without any."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    margin = (high - low) * share or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line of CSS class `kind`."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    """Text with its baseline at y."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(content)}</text>'


def circle(x: float, y: float, r: float, kind: str, title: str = "") -> str:
    """A dot; `title` shows on hover."""
    inside = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{r:g}">{inside}</circle>'


def diamond(x: float, y: float, r: float, kind: str, title: str = "") -> str:
    """A diamond, the forest plot's mark of an estimate."""
    inside = f"<title>{escape(title)}</title>" if title else ""
    points = f"{x - r:.1f},{y:.1f} {x:.1f},{y - r:.1f} {x + r:.1f},{y:.1f} {x:.1f},{y + r:.1f}"
    return f'<polygon class="{kind}" points="{points}">{inside}</polygon>'


def estimate(
    x: Callable[[float], float],
    y: float,
    value: float,
    thick: Sequence[float],
    thin: Sequence[float],
    kind: str,
    title: str = "",
) -> list[str]:
    """A row of a forest plot: a diamond at the estimate, its intervals as a thick and a thin line; one without finite
    ends is left out.
    """
    parts = [
        line(x(ends[0]), y, x(ends[1]), y, f"{weight} {kind}")
        for weight, ends in (("thin", thin), ("thick", thick))
        if len(ends) == 2 and all(map(math.isfinite, ends))
    ]
    return [*parts, diamond(x(value), y, 6, f"mark {kind}", title)]


def polyline(points: Sequence[tuple[float, float]], kind: str, title: str = "") -> str:
    """A line through points."""
    inside = f"<title>{escape(title)}</title>" if title else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{path}">{inside}</polyline>'


def x_axis(
    scale: Callable[[float], float],
    values: Sequence[float],
    top: float,
    bottom: float,
    label: str,
    shown: Callable[[float], str] | None = None,
) -> list[str]:
    """Vertical grid lines, their numbers below, and the axis label under those."""
    digits = tick_digits(values)
    write = shown or (lambda v: f"{v:.{digits}f}".replace("-", "−"))
    parts = [line(scale(v), top, scale(v), bottom, "grid") for v in values]
    parts += [text(scale(v), bottom + 15, write(v), "tick", "middle") for v in values]
    if values and label:
        parts.append(text((scale(values[0]) + scale(values[-1])) / 2, bottom + 32, label, "label", "middle"))
    return parts


def y_axis(scale: Callable[[float], float], values: Sequence[float], left: float, right: float) -> list[str]:
    """Horizontal grid lines with their numbers to the left."""
    digits = tick_digits(values)
    parts = [line(left, scale(v), right, scale(v), "grid") for v in values]
    parts += [text(left - 6, scale(v) + 4, f"{v:.{digits}f}".replace("-", "−"), "tick", "end") for v in values]
    return parts


def shortened(name: str, letters: int) -> str:
    """A label cut to fit."""
    return name if len(name) <= letters else name[: letters - 1] + "…"


def apart(places: Mapping[str, float], least: float) -> dict[str, float]:
    """Heights of labels, top first, moved down so far that none is drawn over another.

    >>> apart({"raw": 10.0, "off": 8.0, "oracle": 60.0}, 16)
    {'off': 8.0, 'raw': 24.0, 'oracle': 60.0}
    """
    found: dict[str, float] = {}
    for name, at in sorted(places.items(), key=lambda place: place[1]):
        found[name] = max([at, *(other + least for other in found.values())])
    return found


def legend(names: Sequence[str]) -> str:
    """The colours of the first lines by name, one under the other."""
    parts = []
    for index, name in enumerate(names[:COLOURS]):
        y = 12 + 18 * index
        parts += [line(0, y - 4, 18, y - 4, f"series s{index}"), text(26, y, name, "name")]
    return drawing(360, 18 * len(names) + 2, parts, "Colours")


def bar(stretches: Sequence[tuple[float, float]], title: str) -> str:
    """A thin bar filled over (start, length) shares of its width."""
    parts = [f'<rect x="{start:.4f}" y="0" width="{length:.4f}" height="0.02"/>' for start, length in stretches]
    return (
        f'<svg class="activity" viewBox="0 0 1 0.02" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title, quote=True)}">' + "".join(parts) + "</svg>"
    )
