"""A report as a list of sections: which a report has, and in which order.

`USUAL` are the sections of every report. What a study declares beside them stands as declared, after the result, the
tests and the published figures. A usual section that is declared as well stands where the declaration has it; with
`{"kind": name, "leave_out": True}` it is left out. `reports/sections/__init__.py` says what a section's module has.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from reports import level, prose
from reports.ablation import describe_design
from reports.contract import section_module
from reports.document import Report, Section
from reports.findings import Findings
from reports.inputs.directory import Tables

FIRST: tuple[Mapping[str, Any], ...] = (
    *({"kind": kind} for kind in ("looks", "result", "controls", "systems", "tests", "published")),
)
LAST: tuple[Mapping[str, Any], ...] = (
    {"kind": "explore"},
    {"kind": "runs"},
    {"kind": "items", "by": "tag"},
    {"kind": "items", "by": "track"},
    {"kind": "separation"},
    {"kind": "listen"},
    {"kind": "curves"},
    {"kind": "cost"},
    {"kind": "design"},
    {"kind": "limits"},
    {"kind": "reproduce"},
)
USUAL = (*FIRST, *LAST)
"""What a report has unless its study says otherwise; declared sections stand between the two parts."""


def order(declared: tuple[Mapping[str, Any], ...]) -> list[Mapping[str, Any]]:
    """The sections of a report, in order: the usual ones and what a study declares.

    >>> [part["kind"] for part in order(({"kind": "sweep"}, {"kind": "tests"}, {"kind": "items", "leave_out": True}))]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['looks', 'result', 'controls', 'systems', 'published', 'sweep', 'tests', 'explore', 'runs', 'separation', 'listen',
     'curves', 'cost', 'design', 'limits', 'reproduce']
    """
    named = {part.get("kind") for part in declared}
    usual = [[part for part in parts if part["kind"] not in named] for parts in (FIRST, LAST)]
    own = [
        whole
        for part in declared
        if not part.get("leave_out")
        for whole in ([each for each in USUAL if each == {**each, **part}] or [part])
    ]
    return [*usual[0], *own, *usual[1]]


def sections(findings: Findings, tables: Tables, declared: tuple[Mapping[str, Any], ...]) -> tuple[Section, ...]:
    """The sections of that declaration that have something to say.

    Raises:
        ValueError: a kind that does not exist.
    """
    made = []
    for part in declared:
        options = dict(part)
        module = importlib.import_module(section_module(str(options.pop("kind", ""))))
        section = module.section(findings, options, tables)
        made += [section] if section is not None else []
    return tuple(made)


def report(findings: Findings, tables: Tables) -> Report:
    """The report of a study as its declaration wants it."""
    study, main = findings.study, findings.main
    target = f" ({main.target})" if main.target else ""
    about = (
        f"{describe_design(findings)}. Primary: {main.style.label}{target}, {main.test_label}, alpha {main.alpha}, "
        f"{prose.family_phrase(main)}."
    )
    return Report(
        study.title,
        study.question or study.name,
        prose.headline(findings),
        (*filter(None, [study.no_result, level.power_sentence(findings)]), about),
        sections(findings, tables, tuple(order(study.declaration.sections))),
        _warnings(findings),
    )


WARNINGS = 6
"""Cautions that stand on the first screen; all of them stand under the limits."""


def _warnings(findings: "Findings") -> tuple[str, ...]:
    """The first cautions, which are about data and trainings, and what was trained once for all seeds."""
    study = findings.study
    known = [text for text in findings.cautions if text not in (study.no_result, study.declaration.cut)]
    shown = [*known[:WARNINGS], *filter(None, [study.declaration.shared[:1].upper() + study.declaration.shared[1:]])]
    more = len(known) - WARNINGS
    if more > 0:
        shown.append(f"{more} more under Limits and notes.")
    return tuple(shown)
