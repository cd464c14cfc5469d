"""Activity: energy tracking against what MedleyDB publishes, saliency against the definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mss_core import audio
from mss_core.data.activity import WINDOW, active, confidence, salient
from mss_core.data.loaders.medleydb import read_confidence


def test_a_source_is_active_while_it_sounds() -> None:
    time = np.arange(10 * 44_100) / 44_100
    tone = 0.3 * np.sin(2 * np.pi * 220 * time)
    gated = tone * ((time > 3) & (time < 7))
    found = confidence({"always": tone, "gated": gated, "never": 0 * tone})
    frames = {name: np.arange(len(values)) * (WINDOW // 2) / 44_100 for name, values in found.items()}["gated"]
    assert all(0 <= values.min() and values.max() <= 1 for values in found.values())
    assert active(found["always"])[10:-10].all() and not active(found["never"]).any()
    expected = (frames > 3) & (frames < 7)
    edge = (np.abs(frames - 3) > 0.5) & (np.abs(frames - 7) > 0.5)
    assert np.array_equal(active(found["gated"])[edge], expected[edge])


def test_silence_is_inactive_and_short_sounds_pass() -> None:
    assert not confidence({"a": np.zeros(50_000), "b": np.zeros(50_000)})["a"].any()
    assert confidence({"a": np.ones(3000)})["a"].shape == (3,)  # two windows, half overlapped


def test_published_confidences_are_reproduced(shared_data: Path) -> None:
    """An excerpt of 6.8 s finds its place in the annotation of the whole song and decides as it does."""
    folder = shared_data / "musdb18_excerpt" / "hq_train" / "Music Delta - 80s Rock"
    ours = np.stack(
        list(
            confidence(
                {name: audio.load(folder / f"{name}.wav")[0].mean(0) for name in ("drums", "bass", "other", "vocals")}
            ).values()
        )
    )[:, 6:-6]
    _, values = read_confidence(
        shared_data / "metadata" / "medleydb" / "Activation_Confidence" / "v2.MusicDelta_80sRock_ACTIVATION_CONF.lab"
    )
    published = np.stack(list(values.values()))
    places = [published[:, start : start + ours.shape[1]] for start in range(published.shape[1] - ours.shape[1] + 1)]
    likeness = np.array([np.corrcoef(ours.ravel(), place.ravel())[0, 1] for place in places])
    best = int(likeness.argmax())
    assert likeness[best] > 0.85 and np.sort(np.delete(likeness, range(best - 4, best + 5)))[-1] < likeness[best] - 0.05
    assert np.array_equal(active(ours), active(places[best]))


def test_annotations_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.lab"
    path.write_text("zeit,S01\n0,1\n")
    with pytest.raises(ValueError, match="first line must be time,S01"):
        read_confidence(path)
    path.write_text("time,S01\n0.0,loud\n")
    with pytest.raises(ValueError, match="a line does not hold 2 numbers"):
        read_confidence(path)
    for rows in ("0.0,0.1\n0.0,0.2\n", "0.0,1.5\n", "0.0,nan\n"):
        path.write_text("time,S01\n" + rows)
        with pytest.raises(ValueError, match="times do not rise, or confidences lie outside"):
            read_confidence(path)


def test_salient_windows_reach_the_level() -> None:
    wave = np.concatenate([np.full(100, 0.02), np.full(100, 0.05), np.zeros(50)]).astype(np.float32)
    assert salient(wave, 100, 50).tolist() == [50, 100, 150]
    assert salient(wave, 100, 50, threshold_db=-60.0).tolist() == [0, 50, 100, 150]
    assert salient(np.zeros(30), 100, 50).tolist() == []
