"""Whether a design keeps its level: what the page says of the simulation of this very design, and the headline of few
runs.
"""

import math
from collections import Counter

from reports.findings import Findings
from reports.text import count

BY_SPREAD = ("crossed", "paired_crossed", "half_pooled", "seeds_clips", "paired_clips", "welch", "student")
"""Tests whose error rate depends on how well few runs show an arm's spread."""


def few_runs(runs: int, contrasts: int) -> bool:
    """Whether with so many runs in an arm, and contrasts per reference, no test keeps its level for certain where arms
    vary unequally (benchmarks/false_positives.json): the headline says so.
    """
    return runs < (4 if contrasts > 2 else 5)


def level_sentence(findings: Findings) -> str:
    """Said where a design like this one cannot keep its level, or few runs cannot show it; empty where it is kept."""
    found, main = findings.calibration, findings.main
    made = [contrast for contrast in main.contrasts if not math.isnan(contrast.primary.p)]
    runs = min((min(contrast.primary.n) for contrast in made), default=0)
    blocks = Counter(contrast.reference for contrast in made)
    few = bool(made) and few_runs(runs, min(blocks.values()))
    if found is None:
        if not few or main.test not in BY_SPREAD:
            return ""
        return (
            f"With {count(runs, 'run')} in an arm the level of {100 * main.alpha:g} % holds where the arms' runs vary "
            "alike, and not for certain otherwise."
        )
    error = 2 * math.sqrt(found.level * (1 - found.level) / found.studies)
    rate, worst = (f"{100 * share:.0f} %" for share in (found.false_positives, found.worst))
    if found.false_positives > 1.1 * found.level + error:
        return (
            "Such a design cannot keep the level: in simulated studies of it without any effect, "
            f"{rate} call something significant, in place of {100 * found.level:g} %."
        )
    if found.worst_case and found.worst > 1.1 * found.level + error:
        return (
            f"The level of {100 * found.level:g} % holds where the arms' runs vary alike ({rate} in simulated studies "
            f"of this design without any effect), and is lost if {found.worst_case} ({worst})."
        )
    if few and found.worst > found.level:
        return (
            f"With {count(runs, 'run')} in an arm the level of {100 * found.level:g} % holds where the arms' runs vary "
            f"alike ({rate} in simulated studies of this design without any effect), and not for certain otherwise (up "
            f"to {worst} where one arm varies three times as much or a third)."
        )
    return ""


def calibration_sentences(findings: Findings) -> list[str]:
    """What the primary test does in simulated studies of this design; empty where it is not simulated."""
    found, main = findings.calibration, findings.main
    if found is None:
        return []
    texts = [
        f"In {found.studies:,} simulated studies of this design (its runs, {main.item + 's, ' if main.item else ''}"
        f"family and spread) without any effect, {100 * found.false_positives:.1f} % call some contrast significant "
        f"(wanted: at most {100 * found.level:g} %), and the pointwise 95 % interval holds the true difference in "
        f"{100 * found.coverage:.1f} %."
    ]
    if found.worst_case:
        texts.append(f"If {found.worst_case}, {100 * found.worst:.1f} % do.")
    if not math.isnan(found.difference):
        amount = main.style.amount(found.difference)
        texts.append(f"A true difference of {amount} is called significant in {100 * found.power:.0f} % of them.")
    return texts
