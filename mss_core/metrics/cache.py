"""The reference side of BSS Eval, kept by content across trials.

A cache is a directory (shared by processes; files are written aside and renamed, so that a reader
never sees half of one), a dict (this process), or None. Its keys are hashes of the references'
samples and of all that the result depends on, so nothing in it is ever stale.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Cache = MutableMapping[str, Any] | str | os.PathLike[str] | None
VERSION = 1  # of what is stored; another version is another key
CHUNK = 1 << 12


def fingerprint(references: Tensor, windows: Sequence[tuple[int, int]], taps: int) -> str:
    """Hash of samples, shape, dtype, kind of device, windows and taps, 32 hexadecimal digits.

    Memory-bound: each row of 4096 words is first condensed to a word by a random linear form
    modulo 2^64, which two different rows share with a probability of about 2^-64.
    """
    words = references.contiguous().view(torch.uint8).flatten().cpu()
    kind = (str(references.dtype), references.device.type)
    head = (VERSION, tuple(references.shape), kind, list(windows), taps)
    digest = hashlib.blake2b(repr(head).encode(), digest_size=16)
    body = len(words) // (8 * CHUNK) * (8 * CHUNK)
    rows = words[:body].view(torch.int64).view(-1, CHUNK)
    generator = torch.Generator().manual_seed(5)
    keys = torch.randint(-(2**62), 2**62, (CHUNK,), generator=generator) * 2 + 1
    for part in rows.split(64):
        # Floats made of integers end in zeros, and products modulo 2^64 keep them: fold.
        digest.update(((part ^ (part >> 32 & 0xFFFFFFFF)) @ keys).numpy().tobytes())
    digest.update(words[body:].numpy().tobytes())
    return digest.hexdigest()


def load(cache: Cache, key: str, unpack: Callable[[dict[str, Any]], Any]) -> Any:
    """What was stored under the key, or None."""
    if cache is None or isinstance(cache, MutableMapping):
        return None if cache is None else cache.get(key)
    path = Path(cache) / f"{key}.pt"
    if not path.exists():
        return None
    return unpack(torch.load(path, map_location="cpu", weights_only=True))


def store(cache: Cache, key: str, value: Any, pack: Callable[[Any], dict[str, Any]]) -> None:
    """Keep a value under the key: itself in a dict, in a directory what `pack` makes of it."""
    if cache is None:
        return
    if isinstance(cache, MutableMapping):
        cache[key] = value
        return
    directory = Path(cache)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".part", delete=False) as file:
        torch.save(pack(value), file)
    os.replace(file.name, directory / f"{key}.pt")
