"""MM in its published layout: both collections, its split lists, published confidences, accompaniment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from mss_core.data.activity import Confidences, confidence, window_of
from mss_core.data.batches import Feed, waveforms
from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.loaders.medleydb import target_of
from mss_core.data.mixing import AccompanimentMixer, mix
from mss_core.data.packed import Packed
from mss_core.data.sets import TrackSet, survey
from mss_core.graph import Context
from mss_core.systems.iass import IASS
from mss_core.systems.iass.prepare import prepare_accompaniment, prepare_activity
from tests.data import trees
from tests.data.loaders.test_track_sets import decibels_between, gated_db, packed

SIX = ("bass", "drums", "vocals", "electric_guitar", "acoustic_guitar", "piano")


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
