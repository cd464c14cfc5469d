"""Evaluates folders of separated stems: python -m mss_core.metrics REFERENCES ESTIMATES.

Each folder that holds stems (.wav, .flac, .ogg, .mp3) below REFERENCES is a track, its path the track's
name; the same path below ESTIMATES holds the estimates, under the references' file names (mixture is
left out):

    REFERENCES/test/Song/{mixture,vocals,drums,bass,other}.wav
    ESTIMATES/test/Song/{vocals,drums,bass,other}.wav

Estimates named Song_(Vocals)_model.wav (audio-separator) or model/Song/vocals.wav (Demucs) are found
too; for any other names there is --pattern.

ESTIMATES/{method}/{seed} stands for all folders like it: each is evaluated, and the scores of all go to one
table, methods.csv above them, that mss report reads. {seed} may be missing: then every method has one run.

Writes OUTPUT/<track>.json, which museval reads, and OUTPUT/scores.csv: one row per track, target and
metric, then one row per target and metric over all tracks (its track is empty). A track whose files
and settings are unchanged since its JSON was written is not evaluated again.
"""

import argparse
import hashlib
import json
import math
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from mss_core import audio
from mss_core.folders import place
from mss_core.metrics import aggregate, museval_io
from mss_core.metrics.bss_eval import BssEval, bss_eval, validate
from mss_core.metrics.runs import has_names, home, runs
from mss_core.metrics.stems import PATTERNS, Estimates, references, tracks
from mss_core.metrics.tracks import parallel
from reports.contract.flags import Flags
from reports.contract.tables import guarded_table, unguarded

