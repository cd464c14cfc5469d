"""All systems with each other, where many models are compared as given."""

from collections.abc import Mapping
from typing import Any

from reports.document import Cell, Figure, Section, Table
from reports.drawing import ranks
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import count, listing, number, p_phrase

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """Friedman's test, the diagram of mean ranks and whom each system is not told apart from; None elsewhere."""
    found, main = findings.systems, findings.main
    if found is None:
        return None
    clear = sum(p < main.alpha for p in found.pairs.values())
    verb = "differ" if found.p < main.alpha else "do not differ significantly"
    test = f"Friedman, χ²({len(found.ranks) - 1}) = {number(found.statistic, 1)}, {p_phrase(found.p)}"
    text = (
        f"Over the {count(found.items, found.unit)} that all {len(found.ranks)} systems have, they {verb} ({test}). Of "
        f"{count(len(found.pairs), 'pair')}, {clear} differ by Wilcoxon's signed-rank test after Holm's correction "
        "over all of them. This is said of these models, not of other trainings."
    )
    rows = tuple(
        (
            Cell(name, kind="reference" if name == main.reference else ""),
            Cell(number(rank), rank),
            Cell(main.style.value(found.means[name]), found.means[name]),
            Cell(listing(_alike(findings, name), 6)),
        )
        for name, rank in found.ranks.items()
    )
    caption = (
        "Bars join systems side by side of which no pair differs (Wilcoxon, Holm). Mean ranks that are further apart "
        "than the critical difference differ by Nemenyi's test, too."
    )
    return Section(
        "All systems with each other",
        (text,),
        (Table(("system", "mean rank", f"mean {main.style.label}", "not told apart from"), rows),),
        (Figure(ranks.diagram(found), caption=caption),),
        short="Systems",
    )


def _alike(findings: Findings, name: str) -> list[str]:
    found = findings.systems
    assert found is not None
    return [other for other in found.ranks if other != name and found.apart(name, other) >= findings.main.alpha]
