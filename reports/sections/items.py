"""What each contrast gains and loses by tag (source, or other target), or by track.

Options: `by`, "tag" or "track".
"""

from collections.abc import Mapping
from typing import Any

from reports import prose
from reports.caveats import POSITIVES
from reports.document import Cell, Figure, Section, Table
from reports.drawing import figures
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.sections.tests import reach
from reports.statistics.effects import agreement
from reports.statistics.tagging import TagArea
from reports.text import MISSING, count, number, p_value

OPTIONS = {"by": "tag|track?"}

MOST = 12


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """One folded part per contrast, the largest difference first; None without scores by item."""
    main = findings.main
    effects = findings.by_tag if options["by"] == "tag" else findings.by_track
    noun = "track" if options["by"] == "track" else main.noun
    contrasts = [contrast for contrast in main.contrasts if contrast.variant in effects]
    parts: list[Section] = []
    for contrast in sorted(contrasts, key=lambda each: -reach(each))[:MOST]:
        name = contrast.variant
        gained, of = agreement(effects[name], main.style.higher_is_better)
        areas = findings.tag_areas.get(name, ()) if noun == "tag" else ()
        parts.append(
            Section(
                f"{name}: better on {gained} of {of} {noun}s than {contrast.reference}",
                tables=(tag_areas(areas, contrast.reference, name),) if areas else (),
                figures=(Figure(figures.item_effects(main, name, effects[name])),),
                kind="fold" if parts else "open",
            )
        )
    text = (
        f"Difference to {main.against}, largest gain first, with uncorrected {prose.confidence(main)} Welch intervals "
        "over runs. At most ten at either end, and the twelve contrasts with the largest differences."
    )
    return Section(f"By {noun}", (text,), parts=tuple(parts)) if parts else None


def tag_areas(areas: tuple[TagArea, ...], reference: str, variant: str) -> Table:
    """AUC of each tag with Hanley-McNeil half-widths, D score and DeLong's p."""
    few = [row.target for row in areas if min(row.positives, row.negatives) < POSITIVES]
    rows = tuple(
        (
            Cell(row.target),
            Cell(f"{row.positives} / {row.negatives}", row.positives),
            Cell(f"{100 * row.reference:.2f}", row.reference),
            Cell(f"{100 * row.variant:.2f}", row.variant),
            Cell(number(100 * (row.variant - row.reference), 2, signed=True), row.variant - row.reference),
            Cell(MISSING),
            Cell(MISSING),
        )
        if row.target in few
        else (
            Cell(row.target),
            Cell(f"{row.positives} / {row.negatives}", row.positives),
            Cell(_area(row.reference, row.reference_half), row.reference),
            Cell(_area(row.variant, row.variant_half), row.variant),
            Cell(number(100 * (row.variant - row.reference), 2, signed=True), row.variant - row.reference),
            Cell(number(100 * row.d, 2, signed=True), row.d),
            Cell(p_value(row.p), row.p),
        )
        for row in areas
    )
    caption = (
        "AUC in points, mean over runs, ± half-width of the 95 % Hanley–McNeil interval. D is positive where the two "
        "intervals do not overlap. DeLong's p takes the clips as the sample and these runs as the only ones; "
        f"uncorrected over {count(len(areas) - len(few), 'tag')}."
        + (f" Tags with fewer than {POSITIVES} clips of either kind are not tested." if few else "")
    )
    if len(few) == len(areas):
        caption = (
            f"AUC in points, mean over runs. Every tag has fewer than {POSITIVES} clips of one kind: none is tested."
        )
    return Table(("tag", "clips with / without", reference, variant, "difference", "D", "DeLong p"), rows, caption)


def _area(area: float, half: float) -> str:
    """An area and the half-width of its interval, or the interval where it ends at 0 or 100 points."""
    low, high = area - half, area + half
    if 0 <= low and high <= 1:
        return f"{100 * area:.2f} ± {100 * half:.2f}"
    return f"{100 * area:.2f} [{100 * max(low, 0.0):.2f}, {100 * min(high, 1.0):.2f}]"
