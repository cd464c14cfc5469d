"""BSS Eval on its own: properties, the reference side, what is refused."""

import math
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from mss_core.metrics import cache, correlation, frames, museval_io, projection, toeplitz
from mss_core.metrics.bss_eval import bss_eval, frame_sdr, validate
from mss_core.metrics.tracks import parallel
from tests.metrics.signals import made_up

METRICS = ("sdr", "isr", "sir", "sar")
RATE = 16000


def values(scores):
    return np.stack([getattr(scores, m) for m in METRICS])


def assert_same(a, b, atol=1e-9):
    np.testing.assert_allclose(values(a), values(b), atol=atol)


@pytest.fixture(scope="module")
def pair():
    references, estimates = made_up(40, 3, 1, 3.2)
    references[1, 5000:22000] = 0  # frame 0 in part, frame 1 in part
    references[2, 32000:48000] = 0  # frame 2
    return references, estimates


def test_permuted_sources_permute_the_scores(pair):
    references, estimates = pair
    order = [2, 0, 1]
    permuted = values(bss_eval(references[order], estimates[order], RATE))
    expected = values(bss_eval(references, estimates, RATE))[:, order]
    np.testing.assert_allclose(permuted, expected, atol=1e-9)


@pytest.mark.parametrize("gain", [1e-3, -1.0, 40.0])
def test_a_common_gain_changes_nothing(pair, gain):
    references, estimates = pair
    assert_same(bss_eval(gain * references, gain * estimates, RATE), bss_eval(references, estimates, RATE))


def test_a_gain_of_the_estimate_changes_sdr_and_isr_only(pair):
    references, estimates = pair
    a, b = bss_eval(references, estimates, RATE), bss_eval(references, 0.5 * estimates, RATE)
    np.testing.assert_allclose(a.sir, b.sir, atol=1e-9)
    np.testing.assert_allclose(a.sar, b.sar, atol=1e-9)
    assert (abs(a.sdr - b.sdr)[:, :2] > 0.1).all() and (abs(a.isr - b.isr)[:, :2] > 0.1).all()


def test_perfect_estimates():
    references, _ = made_up(41, 2, 2, 2.0)
    scores = bss_eval(references, references, RATE)
    assert (scores.sdr == np.inf).all()
    assert (values(scores)[1:] > 200).all()


def test_frames_dropped_for_silence_are_counted(pair):
    scores = bss_eval(*pair, RATE)
    assert scores.dropped == 1 and np.isnan(values(scores)[:, :, 2]).all()
    assert np.isfinite(values(scores)[:, :, :2]).all()
    np.testing.assert_array_equal(scores.start, [0, 1, 2])


def test_tensors_and_mono_without_a_channel_axis(pair):
    references, estimates = pair
    expected = bss_eval(references, estimates, RATE)
    assert_same(bss_eval(torch.tensor(references), torch.tensor(estimates), RATE), expected, 0)
    assert_same(bss_eval(references[:, :, 0], estimates[:, :, 0], RATE), expected, 0)
    assert_same(bss_eval(references[:, ::-1][:, ::-1], estimates, RATE), expected, 0)
    references.flags.writeable = False
    assert_same(bss_eval(references, estimates, RATE), expected, 0)
    references.flags.writeable = True


def test_frame_sdr_is_the_plain_ratio(pair):
    references, estimates = pair
    sdr = frame_sdr(references, estimates, RATE)
    for t in range(2):
        s, e = (x[:, t * RATE : (t + 1) * RATE] for x in pair)
        expected = 10 * np.log10((s**2).sum((1, 2)) / ((s - e) ** 2).sum((1, 2)))
        np.testing.assert_allclose(sdr[:, t], expected, atol=1e-12)
    assert np.isnan(sdr[:, 2]).all()


@given(st.integers(1, 400), st.integers(1, 500), st.integers(1, 500), st.integers(1, 60))
@settings(deadline=None)
def test_windows_are_those_of_museval_and_spans_make_them_up(length, window, hop, taps):
    plan = frames.framing(length, window, hop, taps)
    theirs = museval_io._museval_metrics().Framing(window, hop, length)
    assert plan.windows == tuple((w.start, w.stop) for w in theirs)
    for (start, stop), (first, last) in zip(plan.windows, plan.members, strict=True):
        assert plan.spans[first][0] == start and plan.spans[last - 1][1] == stop
    if plan.tiled:
        assert plan.spans[0][0] == 0 and plan.spans[-1][1] == length
        assert plan.seams == tuple(start for start, _ in plan.spans[1:])
        assert all(stop - start >= taps - 1 for start, stop in plan.spans[:-1])
    else:
        assert plan.spans[-1] == (0, length)