Files = dict[str, Path]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0, 1 where a track failed, 2 for a mistake in the command."""
    given = _parser().parse_args(arguments)
    try:
        return _several(given) if has_names(given.estimates) else _evaluate(given)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _several(given: argparse.Namespace) -> int:
    """Evaluates the folders that a pattern stands for, into one table."""
    if given.label:
        raise ValueError(f"--label {given.label}: the methods are called by {{method}} in {given.estimates}")
    base, status = home(given.estimates), 0
    table = given.table or (given.output or base) / "methods.csv"
    for run in runs(given.estimates):
        print(f"\n{run.method}, run {run.seed}: {run.folder}")
        output = given.output / run.folder.relative_to(base) if given.output else None
        own = {"estimates": run.folder, "output": output, "table": table, "label": run.method, "seed": run.seed}
        status = max(status, _evaluate(argparse.Namespace(**{**vars(given), **own})))
    return status


def _evaluate(given: argparse.Namespace) -> int:
    output = given.output or given.estimates
    names = tracks(given.references)
    found = Estimates(given.estimates, names, given.pattern)
    files: dict[str, tuple[Files, Files]] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            known = references(given.references / name)
            files[name] = known, found.of(name, list(known))
        except ValueError as error:
            failed[name] = str(error)
    reports = {name: _finished(output, name, _state(given, *files[name])) for name in files}
    reports = {name: report for name, report in reports.items() if report is not None}
    todo = [name for name in files if name not in reports]
    print(f"{len(names)} tracks: {len(reports)} already evaluated, {len(todo)} to do")
    for name, result in parallel(lambda n: _track(given, output, n, *files[n]), todo, given.jobs, "tracks"):
        if isinstance(result, Exception):
            failed[name] = str(result)
        else:
            reports[name] = result
    _summary(output, [n for n in names if n in reports], reports, given)
    for name, why in failed.items():
        print(f"failed: {name}: {why}", file=sys.stderr)
    return 1 if failed else 0


def load(files: Sequence[Path], length: int | None = None) -> tuple[torch.Tensor, int]:
    """Signals (source, time, channel) and their rate; each is cut or zero-padded to a ``length``, where one is given.

    Raises:
        ValueError: a file cannot be read, or rates, lengths or channels differ; the message names the file.
    """
    signals, rate = [], 0
    for path in files:
        audio.info(path)  # says what is wrong with a file
        # float32 holds up to 24 bits exactly, at half the memory.
        wide = path.suffix.lower() == ".wav" and soundfile.info(path).subtype in ("PCM_32", "DOUBLE")
        signal, its_rate = audio.read(path, "float64" if wide else "float32")
        rate = rate or its_rate
        if length is not None:
            signal = np.pad(signal[:length], ((0, max(0, length - len(signal))), (0, 0)))
        if its_rate != rate:
            raise ValueError(f"{path} has {its_rate} samples per second and {files[0]} {rate}; resample it")
        if signals and signal.shape != tuple(signals[0].shape):
            raise ValueError(f"{path} has (time, channel) {signal.shape} and {files[0]} {tuple(signals[0].shape)}")
        signals.append(torch.from_numpy(signal))
    wide = any(signal.dtype == torch.float64 for signal in signals)
    return torch.stack([s.double() if wide else s for s in signals]), rate


def _track(given: argparse.Namespace, output: Path, name: str, known: Files, made: Files) -> dict:
    """Evaluates one track and writes its JSON, which it returns."""
    targets = _targets(given, known, made)
    true, rate = load([known[target] for target in targets])
    estimates, estimate_rate = load([made[target] for target in targets], true.shape[1] if given.pad else None)
    try:
        validate(true, estimates, rate, estimate_rate=estimate_rate, pad=given.pad, track=name)
        scores = bss_eval(
            true, estimates, rate, given.window, given.hop,
            silent=given.silent, pad=given.pad, cache=given.cache, track=name,
        )  # fmt: skip
    except ValueError as error:
        text = str(error).replace("pad=True", "--pad").replace("silent='drop'", "--silent drop")
        raise ValueError(text + _which(text, targets, known, made)) from None
    report = museval_io.to_json(scores, targets) | {"mss_core": _state(given, known, made) | _notes(scores, targets)}
    museval_io.write(_path(output, name), report)
    return report


def _which(text: str, targets: list[str], known: Files, made: Files) -> str:
    """The file of an estimate or a reference that a message calls by its number."""
    found = re.search(r"(estimate|reference) (\d+)", text)
    if found is None:
        return ""
    target = targets[int(found[2])]
    return f" ({found[0]} is {(made if found[1] == 'estimate' else known)[target]})"


def _targets(given: argparse.Namespace, known: Files, made: Files) -> list[str]:
    """Names of the sources to evaluate, the same in references and estimates."""
    if given.targets:
        for target in given.targets:
            for folder, files in ((given.references, known), (given.estimates, made)):
                if target not in files:
                    raise ValueError(f"no {target} in {folder}, only {', '.join(files)}")
        return list(given.targets)
    if set(known) != set(made):
        odd = sorted(set(known) ^ set(made))
        raise ValueError(
            f"references and estimates differ in {', '.join(odd)}; the set of sources changes "
            "every score, so name those to evaluate with --targets (the estimates are "
            f"{', '.join(path.name for path in made.values())}; --pattern says how they are named)"
        )
    return list(known)


def _notes(scores: BssEval, targets: list[str]) -> dict:
    perfect = [target for target, frames in zip(targets, np.isposinf(scores.sdr), strict=True) if frames.any()]
    return {"dropped": scores.dropped, "ill_conditioned": scores.ill_conditioned, "perfect": perfect}


def _state(given: argparse.Namespace, *sides: Files) -> dict[str, str]:
    """What a result depends on, as a hash: settings, and names, sizes and times of the files."""
    what: list = [given.window, given.hop, given.silent, given.pad, given.targets]
    for files in sides:
        for stem, path in files.items():
            stat = path.stat()
            what.append((stem, path.suffix, stat.st_size, stat.st_mtime_ns))
    return {"inputs": hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()}


def _path(output: Path, name: str) -> Path:
    return output / ("track.json" if name == "." else f"{name}.json")


def _finished(output: Path, name: str, state: dict[str, str]) -> dict | None:
    """The report of an earlier run on the same files with the same settings."""
    try:
        report = json.loads(_path(output, name).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    same = isinstance(report, dict) and report.get("mss_core", {}).get("inputs")
    return report if same == state["inputs"] else None


def _summary(output: Path, names: list[str], reports: dict[str, dict], given: argparse.Namespace) -> None:
    """Writes scores.csv and prints the scores over all tracks."""
    if not names:
        return
    frames = [museval_io.read(_path(output, name)).assign(track=name) for name in names]
    by_track = aggregate.over_frames(pd.concat(frames), given.frames)
    overall = aggregate.over_tracks(by_track, given.tracks)
    flags = {name: reports[name]["mss_core"]["ill_conditioned"] for name in names}
    by_track["ill_conditioned"] = by_track["track"].map(flags)
    table = pd.concat([by_track, overall.drop(columns=["tracks", "undefined"])])
    partial = output / "scores.csv.part"
    guarded_table(table).to_csv(partial, index=False)
    partial.replace(output / "scores.csv")
    wide = overall.pivot(index="target", columns="metric", values="score")
    print(f"\n{overall['aggregation'].iloc[0]}, {len(names)} tracks, dB")
    print(wide[list(aggregate.METRICS)].to_string(float_format="%.2f"))
    dropped = {name: reports[name]["mss_core"]["dropped"] for name in names}
    if sum(dropped.values()):
        worst = max(dropped, key=dropped.__getitem__)
        print(
            f"{sum(dropped.values())} frames dropped because a source is silent in them, "
            f"{dropped[worst]} of them in {worst}"
        )
    if any(flags.values()):
        print("ill-conditioned (rounding may move ISR, SIR and SAR by more than 1e-6 dB):")
        print(*(f"  {name}" for name in names if flags[name]), sep="\n")
    for name in names:
        if perfect := reports[name]["mss_core"].get("perfect"):
            print(
                f"perfect: {name}: {', '.join(perfect)} (no error in some frames: their SDR is infinite and left out)"
            )
    print(f"written: {output / 'scores.csv'}")
    if given.table:
        _collect(given, by_track.drop(columns="ill_conditioned"))


def _collect(given: argparse.Namespace, by_track: pd.DataFrame) -> None:
    """Add the scores of tracks to a table of several methods, in which they take the place of older ones."""
    label, seed = given.label or given.estimates.resolve().name, getattr(given, "seed", 0)
    rows = pd.DataFrame({"method": label, "seed": seed, **by_track[["track", "target", "metric", "score"]]})
    table = given.table
    if table.is_file():
        older = pd.read_csv(table, dtype={"method": str, "track": str, "target": str}, keep_default_na=False)
        if list(older.columns) != list(rows.columns):
            raise ValueError(f"--table {table}: its columns are not {', '.join(rows.columns)}; name another file")
        names = ("method", "track", "target")
        older = older.assign(**{name: older[name].map(unguarded) for name in names})
        kept = (older["method"] != label) | (older["seed"] != seed)
        rows = pd.concat([older[kept].replace({"score": ""}, math.nan), rows])
    table.parent.mkdir(parents=True, exist_ok=True)
    guarded_table(rows).to_csv(table, index=False)
    methods = list(dict.fromkeys(rows["method"]))
    print(f"written: {table} ({', '.join(methods)})")
    if len(methods) > 1:
        once = "" if rows["seed"].nunique() > 1 else " --test item_means"
        print(
            f"compare: python -m reports {shlex.quote(str(table))} --factor method "
            f"--reference {shlex.quote(methods[0])} --metric SDR{once}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = Flags(
        prog="python -m mss_core.metrics", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("references", type=place, metavar="REFERENCES", help="true stems")
    parser.add_argument("estimates", type=place, metavar="ESTIMATES", help="separated stems")
    add = parser.add_argument
    add("--output", type=place, help="where JSON and CSV go (default: ESTIMATES)")
    add("--targets", nargs="+", help="sources to evaluate (default: all, which must agree)")
    add("--window", type=float, default=1.0, help="seconds (default: 1; inf: whole track)")
    add("--hop", type=float, default=1.0, help="seconds (default: 1)")
    choices = ("median", "mean")
    add("--frames", choices=choices, default="median", help="frames to track (default: median)")
    add("--tracks", choices=choices, default="median", help="tracks to set (default: median)")
    silent = "a source that is silent in the whole track: an error (default), or left out"
    add("--silent", choices=("raise", "drop"), default="raise", help=silent)
    add("--pad", action="store_true", help="cut or zero-pad estimates to the references' length")
    add("--cache", type=Path, help="folder that keeps the references' side between calls")
    add(
        "--pattern",
        default="",
        help=f"how estimates are named below ESTIMATES, without suffix, such as {PATTERNS[2]!r}",
    )
    add("--table", type=Path, help="add the tracks' scores to this CSV of several methods, for python -m reports")
    add("--label", help="name of the method in --table (default: the name of ESTIMATES)")
    add("--jobs", type=int, default=1, help="tracks at a time, one core each (default: 1)")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that goes away, as `| head` does, is no error
    sys.exit(main())
