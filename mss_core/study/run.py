"""The command line of every study: plan, execute, track, report.

``run(study)`` is all that a study file calls. The same command resumes: finished stages are skipped by content,
an interrupted one goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mss_core import disk
from mss_core.claim import Claim
from mss_core.errors import nearest
from mss_core.graph import Context, walk
from mss_core.store import Store
from mss_core.store.drivers import Driver
from mss_core.study import rehearse
from mss_core.study.execution.progress import BLOCKED, FAILED, RUNNING, WAITING, Board
from mss_core.study.execution.resources import taken_from
from mss_core.study.origin import command as typed
from mss_core.study.origin import environment, shown
from mss_core.study.plan import Binder, Plan, data_paths, make_plan
from mss_core.study.search import phase
from mss_core.study.search.declare import overlap
from mss_core.study.study import Study, Trial
from mss_core.study.tracking.content import of_plan

if TYPE_CHECKING:
    from mss_core.study.tracking.tracker import Tracker


def parser(study: Study) -> argparse.ArgumentParser:
    """The flags that every study has, and the only ones."""
    flags = argparse.ArgumentParser(description=study.question, allow_abbrev=False)
    flags.add_argument("--dry-run", action="store_true", help="show what would run, and run nothing")
    flags.add_argument("--json", action="store_true", help="with --dry-run: the plan as JSON")
    flags.add_argument(
        "--probe",
        type=float,
        nargs="?",
        const=15.0,
        default=0.0,
        metavar="SECONDS",
        help="with --dry-run: time one stage of each kind here, each for about so long (15)",
    )
    flags.add_argument("--cpus", type=int, metavar="N", help="with --dry-run: price for so many CPUs (this machine's)")
    flags.add_argument("--gpus", type=int, metavar="N", help="with --dry-run: price for so many GPUs (this machine's)")
    flags.add_argument("--smoke", action="store_true", help="everything at a size for minutes on a CPU")
    flags.add_argument(
        "--rehearse", action="store_true", help="everything as it is, on a little of your data: two steps, few items"
    )
    flags.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change the baseline recipe (dotted path; value as JSON or text)",
    )
    flags.add_argument("--seeds", type=int, metavar="N", help=f"replicates (default {len(study.seeds)})")
    flags.add_argument("--data", action="append", default=[], metavar="NAME=PATH", help="where a data set lies")
    flags.add_argument("--rehash", action="store_true", help="read every data file again to fingerprint its set")
    flags.add_argument(
        "--store",
        type=Path,
        default=Path(os.environ.get("MSS_STORE", "store")),
        help="where results live (default: MSS_STORE or ./store)",
    )
    flags.add_argument("--tracking-uri", metavar="URI", help="MLflow (default: an SQLite file in the store)")
    flags.add_argument("--search", metavar="SCOPE", help="search hyperparameters first (each_variant or baseline)")
    flags.add_argument("--resources", type=Path, metavar="FILE", help="what stages ask of this cluster (TOML)")
    flags.add_argument("--in-process", action="store_true", help="no Ray: one stage after another, same scores")
    return flags


def run(study: Study, arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says; exits with status 2 for a mistake in it and 1 where a stage failed."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser(study).parse_args(words)
    try:
        with contextlib.ExitStack() as held:
            held.enter_context(taken_from(options.resources))
            status = _run(study, options, words, held)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        status = 130
    sys.stdout.flush()
    if status:
        raise SystemExit(status)


def _run(study: Study, options: argparse.Namespace, words: Sequence[str], held: contextlib.ExitStack) -> int:
    begun = time.monotonic()
    study.check()
    if options.smoke and options.rehearse:
        raise ValueError("--smoke is on synthetic music, --rehearse on your own: choose one")
    small = options.smoke or options.rehearse
    if options.rehearse:
        study = rehearse.rehearsed(study)
    if small:
        study = study.at_smoke_size()
    settings = dict(_setting(text) for text in options.set)
    seeds = _seeds(study, options.seeds)
    given = dict(settings)
    from mss_core.study import ledger, results
    from reports.contract import to_json

    study = phase.wanted(study, options.search, small, settings, seeds)
    store = Store(options.store)
    binder = Binder(data_roots(options.data), store, lenient=options.dry_run, say=_say, rehash=options.rehash)
    if options.rehearse and not options.dry_run:
        rehearse.require_everything(study, settings, binder)
    trials = study.trials(seeds, small, settings, binder)
    _check_data(options.data, binder, study, trials)
    arms = phase.plan_arms(study, small, settings, binder, store) if study.search else {}
    title = (phase.tuned(study, arms, store) if arms else study).title(small, given)
    driver = None if options.dry_run else held.enter_context(_alone(title, store))
    surroundings = environment(walk(trial.root for trial in trials).values())
    if driver is not None:
        declaration = to_json(study.declaration(seeds, small, settings))
        before = make_plan(trials, store, set_aside=False)
        ledger.record(store.root / "studies" / title, declaration, before, str(surroundings.get("commit") or ""))
    if arms:
        _say(phase.summary(arms, store))
        if driver is not None:
            phase.carry_out(arms, store, options.in_process, _context(binder, surroundings), _say)
        study = phase.tuned(study, arms, store)
        trials = study.trials(seeds, small, settings, binder)
    plan = make_plan(trials, store, set_aside=driver is not None)
    if driver is None:
        _print_plan(study, title, plan, binder, store, len(seeds), options)
        return 0
    _say(f"{title}: {study.question}")
    _say(_summary(plan))
    for key, reason in plan.damaged.items():
        _say(f"damaged, set aside and computed again: {plan.stages[key].name} {key[:12]} ({reason})")

    tracker = _tracker(options, store, title, driver.name)
    board = Board({key: plan.stages[key] for key in plan.needed}, store)
    command = typed(words)

    def gather() -> Path:
        folder = results.collect(
            study,
            title,
            plan,
            store,
            study.declaration(seeds, small, settings),
            small,
            board.errors,
            command,
            surroundings,
            driver.check,
        )
        if arms:
            phase.collect(folder, study, arms, store)
        return folder

    interrupted = True
    try:
        if tracker is not None:
            tracker.begin(of_plan(study, title, plan, surroundings))
        if plan.needed:
            _execute(plan, store, options.in_process, binder, surroundings, board)
        folder = gather()
        if all(store.manifest(trial.root) is None for trial in trials):
            if tracker is not None:
                tracker.finish(folder, board.errors)
            interrupted = False
            _say("no trial has scores, so there is no report")
            return _failures(board, command)
        import reports

        tables = reports.study_tables(folder)
        try:
            found = reports.read(tables)
        except ValueError as error:
            if not board.errors:
                raise
            _say(f"no report: {error}")
            interrupted = False
            return _failures(board, command)
        driver.check()
        written = reports.write(found, tables, folder)
        if tracker is not None:
            tracker.finish(folder, board.errors)
        interrupted = False
    finally:
        if tracker is not None:
            tracker.close(interrupted)
    print(reports.summary(found))
    _say("")
    _say(f"report   {shown(written['html'])}")
    _say(f"tables   {shown(folder)}")
    if tracker is not None:
        _say(f"MLflow   {tracker.how_to_open()}   (in a checkout: make ui STORE={shown(store.root)})")
    _say(f"{len(plan.needed)} stages executed, {len(plan.done)} found in the store, {time.monotonic() - begun:.0f} s")
    whole = True
    if options.rehearse:
        from reports.rehearsal import conclude

        whole = conclude(found, tables, rehearse.untried(study, bool(arms)), _say)
    return _failures(board, command) or int(not whole)


@contextlib.contextmanager
def _alone(title: str, store: Store) -> Iterator[Driver]:
    """This process as the one driver of a study on a store, its search included.

    Other studies may share the store; this one's tables have one writer.
    """
    try:
        disk.make_folder(store.root)
        claim = Claim(store.root / f".{title}.claim", seconds=store.claim_seconds)
        if not claim.acquire_or_refuse():
            holder = claim.holder()
            raise RuntimeError(
                f"process {holder.get('pid')} on {holder.get('host')} is running study {title!r} on "
                "this store; wait for it, or stop it and give the same command again"
            )
    except OSError as error:
        raise RuntimeError(
            f"the store {store.root} cannot be written to ({error.strerror or error}); name another with --store"
        ) from None
    driver = Driver(store.root, claim)
    try:
        driver.start()
        yield driver
    finally:
        driver.stop()
        claim.release()


def _execute(
    plan: Plan, store: Store, in_process: bool, binder: Binder, surroundings: dict[str, Any], board: Board
) -> None:
    ctx = _context(binder, surroundings)
    with board:
        if in_process:
            from mss_core.study.execution.in_process import execute
        else:
            try:
                from mss_core.study.execution.stages_on_ray import execute
            except ModuleNotFoundError as error:
                raise RuntimeError(f"{error.name} is not installed; add --in-process to run without Ray") from None
            _say("starting Ray")
        execute(plan, store, ctx, board)
        for key, state in board.state.items():
            if state in (WAITING, RUNNING):
                board.set(key, FAILED, "it was not executed")


def _context(binder: Binder, surroundings: dict[str, Any]) -> Context:
    from mss_core import runtime

    device = runtime.device()
    return Context(
        device=device,
        device_name=runtime.device_name(device),
        data={name: path.absolute() for name, path in binder.data.items()},
        environment=surroundings,
        checkpoint_seconds=float(os.environ.get("MSS_CHECKPOINT_SECONDS", "20")),
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
            raise
        raise RuntimeError(f"--tracking-uri {options.tracking_uri}: MLflow cannot use it ({error})") from None


def _failures(board: Board, command: str) -> int:
    failed = [key for key, state in board.state.items() if state == FAILED]
    if not failed:
        return 0
    blocked = sum(state == BLOCKED for state in board.state.values())
    _say(f"\n{len(failed)} stages failed, {blocked} more could not start:")
    for key in failed:
        _say(f"  {board.stages[key].name} {key[:12]}: {board.errors[key]}")
    _say(f"try again with the same command:  {command}")
    return 1


def _check_data(pairs: Sequence[str], binder: Binder, study: Study, trials: Sequence[Trial]) -> None:
    """A folder that is given and not read would let somebody take other music's results for their own."""
    for pair in pairs:
        name, _, path = pair.partition("=")
        if not Path(path).is_dir():
            raise ValueError(f"--data {pair}: {path} is not a folder")
        if name not in binder.used:
            read = ", ".join(sorted(binder.used))
            raise ValueError(
                f"--data {pair}: this study reads {read}, not {name!r}; {_how_to_read(name, binder, study, trials)}"
            )


