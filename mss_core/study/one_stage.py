"""mss stage KEY [--debug]: one stage of a store, run again in this process.

Its inputs are read from the store, its results go to a folder that is removed: nothing is written into the store. A
stage that failed is read from its log, one that is done from its manifest, and then its files are compared. Where the
stage reads a data set, its folder is said with --data, as to the study.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.data import packaged
from mss_core.data.sets import WeightSet
from mss_core.errors import Flags
from mss_core.folders import place
from mss_core.graph import HISTORY, Context, Stage, listing
from mss_core.store import Store, read_manifest
from mss_core.store.calls import failed, of_artefact, of_log, rebuilt
from mss_core.store.catalogue import artefacts
from mss_core.store.manifest import damaged_file
from mss_core.store.place import check_place
from mss_core.study import flags, left


def parser() -> Flags:
    """The command line."""
    out = Flags(prog="mss stage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("key", metavar="KEY", help="the start of a stage's key, of an artefact or of a failure's log")
    out.add_argument("--debug", action="store_true", help="stop in the debugger (pdb) where the stage raises")
    out.add_argument("--data", action="append", default=[], metavar="NAME=PATH", help="where a data set lies")
    out.add_argument("--store", default=os.environ.get("MSS_STORE", "store"), help="(default: MSS_STORE or ./store)")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage; returns 0, 1 where it fails or leaves other files than the store has, and 2 for a mistake."""
    options = parser().parse_args(arguments)
    try:
        check_place(options.store)
        store = Store(place(options.store))
        if not store.root.is_dir():
            raise ValueError(f"{options.store} is no folder: name the store with --store")
        roots = flags.data_roots(options.data)
        call = find(store.root, options.key)
        stage = rebuilt(call)
        inputs = resolved(stage, store)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{stage.name} {stage.key[:12]}, {call['function']}; nothing is written into {store.root}")
    if call.get("error"):
        print(f"  it failed with {call['error']}")
    with tempfile.TemporaryDirectory(prefix="mss-stage-") as folder:
        return _run(stage, inputs, _context(stage, roots, Path(folder)), call.get("files"), options.debug)


def find(root: Path, start: str) -> dict[str, Any]:
    """The call of the artefact, or else of the failure, whose key starts so.

    Raises:
        ValueError: there is none, or more than one.
    """
    held = {each.key: (each.stage, each.manifest) for each in artefacts(root) if each.key.startswith(start)}
    logs = {path.name.removesuffix(".log"): path for path in failed(root, start)}
    found = [*held, *(key for key in logs if key not in held)]
    if not found:
        raise ValueError(
            f"no stage in {root} has a key that starts with {start!r}, done or failed; mss store list --keys shows them"
        )
    if len(found) > 1:
        names = [f"{held[key][0] if key in held else logs[key].parent.name} {key[:12]}" for key in found[:4]]
        raise ValueError(
            f"{len(found)} stages have keys that start with {start!r}: {', '.join(names)}; give more of it"
        )
    key = found[0]
    return of_artefact(held[key][1]) if key in held else of_log(logs[key])


def resolved(stage: Stage, store: Store) -> dict[str, Any]:
    """The arguments of a stage, its inputs as their folders.

    Raises:
        ValueError: an input is missing or damaged.
    """

    def of(value: Any) -> Any:
        if isinstance(value, Stage):
            folder = store.directory(value)
            manifest = read_manifest(folder)
            harm = "it is not there" if manifest is None else damaged_file(folder, manifest, {})
            if harm:
                raise ValueError(f"the input {value.name} {value.key[:12]} of {stage.name} cannot be read: {harm}")
            return folder
        return tuple(of(item) for item in value) if isinstance(value, tuple) else value

    return {name: of(value) for name, value in stage.arguments.items()}


def _context(stage: Stage, roots: Mapping[str, Path], out: Path) -> Context:
    from mss_core import runtime

    runtime.prepare_process()
    device = runtime.device()
    data = {name: path.absolute() for name, path in roots.items()}
    for value in stage.arguments.values():
        if isinstance(value, WeightSet) and value.name in packaged.PACKAGED:
            data[value.name] = packaged.root(value.name, data)

    def listen(row: Mapping[str, Any]) -> None:
        print("  " + ", ".join(f"{name} {value:.6g}" for name, value in row.items()), flush=True)

    return Context(device=device, device_name=runtime.device_name(device), data=data, out=out, listen=listen)


def _run(stage: Stage, inputs: Mapping[str, Any], ctx: Context, files: Mapping[str, Any] | None, debug: bool) -> int:
    assert ctx.out is not None
    try:
        with ctx.kernels():
            stage.function(**inputs, out=ctx.out, ctx=ctx)
        ends = frozenset({stage.key} if (ctx.out / "scores.csv").exists() else ())
        left.check(left.Asked(ends), stage, ctx.out)
    except Exception as error:
        traceback.print_exception(error)
        if debug:
            import pdb

            with contextlib.suppress(KeyboardInterrupt):
                pdb.post_mortem(error.__traceback__)
        else:
            print("add --debug to stop there in the debugger", file=sys.stderr)
        return 1
    made = {name: disk.checksum(ctx.out / name) for name in listing(ctx.out)}
    if files is None:
        print(f"it ran through and left {', '.join(made)}; whether a study takes that, its own command says")
        return 0
    kept = {name: facts["sha256"] for name, facts in files.items()}
    other = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name) and name != HISTORY)
    if other:
        print(f"not as in the store: {', '.join(other)}")
        return 1
    print(f"{len(made)} file{'s' if len(made) > 1 else ''}, as in the store")
    return 0
