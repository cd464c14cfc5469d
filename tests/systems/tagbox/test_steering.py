"""Steering: what a search does to the mask, which gradients it takes, and what it refuses."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace

import pytest
import torch
from torch import nn

from mss_core import models
from mss_core.systems.tagbox import steering
from mss_core.systems.tagbox.steering import SteerConfig, Wanted, masked
from mss_core.systems.tagbox.taggers import Fcn
from mss_core.systems.tagbox.vqvae import VqVae


class Bright(nn.Module):
    """A tagger that hears one thing: the share of energy above 2 kHz."""

    seconds = 1.0

    def features(self, waveform: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(waveform).abs().square()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        split = features.shape[1] // 4
        high, low = features[:, split:].mean(1), features[:, :split].mean(1)
        return torch.stack([torch.log(high + 1e-9) - torch.log(low + 1e-9), low * 0], 1)


@pytest.fixture(scope="module")
def vqvae() -> VqVae:
    """Trained for a moment on what is steered below, so that it is worth steering."""
    torch.manual_seed(0)
    module = VqVae(downs=((2,),), widths=(8,), depths=(2,), embedding=8, codes=32)
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(60):
        loss = module.loss(0.3 * torch.randn(4, 4096))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


@pytest.fixture(scope="module")
def mixture() -> torch.Tensor:
    return 0.3 * torch.randn(3, 16_001, generator=torch.Generator().manual_seed(5))


WANTED = [Wanted(Bright(), torch.tensor([1.0, 0.0]))]
QUICK = SteerConfig(steps=6, lr=0.05, n_fft=(256,), direction="descent")


def test_descent_makes_the_tagger_hear_it_and_ascent_the_opposite(vqvae, mixture) -> None:
    up = steering.steer(vqvae, WANTED, mixture, 16_000, QUICK)
    down = steering.steer(vqvae, WANTED, mixture, 16_000, replace(QUICK, direction="ascent"))
    assert (up.probability[-1] > up.probability[0]).all() and (up.loss[-1] < up.loss[0]).all()
    assert (down.loss[-1] > down.loss[0]).all()
    torch.testing.assert_close(up.loss[0], down.loss[0])  # before the first update
    assert up.masked.shape == mixture.shape == up.reference.shape


def tone_and_hits(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A second of a harmonic tone, and of four bursts of noise that die away."""
    time = torch.arange(16_000) / 16_000
    pitch = 200 + 600 * torch.rand(count, 1, generator=generator)
    tone = sum(torch.sin(2 * torch.pi * k * pitch * time) / k for k in (1, 2, 3))
    hits = torch.exp(-40 * (time % 0.25)) * torch.randn(count, 16_000, generator=generator)
    return 0.3 * tone, 0.3 * hits


