"""AUC of each instrument by what the classifier read: Table 4.2, Figure 4.5 and the ROC curves of appendix A of
[Ligtenberg, AE-MIC], published beside ours.

Options: `factor`, the factor whose levels are `base`, `raw` and `post`; a block is a combination of all others.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from reports.document import Figure, Section, Table, unpublished
from reports.drawing.panels import Line, Panel, panels
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.papers.aemic.separated_stems import by_epoch
from reports.published import not_beside, paper
from reports.statistics.auc import auc, curve, d_score, hanley_mcneil
from reports.statistics.hypothesis_tests import variance
from reports.statistics.tagging import Influence, influences
from reports.text import MISSING, number, p_value

OPTIONS = {"factor": "factor?"}

STEMS = ("base", "raw", "post")
COLOURS = {"base": "s7", "raw": "s0", "post": "s1"}
Z = 1.959963984540054
GRID = np.linspace(0, 1, 51)


@dataclass(frozen=True)
class Area:
    """AUC of one instrument with one stem.

    Attributes:
        runs: AUC of each run.
        influence: of each clip on their mean. Shape: (clip,).
        positives, negatives: clips of either truth.
    """

    runs: tuple[float, ...]
    influence: np.ndarray
    positives: int
    negatives: int

    @property
    def mean(self) -> float:
        """Mean over runs."""
        return float(np.mean(self.runs))


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """None without predictions of a base classifier and another."""
    factor = options.get("factor", "stem")
    predictions = tables.predictions
    if predictions is None:
        return None
    blocks: dict[str, dict[str, str]] = {}
    for variant in findings.study.variants:
        others = ", ".join(level for name, level in variant.levels.items() if name != factor)
        blocks.setdefault(others, {})[variant.levels.get(factor, "")] = variant.name
    found = influences(predictions)
    printed = set(paper("aemic").table("Table 4.2").rows) - {"mean"}
    why = not_beside(findings.study, paper("aemic"))
    parts = [] if why or printed & set(predictions["target"]) else [published_table()]
    for block, variants in blocks.items():
        present = {stem: variants[stem] for stem in STEMS if variants.get(stem) in found}
        if "base" not in present or len(present) < 2:
            continue
        areas = {
            stem: instrument_areas(predictions[predictions["variant"] == name], found[name])
            for stem, name in present.items()
        }
        parts += [area_table(areas, block), difference_table(areas, block, labels(predictions))]
    if not parts:
        return None
    figures = [roc_curves(predictions, blocks), epochs(findings, tables, blocks)]
    return Section(
        "Instruments",
        (
            "AUC of each instrument, the mean over runs ± half of a 95 % interval that counts both the clips (DeLong) "
            "and the runs. The thesis's intervals take six times the clips there are and label counts for negatives; "
            "D, its criterion, is positive where two intervals do not overlap. It is given with intervals made in the "
            "thesis's way and with Hanley and McNeil's from the real counts; DeLong's test says whether the difference "
            "could be due to these clips, and takes these runs for the only ones.",
            "Rows 'stopped on test' chose their epoch by the test clips' AUC, as the published classifiers did: their "
            "figures are too high and stand here only beside the published ones.",
            *([why] if why else []),
        ),
        tuple(unpublished(table) if why else table for table in parts),
        tuple(figure for figure in figures if figure.svg),
    )


def instrument_areas(predictions: pd.DataFrame, influence: Influence) -> dict[str, Area]:
    """Every instrument with two positive and two negative clips, and `mean`."""
    found = {}
    for name, tag in influence.tags.items():
        rows = predictions[predictions["target"] == name]
        runs = tuple(auc(run["truth"].to_numpy(), run["score"].to_numpy(float)) for _, run in rows.groupby("seed"))
        found[name] = Area(runs, tag.influence, tag.positives, tag.negatives)
    if found:
        means = tuple(np.mean([area.runs for area in found.values()], axis=0).tolist())
        found["mean"] = Area(means, influence.of_runs.mean(axis=0), 0, 0)
    return found


def half_width(area: Area) -> float:
    """Half of the 95 % interval of an AUC over other clips and other runs."""
    clips = float((area.influence**2).sum())
    runs = variance(area.runs) / len(area.runs) if len(area.runs) > 1 else 0.0
    return Z * math.sqrt(clips + runs)


def names(areas: Mapping[str, Mapping[str, Area]]) -> list[str]:
    """Our instruments, those of the thesis first and in its order (all of them where we have any), then the mean."""
    ours = list(dict.fromkeys(name for table in areas.values() for name in table if name != "mean"))
    printed = [name for name in paper("aemic").table("Table 4.2").rows if name != "mean"]
    first = printed if set(printed) & set(ours) else []
    return [*first, *(name for name in ours if name not in first), "mean"]


def published_table() -> Table:
    """Table 4.2 as printed, where none of its instruments is among ours."""
    table = paper("aemic").table("Table 4.2")
    rows = tuple(
        (name, *(cells[column].text.replace("-", "−") for column in table.columns))
        for name, cells in table.rows.items()
    )
    return Table(
        ("instrument", *table.columns),
        rows,
        "Table 4.2 as published: AUC ± half-width, and D. None of its instruments is among ours.",
        (False, *[True] * len(table.columns)),
    )


def area_table(areas: Mapping[str, Mapping[str, Area]], block: str) -> Table:
    """The left side of Table 4.2."""
    printed = paper("aemic").table("Table 4.2").rows
    rows = []
    for name in names(areas):
        cells = [printed[name][stem].text if name in printed else MISSING for stem in STEMS]
        for stem in STEMS:
            area = areas.get(stem, {}).get(name)
            cells.append(f"{area.mean:.3f} ± {half_width(area):.3f}" if area else MISSING)
        area = areas["base"].get(name)
        rows.append((name, f"{area.positives} / {area.negatives}" if area and area.positives else "", *cells))
    return Table(
        ("instrument", "clips +/−", *(f"published {stem}" for stem in STEMS), *STEMS),
        tuple(rows),
        f"Table 4.2, AUC ({block}).",
        (False, *[True] * 7),
    )


def difference_table(areas: Mapping[str, Mapping[str, Area]], block: str, given: int) -> Table:
    """The right side of Table 4.2: D with two kinds of interval, and DeLong's test."""
    printed = paper("aemic").table("Table 4.2").rows
    separated = [stem for stem in STEMS[1:] if stem in areas]
    rows = []
    for name in names(areas):
        base, cells = areas["base"].get(name), []
        for stem in separated:
            cells.append(printed[name][f"D {stem}"].text.replace("-", "−") if name in printed else MISSING)
            area = areas[stem].get(name)
            if area is None or base is None:
                cells += [MISSING] * 4
                continue
            difference = area.mean - base.mean
            se = math.sqrt(float(((area.influence - base.influence) ** 2).sum()))
            p = float(2 * scipy_stats.norm.sf(abs(difference) / se)) if se > 0 else math.nan
            theirs = [thesis_half_width(a, given) for a in (area, base)]
            honest = [Z * hanley_mcneil(a.mean, a.positives, a.negatives) for a in (area, base)]
            cells += [
                number(difference, 3, signed=True),
                number(d_score(area.mean, base.mean, *theirs), 3, signed=True),
                number(d_score(area.mean, base.mean, *honest), 3, signed=True),
                p_value(p),
            ]
        rows.append((name, *cells))
    count = max(1, len(areas["base"]) - 1)
    head = [f"{stem} {what}" for stem in separated for what in ("printed D", "− base", "D", "D*", "p")]
    return Table(
        ("instrument", *head),
        tuple(rows),
        f"Table 4.2, differences to base ({block}). D has the thesis's intervals, D* those from the real "
        f"counts; p is DeLong's, not corrected: with {count} instruments Bonferroni asks for p below "
        f"{0.05 / count:.4f}.",
        (False, *[True] * len(head)),
    )


