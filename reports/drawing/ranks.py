"""The critical-difference diagram: systems by mean rank, and bars over those that are not told apart."""

from reports.drawing import svg
from reports.statistics.systems import Systems

WIDTH, LEFT, RIGHT, ROW = 720.0, 190.0, 30.0, 22.0


def diagram(systems: Systems) -> str:
    """One row per system at its mean rank, the best on top; a bar beside each group of which no pair differs."""
    names = list(systems.ranks)
    x = svg.linear(1, len(names), LEFT, WIDTH - RIGHT - 12 * len(systems.cliques))
    bottom = 44 + ROW * len(names)
    parts = svg.x_axis(x, svg.ticks(1, len(names)), 36, bottom, "mean rank (1 is the best)")
    parts.append(svg.line(x(1), 16, x(1 + systems.critical), 16, "thick unclear"))
    parts.append(svg.text(x(1 + systems.critical) + 6, 20, f"critical difference {systems.critical:.2f}", "tick"))
    place = {name: 36 + ROW * (k + 0.5) for k, name in enumerate(names)}
    for name, y in place.items():
        rank = systems.ranks[name]
        parts.append(svg.text(LEFT - 12, y + 4, svg.shortened(name, 26), "name", "end"))
        parts.append(svg.line(x(1), y, x(rank), y, "thin unclear"))
        parts.append(svg.circle(x(rank), y, 5, "mark clear", f"{name}: {rank:.2f}"))
    for k, clique in enumerate(systems.cliques):
        at = WIDTH - RIGHT - 12 * k
        parts.append(svg.line(at, place[clique[0]] - 7, at, place[clique[-1]] + 7, "thick unclear"))
    return svg.drawing(WIDTH, bottom + 42, parts, "Mean ranks of all systems")
