"""The result: every variant on the primary metric against its reference, in a table, a figure and in words."""

import math
from collections.abc import Mapping
from typing import Any

from reports import conventions, level, prose
from reports.document import Cell, Figure, Section, Table, filled
from reports.drawing import figures
from reports.findings import Comparison, Findings
from reports.inputs.directory import Tables
from reports.text import MISSING, count, listing, number, p_value

OPTIONS: dict[str, str] = {}

NAIVE = (
    "Naive p pools every pair of scores as if independent; it is shown because the field prints it, not because it "
    "holds."
)
LONG = 12
"""So many sentences stand open on a page."""


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section:
    """The primary comparison, what it reaches to, what deviates from the declaration, and the other metrics."""
    main, words = findings.main, tuple(prose.sentences(findings))
    forest = figures.forest(main)
    holds = (
        "the difference holds for the whole family" if main.correction == "bonferroni" else "the corrected p is small"
    )
    caption = (
        f"Differences to {main.against}. Thick: pointwise {prose.confidence(main)} interval. Thin, and in numbers: "
        f"{prose.interval_name(main)}; where it leaves out zero, {holds}. Coloured: significant after correction."
    )
    long = len(words) > LONG
    told = Section(f"All {len(words)} contrasts in words" if long else "", points=words, kind="fold" if long else "")
    naive = prose.naive_sentence(findings)
    devices = tuple(prose.device_sentence(contrast) for contrast in main.contrasts if len(contrast.devices) > 1)
    columns = Section("All columns", tables=(table(main, about(main)),), kind="fold")
    parts = [
        columns,
        told,
        Section("", tuple(filter(None, (naive, prose.generalisation(findings), looked_at(findings))))),
    ]
    parts += [Section("", devices, kind="warn")] if devices else []
    if findings.deviations:
        parts.append(Section("Deviations from the declaration", points=findings.deviations, kind="warn"))
    for comparison in findings.comparisons[1:]:
        kind = "primary, too" if comparison.primary else "secondary, a family of its own"
        title = f"{comparison.style.label} ({kind}: {prose.family_phrase(comparison)}; {comparison.test_label})"
        parts.append(Section(title, tables=(table(comparison, " ".join(prose.over_both(comparison))),)))
    if findings.conventions:
        said = (conventions.sentence(findings),)
        parts.append(Section("By every convention of one kind", said, (conventions.table(findings),)))
    return Section(
        f"Result on {main.style.label}",
        tables=(short(main),),
        figures=(Figure(forest, caption=caption),) if forest else (),
        parts=tuple(parts),
        kind="beside" if forest else "",
        short="Result",
    )


def looked_at(findings: Findings) -> str:
    """How many other metrics there were to find a star in, and the chance of one where nothing differs."""
    others = [comparison for comparison in findings.comparisons if not comparison.primary]
    if not others:
        return ""
    at = [min(1.0, 0.05 * c.family) if c.correction == "none" else 0.05 for c in others]
    if len(at) == 1:
        chance = f"of a star there is up to {100 * at[0]:.0f} %: it"
    else:
        independent = 1 - math.prod(1 - error for error in at)
        chance = (
            f"of at least one star among them is up to {100 * independent:.0f} % if they are independent of each "
            f"other, and up to {100 * max(at):.0f} % if they all say the same: a star there"
        )
    return (
        f"Beside the primary metric {count(len(others), 'other was', 'others were')} looked at, "
        f"{'each ' if len(at) > 1 else ''}a family of its own. In a study without any effect the chance {chance} is a "
        "hint, to be tested in another study."
    )


def about(main: Comparison) -> str:
    """What the columns of a comparison's table hold."""
    style = main.style
    unit = f", {style.unit} ({style.scale:g} × score)" if style.scale != 1 else f", {style.unit}" if style.unit else ""
    better = "higher" if style.higher_is_better else "lower"
    items = f"Each score is a mean over {main.items} {main.item}s. " if main.item else ""
    if main.repeated:
        items += (
            "Difference, interval and p are those of the look that ended a contrast, and hold over all looks; means "
            "and Hedges g are over all runs, as if their number had been fixed. "
        )
    naive = "" if main.test in prose.AS_GIVEN else NAIVE
    return (
        f"Mean ± standard error over runs{unit}, {better} is better. Difference to {main.against}, with its "
        f"{prose.interval_name(main)}, which belongs to the corrected p, by {main.test_label}. Corrected p: "
        f"{prose.family_phrase(main)}; stars mark corrected p below .05, .01 and .001. {items}{naive}"
    ).strip()


def table(comparison: Comparison, caption: str = "") -> Table:
    """One row per variant: its mean, and its contrast with the reference."""
    head = ("variant", "runs", "mean ± SE", "difference", prose.interval_name(comparison))
    last = () if comparison.test in prose.AS_GIVEN else ("naive p",)  # without runs, pooling is the test itself
    columns = (*head, "test", "p", "p corrected", "Hedges g", *last)
    rows = [(*_arm(comparison, name), *_contrast(comparison, name)) for name in _names(comparison)]
    return Table(columns, tuple(filled(row[: len(columns)], len(columns)) for row in rows), caption)


def short(comparison: Comparison) -> Table:
    """The five columns that answer the question, the interval before the mean: a narrow screen shows the first."""
    whole = table(comparison)
    order = (0, 3, 4, 7, 2)
    rows = tuple(tuple(row[k] for k in order) for row in whole.cells)
    unit = f"In {comparison.style.unit}. " if comparison.style.unit else ""
    caption = f"{unit}Difference to {comparison.against}; {prose.family_phrase(comparison)}."
    caption = " ".join([caption, *prose.over_both(comparison)])
    return Table(tuple(whole.head[k] for k in order), rows, caption)


