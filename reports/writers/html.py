"""The report as one HTML file: no network, no external resource, equal bytes for equal input."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from reports import prose, published, record
from reports.ablation import describe_design
from reports.contract import Example
from reports.drawing import figures, media
from reports.findings import Comparison, Findings
from reports.inputs.directory import Tables
from reports.sections import Section
from reports.statistics import calibration
from reports.statistics.hypothesis_tests import Result
from reports.text import MISSING, number, p_value

HERE = Path(__file__).parent
MAX_EXAMPLES = 4


@dataclass(frozen=True)
class Cell:
    """One table cell: what is shown, what sorts, its CSS class."""

    text: str
    sort: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Line:
    """One table row."""

    cells: tuple[Cell, ...]
    kind: str = ""


def numeric(text: str, value: float, kind: str = "n") -> Cell:
    """A right-aligned number that sorts by its value."""
    return Cell(text, "" if math.isnan(value) else repr(float(value)), kind)


def main_table(comparison: Comparison) -> tuple[list[str], list[Line]]:
    """Head and rows of a comparison."""
    style = comparison.style
    head = [
        "variant",
        "runs",
        "mean ± SE",
        "difference",
        f"{prose.confidence(comparison)} CI",
        "test",
        "p",
        "p corrected",
        "Hedges g",
        "naive p",
    ]
    lines = []
    for row in comparison.rows:
        contrast = comparison.contrast(row.variant)
        cells = [
            Cell(row.variant, row.variant),
            numeric(f"{len(row.runs)}/{row.planned}", len(row.runs)),
            numeric(prose.mean_se(comparison, row.variant), row.mean),
        ]
        kind = "reference"
        if contrast is None or contrast.refused:
            cells += [Cell(prose.untested(contrast), "", "n")] + [Cell("", "", "n")] * 6
        else:
            found, naive = contrast.primary, contrast.naive
            kind = "clear" if prose.significant(comparison, contrast) else ""
            naive_p = naive.p if naive else math.nan
            cells += [
                numeric(style.difference(found.difference), found.difference),
                numeric(style.interval(found.low, found.high), found.low),
                numeric(prose.statistic(found) or MISSING, found.statistic),
                numeric(p_value(found.p), found.p),
                numeric(
                    p_value(contrast.p_corrected) + (" " + contrast.stars if contrast.stars else ""),
                    contrast.p_corrected,
                    "n p",
                ),
                numeric(effect_text(contrast.effect.g, contrast.effect.low, contrast.effect.high), contrast.effect.g),
                numeric(p_value(naive_p), naive_p, "n naive"),
            ]
        lines.append(Line(tuple(cells), kind))
    return head, lines


def effect_text(g: float, low: float, high: float) -> str:
    """`1.26 [0.1, 2.4]`."""
    if math.isnan(g):
        return MISSING
    return f"{number(g)} [{number(low, 1)}, {number(high, 1)}]"


def test_lines(comparison: Comparison, tests: tuple[Result, ...]) -> list[Line]:
    """Every test of one contrast."""
    lines = []
    for k, found in enumerate(tests):
        kind = "naive" if "naive" in found.label else ""
        lines.append(
            Line(
                (
                    Cell(found.label + (" (primary)" if k == 0 else ""), found.label, kind),
                    numeric(comparison.style.difference(found.difference), found.difference, "n " + kind),
                    numeric(comparison.style.interval(found.low, found.high), found.low, "n " + kind),
                    numeric(prose.statistic(found) or MISSING, found.statistic, "n " + kind),
                    numeric(p_value(found.p), found.p, "n " + kind),
                    Cell(
                        f"{found.n[0]} and {found.n[1]}" + (f", {found.items} items" if found.items else ""), "", kind
                    ),
                    Cell(found.note, found.note, kind),
                ),
                "",
            )
        )
    return lines


def separation_lines(findings: Findings) -> tuple[list[str], list[Line]]:
    """Head and rows of the separation scores."""
    names = list(dict.fromkeys(name for row in findings.separation for name in row.baselines))
    lines = []
    for row in findings.separation:
        verdict = Cell("") if row.beats is None else Cell("yes", "1", "yes") if row.beats else Cell("no", "0", "no")
        baselines = [
            numeric(row.style.value(row.baselines[n]), row.baselines[n]) if n in row.baselines else Cell("", "", "n")
            for n in names
        ]
        lines.append(
            Line(
                (
                    Cell(row.variant),
                    Cell(row.target),
                    Cell(row.style.label + " " + ("↑" if row.style.higher_is_better else "↓")),
                    numeric(row.style.value(row.model), row.model),
                    *baselines,
                    verdict,
                    numeric(str(row.tracks or ""), float(row.tracks)),
                    Cell(row.aggregation),
                )
            )
        )
    return ["variant", "source", "metric", "model", *names, "beats all", "tracks", "aggregation"], lines


def examples(findings: Findings, store: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Players by track and target, and a sentence for each sound that could not be read."""
    groups: dict[tuple[str, str], list[Example]] = {}
    for example in findings.study.examples:
        groups.setdefault((example.track, example.target), []).append(example)
    shown, lost = [], []
    # Tracks that drive an effect first.
    reach: dict[str, float] = {}
    for effects in findings.by_track.values():
        for effect in effects:
            reach[effect.target] = max(reach.get(effect.target, 0.0), abs(effect.difference))
    ordered = sorted(groups.items(), key=lambda group: -reach.get(group[0][0], 0.0))
    # One example of each target before a second of any.
    seen: dict[str, int] = {}
    turns = []
    for (_, target), _ in ordered:
        turns.append(seen.get(target, 0))
        seen[target] = turns[-1] + 1
    ordered = [group for _, group in sorted(zip(turns, ordered, strict=True), key=lambda p: p[0])]
    for (track, target), members in ordered[:MAX_EXAMPLES]:
        paths = {"mixture": members[0].mixture, f"reference {target}".strip(): members[0].reference}
        paths |= {f"estimate, {e.variant}": e.estimate for e in members}
        sounds = {}
        for label, path in paths.items():
            samples = media.load(store / path) if path else None
            if samples is None:
                lost += [f"The audio {path} ({track}, {label}) could not be read."] if path else []
            else:
                sounds[label] = samples
        loudest = max((float(media.magnitudes(s).max()) for s in sounds.values()), default=1.0)
        clips = [media.clip(label, samples, loudest) for label, samples in sounds.items()]
        if clips:
            shown.append({"title": track + (f", {target}" if target else ""), "clips": clips})
    return shown, lost


