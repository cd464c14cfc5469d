"""The reference side of BSS Eval, kept by content across trials.

A cache is a directory (shared by processes; files are written aside and renamed, so that a reader
never sees half of one), a dict (this process), or None. Its keys are hashes of the references'
samples and of all that the result depends on, so nothing in it is ever stale. A file begins with the
sha256 of what follows: one that was altered, or cut, is taken as absent and written anew.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Cache = MutableMapping[str, Any] | str | os.PathLike[str] | None
VERSION = 2  # of what is stored; another version is another key
CHUNK = 1 << 12
DIGEST = hashlib.sha256().digest_size


def fingerprint(references: Tensor, windows: Sequence[tuple[int, int]], taps: int) -> str:
    """Hash of samples, shape, dtype, kind of device, windows and taps, 32 hexadecimal digits.

    Memory-bound: each row of 4096 words is first condensed to a word by a random linear form
    modulo 2^64, which two different rows share with a probability of about 2^-64.
    """
    kind = (str(references.dtype), references.device.type)
    head = (VERSION, tuple(references.shape), kind, list(windows), taps)
    digest = hashlib.blake2b(repr(head).encode(), digest_size=16)
    content = references.contiguous().cpu().numpy().reshape(-1).view(np.uint8)
    body = len(content) // (8 * CHUNK) * (8 * CHUNK)
    rows = content[:body].view(np.uint64).reshape(-1, CHUNK)
    keys = np.random.Generator(np.random.PCG64(5)).integers(2**63, size=CHUNK, dtype=np.uint64)
    keys = 2 * keys + 1
    folded = np.empty((16, CHUNK), np.uint64)
    for i in range(0, len(rows), len(folded)):
        part = rows[i : i + len(folded)]
        out = folded[: len(part)]
        # Floats made of integers end in zeros, and products modulo 2^64 keep them: fold.
        np.bitwise_xor(np.right_shift(part, 32, out=out), part, out=out)
        digest.update(np.einsum("ij,j->i", out, keys).tobytes())
    digest.update(content[body:].tobytes())
    return digest.hexdigest()


def load(cache: Cache, key: str, unpack: Callable[[dict[str, Any]], Any]) -> Any:
    """What was stored under the key, or None."""
    if cache is None or isinstance(cache, MutableMapping):
        return None if cache is None else cache.get(key)
    path = Path(cache) / f"{key}.pt"
    if not path.exists():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        return None
    return unpack(torch.load(io.BytesIO(content[DIGEST:]), map_location="cpu", weights_only=True))


def store(cache: Cache, key: str, value: Any, pack: Callable[[Any], dict[str, Any]]) -> None:
    """Keep a value under the key: itself in a dict, in a directory what `pack` makes of it."""
    if cache is None:
        return
    if isinstance(cache, MutableMapping):
        cache[key] = value
        return
    directory = Path(cache)
    directory.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    torch.save(pack(value), content)
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".part", delete=False) as file:
        file.write(hashlib.sha256(content.getbuffer()).digest())
        file.write(content.getbuffer())
    os.replace(file.name, directory / f"{key}.pt")
