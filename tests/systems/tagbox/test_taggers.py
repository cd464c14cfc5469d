"""TagBox's taggers: published sizes, front ends, and what they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mss_core import models
from mss_core.systems.tagbox import steering
from mss_core.systems.tagbox.taggers import Fcn, HarmonicCnn, HarmonicFilters, Musicnn, ShortChunkCnn, mel_bank, power
from tests.systems.tagbox.test_vqvae import count


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
