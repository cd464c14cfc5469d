"""Every test of every contrast, what differs between the two recipes, and what would undo a finding."""

import math
from collections.abc import Mapping
from typing import Any

from reports import ledger, prose
from reports.document import Cell, Section, Table
from reports.findings import Comparison, Contrast, Findings
from reports.inputs.directory import Tables
from reports.statistics.hypothesis_tests import Result
from reports.text import MISSING, p_value

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section:
    """One folded part per contrast of the primary comparison, the largest difference first and open."""
    main, declared = findings.main, findings.study.declaration.test
    ordered = sorted(main.contrasts, key=lambda contrast: -reach(contrast))
    how = (
        f"The primary test was declared{' before the run' if ledger.before_the_run(findings.study) else ''}"
        if declared
        else "No test was declared, so the primary one is the default for such scores"
    )
    text = (
        f"{how}; the others show what each way of looking at the same numbers would have said. Their p values are not "
        "corrected."
    )
    parts = [_contrast(main, contrast, "fold" if k else "open") for k, contrast in enumerate(ordered)]
    return Section("All tests, contrast by contrast", (text,), parts=tuple(parts), short="All tests")


def reach(contrast: Contrast) -> float:
    """Size of the difference; 0 where there is none."""
    return 0.0 if math.isnan(contrast.primary.difference) else abs(contrast.primary.difference)


def _contrast(main: Comparison, contrast: Contrast, kind: str) -> Section:
    found, change = contrast.primary, contrast.comparability
    title = f"{contrast.variant} against {contrast.reference}"
    if not contrast.refused and not math.isnan(found.difference):
        title += f": {main.style.difference(found.difference, unit=True)}"
    words = [prose.contrast_sentence(main, contrast)]
    words += [prose.bundle_sentence(contrast)] if change.bundle else []
    words += [
        improvement(contrast, main.item) if found.p == found.p else "",  # of runs that cannot be tested it says nothing
        prose.overturning_sentence(main, contrast),
        prose.equivalence_sentence(main, contrast),
    ]
    head = ("test", "difference", f"{prose.confidence(main)} CI", "statistic", "p", "n", "note")
    rows = tuple(_line(main, contrast, result, primary=k == 0) for k, result in enumerate(contrast.tests))
    shown = [Table(head, rows)]
    if change.changes:
        lines = tuple(
            (f"`{each.path}`" + (" undeclared" if each.path in change.undeclared else ""), *_code(each))
            for each in change.changes
        )
        caption = "What differs between the two recipes."
        shown.append(Table(("setting", contrast.reference, contrast.variant), lines, caption))
    return Section(title, (" ".join(filter(None, words)),), tuple(shown), kind=kind)


def improvement(contrast: Contrast, item: str) -> str:
    """How often the variant is the better one; empty where it was not computed."""
    found = contrast.improvement
    if found is None or math.isnan(found.p):
        return ""
    interval = "" if math.isnan(found.low) else f" [{100 * found.low:.0f}, {100 * found.high:.0f}]"
    where = f" on a {item} like these" if item else ""
    arms = f"A run of {contrast.variant} is better than one of {contrast.reference}"
    return f"{arms}{where} in {100 * found.p:.0f} %{interval}."


def _code(change: Any) -> tuple[str, str]:
    return f"`{change.reference}`", f"`{change.variant}`"


def _line(main: Comparison, contrast: Contrast, result: Result, primary: bool) -> tuple[Cell, ...]:
    items = f", {result.items} items" if result.items else ""
    return (
        Cell(result.label + (" (primary)" if primary else ""), kind="naive" if "naive" in result.label else ""),
        Cell(main.style.difference(result.difference), result.difference),
        Cell(main.style.interval(result.low, result.high, contrast.reference_mean), result.low),
        Cell(prose.statistic(result) or MISSING, result.statistic),
        Cell(p_value(result.p), result.p),
        Cell(f"{result.n[0]} and {result.n[1]}{items}"),
        Cell(result.note),
    )
