"""Build MS21 from raw multitracks: ``python -m mss_core.data.ms21_build RAW OUT --annotation TABLE [--split LIST]``.

RAW holds one folder per song, named as in the annotation, with tracks anywhere below. Of each song the tracks of one
instrument are summed, brought to -25 LUFS (pitched) or to a peak of -1 dB (percussive); the instruments of each of the
four stems likewise; the mixture is the sum of the stems. Nothing is equalised or compressed [Zhang, Sec. 3.1.4].
OUT/{train,valid,test}/<song>/ receives the mixture, the stems and the instruments as 32-bit float WAV (a sum of stems
may exceed full scale) and ``song.json``, which says what each was made of; the data set module ``ms21`` reads the rest.

``--instruments in-the-mix`` (default) writes an instrument as loud as it is in its stem, so that a parent is the sum of
its children; ``normalised`` leaves it at -25 LUFS or -1 dB, as the thesis' files were. A silent instrument or stem has
no file and is named. A built song is not built again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mss_core import audio
from mss_core.data.files import cores, facts
from mss_core.data.items import SPLITS
from mss_core.data.loaders import ms21
from mss_core.data.ms21_annotation import (
    PUBLISHED,
    SUFFIXES,
    Song,
    artist_split,
    guess_song,
    leaking_artists,
    read_annotation,
    statistics,
)
from mss_core.data.ms21_mix import BLEEDING, INSTRUMENTS, Built, Rules, mix
from mss_core.data.packing import in_order
from mss_core.disk import write_atomically
from mss_core.graph import digest

VERSION = 1


def build_song(song: Song, split: str, folder: Path, out: Path, rules: Rules) -> Built:
    """Build one song into ``out``; a song built before from the same files and rules is left as it is."""
    files = {path.name: path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES}
    target = out / split / song.name
    task = digest(
        [
            VERSION,
            vars(rules),
            song.tracks,
            song.bleeding,
            [[name, path.stat().st_size] for name, path in files.items()],
        ]
    )
    record = target / "song.json"
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        before = {}
    if before.get("task") == task:
        return Built(
            song.name,
            split,
            before["seconds"],
            before["stems"],
            before["left_out"],
            tuple(before["silent"]),
            again=True,
        )
    try:
        waveforms, built = mix(song, files, rules)
    except ValueError as error:
        return Built(song.name, split, error=str(error))
    target.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    for old in target.glob("*.wav"):
        old.unlink()
    for name, waveform in waveforms.items():
        audio.save_float(target / f"{name}.wav", waveform, rules.rate)
    built.split = split
    content = {
        "task": task,
        "song": song.name,
        "artist": song.artist,
        "split": split,
        "seconds": built.seconds,
        "stems": built.stems,
        "left_out": built.left_out,
        "silent": list(built.silent),
        "clean_vocals": song.clean_vocals,
        "rules": vars(rules),
    }
    write_atomically(record, json.dumps(content, indent=1).encode())
    return built


def build(
    songs: Sequence[Song],
    splits: Mapping[str, str],
    raw: Path,
    out: Path,
    rules: Rules,
    workers: int,
    say: Callable[[str], None],
) -> list[Built]:
    """Build every song whose folder is there, a line each, and leave report.json with Table 3's row."""
    chosen = [song for song in songs if song.name in splits and (raw / song.name).is_dir()]
    out.mkdir(parents=True, exist_ok=True)
    work = [partial(build_song, song, splits[song.name], raw / song.name, out, rules) for song in chosen]
    built: list[Built] = []
    for number, one in enumerate(in_order(lambda job: job(), work, workers), start=1):
        built.append(one)
        say(f"[{number}/{len(chosen)}] {one.split}/{one.name}: {_line(one)}")
    good = [one for one in built if not one.error]
    made = {one.name for one in good}
    write_atomically(out / "split_track_list.txt", "".join(f"{one.split}/{one.name}\n" for one in good).encode())
    counted = summary([song for song in songs if song.name in made], good) if good else {}
    report = {
        "built": len(good),
        "failed": {one.name: one.error for one in built if one.error},
        "absent": sorted(name for name in splits if not (raw / name).is_dir()),
        "silent": {one.name: list(one.silent) for one in good if one.silent},
        **counted,
    }
    write_atomically(out / "report.json", json.dumps(report, indent=1).encode())
    return built


def _line(one: Built) -> str:
    if one.error:
        return f"NOT BUILT: {one.error}"
    assert one.stems is not None and one.left_out is not None
    count = {stem: sum(len(i["tracks"]) for i in facts["instruments"].values()) for stem, facts in one.stems.items()}
    levels = ", ".join(f"{stem} {facts['lufs']:.1f} LUFS ({count[stem]} tracks)" for stem, facts in one.stems.items())
    parts = [f"{one.seconds:.0f} s; {levels}"]
    if one.silent:
        parts.append(f"silent: {', '.join(one.silent)}")
    if one.left_out:
        parts.append(f"left out: {', '.join(f'{file} ({why})' for file, why in one.left_out.items())}")
    return "; ".join(parts) + ("; built before" if one.again else "")


def summary(songs: Sequence[Song], built: Iterable[Built]) -> dict[str, Any]:
    """Split sizes, and the statistics beside the published ones."""
    built = list(built)
    counts = {split: sum(one.split == split for one in built) for split in SPLITS}
    return {
        "splits": counts,
        "published": PUBLISHED,
        "statistics": statistics(songs, sum(one.seconds for one in built) / 3600),
    }


