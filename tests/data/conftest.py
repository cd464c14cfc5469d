"""Packed sets that tests of data read."""

from __future__ import annotations

from pathlib import Path

import pytest

from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import TrackSet, survey
from mss_core.graph import Context

SEGMENT = 61_792


def packed_tracks(root: Path, out: Path, **changes) -> Packed:
    config = TrackSet("stems", **changes)
    out.mkdir()
    rows = ("mixture", *config.sources)
    pack(survey(config, {"stems": root}), rows, config.samplerate, SEGMENT, out, Context(out=out))
    return Packed(out)


@pytest.fixture(scope="module")
def stems_packed(shared_stems: Path, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """The shared tree, packed once; only read."""
    return packed_tracks(shared_stems, tmp_path_factory.mktemp("packed") / "out")
