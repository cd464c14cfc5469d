"""Folders of museval's files as a table: several methods and runs, with the numbers that museval's own medians give."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from reports.__main__ import main
from reports.inputs.museval import holds_museval, read_folder

GAIN = {"open": 0.0, "mine": 0.7}


def write(path: Path, level: float, rng: np.random.Generator) -> dict[str, float]:
    """A file of museval's with a silent frame; returns the medians of SDR by target."""
    targets, medians = [], {}
    for target in ("vocals", "drums"):
        values = [*(level + rng.normal(0, 0.2, 5)), math.nan]
        frames = [
            {"time": float(second), "duration": 1.0, "metrics": {"SDR": value, "SIR": value + 4}}
            for second, value in enumerate(values)
        ]
        targets.append({"name": target, "frames": frames})
        medians[target] = float(np.nanmedian(values))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"targets": targets, "museval_version": "0.4.1"}))
    return medians


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    for method, gain in GAIN.items():
        for seed in range(3):
            for song in range(4):
                path = tmp_path / method / f"seed{seed}" / "test" / f"song {song}.json"
                write(path, 5 + gain + song / 4 + 0.05 * seed, rng)
    return tmp_path


def test_scores_are_the_medians_of_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = {
        (method, song): write(tmp_path / method / "test" / f"{song}.json", 5.0, rng) for method in "ab" for song in "xy"
    }
    frame = read_folder(tmp_path).frame
    assert (
        len(frame) == 2 * 2 * 2 * 2
        and set(frame["seed"]) == {0}
        and set(frame["aggregation"]) == {"median over frames"}
    )
    for (method, song), medians in truth.items():
        rows = frame[(frame["variant"] == method) & (frame["track"] == song) & (frame["metric"] == "SDR")]
        assert dict(zip(rows["target"], rows["score"], strict=True)) == pytest.approx(medians)


def test_a_report_of_runs_takes_runs_as_the_sample(folder: Path, capsys) -> None:
    assert (
        main([str(folder), "--reference", "open", "--metric", "SDR", "--target", "vocals", "--out", str(folder / "o")])
        == 0
    )
    told = capsys.readouterr().out
    assert "mine (+0." in told and "significantly better than open" in told and "dB" in told
    assert (folder / "o" / "report.html").is_file()
    assert not (folder / "report.html").exists()


def test_the_test_split_is_read_where_both_are_there(folder: Path) -> None:
    before = read_folder(folder).frame
    write(folder / "mine" / "seed0" / "train" / "other.json", 0.0, np.random.default_rng(1))
    (folder / "mine" / "seed0" / "settings.json").write_text('{"lr": 1}')
    assert read_folder(folder).frame.equals(before)
    assert holds_museval(folder) and not holds_museval(folder / "mine" / "seed0" / "train" / "none")


def test_a_frame_without_a_number_is_left_out_and_a_target_without_any_is_undefined(tmp_path: Path) -> None:
    for method in "ab":
        frames = [{"time": 0.0, "metrics": {"SDR": None}}]
        (tmp_path / method).mkdir()
        (tmp_path / method / "x.json").write_text(json.dumps({"targets": [{"name": "vocals", "frames": frames}]}))
    found = read_folder(tmp_path)
    assert found.frame.empty and len(found.undefined) == 2


MISTAKES = [
    ([], "holds museval's files: --reference says which method to compare with, of mine, open"),
    (["--reference", "opem"], "--reference 'opem' is no level of 'method'; did you mean 'open'?"),
    (["--reference", "open", "--metric", "SDRR"], "the scores have no metric 'SDRR'; did you mean 'SDR'?"),
    (["--reference", "open"], "holds several metrics; say which with --metric: SDR, SIR"),
    (["--reference", "open", "--factor", "x"], "whose folders say the method: --factor is of tables"),
    (["--reference", "open", "--one-run"], "whose folders say the method: --one-run is of tables"),
]


@pytest.mark.parametrize("flags, message", MISTAKES)
def test_mistakes(folder: Path, capsys, flags: list[str], message: str) -> None:
    metric = [] if "--metric" in flags or "several" in message else ["--metric", "SDR"]
    assert main([str(folder), *flags, *metric]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told and len(told.splitlines()) == 1


def test_layouts_that_do_not_say_whose_a_track_is(folder: Path, tmp_path_factory) -> None:
    with pytest.raises(ValueError, match="holds one method, and nothing to compare it with"):
        read_folder(folder / "mine" / "seed0")
    (folder / "mine" / "seed1").rename(folder / "mine" / "best")
    with pytest.raises(ValueError, match="the folder of a run is called by its seed, such as 0 or seed0"):
        read_folder(folder)
    (folder / "mine" / "best").rename(folder / "mine" / "run_0")
    with pytest.raises(ValueError, match="mine has two runs numbered 0"):
        read_folder(folder)
    write(folder / "third" / "test" / "song 0.json", 1.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="lie at different depths; put them as METHOD/SEED/test/TRACK.json"):
        read_folder(folder)
    broken = tmp_path_factory.mktemp("broken")
    (broken / "a").mkdir()
    (broken / "a" / "x.json").write_text('{"targets": [{"name": "vocals"}]}')
    with pytest.raises(ValueError, match="x.json is no file of museval's"):
        read_folder(broken)
