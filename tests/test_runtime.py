"""Which kernels a stage runs with, and what its manifest says of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mss_core.graph import Context, Stage
from mss_core.runtime import kernels
from mss_core.store import Store, materialize
from tests.conftest import REPOSITORY


def note(out: Path, ctx: Any) -> None:
    strict = torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
    (out / "strict").write_text(str(strict))


@pytest.mark.parametrize(
    ("ctx", "strict", "said"),
    [
        (Context(device="cuda"), "True", "deterministic"),
        (Context(device="cuda:1", deterministic=False), "False", "free"),
        (Context(device="cpu"), "False", None),
    ],
)
def test_a_gpu_s_kernels_repeat_unless_set_free_and_the_manifest_says_which(
    tmp_path: Path, ctx: Context, strict: str, said: str | None
) -> None:
    store, stage = Store(tmp_path), Stage(note)
    assert (materialize(stage, store, ctx) / "strict").read_text() == strict
    manifest = store.manifest(stage)
    assert manifest is not None and manifest["environment"].get("kernels") == said
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_was_set_before_is_set_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with pytest.raises(KeyError), kernels(False):
            assert not torch.are_deterministic_algorithms_enabled()
            raise KeyError
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library is another")
def test_memory_that_is_freed_is_handed_out_again_until_it_is_released() -> None:
    code = """
import resource, numpy
from mss_core import runtime

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        numpy.ones(10_000_000)  # 80 MB, 20,000 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

runtime.keep_memory()
numpy.ones(10_000_000)
found, before = faults(), held()
runtime.release_memory(60.0)
print(found, before - held())
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    found, released = map(int, ran.stdout.split())
    assert found < 1000 and released > 70e6
