"""The tables of all targets as one: names of tracks come through as they are."""

from __future__ import annotations

from pathlib import Path

from mss_core import artefact
from mss_core.graph import Context
from mss_core.systems.iass.evaluate import evaluate_targets


def test_a_track_named_by_a_number_or_like_a_gap_keeps_its_name(tmp_path: Path) -> None:
    """frames.csv said 1 of a track named 001, and nothing of one named NA."""
    scores, out = tmp_path / "scores", tmp_path / "out"
    for folder in (scores, out):
        folder.mkdir()
    artefact.write_scores(scores, [("001", "vocals", "sdr", "", 1.0), ("NA", "vocals", "sdr", "", 3.0)])
    frames = "track,target,frames,dropped,silent_reference,silent_estimate\n001,vocals,9,1,1,0\nNA,vocals,9,0,0,0\n"
    (scores / "frames.csv").write_text(frames)
    evaluate_targets(
        scores=(scores,),
        targets=("vocals",),
        activity=None,
        over_tracks="mean",
        out=out,
        ctx=Context(data={}, device="cpu"),
    )
    assert (out / "frames.csv").read_text() == frames
    table = artefact.read_scores(out)
    assert table[table.track != ""].track.tolist() == ["001", "NA"]
    assert table[(table.track == "") & (table.target == "vocals")].score.tolist()[0] == 2.0
