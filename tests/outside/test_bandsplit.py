"""examples/bandsplit: a modern network as a package that this project does not import, and its study."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mss_core.graph import Context, Stopped, walk
from mss_core.recipe import override
from mss_core.store import Store, materialize
from tests.conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
FILES = sorted((EXAMPLES / "bandsplit").glob("*.*"))


@pytest.fixture
def package(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from bandsplit import network, study

    return network, study


def test_it_is_small_and_nothing_of_ours_knows_it() -> None:
    assert len(FILES) <= 4 and sum(len(path.read_text().splitlines()) for path in FILES) <= 350
    for path in [*(REPOSITORY / "mss_core").rglob("*.py"), *(REPOSITORY / "reports").rglob("*.py")]:
        assert "bandsplit" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("changes", [{}, {"joint": True}, {"mask": "real"}, {"time": "attention", "across": "none"}])
def test_shapes_and_sides(package, changes: dict) -> None:
    network = package[0]
    torch.manual_seed(0)
    module = network.BandSplit(features=8, layers=1, sources=2, channels=2, size=512, hop=128, **changes).eval()
    mixtures = torch.randn(2, 2, 3000)
    with torch.no_grad():
        found = module(mixtures)
        assert found.shape == (2, 2, 2, 3000)
        swapped = module(mixtures.flip(1))
    if not changes.get("joint"):  # each channel by itself: left knows nothing of right
        torch.testing.assert_close(swapped.flip(2), found, rtol=1e-4, atol=1e-5)


def test_a_mask_of_one_leaves_the_mixture(package) -> None:
    network = package[0]
    module = network.BandSplit(features=8, layers=1, mask="real", size=512, hop=128)
    for leave in module.leave:
        torch.nn.init.zeros_(leave[-2].weight)
        torch.nn.init.constant_(leave[-2].bias, 1e4)
    mixtures = torch.randn(1, 2, 3000)
    torch.testing.assert_close(module(mixtures)[:, 0], mixtures, rtol=1e-4, atol=1e-4)


def test_bands_cover_every_bin_once(package) -> None:
    network = package[0]
    found = network.widths(network.V7, 1025, 44_100)
    assert sum(found) == 1025 and min(found) >= 1 and len(found) == 10 + 12 + 8 + 8 + 2 + 1
    assert sum(network.widths(network.V7, 257, 16_000)) == 257


def test_the_loss_is_zero_only_where_nothing_is_wrong(package) -> None:
    loss = package[0].wave_and_spectrum
    x = torch.randn(3, 1, 2, 4000)
    assert loss(x, x).tolist() == [0.0] * 3 and (loss(x, -x) > loss(x, 0 * x)).all()
    wave = (x - 0.5 * x).abs().flatten(1).mean(1)
    torch.testing.assert_close(loss(x, 0.5 * x, spectrum=0.0), wave)
    torch.testing.assert_close(loss(x, 0.5 * x, wave=2.0) - loss(x, 0.5 * x, wave=1.0), wave)


def test_every_variant_is_a_line_and_inference_trains_nothing_again(package) -> None:
    study = package[1].study
    study.check()
    trials = {trial.variant.name: trial for trial in study.trials([0], False, {}, lambda recipe: recipe)}
    trained = {name: trial.root.arguments["model"].key for name, trial in trials.items()}
    assert len(trials) == 10 and len(set(trained.values())) == 9
    small = study.at_smoke_size()
    assert {trial.recipe.data.samplerate for trial in small.trials([0], True, {}, lambda r: r)} == {44_100}
    assert all(
        stage.arguments["channels"] == 2
        for trial in small.trials([0], True, {}, lambda recipe: recipe)
        for stage in walk([trial.root]).values()
        if stage.name == "prepare_channels"
    )


def test_an_interrupted_training_of_it_goes_on_to_the_same_bytes(package, tmp_path: Path) -> None:
    """Warm-up, cosine, accumulated batches and averaged weights as the study has them, on a little music at 16 kHz."""
    study = package[1].study
    few = {"data.samplerate": 16_000, "data.size": 10, "train.epoch_steps": 3, "train.phases.0.epochs": 2}
    tiny = override(study.smoke(study.baseline), {**few, "separator.features": 4, "mixing.seconds": 0.5})
    trained = tiny.pipeline().arguments["model"]
    whole = materialize(trained, Store(tmp_path / "whole"), Context())
    asked = iter(range(100))
    with pytest.raises(Stopped):
        materialize(trained, Store(tmp_path / "cut"), Context(stop=lambda: next(asked) >= 4))
    cut = materialize(trained, Store(tmp_path / "cut"), Context())
    for name in ("weights.pt", "best.json", "history.jsonl"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()