def _names(comparison: Comparison) -> list[str]:
    return [row.variant for row in comparison.rows]


def _arm(comparison: Comparison, variant: str) -> tuple[Cell, ...]:
    row, contrast = comparison.row(variant), comparison.contrast(variant)
    tested = contrast is not None and not contrast.refused
    clear = contrast is not None and prose.significant(comparison, contrast)
    return (
        Cell(variant, kind=("clear" if clear else "") if tested else "reference"),
        Cell(f"{len(row.runs)}/{row.planned}", len(row.runs)),
        Cell(prose.mean_se(comparison, variant), row.mean),
    )


def _contrast(comparison: Comparison, variant: str) -> tuple[Cell, ...]:
    """From the difference on; for a reference or a refused contrast one cell that says so."""
    contrast, style = comparison.contrast(variant), comparison.style
    if contrast is None or contrast.refused:
        return (Cell(prose.untested(contrast), math.nan),)
    found, effect = contrast.primary, contrast.effect
    naive = contrast.naive.p if contrast.naive else math.nan
    spread = f"{number(effect.g)} [{number(effect.low, 1)}, {number(effect.high, 1)}]"
    return (
        Cell(style.difference(found.difference), found.difference),
        Cell(style.interval(*contrast.simultaneous, contrast.reference_mean), contrast.simultaneous[0]),
        Cell(prose.statistic(found) or MISSING, found.statistic),
        Cell(p_value(found.p), found.p),
        Cell(f"{p_value(contrast.p_corrected)} {contrast.stars}".strip(), contrast.p_corrected, "p"),
        Cell(MISSING if math.isnan(effect.g) else spread, effect.g),
        Cell(p_value(naive), naive, "naive"),
    )


def summary(findings: Findings) -> Section:
    """The result as a run prints it at its end."""
    main = findings.main
    label = main.style.label + (f" ({main.target})" if main.target not in ("", "macro") else "")
    whole = table(main)
    rows = tuple(
        (name, mean, difference, interval, _statistic(test), p, *_starred(corrected))
        for name, _, mean, difference, interval, test, p, corrected, *_ in whole.cells
    )
    unit = f" in {main.style.unit}" if main.style.unit else ""
    about = f"mean ± SE over runs{unit}; difference to {main.against}; {main.test_label}; {prose.family_phrase(main)}."
    paragraphs = [about, *filter(None, [findings.study.no_result]), prose.headline(findings)]
    if power := level.power_sentence(findings):
        paragraphs.append(power)
    if said := conventions.sentence(findings):
        paragraphs.append(said)
    paragraphs += [f"Deviation: {text}" for text in findings.deviations]
    paragraphs += [f"Caution: {text}" for text in findings.cautions if text != findings.study.no_result]
    return Section("", tuple(paragraphs), (Table(("variant", label, *whole.head[3:5], "t", "p", "p corr.", ""), rows),))


def _statistic(test: Cell) -> Cell:
    return Cell(number(test.value), test.value) if test.text and test.value is not None else test


def _starred(corrected: Cell) -> tuple[Cell, Cell]:
    """A corrected p and its stars in a column of their own."""
    return Cell(corrected.text.rstrip("* "), corrected.value), Cell("*" * corrected.text.count("*"))


def matrix(findings: Findings) -> Table:
    """One row per variant, one column per metric: the layout of Table I of MSSPT, stars and all."""
    comparisons = findings.comparisons
    factors = findings.study.declaration.factors
    heads = [c.style.label + (f" ({c.style.unit})" if c.style.unit == "dB" else "") for c in comparisons]
    rows = [
        (Cell(row.variant, kind="reference" if row.is_reference else ""), *(_mean(c, row.variant) for c in comparisons))
        for row in findings.main.rows
    ]
    return Table((factors[0].name if len(factors) == 1 else "variant", *heads), tuple(rows), _legend(findings))


def _mean(comparison: Comparison, variant: str) -> Cell:
    """`91.85 ± 0.03 *`, `better` where it is significantly better than the reference; stars of the corrected p."""
    if variant not in _names(comparison):
        return Cell(MISSING, math.nan)
    contrast, mean = comparison.contrast(variant), comparison.row(variant).mean
    text = prose.mean_se(comparison, variant)
    if contrast is None or contrast.refused or math.isnan(mean):
        return Cell(text, mean)
    gain = contrast.primary.difference * (1 if comparison.style.higher_is_better else -1)
    return Cell(
        f"{text} {contrast.stars}".strip(),
        mean,
        "better" if gain > 0 and prose.significant(comparison, contrast) else "",
    )


def _legend(findings: Findings) -> str:
    """What `matrix` shows, in one paragraph."""
    main = findings.main
    runs = sorted({len(row.runs) for row in main.rows if row.runs})
    each = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}" if runs else "no"
    tests = sorted({comparison.test_label for comparison in findings.comparisons})
    question = (findings.study.question or findings.study.name).strip()
    question += "" if question.endswith((".", "?", "!")) else "."
    shown = "Scores of one run" if runs == [1] else f"Mean ± standard error over {each} runs"
    caveat = f"{findings.study.no_result} " if findings.study.no_result else ""
    return (
        f"{question} {caveat}{shown}. "
        f"Bold: significantly better than {main.against}. "
        f"* / ** / ***: difference to {main.against} significant at .05 / .01 / .001 "
        f"({listing(tests)}; {prose.family_phrase(main)}, in each column)."
    )
