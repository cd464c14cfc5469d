"""``python -m mss_core.data check`` and ``list``: what is wrong is named by file, and the exit code says how bad."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mss_core.data.__main__ import main
from mss_core.data.check import check, configure
from mss_core.data.files import facts
from mss_core.data.sets import CLIP_SETS, TRACK_SETS
from tests.conftest import REPOSITORY, write_clips, write_track
from tests.data import trees


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, dict]:
    code = main(["check", *map(str, arguments), "--json", "--workers", "1"])
    report = json.loads(capsys.readouterr().out)
    assert report["code"] == code
    return code, report


def test_a_good_set_is_usable(clips_tree: Path, capsys: pytest.CaptureFixture) -> None:
    code, report = run(capsys, "clips", clips_tree)
    assert code == 0 and report["items"] == {"train": 4, "valid": 2, "test": 3}
    assert report["labels"] == {
        "flute": {"train": 2, "valid": 1, "test": 2},
        "violin": {"train": 2, "valid": 1, "test": 1},
    }
    assert report["rates"] == {"16000": 9} and report["channels"] == {"1": 9}
    assert report["hours"]["valid"] == pytest.approx(9 / 3600, abs=1e-3) and len(report["fingerprint"]) == 64
    assert main(["check", "clips", str(clips_tree)]) == 0
    text = capsys.readouterr().out
    assert "label flute: train 2, valid 1, test 2" in text and text.rstrip().endswith("usable")


def test_fingerprint_is_that_of_the_study(clips_tree: Path) -> None:
    from mss_core.data.fingerprints import Fingerprints, fingerprint
    from mss_core.data.sets import survey

    config = configure("clips", clips_tree)
    found = survey(config, {"clips": clips_tree})
    assert check(config, clips_tree, quick=True).fingerprint == fingerprint(found, clips_tree, Fingerprints(None))


def damaged(root: Path) -> Path:
    """A jamendo tree with every kind of bad file among its training clips, and one good."""
    rows = [
        (f"{name}.wav", "y" if name == "stereo" else "x", split, 3.0)
        for name, split in (
            ("good", "train"),
            ("nan", "train"),
            ("zero", "train"),
            ("text", "train"),
            ("stereo", "train"),
            ("v", "valid"),
            ("t", "test"),
        )
    ]
    write_clips(root, rows)
    samples, rate = soundfile.read(root / "nan.wav")
    samples[77] = np.nan
    soundfile.write(root / "nan.wav", samples, rate, subtype="FLOAT")
    (root / "zero.wav").write_bytes(b"")
    (root / "text.wav").write_text("hello")
    soundfile.write(root / "stereo.wav", np.stack([samples * 0, samples * 0], 1), rate)
    return root


def test_bad_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, report = run(capsys, "clips", damaged(tmp_path / "c"))
    assert code == 1 and report["items"] == {"train": 2, "valid": 1, "test": 1}
    excluded = " | ".join(report["excluded"])
    assert "nan.wav: mixture: samples that are not finite" in excluded
    assert "zero.wav (" in excluded and "text.wav (" in excluded
    assert report["warnings"] == [
        "stereo.wav: 2 channel(s) among items of 1",
        "label 'x': every item in valid, test, so that it has no score there",
        "label 'y': no item in valid, test",
    ]


def test_an_mp3_that_stops_half_way_is_excluded(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = trees.jamendo(tmp_path / "j")
    path = root / "audio" / "02" / "102.mp3"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, report = run(capsys, "mtg_jamendo", root)
    assert code == 1 and len(report["excluded"]) == 1
    assert report["excluded"][0].startswith("02/102.mp3: stops after")
    quick = main(["check", "mtg_jamendo", str(root), "--quick"])
    assert quick == 1 and "samples were not decoded" in capsys.readouterr().out


def test_unknown_rates_and_channels_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = trees.musdb18hq(tmp_path / "m")
    for row, samples in trees.song(0).items():
        trees.write(root / "train" / "Band A - One" / f"{row}.wav", samples[:, 0], 22_050)
    code, report = run(capsys, "musdb18hq", root)
    assert code == 1 and report["warnings"] == [
        "Band A - One: 22050 Hz; published are 44100",
        "Band A - One: 1 channels; published are 2",
        "Band A - One: 1 channel(s) among items of 2",
        "Band A - One: 22050 Hz among items of 44100",
    ]


def test_stems_are_compared_with_the_mixture(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = trees.musdb18hq(tmp_path / "m")
    assert run(capsys, "musdb18hq", root)[0] == 0
    rows = trees.song(4)
    mastered = 1.02 * rows["mixture"]
    trees.write(root / "test" / "Band C - Three" / "mixture.wav", mastered, 44_100)
    code, report = run(capsys, "musdb18hq", root)
    assert code == 0 and 30 < report["agreement"]["lowest_db"] < 40  # mastering is no error
    trees.write(root / "test" / "Band C - Three" / "drums.wav", trees.song(2)["drums"], 44_100)
    trees.write(root / "test" / "Band C - Three" / "vocals.wav", trees.song(2)["vocals"], 44_100)
    code, report = run(capsys, "musdb18hq", root)
    assert code == 1 and "Band C - Three: the mixture differs from the sum of its stems" in report["warnings"][0]


def test_a_stem_of_another_length_leaves_its_track_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A stem that is one sample short made a whole set unusable."""
    root = trees.musdb18hq(tmp_path / "m")
    trees.write(root / "train" / "Band B - Two" / "bass.wav", trees.song(1)["bass"][:-1], 44_100)
    code, report = run(capsys, "musdb18hq", root)
    frames = len(trees.song(1)["bass"])
    bad = f"Band B - Two (bass.wav has {frames - 1} frames, mixture.wav {frames})"
    assert code == 1 and report["items"] == {"train": 1, "valid": 2, "test": 2}
    assert any(line.startswith(bad) for line in report["excluded"])


