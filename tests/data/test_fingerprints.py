"""Fingerprints of data sets: what they follow, and what is remembered."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import soundfile

from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.sets import TrackSet, survey


def test_fingerprint_follows_content_not_place(stems_tree: Path, tmp_path: Path) -> None:
    def of(root: Path, hashes: Fingerprints | None = None) -> str:
        return fingerprint(
            survey(TrackSet("stems"), {"stems": root}), root, hashes or Fingerprints(tmp_path / "none.json")
        )

    first = of(stems_tree)
    copy = tmp_path / "copy"
    shutil.copytree(stems_tree, copy)
    assert of(copy) == first
    samples, rate = soundfile.read(copy / "train" / "a" / "bass.wav")
    samples[0, 0] += 0.01
    soundfile.write(copy / "train" / "a" / "bass.wav", samples, rate, subtype="PCM_16")
    assert of(copy) != first


def test_fingerprints_are_remembered(stems_tree: Path, tmp_path: Path, monkeypatch) -> None:
    hashes = Fingerprints(tmp_path / "known.json")
    root = stems_tree
    first = fingerprint(survey(TrackSet("stems"), {"stems": root}), root, hashes)
    hashes.save()
    monkeypatch.setattr("mss_core.data.fingerprints.checksum", lambda path: pytest.fail(f"hashed {path} again"))
    again = Fingerprints(tmp_path / "known.json")
    assert fingerprint(survey(TrackSet("stems"), {"stems": root}), root, again) == first


def test_a_file_that_was_replaced_with_its_size_and_time_is_hashed_again(tmp_path: Path) -> None:
    """As ``cp -p`` and ``rsync -t`` do; what a disk altered by itself is found with ``rehash``."""
    file, known = tmp_path / "a.wav", tmp_path / "known.json"
    file.write_bytes(b"A" * 1000)
    hashes = Fingerprints(known)
    first, stamp = hashes.of(file), file.stat().st_mtime_ns
    hashes.save()
    file.write_bytes(b"B" * 1000)
    os.utime(file, ns=(stamp, stamp))
    assert Fingerprints(known).of(file) != first
    status = file.stat()
    entry = [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns, first]
    known.write_text(json.dumps({str(file): entry}))
    assert Fingerprints(known).of(file) == first
    assert Fingerprints(known, rehash=True).of(file) != first
