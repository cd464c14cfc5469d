"""The search for hyperparameters: over all arms (`{"kind": "search"}`), and one arm in full (`"variant": name`)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from reports.drawing import svg
from reports.findings import Findings
from reports.inputs import searches
from reports.inputs.directory import Tables
from reports.inputs.searches import Arm, Searches
from reports.sections import Figure, Section, Table
from reports.text import MISSING, count, duration, listing, number, style

OPTIONS = {"variant": "arm?"}

SAMPLERS = {"tpe": "TPE", "gp": "Gaussian process", "cma_es": "CMA-ES", "nsga2": "NSGA-II", "random": "random search"}
WIDTH = 760.0


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """One arm in full where `options` has `variant`, else all arms side by side; None without a search."""
    found = tables.searches
    if found is None:
        return None
    return arm_section(found, found.arm(options["variant"])) if "variant" in options else overview(found)


# ---- all arms


def overview(found: Searches) -> Section:
    """Budget and outcome of every arm, and whether it was tuned enough."""
    write = value_writer(found.arms)
    head = (
        "variant",
        "trained",
        "finished",
        "pruned",
        "diverged",
        "replaced",
        "epochs",
        "of",
        "training",
        f"best {found.arms[0].metrics[0]}",
        "recipe's own",
        "chosen, other seeds",
    )
    rows = []
    for arm in found.arms:
        again = arm.again(arm.winner)
        best = arm.best_so_far()
        rows.append(
            (
                arm.variant,
                arm.trained,
                str(arm.finished()),
                str(arm.count("pruned")),
                str(arm.count("diverged")),
                str(arm.count("failed")),
                f"{sum(t.epochs for t in arm.trainings):,}",
                f"{sum(t.most for t in arm.trainings):,}",
                duration(sum(t.seconds for t in arm.trainings)),
                write(best[-1][1]) if best else MISSING,
                given(arm, write),
                f"{write(sum(again) / len(again))} ({len(again)})" if again else MISSING,
            )
        )
    paths = list(dict.fromkeys(path for arm in found.arms for path in arm.ranges))
    chosen = [
        (
            path,
            *(
                f"{shown(arm.chosen[path])} (given {shown(arm.given.get(path, MISSING))})" if path in arm.chosen else ""
                for arm in found.arms
            ),
        )
        for path in paths
    ]
    tables = (
        Table(
            head,
            tuple(rows),
            "Budget and outcome, on the validation split. Replaced: crashed trainings; epochs: "
            "run, of at most so many. Recipe's own: its values, moved into the ranges where they lie outside; they "
            "are suggested first.",
            (False, False, *[True] * 10),
        ),
        Table(
            ("setting", *(arm.variant for arm in found.arms)),
            tuple(chosen),
            "Chosen values, which the runs above were trained with.",
            (False, *[True] * len(found.arms)),
        ),
    )
    drawn = expected_figure(found.arms[: svg.COLOURS])
    figures = (Figure(drawn, caption="Expected best value against budget. " + DODGE),) if drawn else ()
    return Section("Search", tuple(words(found)), tables, figures)


DODGE = (
    "Each line: the expected best of n suggestions drawn from those that were made [Dodge et al., 2019], a pruned "
    "one with its last value, a diverged one with the worst. A line that still falls at its end says that more "
    "suggestions would have found better ones. The samplers learn as they go, so the figure describes the "
    "suggestions that were made, not a random search."
)


def words(found: Searches) -> list[str]:
    """How it was searched, whether the budgets are equal, what was saved, and whether it was enough."""
    declared = found.declared
    each = "Every variant had a search of its own" if declared["scope"] == "each_variant" else "There was one search"
    again = (
        f"The best {declared['top']} were then trained again with {count(declared['reruns'], 'fresh seed')} each, "
        "and the best mean of those, not the value that made a suggestion look good, named the winner."
        if declared["reruns"]
        else "The best value named the winner."
    )
    told = [
        f"{each}: {count(declared['trials'], 'suggestion')} by {SAMPLERS[declared['sampler']]}, at most "
        f"{declared['concurrency']} at a time, judged by {' and '.join(declared['metrics'])} on the validation "
        f"split; the test split was sealed until every winner was known. {again} The seeds of the search "
        f"({declared['seed']} and after) are not those of the runs above."
    ]
    budgets = {arm.variant: arm.finished() for arm in found.arms}
    if len(found.arms) > 1:
        equal = len(set(budgets.values())) == 1
        told.append(
            f"All {len(budgets)} arms have {count(next(iter(budgets.values())), 'finished suggestion')}."
            if equal
            else "The arms have unequal budgets: " + listing([f"{name} {many}" for name, many in budgets.items()]) + "."
        )
    stopped = sum(arm.count("pruned") for arm in found.arms)
    if stopped:
        run = sum(t.epochs for arm in found.arms for t in arm.trials if t.state == "pruned")
        most = sum(t.most for arm in found.arms for t in arm.trials if t.state == "pruned")
        total = sum(t.epochs for arm in found.arms for t in arm.trials)
        told.append(
            f"Halving ended {count(stopped, 'training')} early, after {run:,} of at most {most:,} epochs: "
            f"{most - run:,} epochs saved, beside {total:,} run."
        )
    told += [sentence for arm in found.arms if (sentence := enough(arm))]
    return told


def enough(arm: Arm) -> str:
    """What the second half of the budget was worth, as a sentence; empty with too few suggestions."""
    values = searches.scores(arm)
    if len(values) < 4:
        return ""
    means, _ = searches.expected_best(values)
    half, whole = means[len(values) // 2 - 1], means[-1]
    spread = float(np.std(values)) or 1.0
    return (
        f"{arm.variant}: half the budget would be expected to reach {number(arm.sign() * half, 4)}, all of it "
        f"{number(arm.sign() * whole, 4)}: the second half was worth {number(half - whole, 4)}, "
        f"{number((half - whole) / spread, 2)} of the suggestions' standard deviation."
    )


def given(arm: Arm, write: Callable[[float], str]) -> str:
    """What the recipe's own values (moved into the ranges) reached, where they were tried."""
    for training in arm.trials:
        if training.state == "complete" and arm.points and dict(training.departures) == dict(arm.points[0]):
            return write(training.values[0])
    return MISSING