@pytest.mark.parametrize("taps", [1, 3, 8])
def test_correlations_by_hand(taps):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 90, 2)), rng.standard_normal((1, 90, 3))
    spans = [(0, 40), (40, 75), (75, 90)]

    def by_hand(start, stop):
        inside = np.zeros((90, 1))
        inside[start:stop] = 1
        a, b = ((z * inside).transpose(0, 2, 1).reshape(-1, 90) for z in (x, y))
        delayed = [np.roll(np.pad(a, ((0, 0), (0, taps))), k, axis=1)[:, :90] for k in range(taps)]
        return np.einsum("apt,qt->qpa", delayed, b)

    signals = torch.tensor(x), [torch.tensor(y)]
    rows = correlation.span_lags(*signals, spans, taps)
    for row, span in zip(rows, spans, strict=True):
        np.testing.assert_allclose(row, by_hand(*span), atol=1e-12)
    seams = correlation.seam_lags(*signals, [40, 75], taps, each=True)
    np.testing.assert_allclose(rows[:2].sum(0) + seams[0], by_hand(0, 75), atol=1e-12)
    together = correlation.seam_lags(*signals, [40, 75], taps, each=False)
    np.testing.assert_allclose(together[0], seams.sum(0), atol=1e-12)
    np.testing.assert_allclose(rows.sum(0) + together[0], by_hand(0, 90), atol=1e-12)


def lags_of(signals, taps):
    x = torch.tensor(signals)
    return correlation.span_lags(x, [x], [(0, x.shape[1])], taps)[0]


@pytest.mark.parametrize("channels", [1, 2])
def test_the_structured_solution_is_that_of_the_dense_matrix(channels):
    references, estimates = made_up(42, 2, channels, 0.5)
    lags = lags_of(references, 32)
    right = torch.tensor(np.random.default_rng(0).standard_normal((3, 2 * channels, 32)))
    system = toeplitz.factor(lags)
    assert system.columns is not None
    matrix = toeplitz.dense(lags).numpy()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    dense = np.linalg.solve(matrix, right.reshape(3, -1).numpy().T).T
    np.testing.assert_allclose(toeplitz.solve(system, right).reshape(3, -1), dense, rtol=1e-9)
    norm = np.linalg.cond(matrix)
    assert norm / 100 < system.condition < norm * 100


def test_other_solvers_give_the_same(pair, monkeypatch):
    expected = bss_eval(*pair, RATE)
    monkeypatch.setattr(toeplitz, "_inverse_columns", lambda lags: None)
    assert_same(bss_eval(*pair, RATE), expected)  # Cholesky
    monkeypatch.setattr(torch.linalg, "cholesky_ex", lambda m: (m, torch.tensor(1)))  # LU of the matrix + eps
    scores = bss_eval(*pair, RATE)
    assert_same(scores, expected)
    assert scores.condition == math.inf and scores.ill_conditioned


@pytest.mark.parametrize("window", [1.0, 0.02, 0.8])
def test_projected_energies_are_those_from_correlations(pair, window, monkeypatch):
    expected = bss_eval(*pair, RATE, window, 0.7)
    monkeypatch.setattr(projection, "ROUNDING", 0.0)
    assert_same(bss_eval(*pair, RATE, window, 0.7), expected, atol=1e-8)


@pytest.mark.parametrize("where", ["dict", "folder"])
def test_the_reference_side_is_kept_by_content(pair, where, tmp_path, monkeypatch):
    references, estimates = pair
    kept = {} if where == "dict" else tmp_path / "cache"
    count = (lambda: len(kept)) if where == "dict" else (lambda: len(os.listdir(kept)))
    first = bss_eval(references, estimates, RATE, cache=kept)
    assert count() == 1
    assert_same(first, bss_eval(references, estimates, RATE), 0)
    expected = bss_eval(references, 0.3 * estimates + 0.1 * references[::-1], RATE)

    def forbidden(lags):
        raise AssertionError("factorised again")

    monkeypatch.setattr(toeplitz, "_inverse_columns", forbidden)
    again = bss_eval(references.copy(), 0.3 * estimates + 0.1 * references[::-1], RATE, cache=kept)
    assert_same(again, expected, 1e-10)
    assert count() == 1
    monkeypatch.undo()
    changed = references.copy()
    changed[0, 100, 0] += 2.0**-30
    for other in (
        (changed, RATE, 1.0, 1.0),
        (references, RATE, 1.0, 0.5),
        (references, RATE / 2, 1.0, 1.0),
        (references.astype(np.float32), RATE, 1.0, 1.0),
    ):
        before = count()
        bss_eval(other[0], estimates, *other[1:], cache=kept)
        assert count() == before + 1


