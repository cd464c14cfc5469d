"""Published claims recomputed from the published summaries alone: `python -m reports.claims [PAPER ...]`.

Each paper's claims.py says what its printed tables allow to be recomputed, and whether it agrees. A paired test can
never be recomputed from means and spreads: the correlation is missing.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

from reports.contract import PAPERS, paper_package
from reports.published import Claim


def all_claims(papers: Sequence[str] = PAPERS) -> list[Claim]:
    """Every claim of the papers that their printed summaries allow to check.

    Args:
        papers: names of `PAPERS`, or packages that hold a `claims` module with a function `claims`.
    """
    return [claim for name in papers for claim in _module(name).claims()]


def _module(paper: str) -> Any:
    return importlib.import_module(f"{paper_package(paper)}.claims")


def to_markdown(papers: Sequence[str] = PAPERS) -> str:
    """All claims as a Markdown table, then the lines that the `below` of a paper's module returns, if it has one."""
    lines = ["| paper | claim | recomputed | reproduced | what does not fit |", "|---|---|---|---|---|"]
    for claim in all_claims(papers):
        why = "" if claim.reproduced and claim.paper not in ("AE-MIC", "TagBox") else claim.why
        lines.append(
            f"| {claim.paper} | {claim.claim} | {claim.recomputed} | {'yes' if claim.reproduced else 'no'} | {why} |"
        )
    for name in papers:
        lines += getattr(_module(name), "below", list)()
    return "\n".join(lines)


if __name__ == "__main__":
    print(to_markdown(sys.argv[1:] or PAPERS))
