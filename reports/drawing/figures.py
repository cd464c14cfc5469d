"""The report's figures, each a function of Findings (or of a table) and a string of SVG; empty
where nothing can be drawn.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from reports import prose
from reports.contract import MACRO, Study
from reports.drawing import svg
from reports.findings import Comparison, Findings
from reports.statistics.auc import curve
from reports.statistics.effects import TargetEffect, quantile_drivers
from reports.text import p_value

WIDTH, LEFT, ROW = 720.0, 150.0, 30.0
MAX_ROWS = 60
FIT, LETTERS = 20, 44  # of a row's name: what has room in LEFT, and where it is cut off


def forest(comparison: Comparison) -> str:
    """Difference of each variant to the reference: thick the pointwise interval, thin the one that
    belongs to the corrected p.
    """
    style = comparison.style
    drawn = [c for c in comparison.contrasts if not math.isnan(c.primary.difference)][:MAX_ROWS]
    if not drawn:
        return ""
    right = WIDTH - 210
    bounds = [0.0]
    for contrast in drawn:
        bounds += [contrast.primary.difference, contrast.primary.low, contrast.primary.high, *contrast.simultaneous]
    low, high = svg.padded([b * style.scale for b in bounds])
    x = svg.linear(low, high, LEFT, right)
    top = 40.0
    bottom = top + 8 + ROW * len(drawn)
    axis = f"difference to {comparison.against}, {style.label}" + (f" ({style.unit})" if style.unit else "")
    parts = svg.x_axis(x, svg.ticks(low, high), top, bottom, axis)
    parts.append(svg.line(x(0), top - 6, x(0), bottom, "zero"))
    favours = ("← worse", "better →") if style.higher_is_better else ("← better", "worse →")
    # On a line of their own: where all effects lie on one side, zero is at the edge and the words run past it.
    parts += [svg.text(x(0) - 6, top - 10, favours[0], "tick", "end"), svg.text(x(0) + 6, top - 10, favours[1], "tick")]
    parts.append(svg.text(right + 16, 12, prose.interval_name(comparison), "tick"))
    parts.append(svg.text(WIDTH, 12, "corrected p", "tick", "end"))
    for k, contrast in enumerate(drawn):
        y = top + ROW * (k + 0.5)
        found = contrast.primary
        kind = "clear" if prose.significant(comparison, contrast) else "unclear"
        parts.append(svg.text(LEFT - 12, y + 4, svg.shortened(contrast.variant, LETTERS), "name", "end"))
        parts += svg.estimate(
            x,
            y,
            found.difference * style.scale,
            (found.low * style.scale, found.high * style.scale),
            [value * style.scale for value in contrast.simultaneous],
            kind,
            prose.contrast_sentence(comparison, contrast),
        )
        interval = style.interval(*contrast.simultaneous, contrast.reference_mean)
        parts.append(svg.text(right + 16, y + 4, interval, "number"))
        parts.append(
            svg.text(
                WIDTH, y + 4, p_value(contrast.p_corrected) + (contrast.stars and " " + contrast.stars), "number", "end"
            )
        )
    return svg.drawing(
        WIDTH,
        bottom + 42,
        parts,
        f"Forest plot of differences to {comparison.against}",
        _overhang(contrast.variant for contrast in drawn),
    )


def _overhang(names: Iterable[str]) -> float:
    """Units that the longest of the rows' names needs beyond LEFT."""
    return 6.8 * max(0, min(max(map(len, names)), LETTERS) - FIT)


def seeds(comparison: Comparison) -> str:
    """Every run as a dot, the mean as a tick with its standard error."""
    style = comparison.style
    rows = [row for row in comparison.rows if row.runs][:MAX_ROWS]
    if not rows:
        return ""
    scores = [score * style.scale for row in rows for score in row.runs.values()]
    low, high = svg.padded(scores)
    x = svg.linear(low, high, LEFT, WIDTH - 20)
    bottom = 14 + ROW * len(rows)
    parts = svg.x_axis(x, svg.ticks(low, high), 8, bottom, style.label)
    for k, row in enumerate(rows):
        y = 10 + ROW * (k + 0.5)
        parts.append(svg.text(LEFT - 12, y + 4, svg.shortened(row.variant, LETTERS), "name", "end"))
        if not math.isnan(row.se):
            parts.append(
                svg.line(
                    x((row.mean - row.se) * style.scale), y, x((row.mean + row.se) * style.scale), y, "thick faint"
                )
            )
        mean = x(row.mean * style.scale)
        parts.append(svg.line(mean, y - 9, mean, y + 9, "tickmark"))
        for seed, score in row.runs.items():
            parts.append(
                svg.circle(
                    x(score * style.scale),
                    y,
                    4,
                    "run reference" if row.is_reference else "run",
                    f"{row.variant}, seed {seed}: {style.value(score)}",
                )
            )
    return svg.drawing(WIDTH, bottom + 42, parts, f"{style.label} of every run", _overhang(row.variant for row in rows))