def thesis_half_width(area: Area, given: int) -> float:
    """The half-width that the thesis prints: 1.95 Hanley-McNeil errors, six times the clips, and all other labels given
    for negatives; of the mean over instruments, all labels for either. NaN for the mean of one label set of ours."""
    facts = paper("aemic").printed
    many = facts["inflation"] * given
    positives = facts["inflation"] * area.positives if area.positives else many
    return float(
        facts["half_width_in_se"] * hanley_mcneil(area.mean, positives, many - positives if area.positives else many)
    )


def labels(predictions: pd.DataFrame) -> int:
    """How many labels the test clips have together."""
    return int(predictions[["item", "target", "truth"]].drop_duplicates()["truth"].sum())


def roc_curves(predictions: pd.DataFrame, blocks: Mapping[str, Mapping[str, str]]) -> Figure:
    """Figures A.1 and A.2: ROC curve of each instrument, the mean over runs, for the first block."""
    block, variants = next(iter(blocks.items()))
    printed = paper("aemic").table("Table 4.2").rows
    plots = []
    for name in dict.fromkeys(predictions["target"]):
        lines, told = [], []
        for stem in STEMS:
            rows = predictions[(predictions["variant"] == variants.get(stem)) & (predictions["target"] == name)]
            runs = [run for _, run in rows.groupby("seed")]
            curves = [curve(run["truth"].to_numpy(), run["score"].to_numpy(float), GRID) for run in runs]
            if not curves or np.isnan(curves[0]).any():
                continue
            area = float(np.mean([auc(run["truth"].to_numpy(), run["score"].to_numpy(float)) for run in runs]))
            beside = f", published {printed[name][stem].value:.3f}" if name in printed else ""
            points = ((0.0, 0.0), *zip(GRID.tolist(), np.mean(curves, axis=0).tolist(), strict=True))
            lines.append(Line(points, COLOURS[stem], f"{stem}: AUC {area:.3f}{beside}"))
            told.append(f"{area:.2f}")
        if lines:
            plots.append(Panel(f"{name}  {' / '.join(told)}", tuple(lines)))
    legend = [(COLOURS[stem], stem) for stem in STEMS if stem in variants]
    drawing = panels(plots, "false-positive rate", "ROC curves by instrument", legend=legend, low=0.0, high=1.0)
    return Figure(
        drawing,
        caption=f"Figures A.1 and A.2, ours ({block}): ROC curve of each instrument, the mean over "
        "runs; the title gives the AUC of base / raw / post, hovering over a curve the "
        "published one of the same instrument. Published areas: Table 4.2.",
    )