def table(facts: Mapping[str, Any]) -> list[str]:
    """Table 3's row, ours beside the published one, as text."""
    ours, theirs = facts["statistics"], facts["published"]

    def figure(name: str, digits: int) -> str:
        value = ours[name]
        return f"  {name}: {'unknown' if value is None else format(value, f'.{digits}f')} (published {theirs[name]})"

    lines = [
        figure("songs", 0),
        figure("hours", 2),
        figure("tracks_mean", 1),
        figure("tracks_sd", 1),
        figure("categories", 0),
        figure("vocal_percent", 1),
        figure("leakage_percent", 1),
    ]
    if facts.get("splits"):
        lines.append("  splits: " + ", ".join(f"{split} {count}" for split, count in facts["splits"].items()))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mss_core.data.ms21_build",
        allow_abbrev=False,
        description="Build MS21 from raw multitracks, song by song.",
    )
    parser.add_argument("raw", type=Path, help="a folder with one folder per song")
    parser.add_argument("out", type=Path, help="where to build")
    parser.add_argument(
        "--annotation",
        type=Path,
        help="the authors' table (CSV) or bleeding files (YAML); without it, labels are guessed from "
        "the names of files",
    )
    parser.add_argument("--bleeding-files", type=Path, help="bleeding files (YAML) beside a table")
    parser.add_argument(
        "--split", type=Path, help="the authors' list (test/<song> lines); without it, a split by artist is drawn"
    )
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    parser.add_argument(
        "--musdb-test",
        action="store_true",
        help="put MUSDB18's test songs into test before that draw, with all songs of their artists (the thesis' third "
        "rule, Sec. 3.2.1)",
    )
    parser.add_argument("--instruments", default=INSTRUMENTS[0], help=" or ".join(INSTRUMENTS))
    parser.add_argument("--bleeding", default=BLEEDING[0], help="keep or drop tracks annotated as bleeding")
    parser.add_argument("--vocals", default="all", help="all songs, or those with clean vocals (or none)")
    parser.add_argument("--rate", type=int, default=44_100, help="of the files written, Hz")
    parser.add_argument("--workers", type=int, default=None, help="songs at a time (one a core)")
    parser.add_argument("--dry-run", action="store_true", help="statistics of the annotation; build nothing")
    options = parser.parse_args(arguments)
    try:
        rules = Rules(options.instruments, options.bleeding, options.vocals, options.rate)
        songs = _songs(options, rules)
        splits = _splits(options, songs)
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    wanted = [song for song in songs if song.name in splits]
    for artist, parts in leaking_artists(splits).items():
        print(f"warning: {artist} has songs in {' and '.join(parts)}", file=sys.stderr)
    if options.dry_run:
        counts = {split: sum(part == split for part in splits.values()) for split in SPLITS}
        print(
            "\n".join(
                [
                    f"{len(wanted)} songs of the annotation are in the split",
                    *table({"statistics": statistics(wanted), "published": PUBLISHED, "splits": counts}),
                ]
            )
        )
        return 0
    begun = time.monotonic()
    built = build(
        wanted,
        splits,
        options.raw,
        options.out,
        rules,
        options.workers or cores(),
        lambda line: print(line, flush=True),
    )
    good = [one for one in built if not one.error]
    if not good:
        print(
            f"nothing was built: {options.raw} holds none of the {len(wanted)} songs in a readable form",
            file=sys.stderr,
        )
        return 3
    report = json.loads((options.out / "report.json").read_text(encoding="utf-8"))
    print(
        "\n".join(
            [
                f"{len(good)} songs built in {time.monotonic() - begun:.0f} s, {len(built) - len(good)} not, "
                f"{len(report['absent'])} not on disk; {options.out / 'report.json'}",
                *table(report),
            ]
        )
    )
    return 1 if len(good) < len(built) or report["absent"] else 0


def _songs(options: argparse.Namespace, rules: Rules) -> list[Song]:
    if options.annotation is None:
        songs = []
        for folder in sorted(path for path in options.raw.iterdir() if path.is_dir()):
            names = sorted(path.name for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
            song, unknown = guess_song(folder.name, names)
            if unknown:
                print(
                    f"warning: {folder.name}: nothing to tell what these are, left out: {', '.join(unknown)}",
                    file=sys.stderr,
                )
            songs.append(song)
    else:
        songs, notes = read_annotation(options.annotation)
        for note in notes:
            print(f"warning: {note.text}: {', '.join(note.items)}", file=sys.stderr)
    if options.bleeding_files is not None:
        more = {song.name: song for song in read_annotation(options.bleeding_files)[0]}
        songs = [replace(song, bleeding=more[song.name].bleeding) if song.name in more else song for song in songs]
    if rules.vocals == "clean":
        songs = [song for song in songs if song.clean_vocals is not False]
    return songs


def _splits(options: argparse.Namespace, songs: Sequence[Song]) -> dict[str, str]:
    if options.split is not None:
        if options.musdb_test:
            raise ValueError("'--musdb-test' is for a drawn split: '--split' says already which songs are in test")
        return ms21.listed(options.split)
    names = [song.name for song in songs if options.dry_run or (options.raw / song.name).is_dir()]
    size = len(names)
    fixed = facts()["musdb18"]["test"] if options.musdb_test else ()
    return artist_split(names, valid=round(0.15 * size), test=round(0.1 * size), seed=options.seed, fixed_test=fixed)


if __name__ == "__main__":
    sys.exit(main())
