"""Activity-aware separation: labels, scores, and what a sweep of gates has to compute."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.signal
import sklearn.metrics
import torch

from mss_core import models
from mss_core.data.activity import Confidences, confidence, window_of
from mss_core.data.mixing import RemixMixer
from mss_core.data.packed import Packed
from mss_core.data.synthetic import synthesis
from mss_core.graph import Context, Stage, walk
from mss_core.metrics.bss_eval import bss_eval
from mss_core.recipe import override
from mss_core.store import Store, materialize, run_stage
from mss_core.study import Factor, Study, full_factorial
from mss_core.study.plan import make_plan
from mss_core.systems.iass import EXCEPTIONS, IASS, OPEN_UNMIX, iass_mm, iass_musdb, smoke
from mss_core.systems.iass.gate import Gate
from mss_core.systems.iass.masking import Masks, Transform
from mss_core.systems.iass.unet import IassUNet
from tests.conftest import REPOSITORY

TINY = {
    "data.size": 12,
    "data.samplerate": 8000,
    "targets": ("vocals",),
    "transform.size": 256,
    "transform.hop": 128,
    "separator.widths": (2, 3),
    "separator.classifier": (2, 2),
    "mixing.valid_segments": 2,
    "mixing.seconds": 1.0,
    "train.phases.0.epochs": 1,
    "train.epoch_steps": 2,
    "train.batch": 2,
    "train.precision": "float32",
}


def tiny(**changes: object) -> IASS:
    return override(smoke(iass_musdb()), {**TINY, **{k.replace("__", "."): v for k, v in changes.items()}})


def named(recipe: IASS, name: str) -> list[Stage]:
    return [stage for stage in walk([recipe.pipeline()]).values() if stage.name == name]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def done(stage: Stage, store: Store) -> Path:
    return materialize(stage, store, Context())


# ---- the recipe and its plan


def test_without_labels_the_oracle_and_no_gate_are_allowed() -> None:
    for kind in ("off", "oracle"):
        recipe = override(iass_mm(), {"alpha": 0, "gate.kind": kind})
        assert not recipe.labelled() and not named(recipe, "score_activity")
        assert all(stage.arguments["activity"] is None for stage in named(recipe, "train_target"))


def test_released_training_settings_are_the_defaults() -> None:
    """Batch, patience, decay patience of the released JSON files; factor, weight decay, rate of all."""
    released = {
        "vocals": (8, 100, 80),
        "acoustic_guitar": (8, 140, 80),
        "piano": (5, 10, 4),
        "electric_guitar": (8, 140, 80),
        "bass": (8, 100, 80),
        "drums": (8, 100, 80),
    }
    trained = {stage.arguments["target"]: stage.arguments["train"] for stage in named(iass_mm(), "train_target")}
    assert {
        target: (train.batch, train.phases[0].patience, train.phases[0].plateau) for target, train in trained.items()
    } == released
    for train in trained.values():
        (phase,) = train.phases
        assert (phase.factor, phase.weight_decay, phase.lr, phase.epochs) == (0.3, 1e-5, 1e-3, 1000)
    mixing = iass_mm().mixing
    assert (mixing.seconds, mixing.samples_per_track, mixing.low, mixing.high) == (6.0, 64, 0.25, 1.25)
    assert set(EXCEPTIONS) == {"acoustic_guitar", "electric_guitar", "piano"}
    (unmix,) = {s.arguments["train"] for s in named(override(iass_mm(), OPEN_UNMIX), "train_target")}
    assert (unmix.batch, unmix.phases[0].patience, unmix.phases[0].plateau) == (16, 140, 80)


def planned(store: Store, factors: list[Factor], seeds: range = range(5), design=full_factorial):
    study = Study("sweep", "?", smoke(iass_musdb()), factors, {}, "avg", smoke, ("train.seed",), design=design)
    return make_plan(study.trials(seeds, False, {}, lambda recipe: recipe), store)


def test_a_crossed_sweep_of_gates_trains_and_infers_once_for_each_target_and_seed(tmp_path: Path) -> None:
    """12 lengths x 3 gates x 5 seeds x 4 targets."""
    lengths = (3, 5, 7, 9, 11, 15, 21, 31, 41, 61, 81, 101)
    factors = [
        Factor("gate", {kind: {"gate.kind": kind} for kind in ("off", "raw", "median")}),
        Factor("length", {str(k): {"gate.median": k} for k in lengths}),
    ]
    plan = planned(Store(tmp_path), factors)
    counts = {name: (row["calls"], row["distinct"]) for name, row in plan.counts().items()}
    assert len(plan.trials) == 12 * 3 * 5
    assert counts["train_target"] == counts["infer_target"] == (12 * 3 * 5 * 4, 5 * 4)
    assert counts["infer_gate"] == counts["score_target"] == (12 * 3 * 5 * 4, 14 * 5 * 4)
    assert counts["evaluate_targets"] == (180, 14 * 5) and counts["score_activity"] == (180, 5)
    gates = [(s.inputs["masks"].key, s.arguments["gate"].kind) for s in plan.stages.values() if s.name == "infer_gate"]
    assert all(gates.count((masks, kind)) == (12 if kind == "median" else 1) for masks, kind in set(gates))


def test_the_sweep_s_own_dry_run_counts_trainings_and_settings(tmp_path: Path, capsys, monkeypatch) -> None:
    """studies/median_filter.py, 12 lengths x gates x 5 seeds x 4 targets: 14 settings a training, and the oracle."""
    script = str(REPOSITORY / "studies" / "median_filter.py")
    monkeypatch.setattr(sys, "argv", [script, "--dry-run", "--json", "--store", str(tmp_path)])
    runpy.run_path(script, run_name="__main__")
    plan = json.loads(capsys.readouterr().out)
    stages = {name: row["distinct"] for name, row in plan["stages"].items()}
    assert stages["train_target"] == stages["infer_target"] == 4 * 5
    assert stages["infer_gate"] == stages["score_target"] == 4 * 5 * (14 + 1)
    assert {name: stages[name] for name in ("prepare_tracks", "prepare_activity", "prepare_statistics")} == {
        "prepare_tracks": 1,
        "prepare_activity": 1,
        "prepare_statistics": 1,
    }
    assert stages["score_activity"] == 5 and stages["evaluate_targets"] == 5 * (14 + 1)
    lengths = [f"median {k}" for k in (3, 5, 7, 9, 11, 15, 21, 31, 41, 61, 81, 101)]
    swept = [trial for trial in plan["trials"] if trial["variant"] != "oracle"]
    assert {trial["variant"] for trial in swept} == {"off", "raw", *lengths}
    for seed in range(5):
        mine = [trial["stages"] for trial in swept if trial["seed"] == seed]
        assert len({of["train_target"] for of in mine}) == len({of["infer_target"] for of in mine}) == 1
        assert len(mine) == len({of["infer_gate"] for of in mine}) == 14


def test_alpha_is_a_training_and_nothing_else_of_a_gate_is(tmp_path: Path) -> None:
    factors = [
        Factor("alpha", {str(a): {"alpha": a} for a in (0.01, 0.1, 1, 10)}),
        Factor("wiener", {str(n): {"wiener": n} for n in (0, 1)}),
        Factor("threshold", {str(t): {"gate.threshold": t} for t in (0.3, 0.5)}),
        Factor("order", {o: {"gate.order": o} for o in ("threshold first", "filter first")}),
    ]
    counts = planned(Store(tmp_path), factors, range(2)).counts()
    assert counts["train_target"]["distinct"] == counts["infer_target"]["distinct"] == 4 * 2 * 4
    assert counts["infer_gate"]["distinct"] == 4 * 2 * 4 * 2
    assert counts["score_target"]["distinct"] == 4 * 2 * 4 * 2 * 2


# ---- labels, mixtures, statistics


def test_energy_tracking_hears_when_a_synthetic_source_plays() -> None:
    rate, agree = 16_000, []
    for index in range(6):
        track = synthesis.render(index, 8.0, rate)
        stems = {name: stem for name, stem in track.stems.items() if np.abs(stem).max() > 0}
        for name, values in confidence(stems, window_of(rate)).items():
            times = np.arange(len(track.activity[name])) / synthesis.ACTIVITY_RATE
            read = np.interp(times * rate, np.arange(len(values)) * window_of(rate) // 2, values) >= 0.5
            agree.append((read == track.activity[name]).mean())
    assert np.mean(agree) > 0.93


def test_labels_of_a_chunk_are_those_of_its_place_in_the_track(store: Store) -> None:
    recipe = tiny()
    packed = Packed(done(named(recipe, "prepare_tracks")[0], store))
    labels = Confidences(done(named(recipe, "prepare_activity")[0], store), packed)
    item = next(item for item in packed.items if "vocals" not in item.silent)
    whole = labels.labels(item, "vocals", np.arange(0, item.length, 100))
    assert 0 < whole.mean() < 1
    np.testing.assert_array_equal(labels.labels(item, "vocals", np.arange(1000, 9000, 100)), whole[10:90])
    stems = {row: packed.read(item, row) for row in packed.rows if row != "mixture" and row not in item.silent}
    expected = confidence(stems, window_of(8000))["vocals"]
    centres = np.arange(len(expected)) * (window_of(8000) // 2)
    np.testing.assert_array_equal(labels.labels(item, "vocals", centres), expected.astype(np.float32) >= 0.5)
    silent = next((item, row) for item in packed.items for row in item.silent)
    assert not labels.labels(*silent, np.arange(100)).any()


def test_remixed_sources_come_from_songs_of_their_own(store: Store) -> None:
    packed = Packed(done(named(tiny(), "prepare_tracks")[0], store))
    mixer = RemixMixer(packed, "vocals", 8000, seed=1)
    mixtures, targets = mixer.batch(3, 6)
    where, gains = mixer.draw(3, 6)
    assert where.row.tolist() == [[0, 1, 2, 3]] * 6 and gains.min() >= 0.25 and gains.max() <= 1.25
    assert len(np.unique(where.start[0])) > 1
    whole = {row: np.concatenate([packed.read(item, row) for item in packed.items]) for row in mixer.rows}
    parts = [
        [whole[mixer.rows[row]][start : start + 8000] for row, start in zip(*line, strict=True)]
        for line in zip(where.row, where.start, strict=True)
    ]
    np.testing.assert_allclose(targets[:, 0], gains[:, :1] * np.array(parts)[:, 0], atol=1e-6)
    np.testing.assert_allclose(mixtures, (gains[..., None] * np.array(parts)).sum(1), atol=1e-6)
    again = RemixMixer(packed, "vocals", 8000, seed=1).batch(3, 6)
    assert np.array_equal(mixtures, again[0]) and np.array_equal(targets, again[1])
    assert not np.array_equal(mixtures, RemixMixer(packed, "vocals", 8000, seed=2).batch(3, 6)[0])


def test_labels_of_drawn_chunks_follow_their_places(store: Store) -> None:
    packed = Packed(done(named(tiny(), "prepare_tracks")[0], store))
    labels = Confidences(done(named(tiny(), "prepare_activity")[0], store), packed)
    items = {item.start: item for item in packed.items}
    starts = np.array([item.start + 500 for item in packed.items])
    found = labels.chunks("vocals", starts, np.arange(0, 4000, 80))
    for start, row in zip(starts, found, strict=True):
        np.testing.assert_array_equal(row, labels.labels(items[start - 500], "vocals", np.arange(500, 4500, 80)))
    assert 0 < found.mean() < 1


def test_input_scaling_starts_from_the_training_mixtures(store: Store) -> None:
    recipe = tiny()
    packed = Packed(done(named(recipe, "prepare_tracks")[0], store))
    mean, deviation = np.load(done(named(recipe, "prepare_statistics")[0], store) / "statistics.npy")
    window = np.hanning(257)[:-1]
    frames = []
    for item in packed.split("train"):
        padded = np.pad(packed.read(item).astype(np.float64), 128, mode="reflect")
        frames.append(np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, 256)[::128] * window)))
    every = np.concatenate(frames)
    np.testing.assert_allclose(mean, every.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(deviation, every.std(0), rtol=1e-3, atol=1e-5)
    net = IassUNet(129, 100, (2,), ())
    net.band.settle(torch.from_numpy(mean).float(), torch.from_numpy(deviation).float())
    entered = net.band.enter(torch.from_numpy(every).float()).detach().numpy()
    assert entered.shape[1] == 100 and abs(entered.mean(0)).max() < 1e-2
    used = deviation[:100] > 1e-4 * deviation.max()
    np.testing.assert_allclose(entered.std(0)[used], 1.0, rtol=1e-2)


# ---- stages


def test_two_processes_train_what_one_does(store: Store, tmp_path: Path) -> None:
    """A network with batch norm, one item per process, and labels; plain gradient descent, since Adam's first steps
    have the size of the rate where a gradient is rounding alone."""
    (stage,) = named(tiny(train__phases__0__optimizer="sgd", train__phases__0__lr=1e-4), "train_target")
    for up in stage.inputs.values():
        done(up, store)
    one = models.state(done(stage, store))
    (tmp_path / "store").mkdir()
    for up in {each.name for each in walk([stage]).values()} - {stage.name}:
        (tmp_path / "store" / up).symlink_to(store.root / up)
    two = models.state(run_stage(stage, Store(tmp_path / "store"), Context(processes=2)))
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-4, atol=1e-6)


def test_a_training_without_labels_leaves_its_classifier_alone(store: Store) -> None:
    without, with_labels = (named(tiny(alpha=a, gate__kind="off"), "train_target")[0] for a in (0.0, 5.0))
    a, b = (done(stage, store) for stage in (without, with_labels))
    assert not json.loads((a / "best.json").read_text())["classified"]
    assert json.loads((b / "best.json").read_text())["classified"]
    torch.manual_seed(0)  # as the stage does
    fresh = models.build(json.loads((a / "model.json").read_text())).state_dict()
    first, second = models.state(a), models.state(b)
    assert torch.equal(first["classifier.0.weight"], fresh["classifier.0.weight"])
    assert not torch.equal(second["classifier.0.weight"], fresh["classifier.0.weight"])
    assert not torch.equal(first["linear.weight"], fresh["linear.weight"])
    masks = Masks(done(named(tiny(alpha=0.0, gate__kind="off"), "infer_target")[0], store))
    assert not masks.classified and masks.activity("any") is None
    rows = [json.loads(line) for line in (b / "history.jsonl").read_text().splitlines()]
    assert {"valid_loss", "valid_bce"} <= set(rows[0]) and "valid_bce" not in (a / "history.jsonl").read_text()


def by_hand(recipe: IASS, store: Store, remainder: str = "difference") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and counts of a trial's one target, from its masks and gates."""
    packed = Packed(done(named(recipe, "prepare_tracks")[0], store))
    (score,) = named(recipe, "score_target")
    masks = Masks(done(score.inputs["masks"], store))
    gates = np.load(done(score.inputs["gate"], store) / "gates.npz")
    rows, counts = [], []
    for number, track in enumerate(packed.split("test")):
        if "vocals" in track.silent:
            continue
        mixture, reference = packed.read(track), packed.read(track, "vocals")
        window = torch.hann_window(256)
        spectrum = torch.stft(torch.from_numpy(mixture), 256, 128, window=window, return_complex=True)
        masked = spectrum * torch.from_numpy(masks.mask(track.name).astype(np.float32).T * gates[str(number)])
        estimate = torch.istft(masked, 256, 128, window=window, length=len(mixture)).numpy()
        rest = mixture if remainder == "mixture" else mixture - estimate
        found = bss_eval(np.stack([reference, mixture - reference]), np.stack([estimate, rest]), 8000, silent="drop")
        rows += [(track.name, metric, np.nanmedian(getattr(found, metric)[0])) for metric in ("sdr", "sir", "sar")]
        error = ((reference - estimate) ** 2).sum()
        rows.append((track.name, "usdr", 10 * np.log10((reference**2).sum() / error)))
        seconds = [slice(8000 * s, 8000 * (s + 1)) for s in range(len(mixture) // 8000)]
        silent = [[not x[s].any() for s in seconds] for x in (reference, mixture - reference, estimate, rest)]
        lost = np.any(silent, 0)
        counts.append((len(seconds), lost.sum(), np.any(silent[:2], 0).sum()))
        kept = [
            10 * np.log10((reference[s] ** 2).sum() / ((reference - estimate)[s] ** 2).sum())
            for s in seconds
            if reference[s].any()
        ]
        rows.append((track.name, "sdr_all", np.median(kept)))
    return (
        pd.DataFrame(rows, columns=["track", "metric", "score"]),
        pd.DataFrame(counts, columns=["frames", "dropped", "silent_reference"]),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"gate__kind": "off"},
        {"gate__kind": "oracle"},
        {"gate__kind": "median", "gate__median": 5},
        {"gate__kind": "off", "method": "irm"},
    ],
    ids=str,
)
def test_scores_are_bss_eval_of_the_gated_estimates(store: Store, changes: dict) -> None:
    recipe = tiny(**changes)
    root = done(recipe.pipeline(), store)
    expected, counts = by_hand(recipe, store)
    table = pd.read_csv(root / "scores.csv", keep_default_na=False, na_values={"score": [""]})
    tracks = table[table.track != ""].merge(expected, on=["track", "metric"], suffixes=("", "_expected"))
    assert len(tracks) == len(expected) > 0
    np.testing.assert_allclose(tracks.score, tracks.score_expected, rtol=1e-3, atol=2e-3)
    frames = pd.read_csv(root / "frames.csv")
    np.testing.assert_array_equal(frames[["frames", "dropped", "silent_reference"]], counts)
    assert (frames.dropped == frames.silent_reference + frames.silent_estimate).all()
    split = table[(table.track == "") & (table.target == "vocals")].set_index("metric").score
    medians = expected.groupby("metric").score.median()
    for metric in ("sdr", "sir", "sar"):
        assert split[metric] == pytest.approx(medians[metric], abs=2e-3)
    assert split["avg"] == pytest.approx(split[["sdr", "sir", "sar"]].mean())


