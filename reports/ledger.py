"""What the ledger of declarations shows: what was declared before any score, what was changed later, and how often
somebody could look.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import Any

from reports.contract import Entry, Study
from reports.findings import Comparison
from reports.statistics.calibration import peeking
from reports.text import count, listing

SEARCHED = ("search",)
"""What a hyperparameter search fills in after the declaration."""


def before_the_run(study: Study) -> bool:
    """Whether the ledger shows that the declaration of study.json stood before any score did."""
    if not study.ledger or not all(entry.intact for entry in study.ledger):
        return False
    first = study.ledger[0]
    return not first.scored and study.hash_matches is not False and not _changes(first, study.ledger[-1])


def looks(study: Study) -> list[Entry]:
    """The entries after each of which there were results of a declaration unlike the one before, the first included."""
    found = list(study.ledger[:1])
    for before, entry in pairwise(study.ledger):
        if _changes(before, entry):
            found.append(entry)
    return found


def set_aside(study: Study, having: Collection[str]) -> list[str]:
    """The declared variants and controls without scores that the last run was told to leave out (``--only``).

    Args:
        having: those that have scores.
    """
    only = study.ledger[-1].only if study.ledger else ()
    names = [*(variant.name for variant in study.variants), *(control.name for control in study.controls)]
    return [name for name in names if only and name not in only and name not in having]


def deviations(study: Study, main: Comparison) -> Iterator[str]:
    """One sentence per later declaration, and what the looks cost."""
    if not study.ledger:
        return
    if not all(entry.intact for entry in study.ledger):
        yield "The ledger of declarations was edited or damaged: a line has not the hash that the next one recorded."
    first = study.ledger[0]
    if first.scored:
        many = count(len(first.scored), "trial")
        yield f"When the study was first declared ({first.time}), {many} had scores already."
    for before, entry in pairwise(study.ledger):
        changes = _changes(before, entry)
        if changes:
            known = f"when {count(len(entry.scored), 'trial')} had scores" if entry.scored else "before any score"
            yield f"The declaration was changed on {entry.time}, {known}: {listing(changes, 6)}."
    if study.declared not in {entry.declared for entry in study.ledger} and not study.declaration.searched:
        yield "The declaration in study.json is none that the ledger has: it was changed without a run."
    yield from _cost(study, main)


def _cost(study: Study, main: Comparison) -> Iterator[str]:
    """How often a study without effects calls something significant if one stops at the look that does."""
    seen = [entry for entry in looks(study) if entry.scored or entry is study.ledger[0]]
    if len(seen) < 2:
        return
    if study.declaration.until is not None:
        yield (
            "Results could be looked at before the study was declared to stop when it knows. The looks with so many "
            "seeds count as looks of it and spend their share of the error; somebody who would have stopped there by "
            "another test has spent more."
        )
        return
    text = f"The results could be looked at {len(seen)} times"
    seeds = [len(entry.seeds) for entry in seen]
    if seeds == sorted(set(seeds)) and seeds[0] > 1:
        level = main.alpha if main.correction == "none" else main.alpha / main.family
        rate = peeking(seeds, max(1, len(main.contrasts)), level)
        text += (
            f" (with {', '.join(map(str, seeds[:-1]))} and {seeds[-1]} seeds): somebody who stops at the first look "
            f"that finds something is fooled in {100 * rate:.0f} % of studies without an effect, in place of "
            f"{100 * main.alpha:g} %"
        )
    yield text + "; the p values do not allow for it."


def _changes(before: Entry, after: Entry) -> list[str]:
    """`seeds: 3 -> 5`, one per key whose value differs."""
    a, b = ({k: v for k, v in entry.declaration.items() if k not in SEARCHED} for entry in (before, after))
    return [
        f"{key}: {_short(key, a)} → {_short(key, b)}" for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)
    ]


def _short(key: str, declaration: Mapping[str, Any]) -> str:
    value = declaration.get(key)
    if key == "seeds" and isinstance(value, list):
        return count(len(value), "seed")
    text = "none" if value in (None, "", [], {}) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