def test_fingerprints_differ_where_one_sample_does():
    rng = np.random.default_rng(0)
    signal = (rng.integers(-(2**15), 2**15, (2, 30_000, 1)) / 2**15).astype(np.float64)
    seen = {cache.fingerprint(torch.tensor(signal), [(0, 10)], 512)}
    for i in range(300):
        other = signal.copy()
        other.flat[i * 199] += 2.0**-15 * (1 + i % 7)
        seen.add(cache.fingerprint(torch.tensor(other), [(0, 10)], 512))
    assert len(seen) == 301


REFUSED = {
    "one sample is not finite": (
        lambda r, e: (r, _with(e, (1, 1234, 0), np.nan)),
        {},
        "track 'Song': estimate 1 is not finite at sample 1234",
    ),
    "infinite": (lambda r, e: (_with(r, (2, 7, 0), -np.inf), e), {}, "reference 2 is not finite at sample 7"),
    "a source is missing": (lambda r, e: (r, e[:2]), {}, "Song.*2 estimates for 3 references"),
    "channels": (lambda r, e: (r, np.repeat(e, 2, axis=2)), {}, "estimates have 2 channels and references 1"),
    "length": (lambda r, e: (r, e[:, :-5]), {}, "estimates have 51195 samples and references 51200; pad=True"),
    "torch order": (
        lambda r, e: (r.transpose(0, 2, 1), e),
        {},
        r"references have 1 samples of 51200 channels: should be \(source, time, channel\)",
    ),
    "no source axis": (lambda r, e: (r[0, :, 0], e), {}, r"references have the shape \(51200,\)"),
    "empty": (lambda r, e: (r[:0], e[:0]), {}, r"references have the shape \(0, 51200, 1\)"),
    "silent reference": (
        lambda r, e: (_with(r, 1, 0), e),
        {},
        "Song.*reference 1 is silent in the whole track.*silent='drop'",
    ),
    "silent estimate": (lambda r, e: (r, _with(e, 0, 0)), {}, "estimate 0 is silent in the whole"),
    "rate": (lambda r, e: (r, e), {"rate": 0}, "rate is 0, should be samples per second"),
    "window": (lambda r, e: (r, e), {"window": 0}, "window is 0 s, shorter than a sample"),
    "samples": (lambda r, e: (r, e), {"hop": 44100}, "hop is 44100 s: seconds are meant here"),
    "taps": (lambda r, e: (r, e), {"taps": 0}, "taps is 0, should be at least 1"),
    "choice": (lambda r, e: (r, e), {"silent": "zero"}, "silent is 'zero', should be 'raise' or"),
}


def _with(x, where, value):
    x = x.copy()
    x[where] = value
    return x


@pytest.mark.parametrize("name", REFUSED)
def test_refused(pair, name):
    change, arguments, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        bss_eval(*change(*pair), **({"rate": RATE, "track": "Song"} | arguments))


def test_museval_refuses_whole_silence_too(pair):
    references, estimates = pair
    with pytest.raises(ValueError, match="non-silent"):
        museval_io.museval_bss_eval(_with(references, 1, 0), estimates, RATE)


def test_rates_must_agree(pair):
    with pytest.raises(ValueError, match="Song.*estimates have 44100 samples per.*16000"):
        validate(*pair, RATE, estimate_rate=44100, track="Song")


def test_a_silent_source_can_be_left_out(pair):
    references, estimates = pair
    with_silence = _with(references, 1, 0)
    dropped = bss_eval(with_silence, estimates, RATE, silent="drop")
    alone = bss_eval(references[[0, 2]], estimates[[0, 2]], RATE)
    np.testing.assert_array_equal(values(dropped)[:, [0, 2]], values(alone))
    assert np.isnan(values(dropped)[:, 1]).all() and dropped.dropped == alone.dropped == 1
    sdr = frame_sdr(with_silence, estimates, RATE, silent="drop")
    np.testing.assert_allclose(sdr, dropped.sdr, atol=1e-12)
    nothing = bss_eval(references * 0, estimates, RATE, silent="drop")
    assert np.isnan(values(nothing)).all()
    assert np.isnan(frame_sdr(references * 0, estimates, RATE, silent="drop")).all()