@cache
def template() -> jinja2.Template:
    """The page's template."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return env.get_template("report.html")


def to_html(findings: Findings, tables: Tables, extra: Sequence[Section] = ()) -> str:
    """The whole page."""
    main = findings.main
    shown, lost = examples(findings, tables.store)
    order = sorted(
        main.contrasts, key=lambda c: -abs(c.primary.difference) if not math.isnan(c.primary.difference) else 0
    )
    page = template().render(
        f=findings,
        study=findings.study,
        main=main,
        prose=prose,
        figures=figures,
        css=(HERE / "report.css").read_text(encoding="utf-8"),
        js=(HERE / "report.js").read_text(encoding="utf-8"),
        design=describe_design(findings),
        main_table=main_table,
        test_lines=test_lines,
        separation=separation_lines(findings) if findings.separation else None,
        forest=figures.forest(main),
        seeds=figures.seeds(main),
        roc=figures.roc(tables.predictions, findings),
        interaction=figures.interaction(findings),
        curves=figures.learning_curves(tables.curves, findings.study),
        by_item=item_panels(findings),
        area_lines=area_lines,
        examples=shown,
        lost=lost,
        order=order,
        p_value=p_value,
        environment=record.environment(findings),
        note_text=record.note_text,
        isnan=math.isnan,
        beside=published.beside(findings),
        extra=extra,
        calibration=calibration,
        legend=[v.name for v in findings.study.variants][:8],
    )
    return page + "\n"


def area_lines(findings: Findings, variant: str) -> list[Line]:
    """AUC of each tag with Hanley-McNeil half-widths, D score and DeLong's p."""
    lines = []
    for row in findings.tag_areas.get(variant, ()):
        difference = row.variant - row.reference
        ours = f"{100 * row.variant:.2f} ± {100 * row.variant_half:.2f}"
        theirs = f"{100 * row.reference:.2f} ± {100 * row.reference_half:.2f}"
        lines.append(
            Line(
                (
                    Cell(row.target),
                    numeric(f"{row.positives} / {row.negatives}", row.positives),
                    numeric(theirs, row.reference),
                    numeric(ours, row.variant),
                    numeric(number(100 * difference, 2, signed=True), difference),
                    numeric(number(100 * row.d, 2, signed=True), row.d),
                    numeric(p_value(row.p), row.p),
                )
            )
        )
    return lines


def item_panels(findings: Findings) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """(heading, [(variant, sentence, figure)]) for tags or other targets, and for tracks."""
    from reports.statistics.effects import agreement

    panels = []
    target = "By tag" if findings.main.style.unit == "points" else "By target"
    for heading, effects in ((target, findings.by_tag), ("By track", findings.by_track)):
        members = []
        sizes = {c.variant: abs(c.primary.difference) for c in findings.main.contrasts}
        reach = {name: 0.0 if math.isnan(size) else size for name, size in sizes.items()}
        largest = sorted(effects.items(), key=lambda pair: -reach[pair[0]])
        for variant, found in largest[:12]:
            gained, of = agreement(found, findings.main.style.higher_is_better)
            contrast = findings.main.contrast(variant)
            assert contrast is not None
            noun = heading.split()[1] + "s"
            members.append(
                (
                    variant,
                    f"{variant}: better on {gained} of {of} {noun} than {contrast.reference}",
                    figures.item_effects(findings.main, variant, found),
                )
            )
        if members:
            panels.append((heading, members))
    return panels
