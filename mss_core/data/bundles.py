"""TensorFlow's checkpoint bundles (``tf.train.Saver``, version 2), read without TensorFlow.

A bundle is a sorted table of names, ``<prefix>.index``, and the arrays themselves, one after another, in
``<prefix>.data-I-of-N``. The table is LevelDB's (doc/table_format.md there): blocks of entries whose keys share
prefixes with the key before; after every block a byte for its compression and a masked CRC-32C; a footer of 48 bytes,
which names the block that lists the blocks. The value of an entry is the protocol buffer ``BundleEntryProto``
(tensor_bundle.proto): type, shape, shard, offset, size and checksum of an array. The entry of the empty name is the
header. Nothing is run or unpickled: plain arrays come out, or a ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
TYPES = {1: "f4", 2: "f8", 3: "i4", 4: "u1", 5: "i2", 6: "i1", 9: "i8", 10: "?", 17: "u2", 19: "f2", 22: "u4", 23: "u8"}
"""Numbers of TensorFlow's ``DataType`` that are plain numbers; texts, variants and resources are not read."""
Field = int | bytes


def read(index: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    """The arrays of a bundle by name, those that are ``wanted``, each checked against its checksum.

    Args:
        index: the file ``<prefix>.index``; the shards lie beside it.

    Raises ValueError naming the file, and the array if it is one's fault, for whatever is not as the format has it.
    """
    try:
        entries = dict(_table(index.read_bytes()))
        header = dict(_fields(entries.pop(b"")))
    except (KeyError, IndexError, struct.error, ValueError) as error:
        raise ValueError(f"{index}: no index of a checkpoint bundle ({error})") from None
    if header.get(2, 0) != 0:
        raise ValueError(f"{index}: a bundle of a machine with the other order of bytes, which is not read")
    shards = int(header.get(1, 0))
    contents: dict[int, bytes] = {}
    found = {}
    for key, value in entries.items():
        name = key.decode("utf-8", "replace")
        if wanted(name):
            try:
                found[name] = _array(index, value, shards, contents)
            except (KeyError, IndexError, struct.error, ValueError) as error:
                raise ValueError(f"{index}: array {name!r} cannot be read ({error})") from None
    return found


def shards(index: Path) -> tuple[Path, ...]:
    """The files that hold the arrays of an index, as they lie beside it; ValueError where there is none."""
    found = tuple(sorted(index.parent.glob(f"{index.name.removesuffix('.index')}.data-*-of-*")))
    if not found:
        raise ValueError(f"{index}: no file {index.name.removesuffix('.index')}.data-* lies beside it")
    return found


def _array(index: Path, value: bytes, count: int, contents: dict[int, bytes]) -> np.ndarray:
    facts = dict(_fields(value))
    kind, shard, offset, size = (int(facts.get(number, 0)) for number in (1, 3, 4, 5))
    if kind not in TYPES:
        raise ValueError(f"its type is number {kind}, which is no plain number")
    if 7 in facts:
        raise ValueError("it is stored in slices, which are not read")
    if shard not in contents:
        place = index.parent / f"{index.name.removesuffix('.index')}.data-{shard:05d}-of-{count:05d}"
        if not place.is_file():
            raise ValueError(f"{place.name} is missing")
        contents[shard] = place.read_bytes()
    block = contents[shard][offset : offset + size]
    dtype = np.dtype(TYPES[kind]).newbyteorder("<")
    shape = tuple(_dimensions(facts.get(2, b"")))
    if len(block) != size or size != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"{len(block)} bytes of {size} for a shape of {shape}: the file is cut or another's")
    if masked_crc(block) != int(facts.get(6, 0)):
        raise ValueError("its checksum is another: the file is damaged")
    return np.frombuffer(block, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _dimensions(shape: Field) -> Iterator[int]:
    """Of a ``TensorShapeProto``: field 2 is a dimension, of which field 1 is the size."""
    if not isinstance(shape, bytes):
        raise ValueError("its shape is a number")
    for number, value in _fields(shape):
        if number == 2 and isinstance(value, bytes):
            yield int(dict(_fields(value)).get(1, 0))


# ---- protocol buffers


def _fields(content: bytes) -> Iterator[tuple[int, Field]]:
    """Number and value of each field of a message: whole numbers as they are, everything with a length as bytes."""
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(content, place)
            yield number, value
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield number, int.from_bytes(_cut(content, place, size), "little")
            place += size
        elif wire == 2:
            size, place = _varint(content, place)
            yield number, _cut(content, place, size)
            place += size
        else:
            raise ValueError(f"a field of wire type {wire}")


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("a number of more than ten bytes")


def _cut(content: bytes, place: int, size: int) -> bytes:
    if place + size > len(content):
        raise ValueError("it ends within a value")
    return content[place : place + size]


# ---- the table


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a whole table, in order."""
    if len(content) < FOOTER or int.from_bytes(content[-8:], "little") != MAGIC:
        raise ValueError("its last bytes are not those of a table")
    place = len(content) - FOOTER
    for _ in range(2):  # the handle of the block of filters, which is not needed
        _, place = _varint(content, place)
    for _, handle in _block(content, place):
        yield from _block(handle, 0, content)


def _block(handle: bytes, place: int, content: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
    """The entries of the block that the handle (offset and size) at ``place`` names."""
    content = handle if content is None else content
    offset, place = _varint(handle, place)
    size, _ = _varint(handle, place)
    block, compression = _cut(content, offset, size), content[offset + size]
    if compression != 0:
        raise ValueError("its blocks are compressed, which those of checkpoints are not")
    if masked_crc(block + b"\0") != int.from_bytes(_cut(content, offset + size + 1, 4), "little"):
        raise ValueError("a block's checksum is another: the file is damaged")
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")  # where the list of restarts begins
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        own, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + _cut(block, place, own)
        yield key, _cut(block, place + own, length)
        place += own + length


# ---- CRC-32C (Castagnoli), as LevelDB masks it


def masked_crc(content: bytes) -> int:
    """The checksum of a block or an array as the format stores it.

    >>> masked_crc(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) % 2**32
    True
    """
    crc = crc32c(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(content: bytes) -> int:
    """CRC-32C, the polynomial 0x1EDC6F41 in reversed order.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    steps = _steps()
    crc = 0xFFFFFFFF
    for byte in content:
        crc = steps[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@cache
def _steps() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)