def epochs(findings: Findings, tables: Tables, blocks: Mapping[str, Mapping[str, str]]) -> Figure:
    """Figure 4.5: the AUC that training was stopped by, epoch by epoch; one panel per stem and block."""
    curves = tables.curves
    if curves is None:
        return Figure()
    rows = curves[(curves["stage"] == "train_classifier") & (curves["metric"] == "valid_auc")]
    owner = {trial.stages.get("train_classifier", ""): trial.variant for trial in findings.study.trials}
    plots = []
    for block, variants in blocks.items():
        for stem in STEMS:
            mine = [run for key, run in rows.groupby("key", sort=False) if owner.get(str(key)) == variants.get(stem)]
            if mine:
                lines = tuple(Line(by_epoch(run), f"fine {COLOURS[stem]}", variants[stem]) for run in mine)
                plots.append(Panel(f"{stem}, {block}", lines))
    told = paper("aemic").printed["figure 4.5"]
    best = ", ".join(f"{stem} {told['regularisation'][stem]}: {told['auc'][stem]}" for stem in STEMS)
    return Figure(
        panels(plots, "epoch", "AUC by epoch"),
        caption="Figure 4.5, ours: AUC by epoch of the split that stopped the training, one line per run. "
        f"Published, on the test set, best regularisation of each ({best}); the text's base AUC "
        "disagrees with Table 4.2's.",
    )
