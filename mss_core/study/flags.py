"""The command line of a study: its flags, and what is refused of them before anything is looked at."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mss_core.errors import Flags
from mss_core.folders import place
from mss_core.store.place import check_place
from mss_core.study import variables
from mss_core.study.study import Study
from mss_core.study.until import Until, extended

ONLY_DRY = ("json", "probe", "cpus", "gpus", "why", "diff")
"""Flags that say something to a dry run alone."""


MOST_SEEDS = 10_000
"""Replicates beyond which a number is taken for a mistake."""


def parser(study: Study) -> Flags:
    """The flags that every study has, and the only ones."""
    flags = Flags(description=study.question, allow_abbrev=False)
    flags.add_argument("--dry-run", action="store_true", help="show what would run, and run nothing")
    flags.add_argument("--json", action="store_true", help="with --dry-run: the plan as JSON")
    flags.add_argument("--why", action="store_true", help="with --dry-run: why each stage would run, in one line")
    flags.add_argument(
        "--diff", action="store_true", help="with --dry-run: how source has changed since artefacts were made"
    )
    flags.add_argument(
        "--probe",
        type=float,
        nargs="?",
        const=15.0,
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
    flags.add_argument(
        "--factor",
        action="append",
        default=[],
        metavar="NAME=LEVEL:PATH=VALUE,...",
        help="add a level to a factor of the study, or to a new one; declared as if the file had it",
    )
    flags.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="VARIANT",
        help="run these variants and what they are compared with; the others stay declared",
    )
    flags.add_argument("--seeds", type=int, metavar="N", help="how many replicates (default: as the study says)")
    flags.add_argument("--until", metavar="decided", help="train seeds until every contrast is decided")
    flags.add_argument("--at-most", type=int, metavar="N", help="with --until decided: the most seeds per variant")
    flags.add_argument(
        "--speculate",
        action="store_true",
        help="of a study that looks at its results: let seeds of the next look run where the cluster would be idle",
    )
    flags.add_argument("--data", action="append", default=[], metavar="NAME=PATH", help="where a data set lies")
    flags.add_argument("--rehash", action="store_true", help="read every data file again to fingerprint its set")
    flags.add_argument("--strict", action="store_true", help="refuse artefacts that other source made")
    flags.add_argument(
        "--store",
        default=os.environ.get("MSS_STORE", "store"),
        help="where results live (default: MSS_STORE or ./store)",
    )
    flags.add_argument("--tracking-uri", metavar="URI", help="MLflow (default: an SQLite file in the store)")
    flags.add_argument("--search", metavar="SCOPE", help="search hyperparameters first (each_variant or baseline)")
    flags.add_argument("--resources", type=place, metavar="FILE", help="what stages ask of this cluster (TOML)")
    flags.add_argument("--nodes", type=int, metavar="N", help="wait for so many machines (MSS_NODES, the cluster file)")
    flags.add_argument("--nodes-seconds", type=float, metavar="S", help="and for so long (MSS_NODES_SECONDS, 600)")
    flags.add_argument("--lines", action="store_true", help="show progress line by line, as in a log file")
    flags.add_argument(
        "--free-kernels", action="store_true", help="on a GPU: faster, but not the same bytes again; manifests say so"
    )
    flags.add_argument("--in-process", action="store_true", help="no Ray: one stage after another, same scores")
    return flags


def check(options: argparse.Namespace) -> None:
    """Raise ValueError for flags that contradict each other, and for values that none of them can have."""
    if options.smoke and options.rehearse:
        raise ValueError("--smoke is on synthetic music, --rehearse on your own: choose one")
    if options.speculate and options.in_process:
        raise ValueError("--speculate is for a cluster: in one process nothing is idle while a look's trials run")
    for name in ONLY_DRY:
        if getattr(options, name) is not None and getattr(options, name) is not False and not options.dry_run:
            raise ValueError(f"--{name} is for a plan alone: add --dry-run")
    if options.cpus is not None and options.cpus < 1:
        raise ValueError(f"--cpus takes a number of CPUs of at least 1, not {options.cpus}")
    if options.gpus is not None and options.gpus < 0:
        raise ValueError(f"--gpus takes a number of GPUs of at least 0, not {options.gpus}")
    if options.probe is not None and not 0 < options.probe < math.inf:
        raise ValueError(f"--probe takes a number of seconds above 0, not {options.probe:g}")
    if options.tracking_uri is not None and not options.tracking_uri.strip():
        raise ValueError("--tracking-uri names no server: it is empty")
    check_place(options.store, objects=True)
    if options.nodes is not None and options.nodes < 1:
        raise ValueError(f"--nodes takes a number of machines of at least 1, not {options.nodes}")
    if options.nodes_seconds is not None and not 0 <= options.nodes_seconds < math.inf:
        raise ValueError(f"--nodes-seconds takes a number of seconds of at least 0, not {options.nodes_seconds:g}")
    for name in ("nodes", "nodes_seconds"):
        if getattr(options, name) is not None and options.in_process:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} is for a cluster: with --in-process a study waits for no machine")
    variables.check()


def data_roots(pairs: Sequence[str]) -> dict[str, Path]:
    """Folders of data sets by name: ``NAME=PATH`` pairs, and the subfolders of MSS_DATA for names not given.

    Raises ValueError for a pair that is none.
    """
    roots = {}
    everything = os.environ.get("MSS_DATA")
    if everything:
        base = place(everything)
        if not base.is_dir():
            raise ValueError(f"MSS_DATA={everything} is not a folder; it should hold one folder per data set")
        roots = {path.name: path for path in sorted(base.iterdir()) if path.is_dir()}
    told: dict[str, str] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not name or not path:
            raise ValueError(f"--data takes NAME=PATH, not {pair!r}")
        if told.setdefault(name, path) != path:
            raise ValueError(f"--data names {name!r} twice: {told[name]} and {path}")
        roots[name] = place(path)
    return roots


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """The values of ``--set`` by path. Raises ValueError for a pair that is none, and for a path that is set twice."""
    found: dict[str, Any] = {}
    for text in pairs:
        path, value = setting(text)
        if path in found:
            raise ValueError(f"--set {path} is given twice: {found[path]!r} and {value!r}")
        found[path] = value
    return found


def setting(text: str, flag: str = "--set", whole: str = "") -> tuple[str, Any]:
    """Path and value of one ``PATH=VALUE``, which may be a part of the ``whole`` that stands behind a flag."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ValueError(
            f"{flag} {whole}: {text!r} is no PATH=VALUE" if whole else f"{flag} takes PATH=VALUE, not {text!r}"
        )
    try:
        parsed = json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        parsed = {"None": None, "True": True, "False": False}.get(value, value)
    if any(isinstance(part, float) and not math.isfinite(part) for part in _parts(parsed)):
        raise ValueError(f"{flag} {whole or text}: {value} is not a number to compute with")
    return path, tuple(parsed) if isinstance(parsed, list) else parsed


