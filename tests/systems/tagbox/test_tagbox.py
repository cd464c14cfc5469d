"""TagBox: the VQ-VAE, the taggers, steering, the classic methods and the studies over them."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mss_core import models
from mss_core.data.packed import Packed
from mss_core.data.sets import ClipSet, TrackSet, WeightSet
from mss_core.graph import Context, Stage, walk
from mss_core.recipe import override
from mss_core.store import Store, materialize
from mss_core.systems.tagbox import TAGS, TagBox, Tagger, classic, smoke, steering, tagbox
from mss_core.systems.tagbox.score import scores
from mss_core.systems.tagbox.steering import SteerConfig, Wanted, masked
from mss_core.systems.tagbox.taggers import Fcn, HarmonicCnn, HarmonicFilters, Musicnn, ShortChunkCnn, mel_bank, power
from mss_core.systems.tagbox.vqvae import Codebook, VqVae, moved, quantise


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# ---- the VQ-VAE


def test_vqvae_has_the_published_size() -> None:
    module = VqVae()
    assert [count(e) for e in module.encoders] == [441_856, 116_384, 168_224]
    assert [count(d) for d in module.decoders] == [458_177, 124_641, 176_481]
    assert count(module) == 1_485_763 and module.hops == (8, 32, 128)
    assert module.codebook().k.shape == (2048, 64)


def test_vqvae_hop_and_receptive_field() -> None:
    """What reaches one latent, against the sum over the layers: 91,878 samples at the bottom level."""
    field, jump = 1, 1
    for _ in range(3):
        field, jump = field + 3 * jump, 2 * jump
        field += sum(2 * 3**d for d in range(8)) * jump
    field += 2 * jump
    assert (field, jump) == (91_878, 8)
    module = VqVae(downs=((3,),), widths=(2,), depths=(8,), embedding=2)
    waveform = torch.randn(1, 8 * 14_000, requires_grad=True)
    latent = module.encode(waveform)
    assert latent.shape == (1, 2, 14_000)
    for weight in module.parameters():  # nothing may be hidden by a ReLU or cancel out
        nn.init.constant_(weight, 0.1)
    (gradient,) = torch.autograd.grad(module.double().encode(waveform.double().abs())[0, 0, 7_000], waveform)
    touched = gradient[0].nonzero()[:, 0]
    assert int(touched[-1] - touched[0]) + 1 == field


def test_nearest_vectors_and_straight_through() -> None:
    torch.manual_seed(0)
    latent, book = torch.randn(3, 4, 50), torch.randn(9, 4)
    found = quantise(latent, book).transpose(1, 2)
    rows = latent.transpose(1, 2)
    expected = book[torch.cdist(rows, book.expand(3, 9, 4)).argmin(2)]
    torch.testing.assert_close(found, expected)
    each = torch.randn(3, 9, 4)  # a codebook a clip
    torch.testing.assert_close(quantise(latent, each)[1], quantise(latent[1:2], each[1])[0])
    codebook = Codebook(9, 4)
    codebook.k = book
    latent.requires_grad_()
    codebook(latent).square().sum().backward()
    torch.testing.assert_close(latent.grad, 2 * expected.transpose(1, 2))


def test_codebooks_move_as_averages_do() -> None:
    torch.manual_seed(1)
    rows, k = torch.randn(200, 3), torch.randn(5, 3)
    k[4] = 100.0  # nothing is near it
    k_sum, k_elem = k * 2.0, torch.tensor([2.0, 2.0, 2.0, 2.0, 0.5])
    torch.manual_seed(2)
    new, new_sum, new_elem = moved(rows, k, k_sum, k_elem, 0.9)
    nearest = np.argmin(((rows.numpy()[:, None] - k.numpy()) ** 2).sum(2), axis=1)
    for index in range(4):
        mine = rows.numpy()[nearest == index]
        total = 0.9 * k_sum[index].numpy() + 0.1 * mine.sum(0)
        number = 0.9 * 2.0 + 0.1 * len(mine)
        np.testing.assert_allclose(new[index], total / number, rtol=1e-5)
        assert float(new_elem[index]) == pytest.approx(number)
    assert (rows == new[4]).all(1).any(), "a vector that stands for nothing is put on a latent"
    first = moved(rows, k * 0, k_sum * 0, k_elem * 0, 0.9)[0]
    assert torch.isfinite(first).all() and first.abs().sum() > 0


def test_vqvae_descriptions_are_checked() -> None:
    with pytest.raises(ValueError, match="as many 'downs' as 'widths'"):
        VqVae(widths=(64,))


# ---- taggers


@pytest.mark.parametrize(
    ("module", "parameters", "features"),
    [
        (Fcn(50), 447_732, (1, 96, 1813)),
        (HarmonicCnn(50), 3_631_551, (257, 313)),
        (ShortChunkCnn(50), 3_687_348, (1, 128, 231)),
        (ShortChunkCnn(50, residual=True), 12_104_244, (1, 128, 231)),
        (Musicnn(50), 784_300, (1, 96, 188)),
    ],
    ids=["fcn", "harmonic_cnn", "short_chunk_cnn", "short_chunk_cnn residual", "musicnn"],
)
def test_taggers_have_the_published_size_and_read_the_published_length(module, parameters, features) -> None:
    assert count(module) == parameters
    read = module.features(torch.zeros(1, round(module.seconds * 16_000)))
    assert read.shape[1:] == features


@pytest.mark.parametrize("name", ["fcn", "harmonic_cnn", "short_chunk_cnn", "musicnn"])
def test_small_taggers_learn_and_pass_gradients_to_the_waveform(name: str) -> None:
    from mss_core.systems.tagbox import SMALL

    torch.manual_seed(0)
    module = models.build({**models.model(name, **SMALL[name], dropout=0.0), "classes": 2})
    time = torch.arange(max(50_000, round(16_000 * module.seconds) if name == "harmonic_cnn" else 0)) / 16_000
    waves = torch.stack([torch.sin(2 * torch.pi * f * time) for f in (300.0, 350.0, 3000.0, 2500.0)])
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    read = module.features(waves)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(30 if name == "harmonic_cnn" else 15):
        loss = nn.functional.binary_cross_entropy_with_logits(module(read), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) < 0.3 * losses[0]
    waves.requires_grad_()
    (gradient,) = torch.autograd.grad(module.eval()(module.features(waves)).sum(), waves)
    assert torch.isfinite(gradient).all() and gradient.abs().max() > 0


def test_front_ends_against_torchaudio_and_the_definition() -> None:
    from torchaudio.functional import melscale_fbanks

    for bands in (96, 128):
        torch.testing.assert_close(
            mel_bank(bands), melscale_fbanks(257, 0.0, 8000.0, bands, 16_000, mel_scale="htk"), atol=1e-5, rtol=1e-4
        )
    filters = HarmonicFilters()
    assert filters.bands == 128
    centres = filters.centres.reshape(6, 128)
    assert float(centres[0, 0]) == pytest.approx(32.703, abs=1e-3)  # C1
    torch.testing.assert_close(centres[5], 6 * centres[0])
    assert float(centres.max()) < 8000
    spectrum = torch.zeros(1, 257, 1)
    spectrum[0, 32] = 1.0  # 1000 Hz
    found = filters(spectrum)[0, :, :, 0]
    width = 0.1079 * centres + 24.7
    by_hand = (1 - 2 * (1000.0 - centres).abs() / width).clamp_min(0)
    torch.testing.assert_close(found, by_hand, atol=1e-4, rtol=1e-3)


def test_power_is_scipys() -> None:
    from scipy.signal import stft
    from scipy.signal.windows import hann

    x = np.random.default_rng(0).standard_normal(4000)
    _, _, theirs = stft(
        np.pad(x, 256, mode="reflect"),
        window=hann(512, sym=False),
        nperseg=512,
        noverlap=256,
        boundary=None,
        padded=False,
    )
    ours = power(torch.from_numpy(x).float()[None])[0].numpy()
    np.testing.assert_allclose(
        ours[:, : theirs.shape[1]], np.abs(theirs * hann(512, sym=False).sum()) ** 2, rtol=1e-3, atol=1e-4
    )


def test_long_audio_is_cut_and_its_scores_averaged() -> None:
    torch.manual_seed(0)
    tagger = Fcn(3, (4,) * 5, ((2, 4), (2, 4), (2, 4), (3, 1), (4, 1)), seconds=2.0).eval()
    x = torch.randn(2, 40_000)
    whole = steering.score(tagger, x)
    padded = torch.nn.functional.pad(x, (0, 24_000))
    parts = [torch.sigmoid(tagger(tagger.features(padded[:, a : a + 32_000]))) for a in (0, 32_000)]
    torch.testing.assert_close(whole, (parts[0] + parts[1]) / 2)


# ---- steering


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


# ---- classic methods and scores


def test_percussive_is_two_medians_straight_down() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(12_000)
    transform, spectrum = classic._spectrum(x, 16_000)
    magnitude = np.abs(spectrum)
    length, reach = 5, 2
    padded = np.pad(magnitude, reach, mode="symmetric")
    harmonic, percussion = np.empty_like(magnitude), np.empty_like(magnitude)
    for f in range(magnitude.shape[0]):
        for t in range(magnitude.shape[1]):
            harmonic[f, t] = np.median(padded[f + reach, t : t + length])
            percussion[f, t] = np.median(padded[f : f + length, t + reach])
    mask = percussion**2 / (percussion**2 + harmonic**2)
    expected = transform.istft(mask * spectrum, k1=len(x))
    np.testing.assert_allclose(classic.percussive(x, 16_000, length), expected, atol=1e-6)
    time = np.arange(32_000) / 16_000
    click = np.zeros(32_000)
    click[::4000] = 5.0
    tone = np.sin(2 * np.pi * 440 * time)
    found = classic.percussive(tone + click, 16_000)
    assert np.corrcoef(found, click)[0, 1] > 0.8 > 0.2 > abs(np.corrcoef(found, tone)[0, 1])


def test_foreground_is_what_does_not_repeat() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(16_000)
    transform, spectrum = classic._spectrum(x, 16_000)
    magnitude = np.abs(spectrum)
    frames = magnitude.shape[1]
    background = np.empty_like(magnitude)
    least = round(0.2 * 16_000 / classic.HOP)
    for t in range(frames):
        cosine = [
            magnitude[:, t] @ magnitude[:, u] / np.linalg.norm(magnitude[:, t]) / np.linalg.norm(magnitude[:, u])
            for u in range(frames)
        ]
        best = [u for u in range(frames) if cosine[u] >= max(cosine[max(0, u - least) : u + least + 1])]
        best = sorted(best, key=lambda u: -cosine[u])[:4]
        background[:, t] = np.minimum(np.median(magnitude[:, best], axis=1), magnitude[:, t])
    mask = background / magnitude
    mask[transform.f <= 100.0] = 1.0
    expected = transform.istft((1 - mask) * spectrum, k1=len(x))
    np.testing.assert_allclose(classic.foreground(x, 16_000, neighbours=4, distance_seconds=0.2), expected, atol=1e-6)
    loop = np.tile(rng.standard_normal(8_192), 8)  # repeats every 16 frames
    voice = np.zeros_like(loop)
    voice[20_000:23_000] = 3 * np.sin(2 * np.pi * 700 * np.arange(3000) / 16_000)
    found = classic.foreground(loop + voice, 16_000, distance_seconds=0.3)
    assert np.corrcoef(found, voice)[0, 1] > 0.8
    with pytest.raises(ValueError, match="shorter than a window"):
        classic.foreground(x[:100], 16_000)


@pytest.mark.parametrize("shared", [0.0, 0.004])
@pytest.mark.parametrize(("level", "silence", "best"), [(6, 6.01, 6.99), (8, 8.01, 8.65), (10, 10.01, 10.42)])
def test_near_silence_earns_sdr_and_no_si_sdr(level: int, silence: float, best: float, shared: float) -> None:
    """The scalar-gain trap. Noise orthogonal to the source has the closed form; the printed digits of the best scalar
    lie 0.01 to 0.02 dB above it, which a correlation of 0.004 (one draw of a few seconds) gives at all three levels."""
    rng = np.random.default_rng(level)
    source, noise = rng.standard_normal((2, 4, 16_000))  # one second a row, a frame of museval's
    source /= np.linalg.norm(source, axis=1, keepdims=True)
    noise -= (noise * source).sum(1, keepdims=True) * source
    noise = shared * source + np.sqrt(1 - shared**2) * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    source, mixture = source.ravel(), (source + noise * 10 ** (level / 20)).ravel()
    found = {metric: value for (metric, _), value in scores(source, 1e-3 * mixture, mixture, 16_000).items()}
    assert found["sdr_improvement"] == found["sdr_improvement_silence"]
    assert f"{found['sdr_improvement_silence']:.2f}" == f"{silence:.2f}"
    if shared:
        assert f"{found['sdr_improvement_best_scalar']:.2f}" == f"{best:.2f}"
    else:
        exact = level + 10 * np.log10(1 + 10 ** (-level / 10))
        assert found["sdr_improvement_best_scalar"] == pytest.approx(exact, abs=1e-4)
    assert found["si_sdr_improvement"] == pytest.approx(0, abs=1e-6)
    assert found["mixture_sdr"] == pytest.approx(-level, abs=1e-4)


def test_verdicts_in_words() -> None:
    from reports.papers.tagbox.steering import verdict

    base = {"sdr_improvement": 7.0, "si_sdr_improvement": -0.2, "sdr_improvement_best_scalar": 7.0}
    assert "explained by attenuation" in verdict(base)
    assert "attenuation alone would earn as much" in verdict({**base, "si_sdr_improvement": 1.0})
    assert "beyond attenuation" in verdict({**base, "si_sdr_improvement": 3.0, "sdr_improvement": 9.0})
    assert verdict({**base, "sdr_improvement": -1.0}).startswith("no improvement")
    assert verdict({**base, "sdr_improvement": float("nan")}) == "no score."


# ---- the recipe


def test_presets_are_names_at_the_published_places() -> None:
    from mss_core.data.files import facts

    known = facts()["mtat"]["tags"]
    places = {target: sorted(known.index(tag) for tag in tags) for target, tags in TAGS["mtat"].items()}
    assert places == {
        "vocals": [13, 15, 18, 19, 20, 26, 27, 33, 35, 36, 39, 40, 48, 49],
        "guitar": [0],
        "piano": [9, 22],
        "strings": [4, 12, 43],
        "drums": [5, 11, 41],
    }
    for tags in TAGS["mtg_jamendo"].values():
        assert set(tags) <= set(facts()["mtg_jamendo"]["top50"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": "mtat"}, "no tags of 'mtat' for target 'bass' .*set 'wanted'"),
        ({"method": "hpss"}, "'hpss' estimates drums and nothing else; 'targets' names vocals, bass, drums"),
        ({"method": "repet"}, "did you mean 'repet_sim'"),
        ({"targets": ("vocal",)}, "did you mean 'vocals'"),
        ({"taggers.0.name": "fnc"}, "did you mean 'fcn'"),
        ({"taggers.0.weights": None}, "neither released weights .* nor clips"),
        ({"output": "mask"}, "did you mean 'masked'"),
        ({"limit": 0}, "'limit' must be at least 1"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        override(tagbox(), changes)


def test_equal_searches_are_one_stage_and_each_reading_is_scored() -> None:
    recipe = tagbox(targets=("vocals",))
    keys = {
        stage.key
        for output in ("masked", "residual")
        for seed in (0, 1)
        for stage in walk([override(recipe, {"output": output, "steer.seed": seed}).pipeline()]).values()
        if stage.name == "infer_steered"
    }
    assert len(keys) == 1, "seed and output change nothing in a search without chance"
    assert override(recipe, {"wanted": {"vocals": ("genre---metal",)}}).tags_of("vocals") == ("genre---metal",)


# ---- stages

TINY = TagBox(
    tracks=TrackSet("synthetic", samplerate=8_000, size=10),
    targets=("bass", "drums"),
    limit=2,
    taggers=(Tagger("musicnn", None),),
    vocabulary="synthetic",
    clips=ClipSet("synthetic", labels="tags", size=10),
    vqvae_weights=None,
)


@pytest.fixture(scope="module")
def tiny() -> TagBox:
    small = smoke(TINY)
    return replace(
        small,
        tracks=TINY.tracks,
        clips=TINY.clips,
        limit=2,
        vqvae={**small.vqvae, "widths": (8,), "depths": (1,), "codes": 16},
        train_vqvae=replace(
            small.train_vqvae,
            phases=(replace(small.train_vqvae.phases[0], epochs=8, lr=5e-3),),
            epoch_steps=12,
            batch=4,
        ),
        train_tagger=replace(small.train_tagger, phases=(replace(small.train_tagger.phases[0], epochs=1),), batch=4),
        steer=SteerConfig(steps=3, lr=0.05, n_fft=(256,), segment_seconds=4.0, clips=2),
    )


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory) -> tuple[Store, Stage]:
    store, root = Store(tmp_path_factory.mktemp("store")), tiny.pipeline()
    materialize(root, store, Context())
    return store, root


def test_a_vqvae_improves_while_it_trains(finished) -> None:
    from mss_core.graph import read_history

    store, root = finished
    (stage,) = (s for s in walk([root]).values() if s.name == "train_vqvae")
    losses = [row["valid_loss"] for row in read_history(store.directory(stage))]
    assert losses[-1] < 0.9 * losses[0] and models.load(store.directory(stage)).codebook().k.any()


def test_estimates_of_every_track_and_scores_of_every_target(finished) -> None:
    store, root = finished
    stages = [s for s in walk([root]).values() if s.name == "infer_steered"]
    assert len(stages) == 2
    packed = Packed(store.directory(root.inputs["data"]))
    for stage in stages:
        folder = store.directory(stage)
        for item in packed.split("test")[:2]:
            masked_, reference = (np.load(folder / item.name / f"{kind}.npy") for kind in ("masked", "reference"))
            np.testing.assert_allclose(reference, packed.read(item), atol=1e-6)
            assert masked_.shape == reference.shape and masked_.any()
        assert len(pd.read_csv(folder / "steps.csv")) == 3
    table = pd.read_csv(store.directory(root) / "scores.csv", keep_default_na=False)
    assert set(table.target) == {"bass", "drums", "macro"}
    one = table[(table.metric == "si_sdr_improvement") & (table.track == table.track.iloc[0])].set_index("target")
    scored = [float(one.score[t]) for t in ("bass", "drums") if t in one.index]
    assert float(one.score["macro"]) == pytest.approx(np.mean(scored))


@pytest.mark.parametrize("direction", ["descent", "random"])
def test_a_killed_search_goes_on_from_its_last_clips(finished, tmp_path, direction) -> None:
    store, root = finished
    stage = next(s for s in walk([root]).values() if s.name == "infer_steered")
    config = replace(stage.arguments["config"], direction=direction)
    stage = Stage(stage.function, **{**stage.arguments, "config": config})
    materialize(stage, store, Context())
    again = Store(tmp_path)
    for upstream in stage.inputs.values():
        target = again.directory(upstream)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(store.directory(upstream))
    seen: list[int] = []

    def die(row: dict) -> None:
        seen.append(row["step"])
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialize(stage, again, Context(listen=die))
    directory = materialize(stage, again, Context(listen=die))
    assert seen == [2, 4], "two clips before the kill, two after, none twice"
    for path in sorted(store.directory(stage).rglob("*.npy")):
        other = directory / path.relative_to(store.directory(stage))
        np.testing.assert_array_equal(np.load(path), np.load(other))
    assert (directory / "steps.csv").read_text() == (store.directory(stage) / "steps.csv").read_text()


def test_a_tag_that_the_tagger_does_not_know_is_named(finished, tmp_path) -> None:
    store, root = finished
    stage = next(s for s in walk([root]).values() if s.name == "infer_steered")
    from mss_core.store import StageFailed

    wrong = Stage(stage.function, **{**stage.arguments, "tags": (("vocal",),)})
    with pytest.raises(StageFailed, match="no tag of the tagger 'vocal'; did you mean 'vocals'"):
        materialize(wrong, store, Context())


# ---- released weights


def test_the_released_vqvae_is_read_by_name(tmp_path: Path) -> None:
    from mss_core.systems.tagbox.released import prepare_vqvae

    torch.manual_seed(0)
    described = models.model("vqvae", downs=((1,), (1, 1)), widths=(4, 4), depths=(1, 1), embedding=4, codes=8)
    state = models.build(described).state_dict()
    state = {name: torch.randn_like(value) for name, value in state.items()}
    root = tmp_path / "jukebox"
    root.mkdir()
    torch.save({"model": state, "step": 1}, root / "vqvae.pth.tar")
    found = materialize(
        Stage(prepare_vqvae, data=WeightSet("jukebox"), vqvae=described),
        Store(tmp_path / "s"),
        Context(data={"jukebox": root}),
    )
    loaded = models.load(found).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    assert "encoders.0.level_blocks.0.model.0.1.model.0.model.1.weight" in state, "the released names"
    assert "bottleneck.level_blocks.1.k" in state
    note = json.loads((found / "notes.json").read_text())[0]
    assert hashlib.sha256((root / "vqvae.pth.tar").read_bytes()).hexdigest() in note["items"][0]
    from mss_core.store import StageFailed

    other = models.model("vqvae", downs=((1,), (1, 1)), widths=(4, 8), depths=(1, 1), embedding=4, codes=8)
    with pytest.raises(StageFailed, match="has shape .* the model's is"):
        materialize(
            Stage(prepare_vqvae, data=WeightSet("jukebox"), vqvae=other),
            Store(tmp_path / "s"),
            Context(data={"jukebox": root}),
        )


def test_a_released_tagger_needs_its_labels_and_all_its_tensors(tmp_path: Path) -> None:
    from mss_core.store import StageFailed
    from mss_core.systems.tagbox.released import prepare_tagger

    described = models.model("fcn", widths=(4,) * 5)
    module = models.build({**described, "classes": 3})
    released = {
        **module.state_dict(),
        "spec.mel_scale.fb": torch.zeros(257, 96),
        "spec.spectrogram.window": torch.zeros(512),
    }
    root = tmp_path / "fcn_mtat"
    root.mkdir()
    torch.save(released, root / "best_model.pth")
    context, store = Context(data={"fcn_mtat": root}), Store(tmp_path / "s")
    stage = Stage(prepare_tagger, data=WeightSet("fcn_mtat"), tagger=described)
    with pytest.raises(StageFailed, match="labels.txt is missing: one tag per line"):
        materialize(stage, store, context)
    (root / "labels.txt").write_text("guitar\nslow\nslow\n")
    with pytest.raises(StageFailed, match="names a tag twice"):
        materialize(stage, store, context)
    (root / "labels.txt").write_text("guitar\nslow\nmetal\n")
    found = materialize(stage, store, context)
    assert json.loads((found / "labels.json").read_text()) == ["guitar", "slow", "metal"]
    del released["dense.bias"]
    torch.save(released, root / "best_model.pth")
    with pytest.raises(StageFailed, match="no 'dense.bias', which the model has"):
        materialize(Stage(prepare_tagger, data=WeightSet("fcn_mtat", "2"), tagger=described), store, context)


def test_a_supervised_ceiling_is_scored_like_the_rest(tiny, finished, tmp_path: Path) -> None:
    from mss_core.systems.tagbox.infer_separated import infer_separated
    from mss_core.systems.tagbox.score import score_estimates

    recipe = replace(tiny, method="xumx", targets=("drums",), limit=1)
    assert [s.name for s in walk([recipe.pipeline()]).values()] == [
        "prepare_tracks",
        "prepare_separator",
        "infer_separated",
        "score_estimates",
    ]
    with pytest.raises(ValueError, match="no released weights for 'xumx'"):
        smoke(recipe)
    torch.manual_seed(0)
    described = {
        **models.model("xumx", samplerate=8_000, size=256, hop=64, max_bin=100, hidden=4, layers=1),
        "channels": 1,
    }
    models.save(tmp_path, described, models.build(described))
    store, root = finished
    data, out = store.directory(root.inputs["data"]), tmp_path / "out"
    out.mkdir()
    infer_separated(data=data, separator=tmp_path, tracks=1, out=out, ctx=Context())
    (item,) = Packed(data).split("test")[:1]
    reference = np.load(out / item.name / "reference.npy")
    np.testing.assert_array_equal(reference, Packed(data).read(item))
    for stem in ("vocals", "drums", "bass", "other"):  # one run of the separator, every stem
        estimate = np.load(out / item.name / f"{stem}.npy")
        assert estimate.shape == reference.shape and np.isfinite(estimate).all()
    scored = tmp_path / "scored"
    scored.mkdir()
    score_estimates(data=data, estimates=[out], targets=("drums",), output="masked", out=scored, ctx=Context())
    assert set(pd.read_csv(scored / "scores.csv").target) <= {"drums", "macro"}
    with pytest.raises(ValueError, match="no target of the estimates 'drum'; did you mean 'drums'"):
        score_estimates(data=data, estimates=[out], targets=("drum",), output="masked", out=scored, ctx=Context())
    with pytest.raises(ValueError, match="'xumx' estimates vocals, drums, bass, other and nothing else"):
        override(tagbox(), {"method": "xumx", "tracks.sources": ("guitar",), "targets": ("guitar",)})


def test_a_separator_stands_beside_its_own_published_row_or_none() -> None:
    """X-UMX is not Open-Unmix, nor Hybrid Demucs the Demucs of the paper."""
    from reports.published import paper
    from studies.supervised_ceilings import study

    rows = paper("tagbox").table("Table 1").rows
    (method,) = (factor for factor in study.factors if factor.name == "method")
    networks = {"Open-Unmix": "open_unmix", "Demucs": "demucs"}
    for label, changes in method.levels.items():
        assert label not in rows or networks[label] == changes["method"]


def test_the_tagger_study_has_every_cell_of_table_2() -> None:
    """And tries the published taggers nowhere else: the empty cells are those that MTAT has no tag for."""
    from reports.published import paper
    from studies.tagger_ablation import study

    table = paper("tagbox").table("Table 2")
    variants = study.variants()
    tried = {(v.levels["tagger"], v.levels["stem"]) for v in variants}
    assert {cell for cell in tried if cell[0] in table.rows} == {
        (row, column) for row, cells in table.rows.items() for column in cells
    }
    assert len(tried) == len(variants) == 10 * 8 - 4 * 2
    references = study.references()
    for variant in variants:
        assert references[variant.name].levels == {"stem": variant.levels["stem"], "tagger": "MTG, FCN"}


def test_the_studies_plan_without_data(capsys, tmp_path) -> None:
    from mss_core.study import run
    from studies import steering_switches, supervised_ceilings, tagger_ablation, training_free

    run(supervised_ceilings.study, ["--dry-run", "--json", "--store", str(tmp_path)])
    absent = json.loads(capsys.readouterr().out)["absent_data"]
    assert {"xumx", "hdemucs"} <= set(absent) and "jukebox" not in absent
    for module in (steering_switches, tagger_ablation, training_free):
        run(module.study, ["--dry-run", "--json", "--store", str(tmp_path)])
        plan = json.loads(capsys.readouterr().out)
        assert "jukebox" in plan["absent_data"] and "train_vqvae" not in plan["stages"]
    # 8 stems, one search each by the paper and by the released code; the masked mixture is a reading of the first.
    assert plan["stages"]["infer_steered"]["distinct"] == 16
    assert plan["stages"]["infer_classic"]["distinct"] == 8 + 2 + 1
