"""The primary comparison with choices of the reader's own, computed in the page."""

from collections.abc import Mapping
from typing import Any

from reports import explored
from reports.document import Section
from reports.findings import Findings
from reports.inputs.directory import Tables

OPTIONS: dict[str, str] = {}
TITLE = "Explore"
ABOUT = (
    "Another metric or target, without some songs or seeds, or with another correction: what is chosen here "
    "comes after the runs. A star that only some choices show is a hint, to be tested in a study of its own. The "
    "result above stays as it is declared."
)


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section:
    """A panel with the scores; a sentence where a page cannot hold or compute them."""
    why = explored.refusal(findings)
    data = "" if why else explored.packed(explored.document(findings))
    if len(data) > explored.LARGEST:
        many = f"{len(data) / 1e6:.1f} MB"
        why, data = f"The scores ({many} packed) are too many to be held by a page: report.json has them all.", ""
    several = [each.style.label for each in findings.comparisons if each.primary]
    only = f"It holds the variants that are compared on the first primary metric: {several[0]}."
    return Section(TITLE, (why or ABOUT, *([only] if data and len(several) > 1 else [])), kind="explore", data=data)
