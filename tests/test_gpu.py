"""What needs a CUDA device; needs neither ray nor mlflow."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mss_core.graph import Context, walk
from mss_core.recipe import override
from mss_core.store import Store, materialize
from mss_core.systems.msspt import msspt_cnn, smoke
from tests.conftest import tiny_settings

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def test_every_stage_runs_on_the_device_and_says_so(tmp_path) -> None:
    recipe = override(smoke(msspt_cnn()), tiny_settings())
    store = Store(tmp_path)
    ctx = Context(device="cuda", device_name=torch.cuda.get_device_name())
    root = recipe.pipeline()
    materialize(root, store, ctx)
    assert {store.manifest(stage)["device"] for stage in walk([root]).values()} == {"cuda"}


def test_a_training_resumes_exactly_on_the_device(tmp_path) -> None:
    recipe = override(smoke(msspt_cnn()), tiny_settings())
    tail = recipe.pipeline().inputs["predictions"].inputs["model"].inputs["tail"]

    class Stop(Exception):
        pass

    def stop(row) -> None:
        if row.get("train_loss") is not None and row["step"] >= row["total"] // 2:
            raise Stop

    weights = []
    for folder, listen in (("whole", None), ("cut", stop)):
        store = Store(tmp_path / folder)
        ctx = Context(device="cuda", checkpoint_seconds=0)
        if listen is not None:
            with pytest.raises(Exception, match="Stop"):
                materialize(tail, store, dataclasses.replace(ctx, listen=listen))
        weights.append(torch.load(materialize(tail, store, ctx) / "weights.pt", weights_only=True))
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5, msg=name)
