"""What a study declares and what study.json holds, as frozen values; the allowed names; and what is refused.

A leaf: it imports nothing else of `reports`. The core builds, checks and writes these values before anything runs, a
report reads and checks the same ones, so both know one set of names and refuse in the same words. docs/formats.md is
the reference of the file.
"""

from reports.contract.check import (
    PAPERS,
    check,
    check_metric,
    check_table,
    check_target,
    paper_package,
    printed_paper,
    read_declaration,
    section_module,
)
from reports.contract.names import (
    COLUMNS,
    CORRECTIONS,
    MACRO,
    METRICS,
    SPELLINGS,
    SPENDING,
    TESTS,
    Metric,
    known_metric,
    least_p,
    nearest,
    significant_p,
)
from reports.contract.values import (
    Declaration,
    Entry,
    Example,
    Factor,
    Looks,
    Note,
    Stage,
    Study,
    Trial,
    Variant,
    from_json,
    hashes,
    to_json,
)

__all__ = [
    "COLUMNS",
    "MACRO",
    "CORRECTIONS",
    "METRICS",
    "PAPERS",
    "SPENDING",
    "SPELLINGS",
    "TESTS",
    "Declaration",
    "Entry",
    "Example",
    "Factor",
    "Looks",
    "Metric",
    "Note",
    "Stage",
    "Study",
    "Trial",
    "Variant",
    "check",
    "check_metric",
    "check_table",
    "check_target",
    "from_json",
    "hashes",
    "known_metric",
    "least_p",
    "nearest",
    "paper_package",
    "printed_paper",
    "read_declaration",
    "section_module",
    "significant_p",
    "to_json",
]
