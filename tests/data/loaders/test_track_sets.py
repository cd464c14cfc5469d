"""Tracks with stems in their published layouts: what is read, joined, skipped by name and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mss_core import audio
from mss_core.data.files import facts
from mss_core.data.loaders import slakh, stem_mp4
from mss_core.data.loaders.midi import onsets
from mss_core.data.loaders.ms21 import files_of, nodes
from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import TrackSet, survey
from mss_core.graph import Context
from tests.data import trees


def packed(config: TrackSet, root: Path, out: Path) -> Packed:
    out.mkdir()
    pack(
        survey(config, {config.name: root}),
        ("mixture", *config.sources),
        config.samplerate,
        1000,
        out,
        Context(out=out),
    )
    return Packed(out)


# ---- MUSDB18


def test_musdb18hq_has_its_published_validation_split(tmp_path: Path) -> None:
    root = trees.musdb18hq(tmp_path / "m")
    found = survey(TrackSet("musdb18hq"), {"musdb18hq": root})
    assert {item.name: item.split for item in found.items if item.split == "valid"} == dict.fromkeys(
        facts()["musdb18"]["valid"][:2], "valid"
    )
    missing = next(note for note in found.notes if note.kind == "split")
    assert len(missing.items) == 12 and found.extra["split"] == "published"
    assert [item.split for item in found.items].count("test") == 2


def test_musdb18hq_random_split_is_another(tmp_path: Path) -> None:
    root = trees.musdb18hq(tmp_path / "m")
    found = survey(TrackSet("musdb18hq", split="random", split_seed=3), {"musdb18hq": root})
    assert "held out (seed 3)" in found.notes[0].text and found.extra["split"] == "random"
    for name in facts()["musdb18"]["valid"][:2]:
        (root / "train" / name).rename(root / "train" / f"not {name}")
    with pytest.raises(ValueError, match="none of the 14 published validation tracks.*split 'random'"):
        survey(TrackSet("musdb18hq"), {"musdb18hq": root})


def test_musdb18_streams_go_to_their_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = trees.musdb18(tmp_path / "m", monkeypatch)
    found = survey(TrackSet("musdb18"), {"musdb18": root})
    item = next(item for item in found.items if item.name == "Band B - Two")
    sound = item.read()
    assert sound.samplerate == 44_100
    for row, samples in trees.song(1).items():
        np.testing.assert_array_equal(sound.rows[row], samples.T)


def test_musdb18_damage_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = trees.musdb18(tmp_path / "m", monkeypatch)
    whole = (root / "train" / "Band A - One.stem.mp4").read_bytes()
    (root / "train" / "Band A - One.stem.mp4").write_bytes(whole[: len(whole) // 2])
    other = facts()["musdb18"]["valid"][0]
    (root / "train" / f"{other}.stem.mp4").write_bytes(trees.stem_file(1000, streams=4))
    (root / "test" / "Band C - Three.stem.mp4").write_bytes(b"")
    found = survey(TrackSet("musdb18"), {"musdb18": root})
    assert [note.items for note in found.notes if note.kind == "skipped"] == [
        (
            f"{other} (4 audio streams instead of 5)",
            "Band A - One (not a whole MP4 file (cut off, or another format))",
            "Band C - Three (0 bytes)",
        )
    ]
    name = "Band D - Four"
    (root / "test" / f"{name}.2.f32").write_bytes(bytes(8 * 1000))
    with pytest.raises(ValueError, match=r"stream 2 stops after 0.02 of 0.73 s \(truncated\)"):
        next(item for item in found.items if item.name == name).read()


def test_ffmpeg_fails_by_its_exit_status_not_by_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = trees.musdb18(tmp_path / "m", monkeypatch)
    tool, path = root / "bin" / "ffmpeg", root / "train" / "Band B - Two.stem.mp4"
    works = tool.read_text()
    tool.write_text(works + "echo 'Multiple frames in a packet.' >&2\n")
    np.testing.assert_array_equal(stem_mp4.load(path, [1])[0], trees.song(1)["drums"].T)
    tool.write_text(works + "echo 'a warning' >&2\necho 'Invalid data found' >&2\nexit 69\n")
    with pytest.raises(ValueError, match=r"Band B - Two.*cannot decode stream 1 \(Invalid data found\)"):
        stem_mp4.load(path, [1])
    tool.write_text(works + "exit 1\n")
    with pytest.raises(ValueError, match=r"cannot decode stream 0 \(unknown\)"):
        stem_mp4.load(path, [0])


def test_without_a_decoder_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stem_mp4.shutil, "which", lambda name: None)
    monkeypatch.setattr(stem_mp4.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs ffmpeg.*apt-get install ffmpeg"):
        stem_mp4.require_decoder()


def test_the_mixture_can_be_the_sum_of_levelled_sources(tmp_path: Path) -> None:
    root = trees.musdb18hq(tmp_path / "m")
    config = TrackSet("musdb18hq", sources=("bass", "drums"), mixture="sum", rms_db=-20.0)
    sound = survey(config, {"musdb18hq": root}).items[0].read()
    for source in config.sources:
        assert gated_db(sound.rows[source].mean(0), 44_100) == pytest.approx(-20, abs=1e-3)
    np.testing.assert_allclose(sound.rows["mixture"], sound.rows["bass"] + sound.rows["drums"])
    with pytest.raises(ValueError, match="set mixture 'sum'"):
        TrackSet("musdb18hq", rms_db=-20.0)


def gated_db(mono: np.ndarray, rate: int) -> float:
    """RMS in dB of the 400-ms blocks (every 100 ms) above -70 dB and above 10 dB under the mean of those, ITU-R
    BS.1770-4 annex 1 without its filters, written as a loop."""
    blocks = [
        np.mean(mono[first : first + round(0.4 * rate)].astype(float) ** 2)
        for first in range(0, len(mono) - round(0.4 * rate) + 1, round(0.1 * rate))
    ]
    audible = [power for power in blocks if power > 1e-7]
    return float(10 * np.log10(np.mean([power for power in audible if power > 0.1 * np.mean(audible)])))


@pytest.mark.parametrize("share", [1.0, 0.15, 0.04])
def test_what_is_packed_is_the_levelled_row_however_little_of_a_song_it_plays(tmp_path: Path, share: float) -> None:
    """Drum hits (peak 23 dB over RMS) that sound in a share of the song, beside a wide stereo pad: the packed rows
    equal the levelled ones, and the mixture their sum, to 60 dB. Levels are of the down-mix where it sounds."""
    rate, rng = 44_100, np.random.default_rng(1)
    time = np.arange(20 * rate) / rate
    hits = rng.standard_normal(len(time)) * np.exp(-60 * (time % 0.5)) * (time < share * 20)
    pad = np.stack([np.sin(440 * time), np.sin(440 * time + 2.4)])
    for split, name in (("train", "a"), ("train", "b"), ("test", "c")):
        folder = tmp_path / "songs" / split / name
        folder.mkdir(parents=True)
        for row, wave in (("drums", np.stack([hits, hits])), ("pad", pad), ("mixture", pad + hits)):
            audio.save_float(folder / f"{row}.wav", 0.1 * wave, rate)
    config = TrackSet("stems", sources=("drums", "pad"), samplerate=rate, mixture="sum", rms_db=-20.0)
    opened = packed(config, tmp_path / "songs", tmp_path / "out")
    item, total = opened.split("test")[0], 0
    for row, wave in (("drums", hits), ("pad", pad.mean(0))):
        wanted = wave * 10 ** ((-20 - gated_db(wave, rate)) / 20)
        assert decibels_between(wanted, opened.read(item, row)) > 60
        total = total + opened.read(item, row).astype(float)
    assert decibels_between(total, opened.read(item)) > 60
    assert np.abs(opened.read(item)).max() > 1.2  # and would have been clipped


def decibels_between(wanted: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(wanted**2) / np.sum((wanted - got) ** 2)))


# ---- MS21


def test_ms21_nodes_are_sums_of_what_is_below(tmp_path: Path) -> None:
    root = trees.ms21(tmp_path / "ms21")
    config = TrackSet("ms21", sources=("vocals", "accompaniment", "electric_guitar", "pianos"), samplerate=44_100)
    opened = packed(config, root, tmp_path / "out")
    item, rows = opened.items[0], trees.song(0)
    assert [i.split for i in opened.items] == ["test", "train", "train", "valid"] and item.name == "D - 4"
    rows = trees.song(3)
    np.testing.assert_allclose(opened.read(item, "vocals"), rows["vocals"].mean(1), atol=3 / 32767)
    rest = (rows["drums"] + rows["bass"] + rows["other"]).mean(1)
    np.testing.assert_allclose(opened.read(item, "accompaniment"), rest, atol=6 / 32767)
    np.testing.assert_allclose(opened.read(item), rest + rows["vocals"].mean(1), atol=8 / 32767)
    assert item.silent == ("pianos",)


def test_ms21_split_list_decides_over_folders(tmp_path: Path) -> None:
    root = trees.ms21(tmp_path / "ms21")
    (root / "split_track_list.txt").write_text("test/A - 1\ntrain/B - 2\nval/C - 3\ntrain/D - 4\ntrain/E - 5\n")
    found = survey(TrackSet("ms21", sources=("bass",)), {"ms21": root})
    assert {item.name: item.split for item in found.items} == {
        "A - 1": "test",
        "B - 2": "train",
        "C - 3": "valid",
        "D - 4": "train",
    }
    assert found.notes[0].items == ("E - 5 (in the list, not on disk)",)
    (root / "split_track_list.txt").write_text("test/A - 1\nvali/A - 1\n")
    with pytest.raises(ValueError, match="line 2, 'vali'; did you mean 'valid'"):
        survey(TrackSet("ms21", sources=("bass",)), {"ms21": root})


def test_ms21_hierarchy_has_the_fourteen_instruments() -> None:
    leaves = {name for name in nodes() if name not in facts()["ms21"]["hierarchy"] and name != "bass"}
    assert len(leaves | {"bass"}) == 14
    assert files_of("accompaniment", {"drum_set": Path("d"), "bass": Path("b")}) == (Path("d"), Path("b"))


# ---- Slakh2100


def test_slakh_splits_go_by_number(tmp_path: Path) -> None:
    root = trees.slakh2100(tmp_path / "s")
    omitted = f"Track{facts()['slakh2100']['redux_omits'][0]:05d}"
    by = {
        policy: {
            item.name: item.split
            for item in survey(TrackSet("slakh2100", ("bass",), split=policy), {"slakh2100": root}).items
        }
        for policy in ("redux", "split2", "orig")
    }
    assert omitted not in by["redux"] and by["orig"][omitted] == "train"
    assert by["orig"]["Track00003"] == "train" and by["split2"]["Track00003"] == "test"
    assert by["redux"]["Track01501"] == "valid" and by["redux"]["Track01881"] == "test"


def test_slakh_sources_by_program_and_by_the_users_hierarchy(tmp_path: Path) -> None:
    root = trees.slakh2100(tmp_path / "s")
    (root / "hierarchy.json").write_text(
        json.dumps({"mix": {"plucked": {"guitars": {"steel guitar": ["steel.nkm"]}}, "keys": {"grand": ["piano.nkm"]}}})
    )
    config = TrackSet("slakh2100", ("guitar", "strings", "voices", "plucked", "grand"), samplerate=44_100)
    opened = packed(config, root, tmp_path / "out")
    item = opened.items[0]
    assert item.silent == ("voices",)
    np.testing.assert_array_equal(opened.read(item, "guitar"), opened.read(item, "plucked"))
    np.testing.assert_allclose(opened.read(item, "grand"), trees.song(0)["vocals"].mean(1), atol=2 / 32767)
    with pytest.raises(ValueError, match="no source of slakh2100 'guitars.'; did you mean 'guitars'"):
        survey(TrackSet("slakh2100", ("guitars.",)), {"slakh2100": root})


def test_slakh_subset_counts_onsets(tmp_path: Path) -> None:
    root = trees.slakh2100(tmp_path / "s")
    assert slakh.onset_counts(root / "test" / "Track01881") == {
        "bass": 99,
        "drums": 100,
        "guitar": 100,
        "piano": 100,
        "strings": 100,
    }
    found = survey(TrackSet("slakh2100", ("bass",), subset="onsets100"), {"slakh2100": root})
    assert [item.name for item in found.items if item.split == "test"] == ["Track01876"]
    assert next(note for note in found.notes if note.kind == "subset").items == ("Track01881",)
    (root / "test" / "Track01881" / "MIDI" / "S02.mid").write_bytes(trees.midi(99)[:-30])
    found = survey(TrackSet("slakh2100", ("bass",), subset="onsets100"), {"slakh2100": root})
    assert "cut off" in next(note for note in found.notes if note.kind == "skipped").items[0]


def test_slakh_damage_is_named(tmp_path: Path) -> None:
    root = trees.slakh2100(tmp_path / "s")
    (root / "train" / "Track00001" / "metadata.yaml").write_text("stems: [")
    (root / "test" / "Track01876" / "stems" / "S02.flac").unlink()
    found = survey(TrackSet("slakh2100", ("bass",)), {"slakh2100": root})
    assert sorted(item for note in found.notes for item in note.items) == [
        "Track00001 (metadata.yaml names no stems)",
        "Track01876 (S02.flac: missing)",
    ]
    (root / "train" / "Track03000").mkdir()
    (root / "test" / "Track01876_old").mkdir()
    found = survey(TrackSet("slakh2100", ("bass",)), {"slakh2100": root})
    bad = " ".join(item for note in found.notes for item in note.items)
    assert "Track03000 (there is no Track03000; " in bad and "Track01876_old (there is no" in bad


def test_onsets_of_a_midi_file(tmp_path: Path) -> None:
    path = tmp_path / "x.mid"
    path.write_bytes(trees.midi(7))
    assert onsets(path) == 7
    path.write_bytes(b"RIFF")
    with pytest.raises(ValueError, match="not a MIDI file"):
        onsets(path)


def test_choices_that_a_set_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="no split of slakh2100 'redx'; did you mean 'redux'"):
        TrackSet("slakh2100", split="redx")
    with pytest.raises(ValueError, match="stems has no choice of 'subset'"):
        TrackSet("stems", subset="all")
    with pytest.raises(ValueError, match="no mixture 'summed'"):
        TrackSet("stems", mixture="summed")
    with pytest.raises(ValueError, match="cannot be the name of a stem"):
        TrackSet("stems", sources=("a/b",))
