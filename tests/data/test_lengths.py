"""One rule for the lengths of a track's files, in every loader that has stems: left out by name, or cut by a declared
tolerance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from mss_core.data.__main__ import main
from mss_core.data.check import check
from mss_core.data.config import TrackSet
from mss_core.data.files import common_length
from mss_core.data.items import Survey
from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import survey
from mss_core.graph import Context, digest
from tests.conftest import write_track
from tests.data import trees

RATE = 44_100
FRAMES = round(trees.SECONDS * trees.RATE)
SHORT = 44
"""Frames that are missing: less than a millisecond at 44.1 kHz."""


def stems(root: Path) -> Path:
    for seed, place in enumerate(("train/a", "train/b", "valid/c", "test/d")):
        write_track(root / place, seconds=FRAMES / RATE, rate=RATE, seed=seed)
    return root


FILES: dict[str, tuple[Callable[[Path], Path], TrackSet, str]] = {
    "stems": (stems, TrackSet("stems"), "train/b/bass.wav"),
    "musdb18hq": (trees.musdb18hq, TrackSet("musdb18hq"), "train/Band B - Two/bass.wav"),
    "ms21": (trees.ms21, TrackSet("ms21", ("bass", "vocals")), "train/B - 2/bass.wav"),
    "mm": (trees.mm, TrackSet("mm", ("bass", "other")), "MixingSecrets/Bob_Two/Bob_Two_STEMS/Bob_Two_STEM_03.wav"),
    "slakh2100": (trees.slakh2100, TrackSet("slakh2100", ("bass",)), "train/Track00001/stems/S02.flac"),
}


def shorten(path: Path, frames: int = SHORT) -> None:
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples[:-frames], rate, subtype="PCM_16")


def told(found: Survey) -> dict[str, tuple[str, ...]]:
    return {note.kind: note.items for note in found.notes if note.kind in ("skipped", "cut", "lengths")}


@pytest.mark.parametrize("name", FILES)
def test_every_loader_has_the_same_rule(tmp_path: Path, name: str) -> None:
    tree, config, place = FILES[name]
    root = tree(tmp_path / "set")
    before = {item.name for item in survey(config, {name: root}).items}
    shorten(root / place)
    for tolerance, cut in ((None, False), (0.0, False), (0.99, False), (1.0, True), (50.0, True)):
        told_so = TrackSet(name, config.sources, tolerance_ms=tolerance)
        found = survey(told_so, {name: root})
        names = {item.name for item in found.items}
        report = check(told_so, root, quick=True)
        assert sum(report.items.values()) == len(names)  # check and training agree
        if not cut:
            (gone,) = before - names
            (line,) = told(found)["skipped"]
            assert line.startswith(f"{gone} (") and f"{FRAMES - SHORT}" in line and f"{FRAMES}" in line
            assert told(found)["lengths"] == (f"{gone} (1 ms)",) and "cut" not in told(found)
            assert report.excluded and any("(1 ms): left out as files differ" in text for text in report.warnings)
            continue
        assert names == before and set(told(found)) == {"cut"}
        (line,) = told(found)["cut"]
        item = next(item for item in found.items if line == f"{item.name} ({FRAMES - SHORT} of {FRAMES} frames)")
        assert {rows.shape[1] for rows in item.read().rows.values()} == {FRAMES - SHORT}
        assert not report.excluded


def test_moisesdb_is_cut_as_its_publishers_do_unless_a_tolerance_is_declared(tmp_path: Path) -> None:
    root = trees.moisesdb(tmp_path / "m")

    def read(tolerance: float | None) -> dict[str, tuple[str, ...]]:
        return told(survey(TrackSet("moisesdb", tolerance_ms=tolerance), {"moisesdb": root}))

    assert set(read(None)) == set(read(1.0)) == {"cut"} and len(read(None)["cut"]) == 5
    assert set(read(0.5)) == {"skipped", "lengths"} and read(0.5)["lengths"][0].endswith(" (0.84 ms)")


def test_streams_of_one_file_have_the_rule_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stem file whose header says that one stream is half a second shorter was cut without a word."""
    root = trees.musdb18(tmp_path / "m", monkeypatch)
    path = root / "train" / "Band B - Two.stem.mp4"
    whole = path.read_bytes()
    at = whole.rindex(trees.struct.pack(">II", RATE, FRAMES))

    def read(frames: int, tolerance: float | None = None) -> dict[str, tuple[str, ...]]:
        path.write_bytes(whole[:at] + trees.struct.pack(">II", RATE, frames) + whole[at + 8 :])
        return told(survey(TrackSet("musdb18", tolerance_ms=tolerance), {"musdb18": root}))

    assert read(FRAMES - 1000) == {}  # the coder's own slack
    assert read(FRAMES - 1000, 1.0)["lengths"] == ("Band B - Two (22.68 ms)",)
    assert read(FRAMES - 10_000)["skipped"] == (
        f"Band B - Two (stream 4 has {FRAMES - 10_000} frames, stream 0 {FRAMES})",
    )
    assert read(FRAMES - 10_000, 300.0) == {"cut": (f"Band B - Two ({FRAMES - 10_000} of {FRAMES} frames)",)}


def test_what_is_packed_is_what_is_left(tmp_path: Path) -> None:
    root = stems(tmp_path / "s")
    shorten(root / "train/b/bass.wav")
    config = TrackSet("stems", samplerate=RATE, tolerance_ms=1.0)
    (tmp_path / "out").mkdir()
    rows = ("mixture", *config.sources)
    pack(survey(config, {"stems": root}), rows, RATE, 1000, tmp_path / "out", Context(out=tmp_path / "out"))
    assert {item.name: item.length for item in Packed(tmp_path / "out").items} == {
        "a": FRAMES,
        "b": FRAMES - SHORT,
        "c": FRAMES,
        "d": FRAMES,
    }


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=8), st.integers(8000, 192_000), st.floats(0, 1e6))
def test_the_rule(lengths: list[int], rate: int, tolerance: float) -> None:
    """Property: what is equal stays; nothing is cut to half; a greater tolerance cuts what a lesser does."""
    shortest, longest = min(lengths), max(lengths)
    found = common_length(lengths, rate, tolerance)
    assert found in (shortest, None) and (shortest != longest or found == shortest)
    if found is not None and shortest < longest:
        assert 2 * shortest > longest and (longest - shortest) / rate <= tolerance / 1000 * (1 + 1e-9)
        assert common_length(lengths, rate, 2 * tolerance + 1) == shortest


def test_no_key_changes_by_a_tolerance_that_is_not_declared() -> None:
    plain = digest(TrackSet("stems"))
    assert digest(TrackSet("stems", tolerance_ms=None)) == plain != digest(TrackSet("stems", tolerance_ms=1.0))


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_a_tolerance_that_is_none_is_refused(tmp_path: Path, value: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["check", "stems", str(tmp_path), "--tolerance-ms", value]) == 2
    assert "error: 'tolerance_ms' is a number of milliseconds of at least 0 (or None)" in capsys.readouterr().err
    assert main(["check", "clips", str(tmp_path), "--tolerance-ms", "1"]) == 2
    assert "--tolerance-ms is for stems that differ in length; 'clips' holds clips" in capsys.readouterr().err


def test_the_command_cuts_what_it_is_told_to(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = stems(tmp_path / "s")
    shorten(root / "train/b/bass.wav")
    for words, excluded in (([], 1), (["--tolerance-ms", "1"], 0)):
        assert main(["check", "stems", str(root), "--json", *words]) == 1
        report = json.loads(capsys.readouterr().out)
        assert len(report["excluded"]) == excluded and len(report["warnings"]) == 1
