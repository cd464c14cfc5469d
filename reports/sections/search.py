"""The search for hyperparameters: over all arms (`{"kind": "search"}`), and one arm in full (`"variant": name`)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from reports.document import Figure, Section, Table
from reports.drawing import search as draw
from reports.drawing import svg
from reports.drawing.search import shown
from reports.findings import Findings
from reports.inputs import searches
from reports.inputs.directory import Tables
from reports.inputs.searches import Arm, Searches
from reports.text import MISSING, count, duration, listing, number, style

OPTIONS = {"variant": "arm?"}

SAMPLERS = {"tpe": "TPE", "gp": "Gaussian process", "cma_es": "CMA-ES", "nsga2": "NSGA-II", "random": "random search"}


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
    drawn = draw.expected(found.arms[: svg.COLOURS])
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
    best = min(declared["top"], declared["trials"])
    again = (
        f"The best {best} were then trained again with {count(declared['reruns'], 'fresh seed')} each, "
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
                ("setting", "share of variance", "95 % of resamplings"),
                tuple(
                    (path, f"{100 * middle:.0f} %", f"{100 * low:.0f} to {100 * high:.0f} %")
                    for path, (middle, low, high) in shares.items()
                ),
                "What mattered: functional ANOVA, main effects over the whole space, from "
                f"{count(arm.count('complete'), 'suggestion')}. The range is over resampled suggestions and is no "
                "confidence interval: of simulated searches with 60 suggestions it held the true share in about 8 of "
                "10. The order of the settings is surer than their shares.",
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
            draw.history(arm),
            caption="Every suggestion in order. Filled: trained to its end. Ring: "
            "pruned, at its last value. The line: best so far.",
        ),
        Figure(
            draw.parallel(arm, names),
            caption="Parallel coordinates: one line per suggestion; coloured: the "
            "best, the chosen one thick; each axis is the range that was searched.",
        ),
    ]
    if shares:
        figures.append(
            Figure(draw.importance(shares, names), caption="Importance, and the middle 95 % of resamplings.")
        )
    drawn = draw.expected([arm], band=True)
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


def short(paths: Sequence[str]) -> dict[str, str]:
    """Each path by its last word where that tells it from the others."""
    last = [path.rsplit(".", 1)[-1] for path in paths]
    return {path: word if last.count(word) == 1 else path for path, word in zip(paths, last, strict=True)}