def _how_to_read(name: str, binder: Binder, study: Study, trials: Sequence[Trial]) -> str:
    """The flags by which a study reads a data set, without paths that a factor varies; else the nearest name it has."""
    varied = tuple(path for factor in study.factors for changes in factor.levels.values() for path in changes)
    paths = dict.fromkeys(
        path
        for trial in trials
        for path in data_paths(trial.recipe, name)
        if not any(overlap(path, each) for each in varied)
    )
    if not paths:
        return nearest(name, binder.used)
    return "choose it with " + " or ".join(f"--set {path}={name}" for path in paths)


def data_roots(pairs: Sequence[str]) -> dict[str, Path]:
    """Folders of data sets by name: ``NAME=PATH`` pairs, and the subfolders of MSS_DATA for names not given.

    Raises ValueError for a pair that is none.
    """
    roots = {}
    everything = os.environ.get("MSS_DATA")
    if everything:
        base = Path(everything)
        if not base.is_dir():
            raise ValueError(f"MSS_DATA={everything} is not a folder; it should hold one folder per data set")
        roots = {path.name: path for path in sorted(base.iterdir()) if path.is_dir()}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not name or not path:
            raise ValueError(f"--data takes NAME=PATH, not {pair!r}")
        roots[name] = Path(path)
    return roots


