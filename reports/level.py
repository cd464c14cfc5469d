"""What a design can tell: whether it keeps its level (the page has the simulation of this very design, the headline a
word on few runs), and what it could have found.
"""

import math
from collections import Counter

from reports.findings import Findings
from reports.text import count, largest, p_phrase

BY_SPREAD = (
    *("crossed", "paired_crossed", "half_pooled", "seeds_clips", "paired_clips", "welch", "student", "pooled"),
)
"""Tests whose error rate depends on how well few runs show an arm's spread."""


def few_runs(runs: int, contrasts: int) -> bool:
    """Whether with so many runs in an arm, and contrasts per reference, no test keeps its level for certain where arms
    vary unequally (benchmarks/false_positives.json): the headline says so.
    """
    return runs < (4 if contrasts > 2 else 6)


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
            f"{count(runs, 'run')} in an arm cannot show whether the arms' runs vary alike; where they do not, the "
            f"level of {100 * main.alpha:g} % is not certain."
        )
    error = 2 * math.sqrt(found.level * (1 - found.level) / found.studies)
    digits = int(round(100 * found.false_positives) == round(100 * found.worst))
    rate, worst = (f"{100 * share:.{digits}f} %" for share in (found.false_positives, found.worst))
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
    if few:
        return (
            f"{count(runs, 'run')} in an arm cannot show whether the arms' runs vary alike. In simulated studies of "
            f"this design without any effect {rate} call something significant where they do, and up to {worst} where "
            f"one arm varies three times as much or a third (wanted: at most {100 * found.level:g} %)."
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
    if found.least_case:
        texts.append(f"If {found.least_case}, the interval holds it in {100 * found.least_coverage:.1f} %.")
    if found.difference <= max(largest_differences(findings)):
        amount = main.style.amount(found.difference)
        texts.append(f"A true difference of {amount} is called significant in {100 * found.power:.0f} % of them.")
    return texts


def power_sentence(findings: Findings) -> str:
    """What the design could have detected, and what it would take; empty where unknown."""
    found = findings.power
    if found is None or math.isnan(found.detectable):
        return ""
    style = findings.main.style
    unit = found.counts
    design = f"{count(found.runs, unit)} per variant and a run-to-run SD of" if unit == "run" else ""
    design = design or f"{count(found.runs, unit)} and an SD over {unit}s of the difference of"
    loss, gain = largest_differences(findings)
    beyond = found.detectable > max(gain, loss)
    size = f"the largest difference that there can be ({style.amount(max(gain, loss))})"
    text = (
        f"With {design} {style.amount(found.sd)}, "
        + (f"not even {size}" if beyond else f"a true difference of {style.amount(found.detectable)}")
        + f" would have been found with 80 % power at the corrected level ({p_phrase(found.alpha, 'alpha')})."
    )
    if not beyond and found.detectable > min(gain, loss):
        which, other = ("loss", "gain") if gain < loss else ("gain", "loss")
        text += f" Only a {which} can be as large as that; a {other} ends at {style.amount(min(gain, loss))}."
    wanted = [
        f"{style.amount(difference)} " + (f"needs {runs:,}" if runs else f"is out of reach of {unit}s")
        for difference, runs in found.needed
        if difference <= max(gain, loss)
    ]
    if wanted:
        text += (
            f" {'Runs per variant' if unit == 'run' else unit.capitalize() + 's'} for 80 % power: {'; '.join(wanted)}."
        )
    if found.reference_runs:
        text += (
            f" At the same total of runs, {found.reference_runs} of the reference and fewer of each variant would give "
            "every contrast more power."
        )
    return text


def largest_differences(findings: Findings) -> tuple[float, float]:
    """The greatest loss and gain that there can be, both positive."""
    return largest(findings.main.style, [row.mean for row in findings.main.rows if row.is_reference])
