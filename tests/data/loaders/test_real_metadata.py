"""The real files beside the checkout: split sizes, label totals and names against what is published.

Not there, so not checked: MTAT's training labels and annotations, FMA's tracks.csv, 322 of MedleyDB's 330 metadata
files, Jamendo's top-50 training table, the split lists of MM.
"""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mss_core.data import activity
from mss_core.data.files import facts, read_lines
from mss_core.data.loaders import irmas, medleydb, mtat, mtg_jamendo, slakh, stem_mp4
from mss_core.data.loaders.midi import onsets
from mss_core.data.loaders.ms21 import nodes
from mss_core.data.sets import TrackSet, survey


@pytest.fixture
def metadata(shared_data: Path) -> Path:
    return shared_data / "metadata"


def test_mtat_split_sizes_and_names(metadata: Path) -> None:
    order = read_lines(metadata / "mtat" / "jongpillee_top50_tags.txt")
    sizes, expected = {}, facts()["sets"]["mtat"]["expected"]["splits"]
    for split in ("valid", "test"):
        ours = mtat.read_list(metadata / "mtat" / f"jongpillee_{split}.tsv.gz", order)
        theirs = {
            line.split("\t")[1].removesuffix(".mp3")
            for line in read_lines(metadata / "mtat" / f"minzwon_{split}.tsv.gz")
        }
        assert set(ours) == theirs and all(ours.values())
        assert {mtat.folder_split(name) for name in ours} == {split}
        sizes[split] = len(ours)
    training = read_lines(metadata / "mtat" / "jongpillee_train_list_no_labels.txt.gz")
    assert {mtat.folder_split(name) for name in training} == {"train"}
    assert {"train": len(training), **sizes} == expected


def test_mtat_orders_differ_in_two_places(metadata: Path) -> None:
    orders = [
        [mtat.tag_name(line) for line in read_lines(metadata / "mtat" / f"{who}_top50_tags.txt")]
        for who in ("jongpillee", "minzwon")
    ]
    assert orders[1] == facts()["mtat"]["tags"]
    assert [index for index in range(50) if orders[0][index] != orders[1][index]] == [47, 48]
    right = mtat.read_list(metadata / "mtat" / "jongpillee_test.tsv.gz", orders[0])
    wrong = mtat.read_list(metadata / "mtat" / "jongpillee_test.tsv.gz", orders[1])
    assert "'female voice' and 'metal' have changed places" in mtat.compare(wrong, right)
    assert mtat.compare(dict(reversed(list(right.items()))), right) == ""


def test_jamendo_split_sizes_and_tags(metadata: Path) -> None:
    folder, expected = metadata / "mtg_jamendo", facts()["sets"]["mtg_jamendo"]["expected"]["splits"]
    for labels, missing in (("instrument", ()), ("top50", ("train",))):
        tags = tuple(facts()["mtg_jamendo"][labels])
        seen: dict[str, set[str]] = {}
        used = set()
        for spoken, split in mtg_jamendo.SPLIT_OF.items():
            if split not in missing:
                rows = mtg_jamendo.read_table(mtg_jamendo.find_table(folder, "split-0", labels, spoken), tags)
                assert len(rows) == expected[labels][split]
                seen[split] = {artist for _, artist, _, _ in rows}
                used |= {tag for *_, chosen in rows for tag in chosen}
        assert used == set(tags)
        assert not any(seen[a] & seen[b] for a in seen for b in seen if a < b)
    published = {line.split("\t")[0] for line in read_lines(folder / "ml4md2019_auc_top50.tsv")[1:]}
    ours = set(facts()["mtg_jamendo"]["top50"])
    assert ours == set(read_lines(folder / "top50.txt"))
    assert len(ours & published) == 46  # the results of 2019 were published for a slightly other top 50