def test_steering_raises_the_tag_of_a_trained_tagger_more_than_random_steps_do() -> None:
    """Hits under a tone ten times as strong; the tagger tells both in clips that it was not trained on. Steps as long
    in any direction blur the tone and raise the tag somewhat too."""
    from mss_core.systems.tagbox import SMALL

    rng = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    pools = ((2, 4), (2, 4), (2, 2), (3, 1), (4, 1))
    described = models.model("fcn", **{**SMALL["fcn"], "pools": pools, "seconds": 1.0}, dropout=0.0)
    tagger = models.build({**described, "classes": 2})
    vqvae = VqVae(downs=((2,),), widths=(8,), depths=(2,), embedding=8, codes=32)

    def clips(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        there = torch.randint(0, 2, (count, 2), generator=rng).float()
        gains = there * (0.3 + torch.rand(count, 2, generator=rng))
        tone, hits = tone_and_hits(count, rng)
        return gains[:, :1] * tone + gains[:, 1:] * hits + 1e-3 * torch.randn(count, 16_000, generator=rng), there

    for module, lr in ((tagger, 3e-3), (vqvae, 5e-3)):
        optimizer = torch.optim.Adam(module.parameters(), lr=lr)
        for _ in range(60):
            waves, there = clips(16 if module is tagger else 4)
            loss = (
                vqvae.loss(waves[:, :4096])
                if module is vqvae
                else (nn.functional.binary_cross_entropy_with_logits(tagger(tagger.features(waves)), there))
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        module.eval()
    waves, there = clips(64)
    assert ((steering.score(tagger, waves) > 0.5) == there.bool()).float().mean() > 0.95
    tone, hits = tone_and_hits(4, rng)
    rise = {}
    for direction in ("descent", "random"):
        config = SteerConfig(steps=12, lr=0.5, n_fft=(512,), direction=direction)
        told = steering.steer(vqvae, [Wanted(tagger, torch.tensor([0.0, 1.0]))], tone + 0.1 * hits, 16_000, config)
        rise[direction] = told.probability[-1] - told.probability[0]
    assert (rise["descent"] > 0.1).all()
    assert rise["descent"].mean() > rise["random"].mean() + 0.1


def test_only_the_latent_gets_a_gradient_and_no_weight_changes(vqvae, mixture) -> None:
    tagger = Fcn(2, (4,) * 5, ((2, 4), (2, 4), (2, 2), (3, 1), (4, 1)), seconds=1.0).eval()
    modules = (vqvae, tagger)

    def digest() -> str:
        content = b"".join(value.numpy().tobytes() for m in modules for value in m.state_dict().values())
        return hashlib.sha256(content).hexdigest()

    before, needed = digest(), [p.requires_grad for m in modules for p in m.parameters()]
    for codebook in ("frozen", "clip"):
        steering.steer(
            vqvae,
            [Wanted(tagger, torch.tensor([1.0, 0.0]))],
            mixture,
            16_000,
            replace(QUICK, codebook=codebook, steps=3),
        )
    assert digest() == before
    assert [p.requires_grad for m in modules for p in m.parameters()] == needed
    assert all(p.grad is None for p in tagger.parameters())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"direction": "random"},
        {"codebook": "clip"},
        {"n_fft": (128, 256)},
        {"mask_reference": "reconstruction"},
        {"mask": False},
    ],
    ids=str,
)
def test_a_clip_comes_out_as_it_would_alone_and_at_its_own_level(vqvae, mixture, changes) -> None:
    """In float64: what the size of a batch changes in rounding moves no vector to another code there."""
    vqvae, mixture = copy.deepcopy(vqvae).double(), mixture.double()
    wanted = [Wanted(Bright(), torch.tensor([1.0, 0.0], dtype=torch.float64))]
    config = replace(QUICK, steps=3, **changes)
    together = steering.steer(vqvae, wanted, mixture, 16_000, config)
    alone = steering.steer(vqvae, wanted, mixture[1:2], 16_000, config, first=1)
    torch.testing.assert_close(together.masked[1:2], alone.masked, atol=1e-4, rtol=1e-3)
    quiet = steering.steer(vqvae, wanted, 0.125 * mixture, 16_000, config)
    torch.testing.assert_close(quiet.masked, 0.125 * together.masked, atol=1e-5, rtol=1e-3)
    if changes.get("mask_reference") != "reconstruction":
        torch.testing.assert_close(together.reference, mixture)


def test_a_run_of_n_steps_has_n_minus_1_updates(vqvae, mixture) -> None:
    """The last decode comes before the last update: one step is the untouched latent, whatever the direction."""
    results = [
        steering.steer(vqvae, WANTED, mixture, 16_000, replace(QUICK, steps=1, direction=d)).masked
        for d in ("descent", "ascent", "random")
    ]
    peak = mixture.abs().amax(1, keepdim=True)
    x = nn.functional.pad(mixture / peak, (0, -mixture.shape[1] % 4))
    with torch.no_grad():
        decoded = vqvae(x)
        by_hand = masked(decoded, steering._stft(x, 256), 256)[:, : mixture.shape[1]] * peak
    for result in results:
        torch.testing.assert_close(result, by_hand, atol=1e-6, rtol=1e-4)


