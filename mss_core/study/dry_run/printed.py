"""What ``--dry-run`` prints."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from mss_core.graph import Context
from mss_core.store import Store
from mss_core.study import stale
from mss_core.study.binding import Binder
from mss_core.study.dry_run import show, why
from mss_core.study.dry_run.cost import here
from mss_core.study.dry_run.power import Reach, reach
from mss_core.study.plan import Plan, make_plan
from mss_core.study.study import Study
from mss_core.study.until import Until


def print_plan(
    study: Study,
    title: str,
    plan: Plan,
    binder: Binder,
    store: Store,
    seeds: int,
    options: argparse.Namespace,
    context: Context,
    hits: tuple[list[stale.Hit], int],
    design: Any,
    say: Callable[[str], None],
) -> None:
    """Print a plan as text, or as JSON, with what the flags ask for beside it; ``design`` judges what it can find."""
    cpus, gpus = (
        given if given is not None else found for given, found in zip((options.cpus, options.gpus), here(), strict=True)
    )
    probed = show.measure(plan, store, context, options.probe, binder.absent, say) if options.probe else []
    if probed:
        plan = make_plan(plan.trials, store, settle=False)  # data sets that the probe prepared are there now
    cost = show.quote(plan, store, cpus, gpus, not options.in_process, probed)
    found = reach(study, store, seeds, design)
    if options.json:
        told = show.as_json(title, plan, binder.absent, cost, found, study.test)
        told["source"] = stale.as_json(*hits)
        if options.why:
            told["why"] = why.as_json(plan, store, binder.data)
        print(json.dumps(told, indent=1))
        return
    print(show.as_text(title, plan.summary(), plan, binder.absent, cost, found, study))
    _block("  ", _looks(study, found, plan, cost.gpu_hours if gpus else cost.cpu_hours, design))
    _block("  ", stale.lines(*hits))
    if options.why:
        _block("", why.lines(plan, store, binder.data))
    if options.diff:
        _block("", list(stale.diff(hits[0])) or ["every artefact of this plan was made by the source of now"])


def _looks(study: Study, found: Reach, plan: Plan, hours: float, design: Any) -> list[str]:
    """What a study that stops when it knows is expected to take; its plan is the most it may take."""
    until = study.seeds
    if not isinstance(until, Until):
        return []
    blocks = list(Counter(r.name for name, r in study.references().items() if name != r.name).values())
    margin = study.margin / found.sd if study.margin and found.sd > 0 else None
    rows, least, floor = design.expected(
        blocks or [1], until.looks, found.level, until.spending, margin, study.test, found.spread, found.tracks
    )
    most = until.looks[-1]
    lines = [
        f"looks     after {', '.join(map(str, until.looks))} seeds ({until.spending}); the plan above is the worst "
        f"case, {len(plan.trials)} trials",
        f"          expected where every variant differs by so many seed SDs ({found.sd:.3g}, {found.basis}):",
    ]
    for row in rows:
        share = row.trials / len(plan.trials)
        price = f", {hours * share:.2f} hours" if hours else ""
        lines.append(
            f"          {row.effect:g} SD: {row.seeds:.1f} seeds per variant, {row.trials:.0f} trials "
            f"({100 * share:.0f} %{price}); {100 * row.power:.0f} % are found significant"
        )
    few = [
        f"          and below {floor:.2g} SD ({floor * found.sd:.3g}) with no number of seeds, because there are "
        f"{found.tracks} tracks: more tracks, not more seeds, are needed"
    ]
    return [
        *lines,
        f"          differences below {least:g} SD ({least * found.sd:.3g}) cannot be decided reliably with {most} "
        "seeds: less than 80 % are found",
        *(few if floor else []),
    ]


def _block(indent: str, lines: Sequence[str]) -> None:
    if lines:
        print("\n".join(["", *(indent + line for line in lines)]))
