"""Where a paper prints two rows that a study of ours repeats as a variant and its reference: does their order hold?

A printed order *holds* where our contrast of the two is significant after correction and has its sign, *fails* where
it is significant with the other sign, and is *undecided* else. Only primary comparisons are asked, since only their
contrasts were declared to be tested. A smoke run, a rehearsal and a study on other data than the paper's tables are of
decide nothing, nor does one of which a control failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.contract import MACRO, PAPERS, Study
from reports.overview.told import Findings
from reports.published import Paper, not_beside, paper, row_and_column
from reports.text import p_phrase

STATES = ("holds", "undecided", "fails", "not run")


@dataclass(frozen=True)
class Claim:
    """One printed order.

    Attributes:
        paper: a paper's id.
        study: the name of the study that repeats its table; `title` of the one that was run, empty for none.
        order: the two rows as our variants, and what was printed of them; of a table that was not run, its name.
        ours: difference and corrected p, or why there are none.
        state: one of `STATES`.
    """

    paper: str
    study: str
    title: str
    order: str
    ours: str
    state: str


def repeated(found: Paper) -> dict[str, str]:
    """The studies whose variants are rows of a paper's table, and the table's name."""
    return {name: match["table"] for name, match in found.studies.items() if match.keys() & {"row", "variants"}}


def claims(study: Study, findings: Findings | None) -> tuple[Claim, ...]:
    """What a study says of printed orders, by its findings where it has any; empty where it repeats no table."""
    for found in map(paper, PAPERS):
        if study.name in repeated(found):
            return tuple(_claims(study, findings, found))
    return ()


def absent(names: Sequence[str]) -> list[Claim]:
    """A line for each study that is none of the names and repeats a table of a paper of which one of them does."""
    return [
        Claim(found.id, name, "", table, "not in this store", "not run")
        for found in map(paper, PAPERS)
        for name, table in repeated(found).items()
        if name not in names and repeated(found).keys() & set(names)
    ]


def together(every: Sequence[Claim]) -> list[Claim]:
    """The claims that were judged, and one line for each study that judges none, with all reasons why."""
    judged = [claim for claim in every if claim.state != "not run"]
    known = {claim.study for claim in judged}
    waiting: dict[str, list[Claim]] = {}
    for claim in every:
        if claim.study not in known:
            waiting.setdefault(claim.study, []).append(claim)
    merged = [
        replace(same[0], title="", ours="; ".join(dict.fromkeys(claim.ours for claim in same)))
        for same in waiting.values()
    ]
    return [*judged, *merged]


def _claims(study: Study, findings: Findings | None, found: Paper) -> list[Claim]:
    table = found.table(repeated(found)[study.name])
    why = "a smoke run" if study.smoke and not study.rehearsal else "a rehearsal" if study.rehearsal else ""
    if not why and not_beside(study, found):
        why = "on other data than the paper's"
    if why or findings is None:
        return [Claim(found.id, study.name, study.title, table.name, why or "no report yet", "not run")]
    made = []
    for compared in findings.comparisons:
        if not compared.primary or compared.target not in MACRO:
            continue
        for contrast in compared.contrasts:
            places = [
                row_and_column(found.studies[study.name], study.variant(name), compared.style.name)
                for name in (contrast.variant, contrast.reference)
            ]
            mine, other = (table.rows.get(row, {}).get(column) for row, column in places)
            if mine is None or other is None or mine.value == other.value:
                continue
            above = mine.value > other.value
            printed = f"{mine.text} and {other.text} printed in {table.name}"
            order = f"{contrast.variant} {'above' if above else 'below'} {contrast.reference} on {compared.style.label}"
            if compared.clear(contrast) and not findings.a_control_failed:
                state = "holds" if above == (contrast.primary.difference > 0) else "fails"
            else:
                state = "undecided"
            difference = compared.style.difference(contrast.primary.difference, unit=True)
            ours = f"{difference}, corrected {p_phrase(contrast.p_corrected)}"
            ours += "; a control failed" if findings.a_control_failed else ""
            made.append(Claim(found.id, study.name, study.title, f"{order} ({printed})", ours, state))
    return made