def _parts(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [part for item in value for part in _parts(item)]
    return [part for item in value.values() for part in _parts(item)] if isinstance(value, dict) else [value]


USUAL_LOOKS = (3, 4, 6, 8, 12, 16, 24, 32)
"""Of a study that declares a fixed number of seeds and is asked to stop when it knows."""


def with_seeds(study: Study, count: int | None, until: str | None, at_most: int | None) -> Study:
    """The study with the seeds that ``--seeds``, or ``--until`` and ``--at-most``, ask for; more where it has fewer.

    Raises:
        ValueError: they do not fit together.
    """
    declared = study.seeds if isinstance(study.seeds, Until) else None
    if until not in (None, "decided"):
        raise ValueError(f"--until {until}: the one thing to wait for is 'decided'")
    if count is not None:
        if until or at_most is not None:
            raise ValueError("--seeds fixes the number of seeds, --until lets the results decide: give one of them")
        if count < 1:
            raise ValueError(f"--seeds takes a number of replicates of at least 1, not {count}")
        if count > MOST_SEEDS:
            raise ValueError(f"--seeds takes a number of replicates of at most {MOST_SEEDS}, not {count}")
        return replace(study, seeds=extended(study.seeds, count))
    if at_most is None:
        if until and declared is None:
            raise ValueError("--until decided needs the most seeds a variant may take, e.g. --at-most 12")
        return study
    if not (until or declared):
        raise ValueError("--at-most belongs to --until decided; --seeds fixes the number of seeds")
    if at_most < 3:
        raise ValueError(f"--at-most takes at least 3 seeds, not {at_most}")
    base = declared or Until(USUAL_LOOKS, first=tuple(study.seeds))
    return replace(study, seeds=replace(base, looks=(*(n for n in base.looks if n < at_most), at_most)))
