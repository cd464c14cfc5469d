"""By tag, how much one level of a factor gains over the reference, and the other levels on the same tags: the largest
gains and losses, averaged over the study's blocks [as Fig. 2 of MSSPT].

Options: `metric`, a score by tag; `factor` and `level`, what is ranked; `where`, factor -> level of the variants that
count; `many`, tags at either end.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.document import Figure, Section, Table
from reports.drawing import svg
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.inputs.tables import tag_scores
from reports.text import Style, count, style

OPTIONS = {"metric": "metric", "factor": "factor", "level": "level", "where": "levels?", "many": "count?"}

WIDTH, LEFT, ROW = 760.0, 170.0, 22.0


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """The figure and its table, or None where no tag has scores of the level and its reference."""
    factor, level, many = options["factor"], options["level"], int(options.get("many", 10))
    found, blocks = differences(findings, options, tables)
    if level not in found.columns or found[level].dropna().empty:
        return None
    printed = style(options["metric"])
    ranked = found[found[level].notna()].sort_values(level, ascending=False, kind="stable")
    shown = ranked if len(ranked) <= 2 * many else pd.concat([ranked.head(many), ranked.tail(many)])
    others = [name for name in found.columns if name != level]
    cells = tuple(
        (str(tag), *(printed.difference(shown.at[tag, name]) for name in (level, *others))) for tag in shown.index
    )
    which = "all" if len(shown) == len(ranked) else f"{many} largest gains and losses of {len(ranked)}"
    over = f" and over {count(blocks, 'block')}" if blocks > 1 else ""
    caption = (
        f"{printed.label} of each tag minus that of the reference, in {printed.unit or 'its unit'}, mean over runs"
        f"{over}; "
        f"tags in the order of {level} ({which})."
    )
    return Section(
        f"Tags that gain and lose by {factor} {level}",
        ("Differences of single tags are not tested: they say where to look.",),
        (Table(("tag", level, *others), cells, caption, (False, *(True for _ in (level, *others)))),),
        (Figure(svg=draw(shown, level, printed, len(shown) < len(ranked), many), caption=caption),),
    )


def differences(findings: Findings, options: Mapping[str, Any], tables: Tables) -> tuple[pd.DataFrame, int]:
    """Difference to its reference of each level on each tag, mean over blocks: (tag x level), and how many blocks
    there are. A tag counts in a block where both have a score."""
    by_variant = tag_scores(tables.scores, options["metric"])
    where = dict(options.get("where", {}))
    declaration = findings.study.declaration
    parts: dict[str, list[pd.Series]] = {}
    blocks = set()
    for variant in findings.study.variants:
        reference = declaration.references.get(variant.name, declaration.reference)
        outside = any(variant.levels.get(name, wanted) != wanted for name, wanted in where.items())
        if variant.name == reference or outside or {variant.name, reference} - by_variant.keys():
            continue
        blocks.add(reference)
        gain = by_variant[variant.name].mean() - by_variant[reference].mean()
        parts.setdefault(variant.levels[options["factor"]], []).append(gain)
    means = {name: pd.concat(each, axis=1).mean(axis=1) for name, each in parts.items()}
    return pd.DataFrame(means), len(blocks)


def draw(shown: pd.DataFrame, level: str, printed: Style, cut: bool, many: int) -> str:
    """Diamonds for the level, upright marks for the others."""
    others = [name for name in shown.columns if name != level][: svg.COLOURS]
    values = shown.to_numpy(float) * printed.scale
    low, high = svg.padded([0.0, *values[np.isfinite(values)]])
    right = WIDTH - 130
    x = svg.linear(low, high, LEFT, right)
    bottom = 14 + ROW * len(shown)
    axis = f"difference in {printed.label}" + (f" ({printed.unit})" if printed.unit else "")
    parts = svg.x_axis(x, svg.ticks(low, high), 8, bottom, axis)
    parts.append(svg.line(x(0), 8, x(0), bottom, "zero"))
    for k, tag in enumerate(shown.index):
        y = 10 + ROW * (k + 0.5)
        parts.append(svg.text(LEFT - 12, y + 4, svg.shortened(str(tag), 22), "name", "end"))
        for index, name in enumerate(others):
            value = float(shown.at[tag, name])
            if np.isfinite(value):
                at = x(value * printed.scale)
                parts.append(svg.line(at, y - 6, at, y + 6, f"series s{index}"))
        value = float(shown.at[tag, level])
        better = value > 0 if printed.higher_is_better else value < 0
        note = f"{tag}, {level}: {printed.difference(value, unit=True)}"
        parts.append(svg.diamond(x(value * printed.scale), y, 6, "gain" if better else "loss", note))
    if cut:
        parts.append(svg.line(12, 10 + ROW * many, right, 10 + ROW * many, "cut"))
    parts.append(svg.diamond(right + 26, 16, 6, "gain"))
    parts.append(svg.text(right + 40, 20, svg.shortened(level, 14), "name"))
    for index, name in enumerate(others):
        y = 38 + 20 * index
        parts.append(svg.line(right + 26, y - 8, right + 26, y + 4, f"series s{index}"))
        parts.append(svg.text(right + 40, y + 2, svg.shortened(name, 14), "name"))
    return svg.drawing(WIDTH, max(bottom, 38.0 + 20 * len(others)) + 42, parts, f"Differences by tag of {level}")
