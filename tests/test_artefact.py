"""What stages leave for reports is written and read by one module, and comes back as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_core import artefact, models

names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=8)


@given(st.lists(st.tuples(names, names, names, names, st.one_of(st.just(math.nan), st.floats(-1e3, 1e3))), max_size=6))
@settings(max_examples=50, deadline=None)
def test_scores_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[artefact.Score]) -> None:
    """Whatever a track is called (001, NA, empty), and where a score is undefined."""
    out = tmp_path_factory.mktemp("scores")
    artefact.write_scores(out, rows)
    again = artefact.read_scores(out)
    assert list(again.columns) == artefact.COLUMNS == ["track", "target", "metric", "aggregation", "score"]
    assert again[["track", "target"]].values.tolist() == [list(row[:2]) for row in rows]
    np.testing.assert_allclose(again.score.to_numpy(float), [row[4] for row in rows], rtol=1e-15)


def test_a_track_named_by_a_number_or_like_a_gap_keeps_its_name(tmp_path: Path) -> None:
    artefact.write_scores(tmp_path, [("001", "NA", "sdr", "", 1.5), ("", "", "sdr", "", math.nan)])
    assert (tmp_path / "scores.csv").read_text() == (
        "track,target,metric,aggregation,score\n001,NA,sdr,,1.5\n,,sdr,,\n"
    )
    read = artefact.read_scores(tmp_path)
    assert read.track.tolist() == ["001", ""] and read.target.tolist() == ["NA", ""]
    assert read.aggregation.tolist() == ["", ""] and math.isnan(read.score[1])


def test_a_table_needs_the_columns(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="aggregation"):
        artefact.write_scores(tmp_path, pd.DataFrame({"track": ["a"], "target": ["b"], "metric": ["m"], "score": [1]}))


def test_notes_count_what_they_name_unless_told(tmp_path: Path) -> None:
    notes = [
        artefact.note("silent", "stems", ["a", "b"]),
        artefact.note("silent", "nothing", []),
        artefact.note("selected", "on test", [], count=1),
    ]
    artefact.write_notes(tmp_path, notes)
    assert artefact.read_notes(tmp_path) == [
        {"kind": "silent", "text": "stems", "items": ["a", "b"], "count": 2},
        {"kind": "selected", "text": "on test", "items": [], "count": 1},
    ]


def test_a_stage_that_left_no_notes_and_examples_has_none(tmp_path: Path) -> None:
    assert artefact.read_notes(tmp_path) == [] == artefact.read_examples(tmp_path)


def test_the_first_examples_of_each_target_are_kept_where_the_reference_is_loudest(tmp_path: Path) -> None:
    rate = 100
    reference = np.zeros(20 * rate, np.float32)
    reference[9 * rate : 10 * rate] = 0.5  # a stretch of six seconds from a whole second on holds it from 4 to 9
    sounds = {"mixture": 2 * reference / 2, "reference": reference, "estimate": reference / 2}
    examples: list[dict[str, str]] = []
    for track, target in (("a", "vocals"), ("b", "vocals"), ("c", "vocals"), ("a", "bass")):
        artefact.add_example(examples, tmp_path, track, target, sounds, rate, picture=target == "bass")
    artefact.write_examples(tmp_path, examples)
    assert artefact.read_examples(tmp_path) == [
        {"track": "a", "target": "vocals", "folder": "examples/1/vocals"},
        {"track": "b", "target": "vocals", "folder": "examples/2/vocals"},
        {"track": "a", "target": "bass", "folder": "examples/1/bass"},
    ]
    for line in examples:
        heard = {name: soundfile.read(tmp_path / line["folder"] / f"{name}.wav")[0] for name in sounds}
        assert {len(sound) for sound in heard.values()} == {6 * rate}
        np.testing.assert_allclose(heard["reference"].sum(), 0.5 * rate, rtol=1e-3)
        np.testing.assert_allclose(heard["estimate"], heard["reference"] / 2, atol=1e-4)
    assert (tmp_path / "examples/1/bass.png").exists() and not (tmp_path / "examples/1/vocals.png").exists()


def test_a_trained_model_comes_back_with_what_is_said_of_it(tmp_path: Path) -> None:
    described = {**models.model("cnn_tail"), "classes": 3}
    module = models.build(described)
    artefact.write_trained(tmp_path, described, module, {"valid_loss": 0.5}, classified=True, songs=7)
    again = models.load(tmp_path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in module.state_dict().items())
    assert json.loads((tmp_path / "best.json").read_text()) == {"valid_loss": 0.5, "classified": True, "songs": 7}


def test_no_stage_writes_a_table_or_a_list_for_reports_by_hand() -> None:
    """The contract of docs/formats.md has one home: names and columns of these files stand nowhere else."""
    root = Path(artefact.__file__).parent
    for path in [*root.glob("stages/*.py"), *root.glob("systems/*/*.py"), *root.glob("data/*.py")]:
        text = path.read_text(encoding="utf-8")
        for name in ("scores.csv", "notes.json", "examples.json", "best.json"):
            assert f'"{name}"' not in text or f'read_json(model, "{name}")' in text, (path, name)
