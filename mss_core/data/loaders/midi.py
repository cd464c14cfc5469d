"""How many notes a MIDI file starts."""

from __future__ import annotations

from pathlib import Path


def onsets(path: Path) -> int:
    """Note-on events with a velocity above 0, over all tracks.

    Raises ValueError where the file is not MIDI or ends within an event.
    """
    data = path.read_bytes()
    if data[:4] != b"MThd":
        raise ValueError(f"{path}: not a MIDI file")
    position, count = 8 + int.from_bytes(data[4:8], "big"), 0
    try:
        while position + 8 <= len(data):
            kind, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "big")
            position += 8
            if position + size > len(data):
                raise IndexError
            if kind == b"MTrk":
                count += _track(data[position : position + size])
            position += size
    except IndexError:
        raise ValueError(f"{path}: the MIDI file is cut off") from None
    return count


def _track(data: bytes) -> int:
    position, status, count = 0, 0, 0
    while position < len(data):
        _, position = _number(data, position)
        if data[position] & 0x80:
            status, position = data[position], position + 1
        if status == 0xFF:
            size, position = _number(data, position + 1)
            position += size
        elif status in (0xF0, 0xF7):
            size, position = _number(data, position)
            position += size
        else:
            kind = status >> 4
            if kind == 0x9:
                count += data[position + 1] > 0
            position += 1 if kind in (0xC, 0xD) else 2
    return count


def _number(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    while True:
        byte = data[position]
        position += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position
