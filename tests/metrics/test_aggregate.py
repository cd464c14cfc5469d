"""Aggregation and museval's JSON, against museval's own stores."""

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mss_core.metrics import aggregate, museval_io
from mss_core.metrics.bss_eval import BssEval

TARGETS = ["vocals", "drums", "bass"]


def made_up(seed, frames=7):
    rng = np.random.default_rng(seed)
    scores = 5 * rng.standard_normal((4, 3, frames))
    scores[:, :, 2] = np.nan
    scores[0, 1, 4] = np.inf  # a perfect frame
    return BssEval(*scores, np.arange(frames) * 1.0, 1.0, 1.0, 10.0)


def frames_of(tracks):
    """A table as ``museval_io.read`` gives one, of scores that no file has rounded."""
    return pd.DataFrame(
        [
            (track, target, metric, time, score)
            for track, scores in tracks.items()
            for metric in aggregate.METRICS
            for target, row in zip(TARGETS, getattr(scores, metric.lower()), strict=True)
            for time, score in zip(scores.start, row, strict=True)
        ],
        columns=["track", "target", "metric", "time", "score"],
    )


@pytest.fixture(scope="module")
def museval():
    """museval's aggregate module, in a package of that name: its __init__ asks for ffmpeg."""
    folder = Path(importlib.util.find_spec("museval").origin).parent
    before = {name: m for name, m in sys.modules.items() if name.split(".")[0] == "museval"}
    package = types.ModuleType("museval")
    package.__path__ = [str(folder)]
    sys.modules["museval"] = package
    yield importlib.import_module("museval.aggregate")
    for name in [n for n in sys.modules if n.split(".")[0] == "museval"]:
        del sys.modules[name]
    sys.modules.update(before)


def track_store(museval, name, scores):
    store = museval.TrackStore(name)
    for j, target in enumerate(TARGETS):
        rows = {m: getattr(scores, m.lower())[j].tolist() for m in aggregate.METRICS}
        store.add_target(target, rows)
    return store


def test_a_file_of_musevals_gives_the_same_summary(museval, tmp_path):
    tracks = {f"song {i}": made_up(i) for i in range(4)}
    for how in ("median", "mean"):
        theirs = museval.EvalStore(frames_agg=how, tracks_agg=how)
        frames = []
        for name, scores in tracks.items():
            store = track_store(museval, name, scores)
            store.validate()
            store.save(tmp_path / f"{name}.json")
            theirs.add_track(store)
            frames.append(museval_io.read(tmp_path / f"{name}.json"))
        ours = aggregate.over_tracks(aggregate.over_frames(pd.concat(frames), how), how)
        expected = theirs.agg_frames_tracks_scores()
        assert len(ours) == len(expected) == 12
        for row in ours.itertuples():
            assert row.score == pytest.approx(float(expected[row.target, row.metric]), abs=1e-12)
            assert row.aggregation == f"{how} over frames, {how} over tracks"
            assert row.tracks == 4 and row.undefined == 0 and row.frames == 28
            perfect = row.target == "drums" and row.metric == "SDR"
            assert row.dropped == (8 if perfect else 4)


def test_what_we_write_is_what_museval_writes(museval, tmp_path):
    scores = made_up(9)
    theirs = json.loads(track_store(museval, "song", scores).json)
    museval_io.write(tmp_path / "deep" / "song.json", museval_io.to_json(scores, TARGETS))
    ours = json.loads((tmp_path / "deep" / "song.json").read_text())
    np.testing.assert_equal(ours, theirs)
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "song.json"]
    frame = museval.json2df(ours, "song")
    again = museval_io.read(tmp_path / "deep" / "song.json")
    keys = ["target", "metric", "time"]
    a, b = (x.sort_values(keys)["score"].astype(float).to_numpy() for x in (frame, again))
    np.testing.assert_array_equal(a, b)
    table = frames_of({"song": scores}).sort_values(keys)
    low = np.isfinite(b)
    np.testing.assert_allclose(table["score"].to_numpy()[low], b[low], atol=6e-6)
    assert list(table.columns) == list(again.columns)


def test_the_four_aggregations_differ_and_are_named():
    tracks = {f"song {i}": made_up(i, 9) for i in range(5)}
    frames = frames_of(tracks)
    seen = set()
    for first in ("median", "mean"):
        for second in ("median", "mean"):
            table = aggregate.over_tracks(aggregate.over_frames(frames, first), second)
            table = table.set_index(["target", "metric"])
            by_hand = []
            for scores in tracks.values():
                finite = scores.sdr[1][np.isfinite(scores.sdr[1])]
                by_hand.append(getattr(np, first)(finite))
            row = table.loc["drums", "SDR"]
            assert row["score"] == pytest.approx(getattr(np, second)(by_hand))
            assert row["aggregation"] == f"{first} over frames, {second} over tracks"
            seen.add(round(row["score"], 6))
    assert len(seen) == 4


def test_tracks_without_a_score_are_counted_not_averaged():
    silent = made_up(0)
    for m in aggregate.METRICS:
        getattr(silent, m.lower())[:] = np.nan
    frames = frames_of({"silent": silent, "song": made_up(1)})
    by_track = aggregate.over_frames(frames, "median")
    assert by_track[by_track.track == "silent"]["score"].isna().all()
    assert (by_track[by_track.track == "silent"]["dropped"] == 7).all()
    overall = aggregate.over_tracks(by_track, "mean")
    assert (overall["tracks"] == 2).all() and (overall["undefined"] == 1).all()
    np.testing.assert_array_equal(overall["score"], by_track[by_track.track == "song"]["score"].to_numpy())


def test_wrong_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="aggregation is 'max', should be 'mean' or 'median'"):
        aggregate.aggregate([1.0], "max")
    with pytest.raises(ValueError, match="1 targets for scores of 3 sources"):
        museval_io.to_json(made_up(0), ["vocals"])
    for text in ("{", "[]", '{"targets": [{"name": "x"}]}'):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(ValueError, match="odd.json is no file of museval's"):
            museval_io.read(tmp_path / "odd.json")
