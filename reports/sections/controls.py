"""The controls: arms whose truth is known in advance, beside the study and in a family of their own."""

from collections.abc import Mapping
from typing import Any

from reports.document import Figure, Section
from reports.drawing import figures
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.sections.result import table

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """Table and forest of the controls, and what each shows; None where none was declared."""
    found = findings.controls
    if found is None:
        return None
    points = tuple(f"{'As declared' if one.came_out else 'FAILED'}: {one.told}." for one in found.judged)
    text = (
        "Arms whose truth was known before the run. They are judged as the study is, against its reference, and are in "
        "no other family: where one does not come out as declared, the study's own contrasts show nothing."
    )
    compared = found.comparison
    shown = () if compared is None else (table(compared),)
    drawn = "" if compared is None else figures.forest(compared)
    drawings = (Figure(drawn, caption="Differences of the controls to the reference."),) if drawn else ()
    kind = "warn" if found.failed else ""
    return Section("Controls", (text,), shown, drawings, points, kind=kind)