# ---- one arm


def arm_section(found: Searches, arm: Arm) -> Section:
    """Best suggestions with their reruns, importance, expected best against budget, the whole history."""
    write = value_writer([arm])
    names = short(list(arm.ranges))
    by_trial = {t.trial: t for t in arm.trials}
    best = []
    for rank, trial in enumerate(arm.candidates, start=1):
        again, training = arm.again(trial), by_trial[trial]
        mark = f"{rank} (chosen)" if trial == arm.winner else str(rank)
        best.append(
            (
                mark,
                str(trial),
                write(training.values[0]),
                mean_se(again, write),
                *(shown(training.departures.get(p, MISSING)) for p in arm.ranges),
            )
        )
    tables = [
        Table(
            ("rank", "trial", arm.metrics[0], "other seeds", *names.values()),
            tuple(best),
            "The best suggestions, and their mean ± standard error over other seeds.",
            (False, *[True] * (3 + len(names))),
        )
    ]
    shares = searches.importance(arm, np.random.default_rng(0))
    if shares:
        tables.append(
            Table(
                ("setting", "share of variance", "95 % interval"),
                tuple(
                    (path, f"{100 * middle:.0f} %", f"{100 * low:.0f} to {100 * high:.0f} %")
                    for path, (middle, low, high) in shares.items()
                ),
                "What mattered: functional ANOVA, main effects over the whole space; the interval is over resampled "
                f"suggestions, {arm.count('complete')} of them.",
                (False, True, True),
            )
        )
    values = searches.scores(arm)
    means, deviations = searches.expected_best(values)
    budgets = sorted({1, max(1, len(values) // 4), max(1, len(values) // 2), len(values)}) if values else []
    tables.append(
        Table(
            ("suggestions", "expected best", "± SD"),
            tuple((str(n), write(arm.sign() * means[n - 1]), write(deviations[n - 1])) for n in budgets),
            "Expected best value against budget.",
            (True, True, True),
        )
    )
    if len(arm.metrics) == 2:
        ahead = searches.front(arm)
        tables.append(
            Table(
                ("trial", *arm.metrics, *names.values()),
                tuple(
                    (
                        str(n),
                        *(number(v, 4) for v in by_trial[n].values),
                        *(shown(by_trial[n].departures.get(p, MISSING)) for p in arm.ranges),
                    )
                    for n in ahead
                ),
                "The Pareto front: no suggestion is better in both metrics.",
                (True,) * (3 + len(names)),
            )
        )
    tables.append(
        Table(
            ("trial", "seed", "ended", *arm.metrics, "epochs", "s", *names.values()),
            tuple(
                (
                    str(t.trial),
                    "" if t.rerun is None else str(t.rerun),
                    t.state,
                    *(number(v, 4) if math.isfinite(v) else MISSING for v in t.values),
                    f"{t.epochs}/{t.most}",
                    f"{t.seconds:.0f}",
                    *(shown(t.departures.get(p, MISSING)) for p in arm.ranges),
                )
                for t in arm.trainings
            ),
            "Every training; a seed marks one made again.",
            (True, True, False, *[True] * (2 + len(arm.metrics) + len(names))),
        )
    )
    figures = [
        Figure(
            history_figure(arm),
            caption="Every suggestion in order. Filled: trained to its end. Ring: "
            "pruned, at its last value. The line: best so far.",
        ),
        Figure(
            parallel_figure(arm, names),
            caption="Parallel coordinates: one line a suggestion; coloured: the "
            "best, the chosen one thick; each axis is the range that was searched.",
        ),
    ]
    if shares:
        figures.append(Figure(importance_figure(shares, names), caption="Importance with its 95 % interval."))
    drawn = expected_figure([arm], band=True)
    if drawn:
        figures.append(Figure(drawn, caption="Expected best value against budget, ± one standard deviation."))
    told = [
        f"Search {arm.key[:12]} of {arm.trained}, kept in {arm.directory}. To look at it in Optuna's dashboard: "
        f"optuna-dashboard <store>/{arm.directory}/journal.log"
    ]
    if not shares:
        told.append(
            f"With {count(arm.count('complete'), 'suggestion')} trained to the end, importance is not "
            f"computed (it takes {searches.LEAST})."
        )
    return Section(f"Search: {arm.variant}", tuple(told), tuple(tables), tuple(f for f in figures if f.svg))


# ---- figures


def history_figure(arm: Arm) -> str:
    """Value against suggestion, with the best so far; empty without a value."""
    points = [
        (t, t.values[0] if not math.isnan(t.values[0]) else t.reported[-1] if t.reported else math.nan)
        for t in arm.trials
    ]
    points = [(t, value) for t, value in points if math.isfinite(value)]
    if not points:
        return ""
    low, high = svg.padded([value for _, value in points])
    left, right, top, bottom = 64.0, 720.0, 12.0, 232.0
    last = max(t.trial for t in arm.trials)
    x, y = svg.linear(0, max(1, last), left + 8, right - 8), svg.linear(low, high, bottom, top)
    parts = svg.y_axis(y, svg.ticks(low, high), left, right)
    parts += svg.x_axis(x, [t for t in svg.ticks(0, max(1, last), 8) if t == round(t)], top, bottom, "suggestion")
    line: list[tuple[float, float]] = []
    for trial, value in arm.best_so_far():
        if line:
            line.append((x(trial), line[-1][1]))
        line.append((x(trial), y(value)))
    if line:
        line.append((x(last), line[-1][1]))
        parts.append(svg.polyline(line, "series s0", "best so far"))
    for t, value in points:
        title = f"trial {t.trial}, {t.state}: {number(value, 4)}"
        kind = "run" if t.state == "complete" else "dot s7"
        parts.append(svg.circle(x(t.trial), y(value), 4 if t.trial != arm.winner else 6.5, kind, title))
    return svg.drawing(WIDTH, bottom + 42, parts, f"History of the search of {arm.variant}: {arm.metrics[0]}")


def parallel_figure(arm: Arm, names: Mapping[str, str]) -> str:
    """One vertical axis a setting and one for the value; empty with nothing to draw."""
    rows = [t for t in arm.trials if t.state == "complete" and all(p in t.departures for p in arm.ranges)]
    if not rows:
        return ""
    values = [t.values[0] for t in rows]
    low, high = min(values), max(values)
    axes = [*arm.ranges, ""]
    top, bottom = 34.0, 250.0
    place = svg.linear(0, max(1, len(axes) - 1), 60, WIDTH - 70)
    y = svg.linear(0, 1, bottom, top)
    parts = []
    for index, path in enumerate(axes):
        parts.append(svg.line(place(index), top, place(index), bottom, "grid"))
        parts.append(svg.text(place(index), 16, svg.shortened(names.get(path, arm.metrics[0]), 18), "label", "middle"))
        ends = (number(low, 4), number(high, 4)) if not path else extent(arm.ranges[path])
        parts.append(svg.text(place(index), bottom + 15, ends[0], "tick", "middle"))
        parts.append(svg.text(place(index), top - 5, ends[1], "tick", "middle"))
    ahead = set(arm.candidates)
    for t in sorted(rows, key=lambda t: (t.trial == arm.winner, t.trial in ahead)):
        line = [(place(i), y(searches.unit(t.departures[p], arm.ranges[p]))) for i, p in enumerate(arm.ranges)]
        line.append((place(len(axes) - 1), y((t.values[0] - low) / ((high - low) or 1.0))))
        kind = "series s0" if t.trial == arm.winner else "series fine s1" if t.trial in ahead else "series fine faint"
        parts.append(svg.polyline(line, kind, f"trial {t.trial}: {number(t.values[0], 4)}"))
    return svg.drawing(WIDTH, bottom + 24, parts, f"Parallel coordinates of the search of {arm.variant}")


def importance_figure(shares: Mapping[str, tuple[float, float, float]], names: Mapping[str, str]) -> str:
    """A bar a setting, with its interval."""
    left, right = 170.0, 700.0
    x = svg.linear(0, 1, left, right)
    bottom = 14 + 26.0 * len(shares)
    parts = svg.x_axis(
        x, [0.0, 0.25, 0.5, 0.75, 1.0], 8, bottom, "share of variance", lambda value: f"{100 * value:.0f} %"
    )
    for row, (path, (middle, low, high)) in enumerate(shares.items()):
        y = 26.0 + 26 * row
        parts.append(svg.text(left - 10, y + 4, svg.shortened(names[path], 22), "name", "end"))
        parts.append(svg.line(x(low), y, x(min(1.0, high)), y, "whisker"))
        parts.append(svg.diamond(x(middle), y, 6, "clear", f"{path}: {100 * middle:.0f} %"))
    return svg.drawing(WIDTH, bottom + 42, parts, "Importance of the settings")


def expected_figure(arms: Sequence[Arm], band: bool = False) -> str:
    """Expected best against budget, a line an arm; empty with too few suggestions."""
    curves = [(arm, *searches.expected_best(values)) for arm in arms if len(values := searches.scores(arm)) >= 2]
    if not curves:
        return ""
    lines = [(arm, [arm.sign() * m for m in means], deviations) for arm, means, deviations in curves]
    reach = [
        m + side * d
        for _, means, deviations in lines
        for m, d in zip(means, deviations, strict=True)
        for side in ((-1, 1) if band else (0,))
    ]
    low, high = svg.padded(reach)
    left, right, top, bottom = 64.0, 560.0, 12.0, 222.0
    longest = max(len(means) for _, means, _ in lines)
    x, y = svg.linear(1, max(2, longest), left, right), svg.linear(low, high, bottom, top)
    parts = svg.y_axis(y, svg.ticks(low, high), left, right)
    parts += svg.x_axis(
        x,
        [t for t in svg.ticks(1, longest, 8) if t >= 1 and t == round(t)],
        top,
        bottom,
        "suggestions",
        lambda value: f"{value:.0f}",
    )
    for index, (arm, means, deviations) in enumerate(lines):
        if band:
            for side in (-1, 1):
                edge = [
                    (x(n), y(m + side * d)) for n, (m, d) in enumerate(zip(means, deviations, strict=True), start=1)
                ]
                parts.append(svg.polyline(edge, f"series fine dashed s{index}"))
        line = [(x(n), y(m)) for n, m in enumerate(means, start=1)]
        parts.append(svg.polyline(line, f"series s{index}", arm.variant))
        if not band:
            row = top + 20 * index + 10
            parts.append(svg.line(right + 16, row - 4, right + 40, row - 4, f"series s{index}"))
            parts.append(svg.text(right + 48, row, svg.shortened(arm.variant, 20), "name"))
    return svg.drawing(WIDTH, bottom + 42, parts, f"Expected best {arms[0].metrics[0]} against budget")


# ---- words


def value_writer(arms: Sequence[Arm]) -> Callable[[float], str]:
    """How values of the first metric are written: decimals that show their spread."""
    values = [t.values[0] for arm in arms for t in arm.trainings if math.isfinite(t.values[0])]
    return style(arms[0].metrics[0], arms[0].maximised[0], values).value


def mean_se(values: Sequence[float], write: Callable[[float], str]) -> str:
    """`0.6911 ± 0.0004 (2)`."""
    if not values:
        return MISSING
    mean = write(float(np.mean(values)))
    error = f" ± {write(float(np.std(values, ddof=1) / math.sqrt(len(values))))}" if len(values) > 1 else ""
    return f"{mean}{error} ({len(values)})"


def shown(value: Any) -> str:
    """A setting's value: three significant digits for a number with decimals."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def extent(described: Mapping[str, Any]) -> tuple[str, str]:
    """The ends of a range as text."""
    attributes = described["attributes"]
    ends = attributes.get("choices") or [attributes["low"], attributes["high"]]
    return shown(ends[0]), shown(ends[-1])


def short(paths: Sequence[str]) -> dict[str, str]:
    """Each path by its last word where that tells it from the others."""
    last = [path.rsplit(".", 1)[-1] for path in paths]
    return {path: word if last.count(word) == 1 else path for path, word in zip(paths, last, strict=True)}