def test_the_oracle_gate_drops_more_frames_and_closes_where_the_source_is_silent(store: Store) -> None:
    off, oracle = (
        pd.read_csv(done(tiny(gate__kind=kind).pipeline(), store) / "frames.csv") for kind in ("off", "oracle")
    )
    assert (oracle.frames == off.frames).all() and oracle.dropped.sum() >= off.dropped.sum()
    (stage,) = named(tiny(gate__kind="oracle"), "infer_gate")
    gates = np.load(done(stage, store) / "gates.npz")
    packed = Packed(done(named(tiny(), "prepare_tracks")[0], store))
    shares = [gates[str(n)].mean() for n, t in enumerate(packed.split("test")) if "vocals" not in t.silent]
    assert min(shares) < 1


def test_a_silenced_target_does_not_raise_the_mean_over_targets(tmp_path: Path) -> None:
    from mss_core.systems.iass.evaluate import evaluate_targets

    folders = []
    for target, scores in (("vocals", [4.0, 6.0, np.nan]), ("drums", [np.nan, np.nan, np.nan])):
        folders.append(tmp_path / target)
        folders[-1].mkdir()
        pd.DataFrame(
            {"track": list("abc"), "target": target, "metric": "sdr", "aggregation": "x", "score": scores}
        ).to_csv(folders[-1] / "scores.csv", index=False)
        pd.DataFrame({"track": list("abc"), "frames": 1}).to_csv(folders[-1] / "frames.csv", index=False)
    ctx = Context(out=tmp_path)
    both, one = tmp_path / "both", tmp_path / "one"
    for out, paths, targets in ((both, folders, ("vocals", "drums")), (one, folders[:1], ("vocals",))):
        out.mkdir()
        evaluate_targets(scores=tuple(paths), targets=targets, activity=None, over_tracks="mean", out=out, ctx=ctx)
    tables = {
        out: pd.read_csv(out / "scores.csv").set_index(["metric", "target", "aggregation"]).score for out in (both, one)
    }
    assert np.isnan(tables[both]["sdr", "macro", "x, mean over tracks, mean over targets"])
    assert tables[one]["sdr", "macro", "x, mean over tracks, mean over targets"] == 5.0
    assert np.isnan(tables[both]["avg", "drums", "x, mean over tracks"])