def item_effects(comparison: Comparison, variant: str, effects: Sequence[TargetEffect], many: int = 10) -> str:
    """Differences by tag or track, largest gain first; at most `many` at either end."""
    style = comparison.style
    shown = quantile_drivers(tuple(effects), many)
    if not shown:
        return ""
    values = [0.0] + [v for e in shown for v in (e.difference, e.low, e.high)]
    centre = [0.0] + [e.difference * style.scale for e in shown]
    low, high = svg.padded([v * style.scale for v in values])
    # One hopeless interval must not flatten the rest: the axis spans the differences thrice over
    # at most.
    reach = 3 * max(abs(min(centre)), abs(max(centre)), 1e-9)
    low, high = max(low, -reach), min(high, reach)
    x = svg.linear(low, high, LEFT, WIDTH - 20)
    step = 22.0
    bottom = 14 + step * len(shown)
    axis = f"{style.label}, {variant} − {_reference(comparison, variant)}" + (f" ({style.unit})" if style.unit else "")
    parts = svg.x_axis(x, svg.ticks(low, high), 8, bottom, axis)
    parts.append(svg.line(x(0), 8, x(0), bottom, "zero"))
    for k, effect in enumerate(shown):
        y = 10 + step * (k + 0.5)
        better = effect.difference > 0 if style.higher_is_better else effect.difference < 0
        kind = "gain" if better else "loss"
        parts.append(svg.text(LEFT - 12, y + 4, svg.shortened(effect.target, LETTERS), "name", "end"))
        if not math.isnan(effect.low):
            ends = [min(max(v * style.scale, low), high) for v in (effect.low, effect.high)]
            parts.append(svg.line(x(ends[0]), y, x(ends[1]), y, "whisker"))
        note = (
            f"{effect.target}: {style.difference(effect.difference, unit=True)} "
            f"{style.interval(effect.low, effect.high)}"
        )
        parts.append(svg.circle(x(effect.difference * style.scale), y, 4.5, kind, note))
    if len(shown) < len(effects):
        y = 10 + step * many
        parts.append(svg.line(12, y, WIDTH - 20, y, "cut"))
    return svg.drawing(
        WIDTH, bottom + 42, parts, f"Differences of {variant} by item", _overhang(effect.target for effect in shown)
    )


def roc(predictions: pd.DataFrame | None, findings: Findings) -> str:
    """Mean ROC curve of each variant over its runs and tags (of the declared tag alone where one
    is declared).
    """
    if predictions is None:
        return ""
    names = [row.variant for row in findings.main.rows][: svg.COLOURS]
    rows = predictions[predictions["variant"].isin(names)]
    if findings.main.target not in MACRO:
        rows = rows[rows["target"] == findings.main.target]
    grid = np.linspace(0, 1, 101)
    means = {}
    for name in names:
        curves = [
            curve(g["truth"].to_numpy(), g["score"].to_numpy(float), grid)
            for _, g in rows[rows["variant"] == name].groupby(["seed", "target"])
        ]
        curves = [c for c in curves if not np.isnan(c).any()]
        if curves:
            means[name] = np.mean(curves, axis=0)
    if not means:
        return ""
    size, left, top = 340.0, 46.0, 12.0
    x, y = svg.linear(0, 1, left, left + size), svg.linear(0, 1, top + size, top)
    steps = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    parts = svg.x_axis(x, steps, top, top + size, "false-positive rate") + svg.y_axis(y, steps, left, left + size)
    parts.append(svg.line(x(0), y(0), x(1), y(1), "zero"))
    for k, name in enumerate(names):
        if name not in means:
            continue
        points = [(x(0.0), y(0.0))] + [(x(a), y(b)) for a, b in zip(grid, means[name], strict=True)]
        dash = " dashed" if name in findings.main.references else ""
        parts.append(svg.polyline(points, f"series s{k}{dash}", name))
        row = top + 20 * k + 14
        parts.append(svg.line(left + size + 24, row - 4, left + size + 48, row - 4, f"series s{k}{dash}"))
        parts.append(svg.text(left + size + 56, row, name, "name"))
    return svg.drawing(WIDTH, top + size + 42, parts, "Mean ROC curves")