def test_padding_is_that_of_museval(pair):
    references, estimates = pair
    short = estimates[:, :-9000]
    padded = np.pad(short, ((0, 0), (0, 9000), (0, 0)))
    assert_same(bss_eval(references, short, RATE, pad=True), bss_eval(references, padded, RATE), 0)
    longer = np.pad(estimates, ((0, 0), (0, 70), (0, 0)), mode="edge")
    assert_same(bss_eval(references, longer, RATE, pad=True), bss_eval(references, estimates, RATE), 0)


def test_where_museval_cannot_solve_ours_is_stable():
    """A dual mono click: museval's matrix is singular to the last bit, and its fallback fails."""
    references, _ = made_up(44, 2, 2, 1.0)
    references[0] = 0
    references[0, 0] = 64
    rng = np.random.default_rng(0)
    estimates = references + 0.3 * references[::-1] + 0.01 * rng.standard_normal(references.shape)
    with pytest.raises((AttributeError, np.linalg.LinAlgError)):
        museval_io.museval_bss_eval(references, estimates, RATE)
    scores = bss_eval(references, estimates, RATE)
    assert np.isfinite(values(scores)).all() and not scores.ill_conditioned
    # The span of two equal channels is that of one: the other may as well be dead.
    references[0, :, 1] = 0
    dead = museval_io.museval_bss_eval(references, estimates, RATE)
    np.testing.assert_allclose(scores.sar[0], dead.sar[0], atol=1e-6)
    np.testing.assert_allclose(scores.sir[1], dead.sir[1], atol=1e-6)


def test_many_tracks_are_those_one_by_one():
    made = {f"track {i}": made_up(50 + i, 2, 1, 1.5) for i in range(5)}
    before = torch.get_num_threads()
    together = dict(parallel(lambda name: bss_eval(*made[name], RATE, track=name), list(made), jobs=3))
    assert torch.get_num_threads() == before
    assert set(together) == set(made)
    for name, (references, estimates) in made.items():
        assert_same(together[name], bss_eval(references, estimates, RATE), 1e-12)


def test_one_core_is_taken_and_given_back(pair, monkeypatch):
    seen = []
    original = projection.ratios

    def spy(*arguments):
        pools = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
        seen.append((torch.get_num_threads(), max(pools)))
        return original(*arguments)

    monkeypatch.setattr(projection, "ratios", spy)
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2, "blas"):
            bss_eval(*pair, RATE)
            pools = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
            assert torch.get_num_threads() == 2 and max(pools) >= min(2, os.cpu_count())
    finally:
        torch.set_num_threads(1)
    assert seen == [(1, 1)]


def test_an_error_names_its_track_and_the_others_are_done():
    done = []

    def scored(name):
        done.append(name)
        references, estimates = made_up(int(name[-1]), 2, 1, 1.0)
        return bss_eval(references, estimates[: 1 if name == "song 1" else 2], RATE, track=name)

    names = [f"song {i}" for i in range(4)]
    results = dict(parallel(scored, names, jobs=2))
    assert sorted(done) == names and set(results) == set(names)
    assert [name for name in names if isinstance(results[name], Exception)] == ["song 1"]
    assert str(results["song 1"]).startswith("track 'song 1': 1 estimates for 2 references")
    with pytest.raises(ValueError, match="jobs is 0"):
        list(parallel(str, ["a"], jobs=0))


def test_a_progress_bar_is_on_stderr(capsys):
    assert dict(parallel(str.upper, ["a", "b"], 2, "letters")) == {"a": "A", "b": "B"}
    out, err = capsys.readouterr()
    assert out == "" and "letters" in err and "2/2" in err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_on_a_gpu(pair):
    expected = bss_eval(*pair, RATE)
    on_gpu = bss_eval(*(torch.tensor(x, device="cuda") for x in pair), RATE, cache={})
    assert_same(on_gpu, expected, 1e-7)
    stereo = made_up(43, 2, 2, 2.0)
    on_gpu = bss_eval(*(torch.tensor(x, device="cuda") for x in stereo), RATE, 0.5, 0.25)
    assert_same(on_gpu, bss_eval(*stereo, RATE, 0.5, 0.25), 1e-7)
    sdr = frame_sdr(*(torch.tensor(x, device="cuda") for x in pair), RATE)
    np.testing.assert_allclose(sdr, expected.sdr, atol=1e-9)


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_an_altered_cache_file_is_taken_as_absent(tmp_path, harm):
    value = {"a": torch.arange(1000.0)}
    cache.store(tmp_path, "key", value, dict)
    assert torch.equal(cache.load(tmp_path, "key", dict)["a"], value["a"])
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes({"flip": bytes(content), "cut": bytes(content[:-9]), "empty": b""}[harm])
    assert cache.load(tmp_path, "key", dict) is None
