"""BSS Eval against museval itself, on made-up and real signals: equal to 1e-6 dB."""

import dataclasses
import math

import mir_eval
import numpy as np
import pytest
from numpy.typing import ArrayLike

from mss_core.metrics.bss_eval import BssEval, bss_eval, frame_sdr
from mss_core.metrics.museval_io import ORDER, museval_bss_eval
from tests.metrics.signals import made_up, read, spoilt, to_16k, to_int16

FREE = "everything_is_free/train/"
MUSDB = "musdb18_excerpt/hq_train/Music Delta - 80s Rock/"
SECOND = slice(16000, 32000)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Ours beside museval's.

    Attributes:
        ours, theirs: the scores.
        same_frames: whether NaN are the same frames.
        difference: metric -> largest difference in dB where museval's is below 100 dB; above, it is rounding.
        sensitivity: metric -> how far museval's own scores move if the references are scaled by 1 + 1e-9, which
            changes no ratio by more than 1e-7 dB by itself. Found only where the difference is above 1e-6 dB or the
            system ill-conditioned, and empty elsewhere.
    """

    ours: BssEval
    theirs: BssEval
    same_frames: bool
    difference: dict[str, float]
    sensitivity: dict[str, float]

    @property
    def verdict(self) -> str:
        """ "equal" to 1e-6 dB, "ill-conditioned" (museval does not agree with itself), or "different"."""
        if self.same_frames and max(self.difference.values()) <= 1e-6:
            return "equal"
        excused = self.ours.ill_conditioned or all(
            self.difference[m] <= 10 * self.sensitivity[m] for m in ("SIR", "SAR", "ISR")
        )
        return "ill-conditioned" if excused and self.same_frames else "different"

    def __str__(self) -> str:
        words = [f"{self.verdict}, condition {self.ours.condition:.1e}"]
        own = [f", museval's own sensitivity {v:.1e}" for v in self.sensitivity.values()]
        for m, sensitivity in zip(ORDER, own or [""] * len(ORDER), strict=True):
            ours, theirs = (np.nanmedian(getattr(x, m.lower())) for x in (self.ours, self.theirs))
            words.append(f"{m} {ours:.6f} museval {theirs:.6f} (difference {self.difference[m]:.1e}{sensitivity})")
        return "; ".join(words)


def compare(
    references: ArrayLike, estimates: ArrayLike, rate: float, window: float = 1.0, hop: float = 1.0
) -> Agreement:
    """Both implementations on the same track, and where that is telling museval on references scaled by 1 + 1e-9."""
    ours = bss_eval(references, estimates, rate, window, hop)
    theirs = museval_bss_eval(references, estimates, rate, window, hop)
    difference = _differences(ours, theirs)
    sensitivity = {}
    if ours.ill_conditioned or max(difference.values()) > 1e-6:
        scaled = np.asarray(references) * (1 + 1e-9)
        again = museval_bss_eval(scaled, estimates, rate, window, hop)
        sensitivity = _differences(again, theirs)
    same = all(np.array_equal(np.isnan(getattr(ours, m.lower())), np.isnan(getattr(theirs, m.lower()))) for m in ORDER)
    return Agreement(ours, theirs, same, difference, sensitivity)


def _differences(a: BssEval, b: BssEval) -> dict[str, float]:
    out = {}
    for m in ORDER:
        x, y = getattr(a, m.lower()), getattr(b, m.lower())
        low = np.isfinite(x) & np.isfinite(y) & (y < 100)
        sure = (y >= 100) & ~(x >= 99)  # beyond rounding there, but not here
        out[m] = math.inf if sure.any() else float(np.abs(x[low] - y[low]).max(initial=0.0))
    return out


def silenced(where, seed=20):
    references, estimates = made_up(seed, 2, 2, 4.0)
    if "reference" in where:
        references[0, SECOND] = 0
    if "estimate" in where:
        estimates[1, 40000:52000] = 0  # covers one frame in part only
        estimates[0, 48000:] = 0
    if "antiphase" in where:
        references[1, SECOND, 1] = -references[1, SECOND, 0]
    return references, estimates


def stereo(kind):
    references, estimates = made_up(21, 2, 2)
    if kind == "dead channel":
        references[0, :, 1] = 0
    elif kind == "dual mono":
        references[0, :, 1] = references[0, :, 0]
    elif kind == "panned mono":
        references[1, :, 0] = -0.5 * references[1, :, 1]
    elif kind == "shared channel":
        references[1, :, 0] = references[0, :, 0]
    return references, estimates


def quiet_in_parts():
    references, estimates = made_up(22, 3, 1)
    references[0, SECOND] *= 1e-5  # -100 dB, yet not silent
    return references, estimates


def one_perfect():
    references, estimates = made_up(23, 2, 1)
    estimates[0] = references[0]
    return references, estimates


# name -> (references, estimates), window in s, hop in s; 16 kHz
MADE_UP = {
    "mono, 2 sources": (lambda: made_up(0, 2, 1), 1, 1),
    "mono, 3 sources": (lambda: made_up(1, 3, 1), 1, 1),
    "mono, 4 sources": (lambda: made_up(2, 4, 1), 1, 1),
    "mono, 5 sources": (lambda: made_up(3, 5, 1, 2.0), 1, 1),
    "mono, 6 sources": (lambda: made_up(4, 6, 1, 2.0), 1, 1),
    "mono, 1 source": (lambda: made_up(5, 1, 1), 1, 1),
    "stereo, 2 sources": (lambda: made_up(6, 2, 2), 1, 1),
    "stereo, 3 sources": (lambda: made_up(7, 3, 2, 2.3), 1, 1),
    "3 channels": (lambda: made_up(8, 2, 3, 2.0), 1, 1),
    "int16, mono": (lambda: [to_int16(x) for x in made_up(9, 2, 1)], 1, 1),
    "int16, stereo": (lambda: [to_int16(x) for x in made_up(10, 2, 2)], 1, 1),
    "float32": (lambda: [x.astype(np.float32) for x in made_up(11, 2, 2)], 1, 1),
    "silent reference frame": (lambda: silenced(["reference"]), 1, 1),
    "silent estimate frame": (lambda: silenced(["estimate"]), 1, 1),
    "antiphase frame": (lambda: silenced(["antiphase"]), 1, 1),
    "all kinds of silence": (lambda: silenced(["reference", "estimate", "antiphase"]), 1, 0.5),
    "nearly silent frame": (quiet_in_parts, 1, 1),
    "dead channel": (lambda: stereo("dead channel"), 1, 1),
    "dual mono": (lambda: stereo("dual mono"), 1, 1),
    "panned mono": (lambda: stereo("panned mono"), 1, 1),
    "clip shorter than a frame": (lambda: made_up(12, 2, 2, 0.6), 1, 1),
    "clip of just a frame": (lambda: made_up(13, 2, 1, 1.0), 1, 1),
    "a sample more than a frame": (lambda: made_up(14, 2, 1, 1.0001), 1, 1),
    "30 s windows, hop 15 s": (lambda: made_up(15, 2, 1, 61.0), 30, 15),
    "half overlapping": (lambda: made_up(16, 2, 1, 3.3), 1, 0.5),
    "odd overlap": (lambda: made_up(16, 2, 1, 3.3), 1, 0.97),
    "gaps between windows": (lambda: made_up(17, 2, 1, 4.0), 0.7, 1.1),
    "windows shorter than filters": (lambda: made_up(18, 2, 1, 1.0), 0.03, 0.02),
    "one window": (lambda: made_up(19, 2, 2, 2.0), math.inf, math.inf),
    "a perfect estimate": (one_perfect, 1, 1),
    "SAR of 50 dB": (lambda: _faint_noise(), 1, 1),
    "estimates swapped": (lambda: _swapped(), 1, 1),
}


def _faint_noise():
    references, _ = made_up(24, 2, 1)
    return references, spoilt(references, leakage=0.3, noise=3e-4)


def _swapped():
    references, estimates = made_up(25, 2, 1)
    return references, estimates[::-1]


# name -> files, start in s, seconds, what is done to the references; 44.1 kHz
REAL = {
    "lossy stems": ([MUSDB + "vocals.wav", MUSDB + "other.wav"], 0.5, 3.2, None),
    "lossy stems, mono": (
        [MUSDB + f"{s}.wav" for s in ("vocals", "drums", "bass", "other")],
        1,
        2.5,
        lambda x: x.mean(2, keepdims=True),
    ),
    "lossy stems at 16 kHz": ([MUSDB + "drums.wav", MUSDB + "bass.wav"], 0, 5, to_16k),
    "song": ([FREE + "Lithium/vocals.flac", FREE + "Lithium/other.flac"], 20, 2.5, None),
    "song, int16": ([FREE + "Sodium/drums.flac", FREE + "Sodium/other.flac"], 20, 2.2, to_int16),
    "song, mono": ([FREE + f"Potassium/{s}.flac" for s in ("vocals", "drums", "bass")], 20, 2.2, lambda x: x[:, :, :1]),
    "song at 16 kHz, 4 sources": (
        [FREE + f"Potassium/{s}.flac" for s in ("vocals", "drums", "bass", "other")],
        22,
        3,
        lambda x: to_16k(x.mean(2, keepdims=True)),
    ),
    "song without high frequencies": ([FREE + "Hydrogen/vocals.flac", FREE + "Hydrogen/drums.flac"], 20, 2.2, None),
}


@pytest.mark.parametrize("name", MADE_UP)
def test_made_up(name):
    make, window, hop = MADE_UP[name]
    references, estimates = make()
    agreement = compare(references, estimates, 16000, window, hop)
    assert not agreement.ours.ill_conditioned
    assert agreement.verdict == "equal", agreement
    sdr = frame_sdr(references, estimates, 16000, window, hop)
    np.testing.assert_allclose(sdr, agreement.ours.sdr, atol=1e-12)


@pytest.mark.parametrize("name", REAL)
def test_real(name):
    files, start, seconds, change = REAL[name]
    references, rate = read(*files, start=start, seconds=seconds)
    estimates = spoilt(references)
    if change:
        references, estimates = change(references), change(estimates)
        rate = 16000 if "16 kHz" in name else rate
    agreement = compare(references, estimates, rate)
    assert agreement.verdict == "equal", agreement


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_one_window_is_what_mir_eval_computes():
    references, estimates = made_up(32, 2, 2, 1.0)
    ours = bss_eval(references, estimates, 16000, math.inf, math.inf)
    theirs = mir_eval.separation.bss_eval_images(references, estimates, False)
    for metric, expected in zip(("sdr", "isr", "sir", "sar"), theirs[:4], strict=True):
        np.testing.assert_allclose(getattr(ours, metric)[:, 0], expected, atol=1e-6)


@pytest.mark.slow
def test_four_stereo_sources_at_44100():
    agreement = compare(*made_up(30, 4, 2, 1.2, 44100), 44100)
    assert agreement.verdict == "equal", agreement


def brick_wall(signals, share):
    spectrum = np.fft.rfft(signals, axis=1)
    spectrum[:, int(share * spectrum.shape[1]) :] = 0
    return np.fft.irfft(spectrum, n=signals.shape[1], axis=1)


@pytest.mark.parametrize(("channels", "share"), [(1, 0.5), (2, 0.9)])
def test_band_limited_floats_are_reported_as_ill_conditioned(channels, share):
    references, _ = made_up(31, 2, channels)
    estimates = spoilt(brick_wall(references, share))
    agreement = compare(brick_wall(references, share), estimates, 16000)
    print(agreement)
    assert agreement.ours.ill_conditioned and agreement.same_frames
    assert agreement.difference["SDR"] < 1e-9  # needs no filters
    assert agreement.verdict in ("ill-conditioned", "equal")
    # The same signals as a 16-bit file holds them are fine.
    rounded = compare(to_int16(brick_wall(references, share)), to_int16(estimates), 16000)
    assert not rounded.ours.ill_conditioned and rounded.verdict != "different"
    assert max(rounded.difference.values()) < 1e-5


def test_a_report_of_the_ill_conditioned_shows_both_values_and_the_sensitivity():
    references, _ = made_up(31, 2, 2)
    references = brick_wall(references, 0.5)
    report = str(compare(references, spoilt(references), 16000))
    assert report.startswith("ill-conditioned")
    assert "museval's own sensitivity" in report and report.count("museval ") == 4
