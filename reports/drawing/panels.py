"""Small multiples: several little line plots in one drawing, on common axes."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.drawing import svg

PANEL, HEIGHT, GAP = 214.0, 150.0, 26.0
LEFT, TOP = 44.0, 22.0
LEGEND = 230.0


@dataclass(frozen=True)
class Line:
    """One line of a panel: its points, its CSS class (`s0` to `s7`, `dashed`, `fine`) and what it is called."""

    points: tuple[tuple[float, float], ...]
    kind: str
    name: str


@dataclass(frozen=True)
class Panel:
    """One plot: a title and its lines."""

    title: str
    lines: tuple[Line, ...]


def panels(
    plots: Sequence[Panel],
    label: str,
    title: str,
    columns: int = 3,
    legend: Sequence[tuple[str, str]] = (),
    low: float | None = None,
    high: float | None = None,
) -> str:
    """A drawing of the panels, row by row; `legend` is (CSS class, name). Empty without any point.

    The axes span all points, or from `low` to `high` upwards where given.
    """
    points = [point for plot in plots for line in plot.lines for point in line.points]
    if not points:
        return ""
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    bottom_value, top_value = svg.padded([y for _, y in points])
    bottom_value, top_value = (bottom_value if low is None else low), (top_value if high is None else high)
    columns = min(columns, len(plots))
    parts = []
    for index, (kind, name) in enumerate(legend):
        at = LEFT + LEGEND * index
        parts += [svg.line(at, 8, at + 22, 8, f"series {kind}"), svg.text(at + 28, 12, name, "name")]
    start = 26.0 if legend else 0.0
    for index, plot in enumerate(plots):
        row, column = divmod(index, columns)
        left = LEFT + column * (PANEL + GAP)
        top = start + TOP + row * (HEIGHT + 62)
        x = svg.linear(first, last if last > first else first + 1, left, left + PANEL - GAP)
        y = svg.linear(bottom_value, top_value, top + HEIGHT, top)
        parts.append(svg.text(left, top - 8, svg.shortened(plot.title, 34), "label"))
        parts += svg.y_axis(y, svg.ticks(bottom_value, top_value, 4), left, left + PANEL - GAP)
        parts += svg.x_axis(x, svg.ticks(first, last, 4), top, top + HEIGHT, label)
        parts += [
            svg.polyline([(x(a), y(b)) for a, b in line.points], f"series {line.kind}", line.name)
            for line in plot.lines
            if line.points
        ]
    rows = -(-len(plots) // columns)
    width = LEFT + columns * (PANEL + GAP)
    return svg.drawing(max(width, LEFT + LEGEND * len(legend)), start + rows * (HEIGHT + 62) + TOP, parts, title)
