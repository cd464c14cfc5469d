"""The AE-MIC system: variants of segments, stages on tiny data, the graph of its studies."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mss_core import models
from mss_core.data.packed import Packed
from mss_core.data.sets import ClipSet, TrackSet, survey
from mss_core.graph import Context, Stage, read_history, walk
from mss_core.recipe import override
from mss_core.store import Store, materialize
from mss_core.systems.aemic import AEMIC, aemic, smoke
from mss_core.systems.aemic.augmentation import VARIANTS, Augmentation, vary
from mss_core.systems.aemic.decibels import Grid, Reconstruction, SoftBins, remove_soft_bins
from tests.conftest import write_clips, write_track

TINY = Grid(256, 128, 62 * 128)


# ---- variants of segments


def test_variants_change_mixture_and_target_alike() -> None:
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.normal(size=4_000).astype(np.float32))
    for variant in VARIANTS:
        both = vary(torch.stack([2 * target, target]), variant, Augmentation(), torch.Generator().manual_seed(3))
        torch.testing.assert_close(both[0], 2 * both[1], rtol=1e-4, atol=1e-4)
        again = vary(torch.stack([2 * target, target]), variant, Augmentation(), torch.Generator().manual_seed(3))
        assert torch.equal(both, again)
    inverted = vary(target[None], "inverted", Augmentation(), torch.Generator())
    backwards = vary(target[None], "reversed", Augmentation(), torch.Generator())
    assert torch.equal(inverted[0], -target) and torch.equal(backwards[0], target.flip(0))


def peak(waveform: torch.Tensor) -> float:
    """Frequency of the strongest bin, cycles a sample."""
    spectrum = torch.fft.rfft(waveform * torch.hann_window(len(waveform))).abs()
    return float(spectrum.argmax()) / len(waveform)


def test_a_slower_segment_keeps_its_pitch_and_a_pitched_one_moves() -> None:
    time = torch.arange(16_000)
    tone = torch.sin(2 * torch.pi * 0.05 * time)[None]
    slow = vary(tone, "stretched", Augmentation(stretch=(0.5, 0.5)), torch.Generator().manual_seed(1))[0]
    assert peak(slow) == pytest.approx(0.05, rel=0.01) and slow[-2_000:].abs().max() > 0.5
    high = vary(tone, "pitched", Augmentation(semitones=(4,)), torch.Generator().manual_seed(1))[0]
    assert peak(high) == pytest.approx(0.05 * 2 ** (4 / 12), rel=0.01)


# ---- stages


def tiny(**changes: object) -> AEMIC:
    recipe = smoke(aemic())
    recipe = replace(
        recipe,
        grid=TINY,
        separation=TrackSet("stems", samplerate=8_000),
        tagging=ClipSet("clips", labels="label", samplerate=8_000),
        autoencoder={**recipe.autoencoder, "filters": (2, 2, 2, 2, 2, 2), "latent": 2, "last": 2},
        classifier={**recipe.classifier, "filters": (2, 2, 2, 2), "kernels": (7, 5, 3, 2), "dense": 4},
    )
    recipe = override(
        recipe,
        {
            "train_autoencoder.phases.0.epochs": 2,
            "train_autoencoder.epoch_steps": 2,
            "train_autoencoder.batch": 4,
            "train_classifier.phases.0.epochs": 2,
            "train_classifier.batch": 4,
            "augmentation.when": "off",
        },
    )
    return override(recipe, changes)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    for seed, place in enumerate(("train/a", "train/b", "valid/c", "test/d", "test/e")):
        write_track(root / "stems" / place, seconds=2.5, rate=8_000, seed=seed)
    rows = [
        (f"{split}{i}.wav", ("flute", "violin")[i % 2], split, 0.6 if (split, i) == ("train", 0) else 1.7)
        for split, count in (("train", 6), ("valid", 2), ("test", 4))
        for i in range(count)
    ]
    write_clips(root / "clips", rows, rate=8_000)
    return {"stems": root / "stems", "clips": root / "clips"}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def made(recipe: AEMIC, store: Store, data: dict[str, Path]) -> dict[str, tuple[Stage, Path]]:
    root = recipe.pipeline()
    materialize(root, store, Context(data=data))
    return {stage.name: (stage, store.directory(stage)) for stage in walk([root]).values()}


def test_segments_follow_one_another_and_targets_are_sums(store: Store, data: dict[str, Path]) -> None:
    found = made(tiny(train_classifier=None, stem="raw"), store, data)
    tracks, cut = Packed(found["prepare_tracks"][1]), Packed(found["cut_tracks"][1])
    assert cut.rows == ("mixture", "target")
    for track in tracks.items:
        pieces = [item for item in cut.items if item.name.startswith(f"{track.name}/")]
        assert len(pieces) == -(-track.length // TINY.samples) and {item.length for item in pieces} == {TINY.samples}
        assert {item.split for item in pieces} == {track.split}
        joined = {row: np.concatenate([cut.read(item, row) for item in pieces]) for row in cut.rows}
        peak = np.abs(tracks.read(track)).max()  # a segment is rounded once more, to 16 bits of its own peak
        np.testing.assert_allclose(joined["mixture"][: track.length], tracks.read(track), atol=0.51 * peak / 32767)
        wanted = tracks.read(track, "vocals") + tracks.read(track, "other")
        np.testing.assert_allclose(joined["target"][: track.length], wanted, atol=1 / 32767)
        assert not joined["target"][track.length :].any()
    history = read_history(found["train_autoencoder"][1])
    assert {"train_loss", "valid_loss", "valid_mae"} <= set(history[-1])


def test_static_variants_are_made_of_training_segments_only(store: Store, data: dict[str, Path]) -> None:
    plain = Packed(made(tiny(train_classifier=None, stem="raw"), store, data)["cut_tracks"][1])
    recipe = tiny(train_classifier=None, stem="raw", **{"augmentation.when": "static"})
    stages = [s for s in walk([recipe.pipeline()]).values() if s.name == "cut_tracks"]
    static = next(s for s in stages if s.arguments["augmentation"])
    varied = Packed(materialize(static, store, Context(data=data)))
    assert len(stages) == 2
    for split, times in (("train", 5), ("valid", 1), ("test", 1)):
        assert len(varied.split(split)) == times * len(plain.split(split))
    names = {item.name for item in varied.items}
    assert {item.name for item in plain.items} <= names and "a/0000 reversed" in names
    by_name = {item.name: item for item in varied.items}
    there, back = (varied.read(by_name[name], "target") for name in ("a/0000", "a/0000 reversed"))
    assert np.array_equal(there, back[::-1])


def test_rows_of_equal_steps_take_as_many_as_static_variants_do(monkeypatch) -> None:
    """An epoch is all segments, of which static augmentation has five for one (counted above)."""
    monkeypatch.syspath_prepend("studies")
    study = importlib.import_module("separator_regularisation").study
    trained = {v.name: override(study.baseline, v.departures).train_autoencoder for v in study.variants()}
    assert all(train.epoch_steps is None for train in trained.values())
    epochs = {name: train.phases[0].epochs for name, train in trained.items()}
    equal = {epochs.pop(f"{name}, equal steps") for name in ("none", "augmentation on the fly")}
    assert set(epochs.values()) == {50} and equal == {5 * 50}


def test_scores_of_a_song_are_the_mean_over_its_segments(store: Store, data: dict[str, Path]) -> None:
    found = made(tiny(train_classifier=None, stem="raw"), store, data)
    table = pd.read_csv(found["score_stems"][1] / "scores.csv")
    segments, estimates = Packed(found["cut_tracks"][1]), Packed(found["separate_tracks"][1])
    references = {item.name: item for item in segments.items}
    for track in ("d", "e"):
        each = []
        for item in estimates.items:
            if not item.name.startswith(track) or "target" in references[item.name].silent:
                continue
            time = segments.read(references[item.name], "target")
            padded = np.pad(time.astype(float), TINY.size // 2)
            window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(TINY.size) / TINY.size)
            frames = np.lib.stride_tricks.sliding_window_view(padded, TINY.size)[:: TINY.hop] * window
            true = np.abs(np.fft.rfft(frames)).T
            values = estimates.read(item).reshape(TINY.bins, TINY.frames)
            guess = 10 ** (np.concatenate([values, values[-1:]])[:, :-1] * 150.0 / 20)
            if np.abs(values).max() <= 0.15:  # the released rule for silence, which a network hardly trained meets too
                guess = np.full_like(guess, 1e-3)
            each.append(10 * np.log10(((true**2).sum() + 1e-7) / (((true - guess) ** 2).sum() + 1e-7)))
        mine = table[(table.track == track) & (table.metric == "spectrogram_sdr")].score.item()
        assert mine == pytest.approx(np.mean(each), abs=1e-3)
    wide = table.pivot(index="track", columns="metric", values="score")
    assert (wide["spectrogram_sdr_best_scalar"] >= wide["spectrogram_sdr_mixture"]).all()
    np.testing.assert_allclose(wide["spectrogram_sdr_silence"], 0.0, atol=1e-6)
    examples = json.loads((found["score_stems"][1] / "examples.json").read_text())
    assert [e["track"] for e in examples] == ["d", "e"]
    assert (found["score_stems"][1] / examples[0]["folder"] / "estimate.wav").is_file()


def test_raw_and_post_share_one_separation(store: Store, data: dict[str, Path]) -> None:
    raw, post = (made(tiny(stem=stem), store, data) for stem in ("raw", "post"))
    for name in ("train_autoencoder", "separate_clips", "separate_tracks"):
        assert raw[name][0].key == post[name][0].key
    before, after = Packed(raw["separate_clips"][1]), Packed(post["remove_soft"][1])
    assert before.labels == after.labels and before.single_label and after.single_label
    for a, b in zip(before.items, after.items, strict=True):
        assert (a.name, a.split, a.labels) == (b.name, b.split, b.labels)
        values = torch.from_numpy(before.read(a)).reshape(TINY.bins, TINY.frames)
        expected = remove_soft_bins(values, SoftBins()).flatten().numpy()
        np.testing.assert_allclose(after.read(b), expected, atol=1 / 32767)
    scores = pd.read_csv(post["evaluate"][1] / "scores.csv")
    assert {"roc_auc", "weighted_accuracy", "spectrogram_sdr"} <= set(scores.metric)
    predictions = pd.read_parquet(post["infer"][1] / "predictions.parquet")
    assert (
        len(predictions) == 2 * len(after.split("test"))
        and predictions.groupby("item").score.sum().round(5).eq(1).all()
    )


def test_base_needs_no_separator_and_reads_the_first_segment(store: Store, data: dict[str, Path]) -> None:
    found = made(tiny(stem="base"), store, data)
    assert not {"prepare_tracks", "train_autoencoder", "separate_clips"} & set(found)
    clips, cut = Packed(found["prepare_clips"][1]), Packed(found["cut_clips"][1])
    for clip, item in zip(clips.items, cut.items, strict=True):
        assert item.length == TINY.samples
        assert np.array_equal(cut.read(item), clips.read(clip, "mixture", 0, TINY.samples))


@pytest.mark.parametrize("how", ["griffin_lim", "mixture_phase"])
def test_a_waveform_can_be_made_of_what_was_separated(how: str, store: Store, data: dict[str, Path]) -> None:
    recipe = replace(tiny(stem="raw"), reconstruction=Reconstruction(how, 2))
    found = made(recipe, store, data)
    assert Packed(found["reconstruct"][1]).items[0].length == TINY.samples
    assert found["train_classifier"][0].arguments["stored"] is False
    described = json.loads((found["train_classifier"][1] / "model.json").read_text())
    assert described["stored"] is False and described["grid"] == [256, 128, TINY.samples]


def test_stopping_on_the_test_set_is_said(store: Store, data: dict[str, Path]) -> None:
    honest = made(tiny(stem="base"), store, data)
    published = made(tiny(stem="base", **{"learning.select_on": "test"}), store, data)
    assert not (honest["train_classifier"][1] / "notes.json").exists()
    (note,) = json.loads((published["train_classifier"][1] / "notes.json").read_text())
    assert note["kind"] == "selected on test" and "too high" in note["text"]
    table = pd.read_parquet(published["infer"][1] / "predictions.parquet")
    from sklearn.metrics import roc_auc_score

    each = [roc_auc_score(rows.truth, rows.score) for _, rows in table.groupby("target")]
    history = read_history(published["train_classifier"][1])
    best = json.loads((published["train_classifier"][1] / "best.json").read_text())
    assert best["loss"] == pytest.approx(1 - max(row["valid_auc"] for row in history))
    assert 1 - best["loss"] == pytest.approx(np.mean(each), abs=1e-6)  # its test score is what it was chosen by


def test_on_the_fly_augmentation_is_drawn_by_seed(store: Store, data: dict[str, Path]) -> None:
    recipe = tiny(train_classifier=None, stem="raw", **{"augmentation.when": "on_the_fly"})
    found = made(recipe, store, data)
    off = made(tiny(train_classifier=None, stem="raw"), store, data)
    assert found["cut_tracks"][0].key == off["cut_tracks"][0].key
    weights = models.state(found["train_autoencoder"][1])
    again = Store(store.root / "again")
    materialize(found["train_autoencoder"][0], again, Context(data=data))
    for name, value in models.state(again.directory(found["train_autoencoder"][0])).items():
        assert torch.equal(value, weights[name]), name
    assert any(
        not torch.equal(value, weights[name]) for name, value in models.state(off["train_autoencoder"][1]).items()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem": "rwa"}, "no stem 'rwa'; did you mean 'raw'"),
        ({"targets": ("vocal",)}, "did you mean 'vocals'"),
        ({"targets": ()}, "'targets' is empty"),
        ({"autoencoder_loss": "mae"}, "no autoencoder loss 'mae'"),
        ({"tagging.samplerate": 16_000}, "must be equal, since the separator hears the clips; got 44100 and 16000"),
        ({"grid.samples": 100_000}, "must be multiples of 64 .in 'autoencoder'"),
        ({"train_autoencoder": None}, "stem 'post' needs a separator"),
        ({"train_autoencoder": None, "train_classifier": None, "stem": "base"}, "nothing to evaluate"),
        ({"learning.select_on": "train"}, "no split to select on 'train'"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(aemic(), changes)


# ---- studies


def keys(study, name: str) -> set[str]:
    trials = study.trials([0, 1], True, {}, lambda recipe: recipe)
    return {stage.key for trial in trials for stage in walk([trial.root]).values() if stage.name == name}


def test_thresholds_retrain_only_classifiers(monkeypatch) -> None:
    monkeypatch.syspath_prepend("studies")
    study = importlib.import_module("soft_bins").study
    study.check()
    thresholds = [v for v in study.variants() if "removal.threshold_db" in v.departures]
    assert len(thresholds) == 10
    for name in ("train_autoencoder", "separate_clips", "separate_tracks"):
        assert len(keys(study, name)) == 1
    assert len(keys(study, "train_classifier")) == 2 * len(study.variants())
    assert len(keys(study, "remove_soft")) == len(study.variants()) - 1


def test_the_study_of_table_4_2_shares_its_separator(monkeypatch) -> None:
    monkeypatch.syspath_prepend("studies")
    study = importlib.import_module("stem_quality").study
    study.check()
    assert len(study.variants()) == 20  # the gate of the text stands beside the expander where validation is honest
    assert {name: variant.name for name, variant in study.references().items()}["post, 1e-5, validation"] == (
        "base, 1e-5, validation"
    )
    for name, count in (("train_autoencoder", 1), ("separate_clips", 1), ("remove_soft", 2), ("train_classifier", 28)):
        assert len(keys(study, name)) == count
    other = importlib.import_module("separator_regularisation").study
    other.check()
    # At smoke size an epoch has a set number of steps, so the rows of equal steps are the others.
    assert len(keys(other, "train_autoencoder")) == 2 * (len(other.variants()) - 2)


# ---- folds


def test_folds_hold_every_clip_out_once_and_are_stratified(tmp_path: Path) -> None:
    rows = [(f"{label}{i}.wav", label, "train", 0.1) for label in "abc" for i in range(10)]
    root = write_clips(tmp_path / "clips", rows)
    seen: list[str] = []
    for fold in range(1, 6):
        found = survey(ClipSet("clips", split=f"fold{fold}of5"), {"clips": root})
        splits = {split: [item for item in found.items if item.split == split] for split in ("train", "valid", "test")}
        assert [len(items) for items in splits.values()] == [18, 6, 6]
        for items, each in zip(splits.values(), (6, 2, 2), strict=True):
            assert [sum(item.labels == (label,) for item in items) for label in "abc"] == [each] * 3
        seen += [item.name for item in splits["test"]]
    assert sorted(seen) == sorted(row[0] for row in rows)
    drawn = [
        tuple(item.split for item in survey(ClipSet("clips", split="fold1of5", split_seed=seed), {"clips": root}).items)
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(ValueError, match="no split of clips 'fold6of5'; did you mean 'fold"):
        ClipSet("clips", split="fold6of5")


@pytest.mark.slow
def test_real_songs_and_real_clips_go_through(shared_data: Path, tmp_path: Path) -> None:
    """A network too small to separate anything: what counts is that every song and every clip comes out."""
    recipe = tiny()
    recipe = replace(recipe, tagging=replace(recipe.tagging, split="fold1of5"))
    found = made(
        recipe, Store(tmp_path), {"stems": shared_data / "everything_is_free", "clips": shared_data / "medley_solos"}
    )
    scores = pd.read_csv(found["evaluate"][1] / "scores.csv")
    assert set(scores.track.dropna()) == {"Rubidium"} and np.isfinite(scores.score).all()
    predictions = pd.read_parquet(found["infer"][1] / "predictions.parquet")
    assert predictions.item.nunique() == 16 and predictions.target.nunique() == 8
    assert predictions.groupby("target").truth.sum().eq(2).all()
