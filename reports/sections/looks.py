"""The looks of a study that stops when it knows: what each contrast was found to be, when, and what that took."""

import math
from collections.abc import Mapping
from typing import Any

from reports import prose
from reports.document import Cell, Figure, Section, Table
from reports.drawing import looks as drawing
from reports.findings import Comparison, Course, Findings, Path
from reports.inputs.directory import Tables
from reports.text import MISSING, count, listing, number, p_value

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """A row per contrast, its path over the looks, the seeds spent; None where the number of seeds was fixed."""
    course, main = findings.course, findings.main
    if course is None:
        return None
    figure = drawing.paths(main, course)
    caption = (
        "The difference at each look, with its repeated interval; grey: what would not have been significant. A "
        "contrast is significant at the first look whose point leaves the grey band."
    )
    return Section(
        "What was decided, and when",
        (_method(findings, course), _spent(findings, course)),
        (table(main, course),),
        (Figure(figure, caption=caption),) if figure else (),
        tuple(sentence(main, path, course) for path in course.paths),
        short="Looks",
    )


def table(main: Comparison, course: Course) -> Table:
    """One row per contrast; what does not count the looks stands last and is called naive."""
    head = ("variant", "decision", "seeds", "adjusted difference", prose.interval_name(main), "p over all looks")
    rows = tuple(_row(main, path) for path in course.paths)
    caption = (
        f"Difference to {main.against}, adjusted for the looks (median-unbiased), with the interval that holds at "
        "every look and for the whole family at once. Naive: difference and p of the look that ended the contrast, as "
        "if its number of seeds had been fixed; they are shown because others print them, not because they hold."
    )
    return Table((*head, "naive difference", "naive p"), rows, caption)


def _row(main: Comparison, path: Path) -> tuple[Cell, ...]:
    if not path.looks:
        return (Cell(path.variant), Cell("no look is complete"), *[Cell(MISSING, math.nan)] * 6)
    last, style = path.looks[-1], main.style
    return (
        Cell(path.variant, kind="clear" if last.decision == "significant" else ""),
        Cell(last.decision or "goes on"),
        Cell(f"{last.seeds}", last.seeds),
        Cell(style.difference(path.estimate), path.estimate),
        Cell(style.interval(last.low, last.high) if math.isfinite(last.low) else MISSING, last.low),
        Cell(p_value(path.p), path.p, "p"),
        Cell(style.difference(last.result.difference), last.result.difference, "naive"),
        Cell(p_value(last.result.p), last.result.p, "naive"),
    )


def sentence(main: Comparison, path: Path, course: Course) -> str:
    """How one contrast ended, or what it would take."""
    pair = f"{path.variant} against {path.reference}"
    if not path.looks:
        return f"{pair}: no look is complete."
    last, style = path.looks[-1], main.style
    seeds = count(last.seeds, "seed")
    interval = f"{prose.interval_name(main)} {style.interval(last.low, last.high)}"
    went = f"{style.difference(path.estimate, unit=True)}, {interval}"
    price = f"if the true difference is the {style.amount(last.result.difference)} seen, {_price(main, path, course)}"
    match last.decision:
        case "significant":
            return f"{pair}: significant after {seeds} ({went})."
        case "equivalent":
            return f"{pair}: equivalent within the declared margin after {seeds} ({went})."
        case "out of reach":
            why = f"because {course.looks[-1]} seeds would hardly decide it"
            return f"{pair}: ended after {seeds} ({went}), {why}; {price}."
        case "undecided":
            return f"{pair}: not decided with all {seeds} ({went}); {price}."
        case "not tested":
            return f"{pair}: cannot be tested ({last.result.note or 'no standard error'}); no further seed is trained."
    return f"{pair}: goes on after {seeds} ({went})."


def _price(main: Comparison, path: Path, course: Course) -> str:
    """What gives 80 % power: more seeds, or more tracks where their part of the variance alone is too large."""
    result, seeds = path.looks[-1].result, course.looks[-1]
    if math.isfinite(path.needed) or not result.lasting > 0:
        more = f"about {math.ceil(path.needed)} seeds" if path.needed < 1_000 else "more than 1,000 seeds"
        return f"{more} per arm give 80 % power"
    item = "group" if main.groups else main.item or "clip"
    fewest = f"about {math.ceil(path.items):,}" if path.items < 1e6 else "more than a million"
    enough = f"{fewest} {item}s with {count(seeds, 'seed')} per arm do"
    if math.isinf(path.items):
        enough = f"more {item}s with more than {count(seeds, 'seed')} per arm are needed"
    return (
        f"no number of seeds gives 80 % power, because {100 * result.lasting / result.se**2:.0f} % of the variance of "
        f"the difference is that of the {count(result.items, item)}; {enough}"
    )


def _method(findings: Findings, course: Course) -> str:
    main = findings.main
    kind = {
        "pocock": "an error that is spent about alike at every look",
        "obf": "an error that is mostly kept for the last look",
        "e": "an e-process, valid at every number of seeds",
    }[course.spending]
    at = listing([str(seeds) for seeds in course.looks])
    text = (
        f"The study looks at its results after {at} seeds, and trains more seeds only of what is not decided. "
        f"Every look tests with {main.test_label} and {kind}, so that over all looks and all contrasts at most "
        f"{100 * main.alpha:g} % of studies without an effect call something significant."
    )
    if course.counted:
        seen = listing([str(seeds) for seeds in course.counted])
        text += f" Results could be seen with {seen} seeds before the study was declared so: counted as a look."
    return text


def _spent(findings: Findings, course: Course) -> str:
    spent, fixed = course.trainings, course.fixed
    text = f"{count(spent, 'trial')} of the {fixed} that {course.looks[-1]} seeds of every variant take"
    ahead = ""
    if over := findings.study.ahead:
        took = f"{number(over.seconds / 3600, 1)} hours" if over.seconds >= 360 else f"{over.seconds:.0f} s"
        ahead = f" {count(over.trials, 'trial')} ran ahead of a look and were left ({took} of stages): no score counts."
    if not course.over:
        return f"The study is not over: {text} are asked for so far.{ahead}"
    hours = sum(stage.seconds for stage in findings.study.stages.values()) / 3600
    saved = f", about {number(hours * (fixed - spent) / spent, 1)} hours of stages" if spent and hours >= 0.1 else ""
    return f"{text}: {100 * (fixed - spent) / fixed:.0f} % saved{saved}.{ahead}"