def test_the_mixture_as_the_estimate_has_the_input_sdr(store: Store) -> None:
    recipe = tiny(method="mixture", gate__kind="off")
    table = pd.read_csv(done(recipe.pipeline(), store) / "scores.csv", keep_default_na=False)
    packed = Packed(done(named(recipe, "prepare_tracks")[0], store))
    for track in packed.split("test"):
        if "vocals" in track.silent:
            continue
        s = packed.read(track, "vocals").astype(np.float64).reshape(-1, 8000)
        n = (packed.read(track) - packed.read(track, "vocals")).astype(np.float64).reshape(-1, 8000)
        sounds = s.any(1) & n.any(1)
        expected = np.median(10 * np.log10((s[sounds] ** 2).sum(1) / (n[sounds] ** 2).sum(1)))
        got = table[(table.track == track.name) & (table.metric == "sdr")].score.astype(float).item()
        assert got == pytest.approx(expected, abs=0.05)  # the transform there and back, at 16 bit


def test_ideal_masks_are_better_than_the_mixture(store: Store) -> None:
    scores = {
        method: pd.read_csv(done(tiny(method=method, gate__kind="off").pipeline(), store) / "scores.csv")
        for method in ("ibm", "irm", "mixture")
    }
    sdr = {m: t[(t.target == "macro") & (t.metric == "sdr")].score.item() for m, t in scores.items()}
    assert sdr["ibm"] > sdr["mixture"] + 5 and sdr["irm"] > sdr["mixture"] + 5


