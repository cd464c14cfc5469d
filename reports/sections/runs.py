"""Every run: its score, what the design could have shown, where the variance comes from, ROC curves."""

from collections.abc import Mapping
from typing import Any

from reports import level, prose
from reports.document import Cell, Figure, Section, Table
from reports.drawing import figures
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import MISSING, number, p_value

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section:
    """Dots per run, power, variance by factor, means by level."""
    power = level.power_sentence(findings)
    words = [power, " ".join(level.calibration_sentences(findings))]
    drawn = (
        Figure(
            figures.seeds(findings.main),
            caption="One dot per run; the upright mark is the mean, the band its standard error.",
        ),
        Figure(
            figures.interaction(findings),
            caption="Means by level; lines that are not parallel speak of an interaction.",
        ),
        Figure(
            figures.roc(tables.predictions, findings),
            caption="ROC curves, averaged over runs and tags at equal false-positive rate; dashed: "
            f"{findings.main.against}.",
        ),
    )
    return Section(
        "Every run",
        tuple(filter(None, words)),
        tuple(
            table(findings) for table, there in ((effects, findings.effects), (variance, findings.variance)) if there
        ),
        tuple(figure for figure in drawn if figure.svg),
    )


def effects(findings: Findings) -> Table:
    """One row per main effect and interaction, its interval that of the corrected p."""
    main = findings.main
    rows = tuple(
        (
            Cell(each.name, kind="clear" if each.p_corrected < main.alpha else ""),
            Cell(main.style.difference(each.result.difference), each.result.difference),
            Cell(main.style.interval(each.low, each.high), each.low),
            Cell(prose.statistic(each.result) or MISSING, each.result.statistic),
            Cell(p_value(each.result.p), each.result.p),
            Cell(p_value(each.p_corrected), each.p_corrected, "p"),
        )
        for each in findings.effects
    )
    caption = (
        "Main effects, each the mean over all combinations of the other factors, and interactions (×), each the "
        f"difference of two such differences, over the tracks that all arms have. A family of its own: Bonferroni over "
        f"{len(rows)}; the {prose.confidence(main)} intervals hold together."
    )
    head = ("effect", "difference", f"{prose.confidence(main)} simultaneous CI", "test", "p", "p corrected")
    return Table(head, rows, caption)


def variance(findings: Findings) -> Table:
    """One row per factor, and one for seeds."""
    parts = findings.variance
    return Table(
        ("source of variance", "df", "share (eta²)", "omega²", "p (F test)"),
        tuple(
            (
                Cell(part.name),
                Cell(str(part.df), part.df),
                Cell(f"{100 * part.eta_squared:.1f} %", part.eta_squared),
                Cell(number(part.omega_squared), part.omega_squared),
                Cell(p_value(part.p), part.p),
            )
            for part in parts
        ),
        "Variance of the run scores by factor, each after all others.",
    )
