"""The command line of every study: plan, execute, track, report.

``run(study)`` is all that a study file calls. The same command resumes: finished stages are skipped by content,
an interrupted one goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mss_core.energy import Part
from mss_core.folders import place
from mss_core.graph import Context, walk
from mss_core.store import Store
from mss_core.store.failures import no_room
from mss_core.store.remote.mirror import fetch
from mss_core.store.remote.opening import opened
from mss_core.study import codes, flags, interrupts, left, looks, rehearse, selection, stale, variables
from mss_core.study.binding import Binder, check_data
from mss_core.study.driving import alone
from mss_core.study.ending import MAKE_ROOM, failures, next_steps
from mss_core.study.origin import command as typed
from mss_core.study.origin import committed, environment, shown
from mss_core.study.plan import Plan, make_plan
from mss_core.study.progress import FAILED, RUNNING, WAITING, Board
from mss_core.study.resources import taken_from
from mss_core.study.search import phase
from mss_core.study.study import Study
from mss_core.study.until import Until
from mss_core.study.variables import seconds
from mss_core.study.view import of_plan

if TYPE_CHECKING:
    from mss_core.study.tracking.tracker import Tracker


def run(study: Study, arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says; exits with status 2 for a mistake in it and 1 where a stage
    failed, nothing was scored or a disk is full."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = flags.parser(study).parse_args(words)
    try:
        with contextlib.ExitStack() as held:
            held.enter_context(taken_from(options.resources))
            held.enter_context(
                variables.given({"MSS_NODES": options.nodes, "MSS_NODES_SECONDS": options.nodes_seconds})
            )
            held.enter_context(interrupts.raised())
            if options.dry_run and not options.probe:
                held.enter_context(_uncollected())
            status = _run(study, options, words, held)
    except BrokenPipeError:  # a reader that goes away, as `| head` does, is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
        if no_room(error, place(options.store)):
            print(MAKE_ROOM, file=sys.stderr)
            status = 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        status = 130
    sys.stdout.flush()
    if status:
        raise SystemExit(status)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No search for cycles of garbage: a plan has hundreds of thousands of values, and all stay until it is printed."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _run(study: Study, options: argparse.Namespace, words: Sequence[str], held: contextlib.ExitStack) -> int:
    begun = time.monotonic()
    flags.check(options)
    study.check()
    if options.factor:
        study = selection.with_factors(study, options.factor)
        study.check()
    small = options.smoke or options.rehearse
    if options.rehearse:
        study = rehearse.rehearsed(study)
    if small:
        study = study.at_smoke_size()
        selection.check_cut(study)
    settings = flags.settings(options.set)
    study = flags.with_seeds(study, options.seeds, options.until, options.at_most)
    if options.until or options.at_most:
        study.check()
    if options.speculate and not isinstance(study.seeds, Until):
        raise ValueError("--speculate belongs to a study that looks at its results: add --until decided")
    seeds = list(study.seeds)
    given = dict(settings)
    from mss_core.study import ledger, results
    from reports.contract import to_json

    study = phase.wanted(study, options.search, small, settings, looks.with_spares(study, seeds))
    named = selection.only(study, options.only)
    store = opened(options.store, probed=not options.dry_run)
    binder = Binder(
        flags.data_roots(options.data), store.root, lenient=options.dry_run, say=_say, rehash=options.rehash
    )
    if not options.dry_run and not options.smoke:
        study.trials(seeds[:1], small, settings, lambda recipe: recipe)  # mistakes in the command come first
        rehearse.require_everything(study, settings, binder, small, named)
    with _uncollected():
        trials = study.trials(looks.with_spares(study, seeds), small, settings, binder, named)
        others = selection.others(study, named, seeds, small, settings, binder)
    check_data(options.data, binder, study, trials)
    arms = phase.plan_arms(study, small, settings, binder, store) if study.search else {}
    title = (phase.tuned(study, arms, store) if arms else study).title(small, given)
    results_folder = store.root / "studies" / title
    fetch(store, title)
    looks.check(study, results_folder)
    gone = looks.replaced(results_folder)
    driver = None if options.dry_run else held.enter_context(alone(title, store, _say))
    surroundings = environment(walk(trial.root for trial in trials).values())
    verified = set[str]()
    if driver is not None:
        for told in (codes.submitted(surroundings), codes.record(store.root, surroundings, committed())):
            if told:
                _say(told)
        declaration = to_json(study.declaration(seeds, small, settings))
        before = make_plan([*trials, *others], store, settle=False)
        if options.strict:
            stale.refuse(stale.hits(before, store)[0])
        verified = before.done
        commit = str(surroundings.get("commit") or "")
        ledger.record(results_folder, declaration, before.scored(), commit, named or (), driver.check)
    if arms:
        _say(phase.summary(arms, store))
        if driver is not None:
            phase.carry_out(arms, store, options.in_process, _context(binder, surroundings, options), _say)
        study = phase.tuned(study, arms, store)
        trials = study.trials(looks.with_spares(study, seeds), small, settings, binder, named)
        others = selection.others(study, named, seeds, small, settings, binder)
        verified = set()  # a search may have taken days
    planned = looks.due(study, trials, gone, least=None if driver else len(seeds))
    plan = make_plan(planned, store, driver is not None, verified)
    gc.freeze()  # a search for garbage in a plan of 40,000 trials takes 0.5 s and more: nothing is started meanwhile
    held.callback(gc.unfreeze)
    if named:
        _say(selection.told(named, others))
    asked = left.asked(study, trials)
    left.check_found(asked, plan, store)
    hits, unrecorded = stale.hits(plan, store)
    stale.refuse_strangers(hits)
    if options.strict:
        stale.refuse(hits)
    if driver is None:
        from mss_core.study.dry_run.printed import print_plan
        from reports import design

        context = _context(binder, {}, options)
        print_plan(study, title, plan, binder, store, len(seeds), options, context, (hits, unrecorded), design, _say)
        return 0
    _say(f"{title}: {study.question}")
    _say(plan.summary())
    for line in stale.lines(hits, unrecorded):
        _say(line)
    for key, reason in plan.damaged.items():
        _say(f"damaged, set aside and computed again: {plan.stages[key].name} {key[:12]} ({reason})")

    tracker = _tracker(options, store, title, driver.name)
    board = _board(plan, store, options.lines)
    command = typed(words)

    def gather() -> Path:
        folder = results.collect(
            study,
            title,
            selection.with_others(study, plan, [*others, *(trial for trial in trials if trial.root.key in gone)]),
            store,
            study.declaration(seeds, small, settings),
            small,
            board.errors,
            command,
            surroundings,
            driver.check,
            gone,
            looks.left_over(results_folder, trials, plan, store),
        )
        if arms:
            results.collect_search(folder, study, arms, store)
        return folder

    interrupted, executed = True, set[str]()
    wanted: Mapping[str, int] = {}
    try:
        if tracker is not None:
            tracker.begin(of_plan(study, title, plan, surroundings))
        while True:
            if plan.needed:
                further = (
                    make_plan(looks.ahead(study, trials, plan, gone, wanted), store) if options.speculate else None
                )
                if further:
                    looks.record_ahead(results_folder, further, plan)
                given_to = _context(binder, surroundings, options, asked)
                _execute(plan, store, given_to, board, further, None if options.in_process else held)
            executed.update(plan.needed)
            gone = looks.replace_failed(study, results_folder, trials, plan, board.errors, store, _say)
            folder = gather()
            wanted = _decided(study, folder)
            more = looks.due(study, trials, gone, wanted)
            if {trial.name for trial in more} <= {trial.name for trial in plan.trials}:
                break
            plan = make_plan(more, store)
            board = _board(plan, store, options.lines)
            _say(f"next look: {plan.summary()}")
            if tracker is not None:
                tracker.show(of_plan(study, title, plan, surroundings))
        if all(store.manifest(trial.root) is None for trial in trials):
            if tracker is not None:
                tracker.finish(folder, board.errors)
            interrupted = False
            _say("no trial has scores, so there is no report")
            return failures(board, command, _say) or 1
        import reports

        tables = reports.study_tables(folder)
        try:
            found = reports.read(tables)
        except ValueError as error:
            _say(f"no report: {error}")
            interrupted = False
            return failures(board, command, _say) or 1
        driver.check()
        written = reports.write(found, tables, folder)
        if tracker is not None:
            tracker.finish(folder, board.errors)
        interrupted = False
    except OSError as error:
        if not no_room(error, place(options.store)) or FAILED not in board.state.values():
            raise
        _say(f"no report: {error}")
        return failures(board, command, _say, full=True)
    finally:
        if tracker is not None:
            tracker.close(interrupted)
        page = _index(store)
    print(reports.summary(found))
    _say("")
    _say(f"report   {shown(written['html'])}")
    _say(f"tables   {shown(folder)}")
    if page:
        _say(f"studies  {shown(page)}")
    if tracker is not None:
        _say(f"MLflow   {tracker.how_to_open()}   (in a checkout: make ui STORE={shown(store.root)})")
    for line in next_steps(study, words, options, written["html"]):
        _say(line)
    found_there = len(plan.stages.keys() - executed)
    _say(f"{len(executed)} stages executed, {found_there} found in the store, {time.monotonic() - begun:.0f} s")
    whole = True
    if options.rehearse:
        from reports.rehearsal import conclude

        whole = conclude(found, tables, rehearse.untried(study, trials, bool(arms)), _say)
    return failures(board, command, _say) or int(not whole)


def _index(store: Store) -> Path | None:
    """The page of the store, written anew; None where that failed, which is said and undoes nothing of the study."""
    import reports

    try:
        return reports.index(store.root)
    except (ValueError, OSError, ImportError) as error:
        _say(f"the page of the store was not written: {error}")
        return None


def _decided(study: Study, folder: Path) -> Mapping[str, int]:
    """Seeds per variant that the results so far ask for; looks that are decided are recorded in the folder."""
    if not isinstance(study.seeds, Until):
        return {}
    import reports
    from reports import sequential

    tables = reports.study_tables(folder)
    course = sequential.follow(tables.scores, tables.study, tables.predictions)
    looks.record(folder, tables.study.declared, course.looks, sequential.outcomes(course))
    for path in course.paths:
        if path.looks:
            _say(f"{path.variant} after {path.looks[-1].seeds} seeds: {path.decision or 'not decided'}")
    return course.wanted


def _board(plan: Plan, store: Store, lines: bool) -> Board:
    """The display of what a plan needs, with what stages like these took in the store, or elsewhere."""
    from mss_core.study.dry_run import reference, timings

    needed = {key: plan.stages[key] for key in plan.needed}
    measured = timings.timings(store, dict.fromkeys(stage.name for stage in needed.values()))
    found = timings.estimates(plan, measured, lambda stage: "cpu") if measured else {}
    usual = {key: found[key].seconds for key in needed if key in found and found[key].basis != "unknown"}
    expected = reference.expected(plan) if len(usual) < len(needed) else {}
    return Board(needed, store, usual=usual, lines=lines, expected=expected)


def _execute(
    plan: Plan, store: Store, ctx: Context, board: Board, ahead: Plan | None, held: contextlib.ExitStack | None
) -> None:
    """Run what a plan needs: here, or on a cluster, which stays for later looks until ``held`` ends."""
    with board:
        if held is None:
            from mss_core.study.execution import in_process as here

            here.execute(plan, store, ctx, board)
        else:
            try:
                from mss_core.study.execution.joining import connected
                from mss_core.study.execution.stages_on_ray import execute
            except ModuleNotFoundError as error:
                raise RuntimeError(f"{error.name} is not installed; add --in-process to run without Ray") from None
            held.enter_context(connected())
            execute(plan, store, ctx, board, ahead)
        for key, state in board.state.items():
            if state in (WAITING, RUNNING):
                board.set(key, FAILED, looks.NOT_RUN)


def _context(
    binder: Binder, surroundings: dict[str, Any], options: argparse.Namespace, asked: left.Asked | None = None
) -> Context:
    from mss_core import runtime

    device = runtime.device()
    return Context(
        device=device,
        device_name=runtime.device_name(device),
        data={name: path.absolute() for name, path in binder.data.items()},
        environment=surroundings,
        deterministic=not options.free_kernels,
        checkpoint_seconds=seconds("MSS_CHECKPOINT_SECONDS"),
        accept=functools.partial(left.check, asked or left.Asked()),
        part=Part(),
    )


def _tracker(options: argparse.Namespace, store: Store, title: str, driver: str) -> Tracker | None:
    try:
        from mss_core.study.tracking.tracker import Tracker
    except ModuleNotFoundError as error:
        if options.tracking_uri or not options.in_process:
            raise RuntimeError(f"{error.name} is not installed: MLflow tracking needs it") from None
        _say("mlflow is not installed: this run is not tracked")
        return None
    try:
        return Tracker(options.tracking_uri, store, title, driver, _say)
    except Exception as error:
        if not options.tracking_uri:
            first = (str(error).splitlines() or [""])[0]
            raise RuntimeError(f"MLflow cannot use its database in the store {store.root} ({first})") from None
        raise RuntimeError(f"--tracking-uri {options.tracking_uri}: MLflow cannot use it ({error})") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
