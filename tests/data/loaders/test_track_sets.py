"""Tracks with stems in their published layouts: what is read, joined, skipped by name and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from mss_core import audio
from mss_core.data.activity import Confidences, confidence, window_of
from mss_core.data.batches import Feed, waveforms
from mss_core.data.files import facts
from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.loaders import slakh, stem_mp4
from mss_core.data.loaders.medleydb import target_of
from mss_core.data.loaders.midi import onsets
from mss_core.data.loaders.ms21 import files_of, nodes
from mss_core.data.mixing import AccompanimentMixer, mix
from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import TrackSet, survey
from mss_core.graph import Context
from mss_core.systems.iass import IASS
from mss_core.systems.iass.prepare import prepare_accompaniment, prepare_activity
from tests.data import trees

SIX = ("bass", "drums", "vocals", "electric_guitar", "acoustic_guitar", "piano")


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


# ---- MM


def test_mm_as_the_recipe_reads_it_loses_no_song(tmp_path: Path) -> None:
    """Stereo songs that lack rows, one with a mono stem among its stereo ones: all five are packed."""
    root = trees.mm(tmp_path / "mm")
    path = root / "MixingSecrets" / "Bob_Two" / "Bob_Two_STEMS" / "Bob_Two_STEM_03.wav"
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples[:, 0], rate)
    path = root / "MixingSecrets" / "Cat_Three" / "Cat_Three_STEMS" / "Cat_Three_STEM_01.wav"
    samples, rate = soundfile.read(path)
    soundfile.write(path, np.repeat(samples, 3, 1), rate)
    config = IASS().data
    opened = packed(config, root, tmp_path / "out")
    assert len(opened.items) == 5
    for item in opened.items:
        total = sum(opened.read(item, source).astype(float) for source in config.sources)
        assert decibels_between(total, opened.read(item)) > 60
        for source in set(config.sources) - set(item.silent):
            assert gated_db(opened.read(item, source), 44_100) == pytest.approx(-20, abs=0.01)


def test_mm_joins_both_collections(tmp_path: Path) -> None:
    root = trees.mm(tmp_path / "mm")
    config = TrackSet("mm", sources=(*SIX, "other"), samplerate=44_100)
    opened = packed(config, root, tmp_path / "out")
    assert len(opened.items) == 5 and len(opened.split("test")) == 1 and len(opened.split("valid")) == 1
    for item in opened.items:
        assert set(item.silent) >= {"electric_guitar", "acoustic_guitar", "piano"}
        assert ("vocals" in item.silent) == (item.name == "Eve_Five")
        total = sum(opened.read(item, source) for source in config.sources)
        np.testing.assert_allclose(total, opened.read(item), atol=8 / 32767)
    one = next(item for item in opened.items if item.name == "Ann_One")
    np.testing.assert_allclose(opened.read(one, "vocals"), trees.song(0)["vocals"].mean(1), atol=2 / 32767)


def test_mm_needs_the_users_split_lists(tmp_path: Path) -> None:
    root = trees.mm(tmp_path / "mm")
    (root / "train.txt").write_text((root / "train.txt").read_text() + "Dan_Four\n")
    with pytest.raises(ValueError, match="Dan_Four stands in train.txt and again in test.txt"):
        survey(TrackSet("mm", sources=("bass",)), {"mm": root})
    (root / "test.txt").unlink()
    with pytest.raises(ValueError, match="no .*test.txt; the published split has no licence, so bring your copy"):
        survey(TrackSet("mm", sources=("bass",)), {"mm": root})


def test_mm_tracks_that_are_absent_damaged_or_unlisted_are_named(tmp_path: Path) -> None:
    root = trees.mm(tmp_path / "mm")
    (root / "train.txt").write_text((root / "train.txt").read_text().replace("Ann_One", "Ann_Won"))
    (root / "MixingSecrets" / "Bob_Two" / "Bob_Two_METADATA.yaml").unlink()
    stem = root / "MixingSecrets" / "Cat_Three" / "Cat_Three_STEMS" / "Cat_Three_STEM_02.wav"
    soundfile.write(stem, soundfile.read(stem)[0][:-10], 44_100)
    with open(root / "train.txt", "a") as file:
        file.write("Zoe_Six\n")
    (root / "valid.txt").write_text("Eve_Five\n")
    (root / "train.txt").write_text((root / "train.txt").read_text().replace("Eve_Five\n", ""))
    with pytest.raises(ValueError, match="'mm'.*no train item"):
        survey(TrackSet("mm", sources=SIX), {"mm": root})
    soundfile.write(stem, trees.song(2)["drums"], 44_100)
    found = survey(TrackSet("mm", sources=SIX), {"mm": root})
    named = {note.kind: note.items for note in found.notes}
    assert named["skipped"] == (
        "Ann_Won (no Ann_Won_MIX.wav; did you mean 'Ann_One'?)",
        "Bob_Two (no Bob_Two_METADATA.yaml)",
        "Zoe_Six (no Zoe_Six_MIX.wav; choose from 'Ann_One', 'Bob_Two', 'Cat_Three', 'Dan_Four', 'Eve_Five')",
    )
    assert named["unlisted"] == ("Ann_One",)


def write_confidence(root: Path, name: str, columns: dict[str, np.ndarray], folder: str = "v2") -> Path:
    path = root / "Annotations" / "Activation_Confidence" / folder / f"{name}_ACTIVATION_CONF.lab"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(np.arange(20) * 2048 / 44_100, *columns.values(), strict=False)
    path.write_text(
        "\n".join([",".join(("time", *columns)), *(",".join(f"{x:.4f}" for x in row) for row in rows)]),
        encoding="utf-8",
    )
    return path


def labels_of(config: TrackSet, root: Path, out: Path) -> tuple[Packed, Confidences, dict[str, tuple[str, ...]]]:
    opened = packed(config, root, out / "packed")
    directory = out / "activity"
    directory.mkdir()
    prepare_activity(data=out / "packed", tracks=config, out=directory, ctx=Context(data={"mm": root}))
    notes = json.loads((directory / "notes.json").read_text(encoding="utf-8"))
    assert all(note["count"] == len(note["items"]) for note in notes)
    told = {note["text"].split(" by ")[-1]: tuple(note["items"]) for note in notes}
    return opened, Confidences(directory, opened), told


def test_published_confidences_are_the_labels_of_mm(tmp_path: Path) -> None:
    """A source of two stems is active where either is; what has no usable file is labelled by its energy."""
    root = trees.mm(tmp_path / "mm")
    path = root / "MedleyDB" / "Metadata" / "Ann_One_METADATA.yaml"
    content = yaml.safe_load(path.read_text())
    content["stems"]["S04"]["instrument"] = "male singer"  # S01 is a singer as well
    path.write_text(yaml.safe_dump(content))
    frames = np.arange(20)
    first, second = (frames // 4 % 4 == 0) * 0.9, (frames // 4 % 4 == 1) * 0.8
    drums, bass = (frames // 6 % 2) * 0.7, np.full(20, 0.2)
    write_confidence(root, "Ann_One", {"S01": first, "S02": drums, "S03": bass, "S04": second})
    write_confidence(root, "Ann_One", {f"S0{n}": 0 * bass for n in (1, 2, 3, 4)}, "original")  # the older version
    write_confidence(root, "Bob_Two", {"S01": first, "S02": drums, "S03": bass})
    write_confidence(root, "Cat_Three", {f"S0{n}": bass[:4] for n in (1, 2, 3, 4)})
    config = TrackSet("mm", sources=(*SIX, "other"), samplerate=22_050)
    opened, labels, told = labels_of(config, root, tmp_path)
    assert told["their published activation confidences"] == ("Ann_One",)
    assert sorted(told["energy tracking"]) == ["Bob_Two", "Cat_Three", "Dan_Four", "Eve_Five"]
    bad = dict(
        line.removesuffix(")").split(" (") for line in told["published activation confidences that could not be used"]
    )
    assert bad["Bob_Two"] == "no stem S04, which Bob_Two_METADATA.yaml has"
    assert bad["Cat_Three"].startswith("its confidences end at 0.1 of 0.7 s")
    items = {item.name: item for item in opened.items}
    item = items["Ann_One"]
    at = np.arange(0, item.length, 1024)  # as the published frames, at half the rate
    expected = {"vocals": np.maximum(first, second), "drums": drums, "bass": bass}
    for row, values in expected.items():
        np.testing.assert_array_equal(labels.labels(item, row, at), values[: len(at)] >= 0.5)
    assert labels.labels(item, "vocals", at).any() and not labels.labels(item, "piano", at).any()
    bob = items["Bob_Two"]
    energy = confidence(
        {row: opened.read(bob, row) for row in opened.rows[1:] if row not in bob.silent}, window_of(22_050)
    )["vocals"]
    step = window_of(22_050) // 2
    np.testing.assert_array_equal(labels.labels(bob, "vocals", step * np.arange(len(energy))), energy >= 0.5)


def test_confidences_are_part_of_what_mm_is(tmp_path: Path) -> None:
    root, config, hashes = trees.mm(tmp_path / "mm"), TrackSet("mm", sources=SIX), Fingerprints(None)
    prints = [fingerprint(survey(config, {"mm": root}), root, hashes)]
    for value in (0.2, 0.3):
        write_confidence(root, "Ann_One", {f"S0{n}": np.full(9, value) for n in (1, 2, 3, 4)})
        prints.append(fingerprint(survey(config, {"mm": root}), root, hashes))
    assert len(set(prints)) == 3


def test_a_stem_of_several_instruments_is_no_target() -> None:
    assert target_of(["male singer", "female singer"]) == "vocals"
    assert target_of(["male singer", "electric bass"]) == "other"
    assert target_of("distorted electric guitar") == "electric_guitar" and target_of("banjo") == "other"


def test_an_electric_piano_is_a_piano() -> None:
    """ "electrical and acoustic piano are combined into 'Piano'" [Hung and Lerch 2020, sec. 4.2.3]."""
    assert target_of("electric piano") == target_of("piano") == "piano"


def test_accompaniment_is_of_single_tracks_without_the_target(tmp_path: Path) -> None:
    """The paper's pool holds tracks: two stems of "other" are two of it, and one in which the target plays is none."""
    root = trees.mm(tmp_path / "mm")
    path = root / "MedleyDB" / "Metadata" / "Ann_One_METADATA.yaml"
    content = yaml.safe_load(path.read_text())
    content["stems"]["S04"]["instrument"], content["stems"]["S03"]["instrument"] = ["banjo", "piano"], "tabla"
    path.write_text(yaml.safe_dump(content))
    config = replace(IASS().data, samplerate=22_050)
    opened = packed(config, root, tmp_path / "out")
    alone = tmp_path / "alone"
    alone.mkdir()
    prepare_accompaniment(data=config, segment=1000, out=alone, ctx=Context(out=alone, data={"mm": root}))
    single = Packed(alone)
    trained = {item.name for item in opened.split("train")}
    stems = {name: 2 if name == "Ann_One" else 1 for name in trained}
    assert len(single.items) == sum(stems.values()) and {item.name.split("/")[0] for item in single.items} == trained
    mixer = AccompanimentMixer(opened, "vocals", 4000, 1, 1, 3, single=single)
    assert sum(row == "single tracks" for _, row in mixer.pool) == len(single.items) and "other" not in mixer.rows
    for resident in (False, True):
        feed = Feed(
            mixer.packed, mixer.rows, 4000, lambda s: mixer.draw(s, 6), Context(room=1 << 40 if resident else 0)
        )
        parts, gains = feed(2)
        mixture, target = mix(mixer, mixer.voices(waveforms(parts)) * gains[..., None])
        where, _ = mixer.draw(2, 6)
        for line in range(6):
            total = 0
            for row, start, available, gain in zip(
                where.row[line], where.start[line], where.available[line], gains[line].tolist(), strict=True
            ):
                name = mixer.rows[row]
                source, column = (single, "mixture") if name == "single tracks" else (opened, name)
                whole = np.concatenate([source.read(item, column) for item in source.items])
                total = total + gain * np.pad(whole[start : start + available], (0, 4000 - available))
            np.testing.assert_allclose(mixture[line].numpy(), total, atol=1e-5)
    with_piano = {item.name for item in single.items if "piano" in item.labels}
    assert with_piano == ({"Ann_One/S04"} if "Ann_One" in trained else set())


def test_accompaniment_is_drawn_from_other_instruments(tmp_path: Path) -> None:
    opened = packed(TrackSet("mm", sources=(*SIX, "other")), trees.mm(tmp_path / "mm"), tmp_path / "out")
    mixer = AccompanimentMixer(opened, "vocals", 8000, seed=1)
    assert all("vocals" not in item.silent for item in mixer.songs) and len(mixer.songs) in (2, 3)
    assert {row for _, row in mixer.pool} == {"bass", "drums", "other"}
    mixtures, targets = mixer.batch(5, 4)
    assert mixtures.shape == (4, 8000) and targets.shape == (4, 1, 8000)
    again = AccompanimentMixer(opened, "vocals", 8000, seed=1).batch(5, 4)
    assert np.array_equal(mixtures, again[0]) and np.array_equal(targets, again[1])
    assert not np.array_equal(mixtures, AccompanimentMixer(opened, "vocals", 8000, seed=2).batch(5, 4)[0])
    with pytest.raises(ValueError, match="no training track holds 'piano'"):
        AccompanimentMixer(opened, "piano", 8000, seed=1)
    with pytest.raises(ValueError, match="a mixture takes up to 50"):
        AccompanimentMixer(opened, "vocals", 8000, seed=1, most=50)


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