def interaction(findings: Findings) -> str:
    """Mean score by level of the first factor, one line per level of the second; empty with fewer
    than two factors.
    """
    factors = findings.study.declaration.factors
    if len(factors) < 2:
        return ""
    first, second = factors[0].name, factors[1].name
    style = findings.main.style
    cells: dict[tuple[str, str], list[float]] = {}
    for row in findings.main.rows:
        levels = findings.study.variant(row.variant).levels
        if first in levels and second in levels and not math.isnan(row.mean):
            cells.setdefault((levels[first], levels[second]), []).append(row.mean * style.scale)
    xs = list(dict.fromkeys(a for a, _ in cells))
    series = list(dict.fromkeys(b for _, b in cells))[: svg.COLOURS]
    if len(xs) < 2 or len(series) < 2:
        return ""
    means = {key: sum(v) / len(v) for key, v in cells.items()}
    low, high = svg.padded(list(means.values()), 0.1)
    left, right, top, bottom = 60.0, 500.0, 12.0, 272.0
    x, y = svg.linear(-0.3, len(xs) - 0.7, left, right), svg.linear(low, high, bottom, top)
    parts = svg.y_axis(y, svg.ticks(low, high), left, right)
    for k, name in enumerate(xs):
        parts.append(svg.text(x(k), bottom + 18, svg.shortened(name, int(70 / len(xs)) + 4), "tick", "middle"))
    parts.append(
        svg.text((left + right) / 2, bottom + 36, f"{first} (mean {style.label}; lines: {second})", "label", "middle")
    )
    for k, level in enumerate(series):
        points = [(x(i), y(means[(name, level)])) for i, name in enumerate(xs) if (name, level) in means]
        parts.append(svg.polyline(points, f"series s{k}", f"{second}: {level}"))
        parts += [svg.circle(px, py, 4, f"dot s{k}") for px, py in points]
        parts.append(svg.line(right + 20, top + 20 * k + 10, right + 44, top + 20 * k + 10, f"series s{k}"))
        parts.append(svg.text(right + 52, top + 20 * k + 14, svg.shortened(level, 20), "name"))
    return svg.drawing(WIDTH, bottom + 46, parts, f"Interaction of {first} and {second}")


def learning_curves(curves: pd.DataFrame | None, study: Study) -> list[tuple[str, str]]:
    """(caption, figure) for each stage and metric: one line per stage call, coloured by variant."""
    if curves is None or curves.empty:
        return []
    owners: dict[str, list[str]] = {}
    for trial in study.trials:
        for key in trial.stages.values():
            owners.setdefault(key, [])
            if trial.variant not in owners[key]:
                owners[key].append(trial.variant)
    names = [v.name for v in study.variants]
    found = []
    for (stage, metric), group in curves.groupby(["stage", "metric"], sort=False):
        found.append((f"{stage}: {metric}", _curve_figure(group, f"{stage}: {metric}", owners, names)))
    return found


def _curve_figure(group: pd.DataFrame, title: str, owners: Mapping[str, Sequence[str]], names: Sequence[str]) -> str:
    low, high = svg.padded(group["value"].tolist())
    first, last = float(group["step"].min()), float(group["step"].max())
    left, right, top, bottom = 58.0, 350.0, 26.0, 196.0
    x, y = (svg.linear(first, last if last > first else first + 1, left, right), svg.linear(low, high, bottom, top))
    parts = [svg.text(left, 14, title, "label")]
    parts += svg.y_axis(y, svg.ticks(low, high, 4), left, right)
    parts += svg.x_axis(x, svg.ticks(first, last, 4), top, bottom, "step")
    for key, run in list(group.groupby("key", sort=False))[:200]:
        run = run.sort_values("step")
        thin = max(1, len(run) // 150)
        points = [(x(s), y(v)) for s, v in zip(run["step"].iloc[::thin], run["value"].iloc[::thin], strict=True)]
        users = list(owners.get(str(key), ()))
        shared = len(users) != 1
        colour = "shared" if shared else f"s{names.index(users[0]) % svg.COLOURS}" if users[0] in names else "shared"
        label = (", ".join(users) or "no trial") + f" ({str(key)[:8]})"
        parts.append(svg.polyline(points, f"series fine {colour}", label))
    return svg.drawing(360, bottom + 40, parts, title)


def _reference(comparison: Comparison, variant: str) -> str:
    contrast = comparison.contrast(variant)
    return contrast.reference if contrast else comparison.reference