def test_the_stems_of_a_set_are_those_that_most_tracks_have(stems_tree: Path, capsys: pytest.CaptureFixture) -> None:
    """One song with a stem more, or suffixes in capitals, decided which stems a whole set has."""
    shutil.copy(stems_tree / "train" / "a" / "bass.wav", stems_tree / "train" / "a" / "guitar.wav")
    code, report = run(capsys, "stems", stems_tree)
    assert code == 0 and report["facts"] == ["stems that most of the tracks lack, not looked at: guitar (in 1)"]
    for path in list(stems_tree.glob("*/*/*.wav")):
        path.rename(path.with_suffix(".WAV"))
    code, report = run(capsys, "stems", stems_tree)
    assert code == 0 and report["agreement"]["lowest_db"] > 60


def test_wrong_labels_make_a_set_unusable(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = trees.mtat(tmp_path / "mtat")
    order = list(facts()["mtat"]["tags"])
    trees.mtat_lists(root, order)
    order[47], order[48] = order[48], order[47]
    (root / "tags.txt").write_text("\n".join(order))
    code, report = run(capsys, "mtat", root)
    assert code == 3 and "have changed places" in report["errors"][0] and not report["fingerprint"]


def test_a_split_without_usable_items_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = damaged(tmp_path / "c")
    samples, rate = soundfile.read(root / "t.wav")
    soundfile.write(root / "t.wav", np.full_like(samples, np.nan), rate, subtype="FLOAT")
    code, report = run(capsys, "clips", root)
    assert code == 3 and report["errors"] == ["no usable test item"]


def test_artists_on_both_sides_and_absent_labels_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = trees.jamendo(tmp_path / "j")
    table = root / "data" / "splits" / "split-0" / "autotagging_instrument-test.tsv"
    table.write_text(table.read_text().replace("artist_000111", "artist_000103"))
    code, report = run(capsys, "mtg_jamendo", root, "--labels", "instrument")
    assert code == 3 and "none of its 40 labels can be learned, as the 2 train items all have" in report["errors"][0]
    assert "artist_000103 (train, test): artists with items in more than one split" in report["warnings"]
    assert "label 'instrument---accordion': no item in train, valid, test" in report["warnings"]


@pytest.mark.parametrize(
    "name",
    [
        "musdb18hq",
        "mm",
        "moisesdb",
        "ms21",
        "slakh2100",
        "mtat",
        "fma_medium",
        "fma_medium_minus_small",
        "irmas",
        "mtg_jamendo",
    ],
)
def test_every_layout_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    maker = {"mtg_jamendo": trees.jamendo, "fma_medium": trees.fma, "fma_medium_minus_small": trees.fma}
    root = maker.get(name, getattr(trees, name, None))(tmp_path / "set")
    code, report = run(capsys, name, root)
    assert code in (0, 1) and not report["errors"] and all(report["items"].values())
    assert any(not row["agrees"] for row in report["published"])  # a small tree is not the published set
    if name in TRACK_SETS:
        assert report["agreement"]["lowest_db"] > 35
    assert main(["check", name, str(root), "--quick"]) in (0, 1)
    assert "published" in capsys.readouterr().out


def test_published_totals_stand_beside_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def rows(name: str, root: Path) -> dict[str, tuple]:
        _, report = run(capsys, name, root)
        return {
            row["what"]: (row["published"], row["found"], row["agrees"], row["verified"]) for row in report["published"]
        }

    assert rows("musdb18hq", trees.musdb18hq(tmp_path / "m"))["train items"] == (86, 2, False, True)
    found = rows("mm", trees.mm(tmp_path / "mm"))
    assert found["test items with vocals"] == (71, 1, False, True)
    assert found["train + valid items with drums"] == (468, 4, False, True)


def test_a_mono_stem_and_another_rate_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = tmp_path / "s"
    for seed, place in enumerate(("train/a", "train/b", "valid/c", "test/d")):
        write_track(root / place, seconds=1.0, seed=seed, rate=22_050 if seed == 1 else 16_000)
    samples, rate = soundfile.read(root / "train" / "a" / "vocals.wav")
    soundfile.write(root / "train" / "a" / "vocals.wav", samples.mean(1), rate)
    code, report = run(capsys, "stems", root)
    assert code == 1 and report["warnings"] == [
        "a: vocals has 1 channel(s), the mixture 2",
        "b: 22050 Hz among items of 16000",
    ]


def test_the_same_audio_in_two_splits_is_named(clips_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (clips_tree / "test0.wav").write_bytes((clips_tree / "train1.wav").read_bytes())
    code, report = run(capsys, "clips", clips_tree)
    assert code == 1 and report["warnings"] == [
        "train1.wav (train: violin) and test0.wav (test: flute): the same audio"
    ]
    for seed, place in enumerate(("train/a", "train/b", "valid/c")):
        write_track(tmp_path / "s" / place, seconds=1.0, seed=seed)
    shutil.copytree(tmp_path / "s" / "train" / "b", tmp_path / "s" / "test" / "b")
    code, report = run(capsys, "stems", tmp_path / "s")
    assert code == 1 and report["warnings"] == ["b (train) and b (test): the same audio"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("ms21", "train/A - 1", "test/A - 1"),
        ("slakh2100", "train/Track00001", "test/Track00001"),
        ("mm", "MedleyDB/Audio/Ann_One", "Elsewhere/Ann_One"),
    ],
)
def test_a_song_in_two_folders_makes_a_set_unusable(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, old: str, new: str
) -> None:
    root = getattr(trees, name)(tmp_path / "t")
    shutil.copytree(root / old, root / new)
    code, report = run(capsys, name, root, "--quick")
    assert code == 3 and f"{new.split('/')[-1]} lies in " in report["errors"][0]
    assert "and again in " in report["errors"][0]


def test_what_was_not_checked_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = trees.mtat(tmp_path / "mtat")
    told = {"labels of the training split", "labels by class", "labels of single clips"}
    for lists, annotated in ((False, True), (True, True), (True, False)):
        if lists:
            trees.mtat_lists(root, list(facts()["mtat"]["tags"]))
        if not annotated:
            (root / "annotations_final.csv").unlink()
        _, report = run(capsys, "mtat", root, "--split", "lists" if lists else "folders", "--quick")
        expected = told - {"labels of single clips"} if lists and annotated else told
        assert {line.split(":")[0] for line in report["not_checked"]} == {
            *expected,
            "samples were not decoded (headers only)",
        }
    for name, text in (("fma_medium", "tracks.csv against the published one"), ("mm", "322 of its 330 files")):
        code = main(["check", name, str(tmp_path)])  # nothing there: what cannot be checked is told all the same
        out = capsys.readouterr().out
        assert code == 3 and "  not checked: " in out and text in out
    assert "not checked" not in " ".join(run(capsys, "clips", damaged(tmp_path / "c"))[1]["not_checked"])


def test_unverified_figures_are_marked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main(["check", "fma_medium", str(trees.fma(tmp_path / "fma")), "--quick"])
    out = capsys.readouterr().out
    assert "train items: published 19922 (unverified), found 3: DIFFERS" in out
    assert "items, with the known broken ones: published 25000, found 7: DIFFERS" in out
    main(["list"])
    assert "unverified: splits, rates" in capsys.readouterr().out
    main(["list", "--json"])
    for about in json.loads(capsys.readouterr().out).values():
        assert set(about["unverified"]) <= {"size", "hours", "licence", "splits", "rates"}
        assert bool(about["sources"]) == bool(about["expected"]) and isinstance(about["not_checked"], list)


def test_nonsense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["check", "musdb", str(tmp_path)]) == 2
    assert "no data set 'musdb'; did you mean 'musdb18'" in capsys.readouterr().err
    assert main(["check", "irmas", str(tmp_path), "--split", "thesys"]) == 2
    assert "did you mean 'thesis'" in capsys.readouterr().err
    assert main(["check", "irmas", str(tmp_path / "nowhere")]) == 3
    assert "is not a folder" in capsys.readouterr().out