def test_random_steps_depend_on_the_seed_alone(vqvae, mixture) -> None:
    run = [
        steering.steer(vqvae, WANTED, mixture, 16_000, replace(QUICK, direction="random", seed=seed)).masked
        for seed in (0, 0, 1)
    ]
    torch.testing.assert_close(run[0], run[1], atol=0, rtol=0)
    assert (run[0] - run[2]).abs().max() > 1e-4
    assert QUICK.effective() == replace(QUICK, seed=9).effective() != replace(QUICK, direction="random").effective()


@pytest.mark.parametrize("direction", ["descent", "random"])
def test_random_steps_are_as_long_as_adams(vqvae, mixture, monkeypatch, direction) -> None:
    """Against Adam written out on the gradients at the points visited; a gradient of the same norm is not enough."""
    points, gradients = [], []
    look, differentiate = steering.quantise, torch.autograd.grad

    def visit(latent: torch.Tensor, book: torch.Tensor) -> torch.Tensor:
        points.append(latent.detach().double().clone())
        return look(latent, book)

    def keep(*arguments):
        found = differentiate(*arguments)
        gradients.append(found[0].double().clone())
        return found

    monkeypatch.setattr(steering, "quantise", visit)
    monkeypatch.setattr(torch.autograd, "grad", keep)
    steering.steer(vqvae, WANTED, mixture, 16_000, replace(QUICK, direction=direction))
    first, second, cosines = torch.zeros_like(points[0]), torch.zeros_like(points[0]), []
    for number, gradient in enumerate(gradients, start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient.square()
        adam = -0.05 * (first / (1 - 0.9**number)) / ((second / (1 - 0.999**number)).sqrt() + 1e-8)
        move, adam = (x.flatten(1) for x in (points[number] - points[number - 1], adam))
        torch.testing.assert_close(move.norm(dim=1), adam.norm(dim=1), rtol=1e-3, atol=0)
        cosines.append(nn.functional.cosine_similarity(move, adam))
    assert len(gradients) == QUICK.steps - 1
    if direction == "random":
        assert torch.stack(cosines).abs().max() < 0.05
    else:
        assert torch.stack(cosines).min() > 0.999


def test_the_mask_is_equation_1() -> None:
    rng = torch.Generator().manual_seed(0)
    x, j = torch.randn(1, 1024, generator=rng), torch.randn(1, 1024, generator=rng)
    X, J = (steering._stft(signal, 256) for signal in (x, j))
    M = J.abs() / (torch.maximum(J.abs(), X.abs()) + 1e-8)
    assert float(M.max()) <= 1
    window = torch.hann_window(256).sqrt()
    by_hand = torch.istft(M * X, 256, 128, window=window, length=1024)
    torch.testing.assert_close(masked(j, X, 256), by_hand)
    torch.testing.assert_close(masked(2 * x, X, 256), x, atol=1e-4, rtol=1e-3)  # louder everywhere: all passes
    assert masked(0 * j, X, 256).abs().max() == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": "up"}, "no direction 'up'"),
        ({"mask_reference": "mix"}, "did you mean 'mixture'"),
        ({"codebook": "frozn"}, "did you mean 'frozen'"),
        ({"steps": 0}, "must be positive"),
        ({"n_fft": ()}, "even FFT sizes"),
        ({"n_fft": (1023,)}, "even FFT sizes"),
    ],
)
def test_wrong_settings_are_named(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        SteerConfig(**changes)


def test_silence_and_deafness_are_refused(vqvae, mixture) -> None:
    with pytest.raises(ValueError, match="clip 11 is silent"):
        steering.steer(vqvae, WANTED, torch.stack([mixture[0], 0 * mixture[0]]), 16_000, QUICK, first=10)
    with pytest.raises(ValueError, match="at least one tagger"):
        steering.steer(vqvae, [], mixture, 16_000, QUICK)
