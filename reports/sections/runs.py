"""Every run: its score, what the design could have shown, where the variance comes from, ROC curves."""

from collections.abc import Mapping
from typing import Any

from reports import prose
from reports.drawing import figures
from reports.findings import FactorVariance, Findings
from reports.inputs.directory import Tables
from reports.sections import Cell, Figure, Section, Table
from reports.text import number, p_value

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section:
    """Dots per run, power, variance by factor, means by level."""
    power = prose.power_sentence(findings)
    words = [power, " ".join(prose.calibration_sentences(findings))]
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
        (variance(findings.variance),) if findings.variance else (),
        tuple(figure for figure in drawn if figure.svg),
    )


def variance(parts: tuple[FactorVariance, ...]) -> Table:
    """One row per factor, and one for seeds."""
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
