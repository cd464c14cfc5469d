"""MS21 from raw multitracks: the real annotation, a real song, and songs of sines whose stems can be told."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mss_core import audio
from mss_core.data import hierarchy
from mss_core.data.loaders import ms21
from mss_core.data.loudness import integrated
from mss_core.data.ms21_annotation import (
    AMBIENT,
    UNUSED,
    Song,
    guess_song,
    instrument_of,
    leaking_artists,
    read_annotation,
    read_bleeding,
    read_table,
)
from mss_core.data.ms21_build import main
from mss_core.data.ms21_mix import Rules, mix, stem_of
from mss_core.data.sets import TrackSet, survey


@pytest.fixture(scope="module")
def metadata(shared_data_module) -> Path:
    return shared_data_module / "metadata" / "mixing_secrets"


@pytest.fixture(scope="module")
def shared_data_module(request) -> Path:
    return request.getfixturevalue("shared_data")


# ---- the real song


@pytest.fixture(scope="module")
def lithium(shared_data_module, tmp_path_factory) -> dict:
    """The multitrack song, annotated as its own metadata say, in the authors' table format; built by the command."""
    source = shared_data_module / "everything_is_free" / "multitrack" / "Lithium"
    meta = json.loads((source / "meta.json").read_text())
    label = {
        "backing vocals": "Backing_Vocal",
        "lead vocals": "Lead_Vocal",
        "drums": "Loop",
        "synth bass": "Synth_Bass",
        "synth": "Synthesizer",
        "fx": "SFX",
    }
    tracks = {Path(stem["file"]).name: label[stem["instrument"]] for stem in meta["stems"].values()}
    root = tmp_path_factory.mktemp("ms21")
    song = "Software-Entwicklungskit - Lithium"
    (root / "raw").mkdir()
    (root / "raw" / song).symlink_to(source / "stems")
    columns = [
        "Music_Title",
        "Track_Name",
        "Artist",
        "Broad_Genre",
        "Sub_Genre",
        *(name for names in hierarchy.load("ms21").labels.values() for name in names),
        UNUSED,
        AMBIENT,
        "Vocal_Quality",
    ]
    with open(root / "table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="[]")
        writer.writeheader()
        cells = {name: str([f for f, given in tracks.items() if given == name]) for name in set(tracks.values())}
        writer.writerow({"Music_Title": song, "Vocal_Quality": "1", **cells})
    (root / "list.txt").write_text(f"test/{song}\n")
    command = [
        str(root / "raw"),
        str(root / "out"),
        "--annotation",
        str(root / "table.csv"),
        "--split",
        str(root / "list.txt"),
        "--workers",
        "1",
    ]
    assert main(command) == 0
    folder = root / "out" / "test" / song
    return {
        "folder": folder,
        "meta": meta,
        "source": source,
        "tracks": tracks,
        "command": command,
        "root": root,
        "record": json.loads((folder / "song.json").read_text()),
    }


def test_the_right_tracks_are_in_the_right_stems(lithium: dict) -> None:
    groups = {
        Path(stem["file"]).name: {"drums": "percussion"}.get(stem["group"], stem["group"])
        for stem in lithium["meta"]["stems"].values()
    }
    found = {
        track: stem
        for stem, facts in lithium["record"]["stems"].items()
        for instrument in facts["instruments"].values()
        for track in instrument["tracks"]
    }
    assert found == groups


def test_stems_hold_their_tracks_and_nothing_else(lithium: dict) -> None:
    """Least squares of each stem on all tracks: its own are in it, and leave nothing over."""
    files = sorted(lithium["tracks"])
    tracks = np.stack([audio.load(lithium["source"] / "stems" / file)[0].reshape(-1) for file in files])
    for stem, facts in lithium["record"]["stems"].items():
        waveform, _ = audio.load(lithium["folder"] / f"{stem}.wav")
        target = waveform.reshape(-1).astype(np.float64)
        weights, *_ = np.linalg.lstsq(tracks.T.astype(np.float64)[::7], target[::7], rcond=None)
        expected = np.zeros(len(files))
        for instrument in facts["instruments"].values():
            for track in instrument["tracks"]:
                expected[files.index(track)] = 1
        loud = [i for i, track in enumerate(tracks) if np.abs(track).max() > 1e-3]
        assert ((weights[loud] > 1e-3) == (expected[loud] == 1)).all(), stem
        assert np.abs(weights[loud][expected[loud] == 0]).max() < 1e-4
        assert np.abs(weights @ tracks - target).max() < 1e-4


def test_levels_of_the_stems(lithium: dict) -> None:
    import torch
    from torchaudio.functional import loudness

    for stem in ms21.STEMS:
        waveform, rate = audio.load(lithium["folder"] / f"{stem}.wav")
        if stem == "percussion":
            assert 20 * np.log10(np.abs(waveform).max()) == pytest.approx(-1.0, abs=0.01)
        else:
            assert integrated(waveform, rate) == pytest.approx(-25.0, abs=0.1)
            assert float(loudness(torch.from_numpy(waveform), rate)) == pytest.approx(-25.0, abs=0.1)


def test_parents_are_the_sums_of_their_children(lithium: dict) -> None:
    def load(name: str) -> np.ndarray:
        return audio.load(lithium["folder"] / f"{name}.wav")[0]

    np.testing.assert_allclose(load("mixture"), sum(load(stem) for stem in ms21.STEMS), atol=1e-6)
    np.testing.assert_allclose(load("vocals"), load("lead_vocal") + load("backing_vocal"), atol=1e-6)
    np.testing.assert_allclose(load("other"), load("electronic_keyboards") + load("fx_processed_sound"), atol=1e-6)


def test_a_silent_track_is_named(lithium: dict) -> None:
    assert lithium["record"]["silent"] == ["track VOX_LEAD.flac"]


def test_the_names_of_the_files_give_the_same_stems(lithium: dict) -> None:
    song, unknown = guess_song("x", lithium["tracks"])
    assert not unknown
    assert {f: stem_of(i) for f, i in song.used().items()} == {
        f: stem_of(instrument_of(label)) for f, label in lithium["tracks"].items()
    }


def test_a_second_run_builds_nothing(lithium: dict, capsys) -> None:
    before = (lithium["folder"] / "mixture.wav").stat().st_mtime_ns
    assert main(lithium["command"]) == 0
    assert "built before" in capsys.readouterr().out
    assert (lithium["folder"] / "mixture.wav").stat().st_mtime_ns == before


# ---- songs of sines: each track a frequency of its own

RATE = 8000


def write_song(root: Path, song: str, files: dict[str, float], seconds: float = 2.0, level: float = 0.1) -> None:
    folder = root / song / "RAW"
    folder.mkdir(parents=True)
    for number, (file, frequency) in enumerate(files.items()):
        time = np.arange(round((seconds + 0.1 * number) * RATE)) / RATE
        wave = level * np.sin(2 * np.pi * frequency * time) if frequency else np.zeros(len(time))
        soundfile.write(folder / file, np.stack([wave, wave], 1) if number % 2 else wave, RATE, subtype="PCM_24")


def frequencies(path: Path) -> set[int]:
    """Multiples of 100 Hz that stand out in the first second."""
    wave, rate = audio.load(path)
    power = np.abs(np.fft.rfft(wave[0, :rate] * np.hanning(rate)))
    return {int(hz) for hz in range(100, rate // 2, 100) if power[hz] > 0.005 * power.max()}


def test_a_real_annotation_on_sines(metadata: Path, tmp_path: Path, capsys) -> None:
    """Arise - Run Run Run, its 22 tracks by the real file, each a sine: the stems hold the frequencies they should."""
    song = read_bleeding(next((metadata / "Bleed_annotation" / "test").glob("Arise*")))
    tones = {file: 100.0 + 100 * number for number, file in enumerate(song.tracks)}
    write_song(tmp_path / "raw", song.name, tones)
    base = [
        str(tmp_path / "raw"),
        str(tmp_path / "out"),
        "--annotation",
        str(metadata / "Bleed_annotation"),
        "--rate",
        str(RATE),
        "--workers",
        "1",
        "--split",
        str(metadata / "split_track_list.txt"),
    ]
    assert main(base) == 1  # the other 499 songs are not there
    folder = tmp_path / "out" / "test" / song.name
    for stem in ms21.STEMS:
        wanted = {int(tones[file]) for file, instrument in song.used().items() if stem_of(instrument) == stem}
        assert (frequencies(folder / f"{stem}.wav") if wanted else set()) == wanted, stem
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["built"] == 1 and len(report["absent"]) == 499
    assert main([*base, "--bleeding", "drop"]) == 1
    record = json.loads((folder / "song.json").read_text())
    dropped = {file for file, why in record["left_out"].items() if why.startswith("bleeding")}
    assert dropped == set(song.bleeding) & set(song.used()) and len(dropped) == 5  # the guitars were unused already
    kept = {file for facts in record["stems"].values() for i in facts["instruments"].values() for file in i["tracks"]}
    assert kept == set(song.used()) - dropped
    assert "03_HiHat.wav (bleeding (Drum_Overheads))" in capsys.readouterr().out


FILES = {
    "01_Kick.wav": 100.0,
    "02_Bass.wav": 200.0,
    "03_ElecGtr.wav": 300.0,
    "04_Piano.wav": 400.0,
    "05_LeadVox.wav": 0.0,
    "06_RoomMic.wav": 600.0,
    "07_Qwrtz.wav": 700.0,
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for number in range(8):
        write_song(tmp_path / "raw", f"Artist {number % 5} - Song {number}", FILES, seconds=1.0)
    return tmp_path / "raw"


def test_without_annotation_names_decide(raw: Path, tmp_path: Path, capsys) -> None:
    assert main([str(raw), str(tmp_path / "out"), "--rate", str(RATE), "--workers", "2"]) == 0
    told = capsys.readouterr()
    assert "nothing to tell what these are, left out: 07_Qwrtz.wav" in told.err
    assert "[8/8]" in told.out and "silent: track 05_LeadVox.wav, instrument lead_vocal, stem vocals" in told.out
    assert "06_RoomMic.wav (ambient microphone), 07_Qwrtz.wav (unused)" in told.out
    assert "8 songs built" in told.out and "hours: 0.00 (published 34.2)" in told.out
    split = {path.name: path.parent.name for path in (tmp_path / "out").glob("*/*") if path.is_dir()}
    assert len(split) == 8 and not leaking_artists(split)
    song = next((tmp_path / "out").glob("*/Artist 0 - Song 0"))
    assert {path.stem for path in song.glob("*.wav")} == {
        "mixture",
        "percussion",
        "drum_set",
        "bass",
        "other",
        "pianos",
        "electric_guitar",
    }
    assert frequencies(song / "other.wav") == {300, 400} and frequencies(song / "mixture.wav") == {100, 200, 300, 400}


def test_the_data_set_reads_what_was_built(raw: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in raw.iterdir())
    (tmp_path / "list.txt").write_text(
        "".join(f"{('test', 'val', 'train')[min(2, i)]}/{n}\n" for i, n in enumerate(names))
    )
    assert (
        main(
            [
                str(raw),
                str(tmp_path / "out"),
                "--rate",
                str(RATE),
                "--workers",
                "1",
                "--split",
                str(tmp_path / "list.txt"),
            ]
        )
        == 0
    )
    found = survey(TrackSet("ms21", sources=("accompaniment", "electric_guitar", "vocals")), {"ms21": tmp_path / "out"})
    assert Counter(item.split for item in found.items) == {"train": 6, "valid": 1, "test": 1}
    sound = found.items[0].read()
    np.testing.assert_allclose(sound.rows["accompaniment"], sound.rows["mixture"], atol=1e-6)
    assert not sound.rows["vocals"].any() and sound.rows["electric_guitar"].any()


def song_of(files: dict[str, str]) -> Song:
    return Song("A - B", files)


def test_instruments_in_the_mix_or_normalised(tmp_path: Path) -> None:
    write_song(tmp_path, "A - B", {"g.wav": 300.0, "p.wav": 400.0})
    files = {path.name: path for path in (tmp_path / "A - B" / "RAW").iterdir()}
    song = song_of({"g.wav": "Electric_Guitar", "p.wav": "Piano"})
    inside, _ = mix(song, files, Rules(rate=RATE))
    alone, built = mix(song, files, Rules(rate=RATE, instruments="normalised"))
    np.testing.assert_allclose(inside["electric_guitar"] + inside["pianos"], inside["other"], atol=1e-6)
    assert integrated(alone["electric_guitar"], RATE) == pytest.approx(-25, abs=0.01)
    gain = built.stems["other"]["instruments"]["pianos"]["gain_in_stem"]
    np.testing.assert_allclose(gain * alone["pianos"], inside["pianos"], atol=1e-5)
    assert integrated(inside["other"], RATE) == pytest.approx(-25, abs=0.01)
    assert inside["other"].shape == (2, round(2.1 * RATE))  # the longest track


def test_a_broken_or_missing_track(tmp_path: Path, capsys) -> None:
    write_song(tmp_path / "raw", "A - B", {"01_Kick.wav": 100.0, "02_Bass.wav": 200.0}, seconds=1.0)
    write_song(tmp_path / "raw", "C - D", {"01_Kick.wav": 100.0}, seconds=1.0)
    (tmp_path / "raw" / "A - B" / "RAW" / "03_Vox.wav").write_bytes(b"not audio")
    code = main([str(tmp_path / "raw"), str(tmp_path / "out"), "--rate", str(RATE), "--workers", "1"])
    out = capsys.readouterr().out
    assert code == 1 and "A - B: NOT BUILT" in out and "03_Vox.wav: not a readable audio file" in out
    assert "1 songs built" in out and "1 not" in out
    song = song_of({"k.wav": "Drum_Kick", "gone.wav": "Piano"})
    files = {"k.wav": tmp_path / "raw" / "C - D" / "RAW" / "01_Kick.wav"}
    assert mix(song, files, Rules(rate=RATE))[1].left_out == {"gone.wav": "missing"}


def test_mistakes(tmp_path: Path, capsys) -> None:
    with pytest.raises(
        ValueError, match="no instrument label 'Electric_Guitars' in MS21; did you mean 'Electric_Guitar'"
    ):
        instrument_of("Electric_Guitars")
    (tmp_path / "t.csv").write_text("Title,Unused\n")
    with pytest.raises(ValueError, match="no column 'Music_Title'"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "b.yaml").write_text("x: 1")
    with pytest.raises(ValueError, match="not a bleeding annotation"):
        read_bleeding(tmp_path / "b.yaml")
    assert main([str(tmp_path), str(tmp_path / "o"), "--instruments", "in_the_mix"]) == 2
    assert "no 'instruments' 'in_the_mix'; did you mean 'in-the-mix'" in capsys.readouterr().err
    assert main([str(tmp_path), str(tmp_path / "o")]) == 3
    assert "nothing was built" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds no"):
        (tmp_path / "empty").mkdir()
        read_annotation(tmp_path / "empty")


def test_the_dry_run_tells_the_statistics(metadata: Path, tmp_path: Path, capsys) -> None:
    assert (
        main(
            [
                str(tmp_path),
                str(tmp_path / "o"),
                "--dry-run",
                "--annotation",
                str(next(metadata.glob("*_with_comment.csv.gz"))),
                "--split",
                str(metadata / "split_track_list.txt"),
            ]
        )
        == 0
    )
    told = capsys.readouterr()
    assert "500 songs of the annotation are in the split" in told.out
    assert "splits: train 420, valid 30, test 50" in told.out
    assert "Actions has songs in train and valid" in told.err
    assert not (tmp_path / "o").exists()
