"""Mixtures of segments: pure functions of seed and step, of as many segments as asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mss_core.data.mixing import IncoherentMixer, segments
from mss_core.data.packed import Packed
from tests.conftest import FREQUENCIES, write_track
from tests.data.conftest import SEGMENT, packed_tracks


def test_segments_are_cut_as_in_the_reference_code(stems_packed: Packed) -> None:
    packed = stems_packed
    assert [(i.name, s) for i, s in segments(packed, "train", 32_000, 16_000)][:5] == [
        ("a", 0),
        ("a", 16_000),
        ("a", 32_000),
        ("a", 48_000),
        ("a", 64_000),
    ]
    assert [s for _, s in segments(packed, "train", 200_000, 16_000)] == [0, 0, 0, 0]


@pytest.mark.parametrize("sources", [("vocals",), ("vocals", "drums")])
def test_mixtures_are_pure_functions_of_seed_and_step(stems_packed: Packed, sources) -> None:
    packed = stems_packed

    def mixer(seed: int) -> IncoherentMixer:
        return IncoherentMixer(packed, sources, {"drums": 1}, 48_000, 24_000, 16_000, seed)

    mixtures, stems = mixer(0).batch(3, 2)
    assert mixtures.shape == (2, 16_000) and stems.shape == (2, len(sources), 16_000)
    again = mixer(0).batch(3, 2)
    assert np.array_equal(mixtures, again[0]) and np.array_equal(stems, again[1])
    assert not np.array_equal(mixtures, mixer(1).batch(3, 2)[0])
    assert not np.array_equal(mixtures, mixer(0).batch(4, 2)[0])
    if len(sources) > 1:
        np.testing.assert_allclose(mixtures, stems.sum(1), atol=1e-6)


def test_a_single_source_s_target_holds_only_that_source(stems_packed: Packed) -> None:
    packed = stems_packed
    mixer = IncoherentMixer(packed, ("other",), {}, 48_000, 24_000, 16_000, 0)
    mixtures, stems = mixer.batch(0, 4)
    spectrum = np.abs(np.fft.rfft(stems.sum(0)[0] * np.hanning(16_000)))
    peak = np.argmax(spectrum)  # 1 Hz a bin
    assert abs(peak - FREQUENCIES["other"]) < 60
    rest = np.abs(np.fft.rfft((mixtures - stems[:, 0]).sum(0) * np.hanning(16_000)))
    assert rest[450:560].max() < 0.05 * rest.max()


def test_how_many_segments_a_mixture_sums(stems_tree: Path, tmp_path: Path) -> None:
    """Two stems make the target and two other segments the rest, or one of each; of several sources each its own."""
    packed = packed_tracks(stems_tree, tmp_path / "out")

    def reads(sources: tuple[str, ...], **more: int) -> list[int]:
        """How often a mixture reads the mixture's row and each source's, and from how many places."""
        mixer = IncoherentMixer(
            packed, sources, {"vocals": 2, "other": 2, "drums": 2, "bass": 1}, 48_000, 24_000, 16_000, 0, **more
        )
        drawn = mixer.draw(0, 1)[0]
        rows = [mixer.rows[index] for index in drawn.row[0]]
        return [rows.count(row) for row in ("mixture", *packed.rows[1:])] + [len(set(drawn.start[0]))]

    rows = packed.rows[1:]
    for source in rows:
        single = [4 if row == source else 0 for row in rows]
        assert reads((source,)) == [2, *single, 4]
        assert reads((source,), summed=1) == [1, *(n // 2 for n in single), 2]
        for summed in (1, 3):
            mixer = IncoherentMixer(packed, (source,), {}, 48_000, 24_000, 16_000, 0, summed)
            parts = torch.randn(2, 3 * summed, 4)
            voices = mixer.voices(parts)
            assert voices.shape == (2, 2 * summed, 4) and torch.equal(voices[:, :summed], parts[:, :summed])
            torch.testing.assert_close(voices[:, summed], parts[:, summed] - parts[:, summed + 1])
            torch.testing.assert_close(voices[:, -1], parts[:, -2] - parts[:, -1])
    counts = {"vocals": 2, "other": 2, "drums": 2, "bass": 1}
    assert reads(("vocals", "other", "drums", "bass")) == [0, *(counts[row] for row in rows), 7]


def test_too_few_segments_are_refused(tmp_path: Path) -> None:
    for place in ("train/a", "train/b", "test/c"):
        write_track(tmp_path / "s" / place, seconds=3.0)
    packed = packed_tracks(tmp_path / "s", tmp_path / "out")
    with pytest.raises(ValueError, match="needs 4 segments of 6 s; the training tracks hold 1"):
        IncoherentMixer(packed, ("bass",), {}, 96_000, 48_000, SEGMENT, 0)