@pytest.mark.parametrize("policy", ["redux", "split2"])
def test_slakh_splits_are_the_published_ones(metadata: Path, policy: str) -> None:
    name = {"redux": "redux.json", "split2": "splits_v2.json"}[policy]
    published = json.loads((metadata / "slakh" / name).read_text())
    assert len(published) == 2100
    counts = {"train": 0, "valid": 0, "test": 0}
    for track, entry in published.items():
        split = slakh.split_of(track, policy)
        if entry["action"] == "omit":
            assert split is None
            continue
        counts[split] += 1
        if entry["action"] == "move":
            assert split == {"validation": "valid"}.get(entry["destination_split"], entry["destination_split"])
        else:
            assert split == slakh.split_of(track, "orig")
    assert counts == facts()["sets"]["slakh2100"]["expected"]["splits"][policy]


def test_slakh_real_track(metadata: Path, tmp_path: Path) -> None:
    mini = metadata / "mirdata_minis" / "slakh" / "slakh2100_flac_redux" / "train" / "Track00001"
    counts = slakh.onset_counts(mini)
    assert counts == {"bass": 361, "drums": 1076, "guitar": 446, "piano": 401, "strings": 0}
    stems = sum(onsets(path) for path in (mini / "MIDI").glob("S*.mid"))
    assert (stems, onsets(mini / "all_src.mid")) == (3096, 3139)  # S06, of 43 notes, was never saved
    root = tmp_path / "s"
    for number in (1, 2, 1501, 1900):
        shutil.copytree(mini, root / f"Track{number:05d}")
    found = survey(TrackSet("slakh2100", tuple(slakh.PROGRAMS)), {"slakh2100": root})
    assert not [note for note in found.notes if note.kind == "skipped"]
    sound = found.items[0].read()
    assert np.abs(sound.rows["guitar"]).max() > 0.01 and not np.abs(sound.rows["drums"]).any()
    total = sum(sound.rows[source] for source in slakh.PROGRAMS)
    np.testing.assert_allclose(total, sound.rows["mixture"], atol=2e-3)


def test_slakh_general_midi_classes(metadata: Path) -> None:
    table = json.loads((metadata / "slakh" / "general_midi_inst_0based.json").read_text())
    for source in ("piano", "guitar", "bass", "organ", "brass", "reed", "pipe", "drums"):
        assert {int(n) for n, entry in table.items() if entry["class"].lower() == source} == set(slakh.PROGRAMS[source])


def test_slakh_published_hierarchy(metadata: Path) -> None:
    content = json.loads((metadata / "hierarchies" / "ismir_hierarchy.json").read_text())
    patches = slakh.nodes(content)
    below = patches["superlevel_strings_guitar_keyboards"]
    assert patches["clean guitars"] < patches["guitar"] < below and len(content["mix"]) == 4


def test_musdb18_validation_tracks_and_sizes(metadata: Path) -> None:
    test = set(json.loads((metadata / "musdb" / "mus18_test_tracks.json").read_text()))
    with open(metadata / "musdb" / "musdb18_tracklist.csv", newline="", encoding="utf-8-sig") as file:
        names = {row["Track Name"] for row in csv.DictReader(file)}
    valid = set(facts()["musdb18"]["valid"])
    text = (metadata / "musdb" / "mus.yaml").read_text().split("validation_tracks:")[1]
    assert all(f"- '{name}'" in text for name in valid)
    assert not valid & test and len(names) == 150
    assert {"train": 150 - len(valid) - len(test), "valid": len(valid), "test": len(test)} == facts()["sets"][
        "musdb18"
    ]["expected"]["splits"]


def test_musdb18_stem_file(shared_data: Path) -> None:
    path = shared_data / "musdb18_excerpt" / "stem_mp4" / "train" / "Music Delta - 80s Rock.stem.mp4"
    streams = stem_mp4.info(path)
    assert len(streams) == 5 and {rate for _, rate in streams} == {44_100}
    assert all(6.5 < ticks / rate < 7.2 for ticks, rate in streams)
    try:
        stem_mp4.require_decoder()
    except ValueError:
        pytest.skip("neither ffmpeg nor PyAV: headers checked, samples not")
    from mss_core import audio

    decoded = stem_mp4.load(path, range(5))
    reference, _ = audio.load(shared_data / "musdb18_excerpt" / "hq_train" / "Music Delta - 80s Rock" / "vocals.wav")
    length = min(decoded[4].shape[1], reference.shape[1])
    error = np.square(decoded[4][:, :length] - reference[:, :length]).sum()
    assert 10 * np.log10(np.square(reference).sum() / error) > 10