def _setting(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ValueError(f"--set takes PATH=VALUE, not {text!r}")
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError:
        parsed = {"None": None, "True": True, "False": False}.get(value, value)
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise ValueError(f"--set {text}: {value} is not a number to compute with")
    return path, tuple(parsed) if isinstance(parsed, list) else parsed


def _seeds(study: Study, count: int | None) -> list[int]:
    if count is None:
        return list(study.seeds)
    if count < 1:
        raise ValueError(f"--seeds takes a number of replicates of at least 1, not {count}")
    first = list(study.seeds)[:count]
    return first + [max(first) + 1 + extra for extra in range(count - len(first))]


def _summary(plan: Plan) -> str:
    calls = sum(row["calls"] for row in plan.counts().values())
    return (
        f"{len(plan.trials)} trials, {calls} stage calls, {len(plan.stages)} distinct: {len(plan.done)} in the "
        f"store, {len(plan.needed)} to run"
    )


def _print_plan(
    study: Study, title: str, plan: Plan, binder: Binder, store: Store, seeds: int, options: argparse.Namespace
) -> None:
    from mss_core.study.dry_run import show
    from mss_core.study.dry_run.cost import here
    from mss_core.study.dry_run.power import reach
    from reports import design

    cpus, gpus = (
        given if given is not None else found for given, found in zip((options.cpus, options.gpus), here(), strict=True)
    )
    probed = (
        show.measure(plan, store, _context(binder, {}), options.probe, binder.absent, _say) if (options.probe) else []
    )
    if probed:
        plan = make_plan(plan.trials, store, set_aside=False)  # data sets that the probe prepared are there now
    cost = show.quote(plan, store, cpus, gpus, not options.in_process, probed)
    found = reach(study, store, seeds, design)
    if options.json:
        print(json.dumps(show.as_json(title, plan, binder.absent, cost, found, study.test), indent=1))
    else:
        print(show.as_text(title, _summary(plan), plan, binder.absent, cost, found, study))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
