"""Checkpoint bundles: what is written from the formats' descriptions is read, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_core.data import bundles
from tests.data import bundle_writer

RNG = np.random.default_rng(0)
ARRAYS = {
    "dense/kernel": RNG.normal(size=(3, 4)).astype(np.float32),
    "dense/kernel/Adam": RNG.normal(size=(3, 4)).astype(np.float32),
    "dense/bias": RNG.normal(size=4),
    "dense_1/steps": np.array(7, np.int64),
    "empty": np.zeros((0, 2), np.float32),
    "halves": np.arange(6, dtype=np.float16).reshape(1, 2, 3),
    "mask": np.array([True, False]),
    "long/" + 200 * "n": np.arange(300, dtype=np.int32),
}


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("per_block", [1, 4, 100])
@pytest.mark.parametrize("prefix", ["", "model.ckpt-9"])
def test_every_array_comes_back_as_it_was(tmp_path: Path, prefix: str, shards: int, per_block: int) -> None:
    index = bundle_writer.write(tmp_path, ARRAYS, prefix, shards, per_block)
    found = bundles.read(index)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)
    assert len(bundles.shards(index)) == shards
    assert bundles.read(index, lambda name: "Adam" not in name).keys() == ARRAYS.keys() - {"dense/kernel/Adam"}


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80))
def test_the_checksum_is_the_division_of_polynomials(content: bytes) -> None:
    assert bundles.crc32c(content) == bundle_writer.divided(content)


def test_no_damage_passes(tmp_path: Path) -> None:
    """Every byte of the arrays and of the table's blocks is under a checksum: none can change unseen."""
    small = {"a": np.arange(5, dtype=np.float32), "b/c": np.arange(3, dtype=np.int64)}
    index = bundle_writer.write(tmp_path, small, per_block=2)
    shard = bundles.shards(index)[0]
    for path, last in ((shard, shard.stat().st_size), (index, index.stat().st_size - 48)):
        whole = path.read_bytes()
        for place in range(last):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
            try:
                found = bundles.read(index)
            except ValueError as error:
                assert str(index) in str(error)
            else:  # what holds the filters is not read
                assert all(np.array_equal(found[name], array) for name, array in small.items()), (path.name, place)
        path.write_bytes(whole)


@pytest.mark.parametrize("cut", [0, 10, 47, 100, -1])
def test_a_cut_index_is_refused(tmp_path: Path, cut: int) -> None:
    index = bundle_writer.write(tmp_path, ARRAYS)
    index.write_bytes(index.read_bytes()[:cut])
    with pytest.raises(ValueError, match="no index of a checkpoint bundle"):
        bundles.read(index)


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    index = bundle_writer.write(tmp_path / "big", ARRAYS, endianness=1)
    with pytest.raises(ValueError, match="the other order of bytes"):
        bundles.read(index)
    index = bundle_writer.write(tmp_path / "snappy", ARRAYS, compression=1)
    with pytest.raises(ValueError, match="compressed"):
        bundles.read(index)
    index = bundle_writer.write(tmp_path / "text", ARRAYS)
    index.write_bytes(_typed(tmp_path / "texts", 7))
    with pytest.raises(ValueError, match="array 'a' cannot be read .*type is number 7"):
        bundles.read(index)
    index = bundle_writer.write(tmp_path / "gone", ARRAYS, shards=2)
    bundles.shards(index)[1].unlink()
    with pytest.raises(ValueError, match="data-00001-of-00002 is missing"):
        bundles.read(index)
    bundles.shards(index)[0].unlink()
    with pytest.raises(ValueError, match="no file .data-"):
        bundles.shards(index)


def _typed(folder: Path, number: int) -> bytes:
    """An index of one array of another type."""
    before = bundle_writer.TYPES["float32"]
    bundle_writer.TYPES["float32"] = number
    try:
        return bundle_writer.write(folder, {"a": np.zeros(1, np.float32)}).read_bytes()
    finally:
        bundle_writer.TYPES["float32"] = before
