"""A checkpoint bundle written byte by byte from the public descriptions of the formats: LevelDB's doc/table_format.md
and TensorFlow's tensor_bundle.proto, tensor_shape.proto and types.proto."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mss_core import models
from mss_core.models.musicnn import _PLACES

TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10, "float16": 19}


def divided(content: bytes) -> int:
    """CRC-32C by division of polynomials, a bit at a time, as its definition has it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return ~crc & 0xFFFFFFFF


def masked(content: bytes, checksum: Callable[[bytes], int] = divided) -> bytes:
    crc = checksum(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32)


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def numbered(field: int, number: int) -> bytes:
    """A whole number of a message; a zero is left out, as proto3 does."""
    return varint(field << 3) + varint(number) if number else b""


def delimited(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def block(entries: list[tuple[bytes, bytes]], interval: int = 3, compression: int = 0) -> bytes:
    """Entries that share prefixes with the one before, but for every ``interval``-th; type and checksum at the end."""
    content, restarts, before = b"", [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % interval == 0:
            restarts.append(len(content))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    content += struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))
    kind = bytes([compression])
    return content + kind + masked(content + kind)


def write(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    prefix: str = "",
    shards: int = 1,
    per_block: int = 4,
    checksum: Callable[[bytes], int] = divided,
    **header: int,
) -> Path:
    """``<prefix>.index`` and its shards in ``folder``; arrays go to the shards in turn. Returns the index."""
    data = [b""] * shards
    entries = [(b"", numbered(1, shards) + numbered(2, header.get("endianness", 0)) + delimited(3, numbered(1, 1)))]
    for i, name in enumerate(sorted(arrays)):
        array, shard = np.asarray(arrays[name]), i % shards
        content = array.astype(array.dtype.newbyteorder("<")).tobytes()
        shape = b"".join(delimited(2, numbered(1, size)) for size in array.shape)
        value = numbered(1, TYPES[str(array.dtype)]) + delimited(2, shape) + numbered(3, shard)
        value += numbered(4, len(data[shard])) + numbered(5, len(content)) + varint(6 << 3 | 5)
        value += masked(content, checksum)
        data[shard] += content
        entries.append((name.encode(), value))
    table, places = b"", []
    for first in range(0, len(entries), per_block):
        group = entries[first : first + per_block]
        written = block(group, compression=header.get("compression", 0))
        places.append((group[-1][0], varint(len(table)) + varint(len(written) - 5)))
        table += written
    footer = b""
    for content in (block([]), block(places, interval=1)):  # no filters; then the list of the blocks
        footer += varint(len(table)) + varint(len(content) - 5)
        table += content
    table += footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    folder.mkdir(parents=True, exist_ok=True)
    for shard, content in enumerate(data):
        (folder / f"{prefix}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
    (folder / f"{prefix}.index").write_bytes(table)
    return folder / f"{prefix}.index"


def arrays_of(model: str, **small: int) -> dict[str, np.ndarray]:
    """Random arrays of the names and shapes that a bundle has for a published tagger."""
    tensors = models.build({**models.model(model, **small), "classes": 50}).state_dict()
    rng = np.random.default_rng(1)
    found = {}
    for ours, theirs in _PLACES[model].items():
        shape = tuple(tensors[ours].shape)
        if theirs.endswith("kernel"):  # (frame, band, in, out), of a dense layer (in, out)
            kinds = {2: shape[::-1], 3: (shape[-1], shape[1], 1, shape[0]), 4: (*shape[2:], *shape[1::-1])}
            shape = kinds[len(shape)]
        found[theirs] = (rng.random(shape) + (0.5 if "moving_variance" in theirs else -0.5)).astype(np.float32)
    return found