def test_list_says_what_each_set_is(capsys: pytest.CaptureFixture) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert main(["list", "--json"]) == 0
    sets = json.loads(capsys.readouterr().out)
    assert set(sets) == {*TRACK_SETS, *CLIP_SETS}
    for name, about in sets.items():
        assert name in text and about["licence"] in text and about["where"] in text and about["size"]


def test_a_set_is_checked_as_a_study_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The transfer study reads MUSDB18-HQ to train on and, with another mixture and level, to score on."""
    root = trees.musdb18hq(tmp_path / "m")
    study = REPOSITORY / "studies" / "separator_transfer.py"
    code = main(["check", "musdb18hq", str(root), "--quick", "--json", "--study", str(study)])
    read = [report["read_as"] for report in json.loads(capsys.readouterr().out)]
    ways = {(each["mixture"], each["rms_db"]) for each in read}
    assert code in (0, 1) and ("published", None) in ways and len(ways) == 2
    assert {each["samplerate"] for each in read} == {44_100}
    assert main(["check", "mtat", str(root), "--study", str(study)]) == 2
    assert "does not read it: no data set 'mtat'" in capsys.readouterr().err
    assert main(["check", "musdb18hq", str(root), "--study", str(tmp_path / "none.py")]) == 2


def test_what_is_wrong_with_the_set_hides_no_broken_file(stems_tree: Path, capsys: pytest.CaptureFixture) -> None:
    """Two broken files lie in tracks of which the survey says nothing: it ends with the lack of training tracks."""
    for place in ("valid/e", "train/b", "train/c", "train/d"):
        shutil.rmtree(stems_tree / place)
    (stems_tree / "test/f/vocals.wav").write_text("not audio")
    (stems_tree / "test/g/bass.wav").write_bytes(b"")
    code, report = run(capsys, "stems", stems_tree)
    assert code == 3 and len(report["errors"]) == 1 and "too few to hold one out" in report["errors"][0]
    assert [line.split(":")[0] for line in report["excluded"]] == ["test/f/vocals.wav", "test/g/bass.wav"]