def test_the_ideal_binary_mask_is_sisecs(store: Store) -> None:
    """SiSEC 2018's oracle script IBM.py: |S| / (eps + |X|) >= 0.5 on scipy's stft with nperseg 2048."""
    recipe = tiny(method="ibm", gate__kind="off")
    packed = Packed(done(named(recipe, "prepare_tracks")[0], store))
    masks = Masks(done(named(recipe, "infer_ideal")[0], store))
    track = next(track for track in packed.split("test") if "vocals" not in track.silent)
    s, x = (np.abs(scipy.signal.stft(packed.read(track, row), nperseg=2048)[-1]).T for row in ("vocals", "mixture"))
    inner, expected = slice(1, track.length // 1024), s / (np.finfo(float).eps + x) >= 0.5
    found = masks.mask(track.name)
    assert np.mean(found[inner] != expected[inner]) < 1e-3 and 0.05 < expected.mean() < 0.95
    (dominant,) = named(tiny(method="ibm_dominant", gate__kind="off"), "infer_ideal")
    assert Masks(done(dominant, store)).mask(track.name).shape[1] == 129  # of the recipe's own transform


def test_mm_is_not_read_with_the_settings_of_musdb18() -> None:
    with pytest.raises(ValueError, match=r"'mm' has mixtures that are the sum.*mixing.kind='one of each'.*iass_mm"):
        override(iass_musdb(), {"data.name": "mm"})
    assert named(iass_mm(), "prepare_accompaniment") and not named(iass_musdb(), "prepare_accompaniment")


def test_activity_scores_are_scikit_learn_s(store: Store) -> None:
    recipe = tiny(targets=("vocals", "drums"), groups={"either": ("vocals", "drums")})
    (stage,) = named(recipe, "score_activity")
    table = pd.read_csv(done(stage, store) / "scores.csv", keep_default_na=False).set_index(["metric", "target"]).score
    packed = Packed(done(named(recipe, "prepare_tracks")[0], store))
    labels = Confidences(done(named(recipe, "prepare_activity")[0], store), packed)
    masks = [Masks(done(s, store)) for s in named(recipe, "infer_target")]
    truth, score, loud = [], [], []
    for track in packed.split("test"):
        centres = np.arange(0, track.length + 1, 128)
        truth.append(np.maximum(*(labels.labels(track, t, centres) for t in ("vocals", "drums"))))
        score.append(np.maximum(*(found.activity(track.name) for found in masks)))
        loud.append(Transform(256, 128).track(packed.read(track)).abs().square().sum(1).numpy())
    truth, score, loud = (np.concatenate(x) for x in (truth, score, loud))
    assert float(table["activity_auc", "either"]) == pytest.approx(sklearn.metrics.roc_auc_score(truth, score))
    assert float(table["activity_auc_energy", "either"]) == pytest.approx(sklearn.metrics.roc_auc_score(truth, loud))
    trained = [
        np.maximum(*(labels.labels(track, t, np.arange(0, track.length + 1, 128)) for t in ("vocals", "drums")))
        for track in packed.split("train")
    ]  # "percentage of the training frames containing positive activity labels" [paper, Fig. 4]
    assert float(table["activation_rate", "either"]) == pytest.approx(np.concatenate(trained).mean())
    assert ("activity_auc", "vocals") not in table.index


def test_open_unmix_is_trained_and_scored_without_activity(store: Store) -> None:
    tree = override(
        smoke(override(iass_musdb(), OPEN_UNMIX)),
        {
            **{path: value for path, value in TINY.items() if not path.startswith("separator")},
            "separator.hidden": 4,
            "train.precision": "bfloat16",
            "wiener": 1,
        },
    )
    assert not named(tree, "score_activity") and tree.separator["name"] == "open_unmix"
    table = pd.read_csv(done(tree.pipeline(), store) / "scores.csv")
    assert np.isfinite(table[(table.target == "vocals") & (table.metric == "sdr")].score).all()
    assert not table.metric.str.startswith("activ").any()


def test_a_median_longer_than_a_track_names_it(store: Store) -> None:
    recipe = tiny(transform__size=4096, transform__hop=2048, gate__median=101)
    with pytest.raises(Exception, match="track synthetic-[0-9]*: a median over 101 frames cannot be reflected"):
        done(named(recipe, "infer_gate")[0], store)


def test_another_length_runs_only_what_follows_the_gate(store: Store) -> None:
    done(tiny(gate__median=5).pipeline(), store)
    before = {path.parts[-3:-1] for path in store.root.glob("*/*/manifest.json")}
    done(tiny(gate__median=7).pipeline(), store)
    new = {path.parts[-3:-1] for path in store.root.glob("*/*/manifest.json")} - before
    assert sorted(stage for stage, _ in new) == ["evaluate_targets", "infer_gate", "score_target"]


def test_smoke_keeps_what_a_study_varies() -> None:
    four = smoke(override(iass_musdb(), {"separator.widths": (16, 32, 48, 64)}))
    assert len(four.separator["widths"]) == 4
    unmix = smoke(override(iass_mm(), OPEN_UNMIX))
    assert unmix.separator["hidden"] == 64 and "widths" not in unmix.separator
    assert smoke(iass_mm()).targets == ("vocals", "bass", "drums")
    assert smoke(replace(iass_mm(), alpha=0.0, gate=Gate("off"))).alpha == 0