def test_medleydb_metadata(metadata: Path) -> None:
    known = {name for names in medleydb.targets().values() for name in names}
    seen = {}
    for path in sorted((metadata / "medleydb" / "Metadata").glob("*_METADATA.yaml")):
        for stem in medleydb.read_metadata(path)["stems"].values():
            seen[str(stem["instrument"])] = medleydb.target_of(stem["instrument"])
    assert seen["drum set"] == "drums" and seen["electric bass"] == "bass" and seen["male singer"] == "vocals"
    assert seen["distorted electric guitar"] == "electric_guitar" and known & set(seen)


def test_medleydb_instrument_names_exist(metadata: Path) -> None:
    import yaml

    taxonomy = yaml.safe_load((metadata / "medleydb" / "taxonomy.yaml").read_text())

    def leaves(node) -> set[str]:
        if isinstance(node, dict):
            return set().union(*(leaves(value) for value in node.values()))
        return {word for item in node or () for word in (leaves(item) if isinstance(item, dict) else {item})}

    unknown = {name for names in medleydb.targets().values() for name in names} - leaves(taxonomy)
    assert unknown == set()


def test_medleydb_confidences(metadata: Path) -> None:
    path = metadata / "medleydb" / "Activation_Confidence" / "v2.MusicDelta_80sRock_ACTIVATION_CONF.lab"
    times, values = medleydb.read_confidence(path)
    assert list(values) == ["S01", "S02", "S03", "S04"]
    assert times[1] == pytest.approx(activity.WINDOW / 2 / 44_100, abs=1e-4)
    assert all(0 <= v.min() and v.max() <= 1 for v in values.values()) and activity.active(values["S04"]).mean() > 0.3


def test_medleydb_confidences_of_a_source_of_two_stems(metadata: Path, tmp_path: Path) -> None:
    folder = metadata / "medleydb"
    lab = folder / "Activation_Confidence" / "v2.MusicDelta_Rock_ACTIVATION_CONF.lab"
    (tmp_path / "MusicDelta_Rock_ACTIVATION_CONF.lab").symlink_to(lab)
    name = "MusicDelta_Rock_METADATA.yaml"
    (tmp_path / name).symlink_to(folder / "Metadata" / name)
    sources = ("vocals", "electric_guitar", "piano")
    _, found = medleydb.confidences(TrackSet("mm", sources=sources), tmp_path)["MusicDelta_Rock"]()
    stems = np.loadtxt(lab, delimiter=",", skiprows=1)[:, 1:]
    assert set(found) == {"vocals", "electric_guitar"}
    assert np.array_equal(found["vocals"], stems[:, 4])
    assert np.array_equal(found["electric_guitar"], np.maximum(stems[:, 2], stems[:, 3]))


def test_ms21_lists(metadata: Path) -> None:
    lines = read_lines(metadata / "mixing_secrets" / "split_track_list.txt")
    counts = {split: sum(line.startswith(f"{split}/") for line in lines) for split in ("train", "val", "test")}
    assert counts == {"train": 420, "val": 30, "test": 50}  # the thesis prints none
    published = json.loads((metadata / "mixing_secrets" / "hierarchy.json").read_text())["mix"]
    assert set(published["track2inst"]) <= set(nodes())


def test_irmas_excerpts(metadata: Path) -> None:
    test = next((metadata / "irmas" / "IRMAS-TestingData-Part1" / "Part1").glob("*.txt"))
    assert irmas.labels_of(test) == ("gel", "voi")
    training = next((metadata / "irmas" / "IRMAS-TrainingData" / "cla").glob("*.wav"))
    assert irmas.recording(training.stem) == "IRMAS 0189"


def test_fma_genres(metadata: Path) -> None:
    with open(metadata / "fma" / "genres.csv", newline="", encoding="utf-8") as file:
        roots = {row["title"] for row in csv.DictReader(file) if row["parent"] == "0"}
    assert roots == set(facts()["fma"]["genres"])


def test_gzipped_lists_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("\ufeffa\nb\n".encode()))
    assert read_lines(tmp_path / "a.txt.gz") == ["a", "b"]
