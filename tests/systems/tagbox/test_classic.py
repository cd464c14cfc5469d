"""Classic methods beside TagBox, and the scores of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from mss_core.systems.tagbox import classic
from mss_core.systems.tagbox.score import scores


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
    source, noise = rng.standard_normal((2, 4, 16_000))  # one second per row, a frame of museval's
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
