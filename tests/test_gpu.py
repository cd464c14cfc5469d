"""What needs a CUDA device; needs neither ray nor mlflow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from mss_core import models
from mss_core.disk import checksum
from mss_core.graph import Context, Stage, Stopped, walk
from mss_core.recipe import override
from mss_core.runtime import kernels, prepare_process
from mss_core.store import Store, materialize
from mss_core.systems.msspt import msspt_cnn, smoke
from mss_core.systems.tagbox import TagBox
from mss_core.systems.tagbox import smoke as tagbox_smoke
from mss_core.systems.tagbox.steering import Wanted, steer
from mss_core.training import TrainConfig
from tests.conftest import tiny_settings

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def root() -> Stage:
    return override(smoke(msspt_cnn()), tiny_settings()).pipeline()


def test_every_stage_runs_on_the_device_and_says_so(tmp_path: Path) -> None:
    prepare_process()
    store = Store(tmp_path)
    ctx = Context(device="cuda", device_name=torch.cuda.get_device_name())
    materialize(root(), store, ctx)
    manifests = [store.manifest(stage) for stage in walk([root()]).values()]
    assert {manifest["device"] for manifest in manifests} == {"cuda"}
    assert {m["environment"]["kernels"] for m in manifests} == {"deterministic"}


def test_a_training_repeats_and_resumes_byte_for_byte_on_the_device(tmp_path: Path) -> None:
    prepare_process()
    joint = root().inputs["predictions"].inputs["model"]
    trained: list[list[str]] = []
    for folder in ("whole", "again", "cut"):
        store = Store(tmp_path / folder)
        for stage in walk([joint]).values():
            ctx = Context(device="cuda", checkpoint_seconds=1e9)
            if folder == "cut" and any(isinstance(value, TrainConfig) for value in stage.arguments.values()):
                with pytest.raises(Stopped):
                    materialize(stage, store, dataclasses.replace(ctx, stop=lambda: True))
            materialize(stage, store, ctx)
        files = [store.directory(stage) / "weights.pt" for stage in walk([joint]).values()]
        trained.append([checksum(file) for file in files if file.exists()])
    assert len(trained[0]) == 3 and trained[0] == trained[1] == trained[2]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_attention_and_steering_repeat_byte_for_byte(precision: torch.dtype) -> None:
    prepare_process()
    recipe = tagbox_smoke(TagBox())
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        tokens = torch.randn(3, 4, 2, 12, 1212, 64, device="cuda", dtype=precision).requires_grad_()
        vqvae = models.build(recipe.vqvae).cuda()
        tagger = models.build({**recipe.models["fcn"], "classes": 50}).cuda().eval()
        wanted = [Wanted(tagger, torch.eye(50)[0].cuda())]
        clips, config = torch.randn(2, 16_000, device="cuda"), dataclasses.replace(recipe.steer, codebook="clip")
        with kernels(True), torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            torch.nn.functional.scaled_dot_product_attention(*tokens.flatten(1, 2)).float().square().sum().backward()
            found.append((tokens.grad, steer(vqvae, wanted, clips, 16_000, config).masked))
    for first, second in zip(*found, strict=True):
        assert first is not None and torch.isfinite(first).all() and torch.equal(first, second)
