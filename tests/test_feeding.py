"""Training stages over their batches: one result wherever the samples lie, whoever reads them, and after a stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mss_core import audio, augment, models
from mss_core.augment import Augment, augmented, generator
from mss_core.data import batches
from mss_core.data.mixing import AccompanimentMixer, CoherentMixer, IncoherentMixer, mix
from mss_core.data.packed import Packed
from mss_core.graph import Context, Stage, walk
from mss_core.recipe import override
from mss_core.stages.pretrain import Mixing, mixer_of
from mss_core.stages.train_tail import fit_classifier
from mss_core.store import StageFailed, Store, materialize, run_stage
from mss_core.systems.msspt import MSSPT, msspt_cnn, smoke
from tests.conftest import tiny_settings

CROP = 61_792
EVERYTHING = Augment(
    remix=True,
    add_same_source=0.5,
    pitch=(-1.0, 1.0),
    stretch=(0.9, 1.1),
    reversal=0.5,
    polarity=0.5,
    gain=(0.25, 1.25),
)


def tiny(**changes: object) -> MSSPT:
    return override(smoke(msspt_cnn()), {**tiny_settings(), **changes})


def stages(recipe: MSSPT) -> dict[str, Stage]:
    return {stage.name: stage for stage in walk([recipe.pipeline()]).values()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A store with the packed sets only; nothing else is written to it."""
    root = tmp_path_factory.mktemp("prepared")
    found = stages(tiny())
    for name in ("prepare_tracks", "prepare_clips"):
        materialize(found[name], Store(root), Context())
    return root


def trained(prepared: Path, where: Path, stage: Stage, **context: object) -> dict[str, torch.Tensor]:
    """Weights of one stage, trained in a store of its own."""
    where.mkdir()
    for name in ("prepare_tracks", "prepare_clips"):
        (where / name).symlink_to(prepared / name)
    return models.state(materialize(stage, Store(where), Context(**context)))


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("name", ["pretrain", "train_tail"])
def test_weights_do_not_depend_on_where_samples_lie_or_who_reads_them(
    prepared: Path, tmp_path: Path, name: str
) -> None:
    stage = stages(tiny())[name]
    first = trained(prepared, tmp_path / "mapped", stage, room=0, workers=0)
    for label, context in {
        "one": {"room": 0, "workers": 1},
        "two": {"room": 0, "workers": 2},
        "resident": {"room": 1 << 40},
    }.items():
        assert same(first, trained(prepared, tmp_path / label, stage, **context)), label


class Stop(Exception):
    pass


@pytest.mark.parametrize(("name", "workers"), [("pretrain", 2), ("train_tail", 1)])
def test_a_stop_in_the_middle_of_an_epoch_changes_nothing(
    prepared: Path, tmp_path: Path, name: str, workers: int, monkeypatch
) -> None:
    stage = stages(tiny(**{"pretrain.epoch_steps": 5, "train_tail.epoch_steps": 5}))[name]
    whole = trained(prepared, tmp_path / "whole", stage)
    seen: list[int] = []
    call = batches.Feed.__call__

    def stopping(feed: batches.Feed, step: int):
        seen.append(step)
        if len(seen) == 8:  # step 7 of 10: the third of the second epoch
            raise Stop
        return call(feed, step)

    monkeypatch.setattr(batches.Feed, "__call__", stopping)
    context = {"workers": workers, "checkpoint_seconds": 0.0}
    with pytest.raises(StageFailed, match="Stop"):
        trained(prepared, tmp_path / "cut", stage, **context)
    store = Store(tmp_path / "cut")
    again = models.state(run_stage(stage, store, Context(**context)))
    assert seen[8:] == [7, 8, 9] and same(whole, again)


def test_a_classifier_s_batches_are_crops_of_its_clips(prepared: Path, monkeypatch) -> None:
    """Against reading each clip by itself: one pass without repetition, crops at whole hops, truth of that clip."""
    packed = Packed(materialize(stages(tiny())["prepare_clips"], Store(prepared), Context()))
    clips, kept = packed.split("train"), []
    monkeypatch.setattr("mss_core.stages.train_tail.fit", lambda module, train, **parts: kept.append(parts))
    train = tiny().train_tail
    fit_classifier(torch.nn.Identity(), packed, 384, train, Context())
    steps = kept[0]["epoch_steps"]
    assert steps == len(clips) // train.batch
    used = []
    for step in range(2 * steps):
        waves, truth = kept[0]["batch"](step)
        assert waves.shape == (train.batch, CROP) and waves.dtype == torch.float32
        for wave, labels in zip(waves.numpy(), truth.numpy(), strict=True):
            owners = [
                index
                for index, clip in enumerate(clips)
                if any(
                    np.array_equal(wave, packed.read(clip, "mixture", start, CROP))
                    for start in range(0, max(1, clip.length - CROP + 1), audio.HOP)
                )
            ]
            assert len(owners) == 1
            np.testing.assert_array_equal(labels, packed.truth([clips[owners[0]]])[0])
            used.append(owners[0])
    for epoch in range(2):
        part = used[epoch * steps * train.batch : (epoch + 1) * steps * train.batch]
        assert len(set(part)) == len(part)


# ---- augmentations as an argument


def test_no_augmentation_is_the_default_and_leaves_waveforms_alone() -> None:
    x = torch.randn(3, 2, 1, 50)
    assert augmented(x, Augment(), 0, 0) is x
    assert msspt_cnn().mixing.augment == msspt_cnn().augment == Augment()


@pytest.mark.parametrize(
    ("field", "value", "call"),
    [
        ("remix", True, lambda x, rng: augment.remix(x, rng)),
        ("add_same_source", 0.5, lambda x, rng: augment.add_same_source(x, 0.5, rng)),
        ("pitch", (-2.0, 2.0), lambda x, rng: augment.pitch_shift(x, -2.0, 2.0, rng)),
        ("stretch", (0.8, 1.2), lambda x, rng: augment.time_stretch(x, 0.8, 1.2, rng)),
        ("reversal", 0.5, lambda x, rng: augment.time_reversal(x, 0.5, rng)),
        ("polarity", 0.5, lambda x, rng: augment.polarity(x, 0.5, rng)),
        ("channel_swap", 0.5, lambda x, rng: augment.channel_swap(x, 0.5, rng)),
        ("gain", (0.25, 1.25), lambda x, rng: augment.random_gain(x, 0.25, 1.25, rng)),
    ],
)
def test_each_setting_is_its_function_with_draws_of_its_own(field: str, value: object, call) -> None:
    x = torch.randn(4, 3, 2, 3000, generator=torch.Generator().manual_seed(0))
    which = 1 + list(Augment.__dataclass_fields__).index(field)
    one = augmented(x, Augment(**{field: value}), seed=3, step=9)
    assert torch.equal(one, call(x, generator(3, 9, which))) and not torch.equal(one, x)
    assert not torch.equal(one, augmented(x, Augment(**{field: value}), seed=3, step=10))
    if field != "polarity":  # linear: what comes before does not change what this draws
        first = augment.polarity(x, 0.5, generator(3, 9, 6))
        both = augmented(x, Augment(**{field: value}, polarity=0.5), seed=3, step=9)
        if field in ("channel_swap", "gain"):
            assert torch.equal(both, call(first, generator(3, 9, which)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Augment(polarity=1.5), "'polarity' is a probability from 0 to 1, not 1.5"),
        (lambda: Augment(gain=(1.0, 0.5)), r"'gain' is a pair, lowest \(at least 0\) and highest, or None"),
        (lambda: Augment(stretch=(0.0, 1.0)), r"'stretch' is a pair, lowest \(at least 0.25\)"),
        (
            lambda: Mixing(augment=Augment(channel_swap=0.5)),
            "'augment.channel_swap' needs stereo; packed sets are mono",
        ),
        (lambda: Mixing(kind="coherrent"), "no kind of mixing 'coherrent'; did you mean 'coherent'"),
        (lambda: Mixing(accompaniments=(0, 3)), "'accompaniments' is a pair, fewest"),
        (lambda: tiny(**{"augment.remix": True}), "'augment.remix' and 'augment.add_same_source' need sources"),
        (
            lambda: tiny(**{"mixing.kind": "accompaniment", "sources": ("vocals", "drums")}),
            "'accompaniment' is made for one source, not for vocals, drums",
        ),
    ],
)
def test_mistakes(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_classifier_refuses_what_would_spoil_its_labels(prepared: Path) -> None:
    packed = Packed(materialize(stages(tiny())["prepare_clips"], Store(prepared), Context()))
    with pytest.raises(ValueError, match="clips have labels only"):
        fit_classifier(torch.nn.Identity(), packed, 384, tiny().train_tail, Context(), Augment(add_same_source=0.1))


def test_augmented_trainings_differ_and_repeat(prepared: Path, tmp_path: Path) -> None:
    plain, changed = (
        tiny(),
        tiny(
            **{f"mixing.augment.{name}": getattr(EVERYTHING, name) for name in Augment.__dataclass_fields__}
            | {"augment.gain": (0.25, 1.25)}
        ),
    )
    for name in ("pretrain", "train_tail"):
        without, first = stages(plain)[name], stages(changed)[name]
        assert without.key != first.key
        weights = trained(prepared, tmp_path / f"{name}1", first)
        assert same(weights, trained(prepared, tmp_path / f"{name}2", first, room=1 << 40))
        assert not same(weights, trained(prepared, tmp_path / f"{name}3", without))
        assert all(torch.isfinite(value).all() for value in weights.values())


# ---- kinds of mixtures


def tracks(prepared: Path) -> Packed:
    return Packed(materialize(stages(tiny())["prepare_tracks"], Store(prepared), Context()))


def stored(packed: Packed, row: str, start: int, available: int) -> np.ndarray:
    """Samples of the one item that holds them all, by hand: int16 steps times what a step of that row is worth."""
    [item] = [i for i in packed.items if i.start <= start and start + available <= i.start + i.length]
    steps = np.fromfile(packed.directory / f"{row}.i16", np.int16)[start : start + available]
    return steps * item.units[packed.rows.index(row)]


def drawn(mixer, step: int, size: int = 3):
    """Parts of a batch, by hand from the packed rows, and the gains."""
    where, gains = mixer.draw(step, size)
    parts = np.zeros((*where.row.shape, mixer.crop), np.float64)
    for place in np.ndindex(where.row.shape):
        taken = stored(mixer.packed, mixer.rows[where.row[place]], where.start[place], where.available[place])
        parts[place][: len(taken)] = taken
    return parts, gains


def test_incoherent_mixtures_by_hand(prepared: Path) -> None:
    packed = tracks(prepared)
    mixtures, references = IncoherentMixer(packed, ("bass",), {}, 96_000, 48_000, CROP, 1).batch(2, 3)
    parts, gains = drawn(IncoherentMixer(packed, ("bass",), {}, 96_000, 48_000, CROP, 1), 2)
    assert (gains == 1).all()
    a, b, c_mixture, c, d_mixture, d = parts.swapaxes(0, 1)
    np.testing.assert_allclose(references[:, 0], a + b, atol=1e-6)
    np.testing.assert_allclose(mixtures, a + b + c_mixture - c + d_mixture - d, atol=1e-6)
    several = IncoherentMixer(packed, ("bass", "drums"), {"bass": 1, "drums": 3}, 96_000, 48_000, CROP, 1)
    mixtures, references = several.batch(2, 3)
    parts, _ = drawn(several, 2)
    np.testing.assert_allclose(references[:, 0], parts[:, 0], atol=1e-6)
    np.testing.assert_allclose(references[:, 1], parts[:, 1:].sum(1), atol=1e-6)
    np.testing.assert_allclose(mixtures, parts.sum(1), atol=1e-6)


def test_accompaniment_by_hand(prepared: Path) -> None:
    mixer = AccompanimentMixer(tracks(prepared), "vocals", CROP, seed=2, fewest=1, most=3)
    counts = []
    for step in range(6):
        parts, gains = drawn(mixer, step)
        mixtures, references = mixer.batch(step, 3)
        np.testing.assert_allclose(references[:, 0], parts[:, 0] * gains[:, :1], atol=1e-6)
        np.testing.assert_allclose(mixtures, (parts * gains[..., None]).sum(1), atol=1e-6)
        used = gains[gains > 0]
        assert used.min() >= 0.25 and used.max() <= 1.25 and (gains[:, 0] > 0).all()
        counts += (gains[:, 1:] > 0).sum(1).tolist()
    assert set(counts) == {1, 2, 3}


def test_coherent_mixtures_are_the_songs(prepared: Path) -> None:
    packed = tracks(prepared)
    mixer = CoherentMixer(packed, ("vocals", "bass"), 96_000, 48_000, CROP, seed=2)
    mixtures, references = mixer.batch(4, 5)
    where, _ = mixer.draw(4, 5)
    for line in range(5):
        start, stop = where.start[line, 0], where.start[line, 0] + where.available[line, 0]
        assert any(item.start <= start and stop <= item.start + item.length for item in packed.split("train"))
        for row, found in (("mixture", mixtures[line]), ("vocals", references[line, 0]), ("bass", references[line, 1])):
            np.testing.assert_allclose(found[: stop - start], stored(packed, row, start, stop - start), atol=1e-6)
    voices = mixer.voices(torch.ones(1, 3, 4))
    assert torch.equal(mix(mixer, voices)[0], torch.ones(1, 4)) and voices[0, :, 0].tolist() == [1, 1, -1]


@pytest.mark.parametrize("kind", ["coherent", "accompaniment"])
def test_pretraining_takes_each_kind(prepared: Path, tmp_path: Path, kind: str) -> None:
    recipe = tiny(**{"mixing.kind": kind, "mixing.accompaniments": (1, 2), "mixing.augment.gain": (0.25, 1.25)})
    weights = trained(prepared, tmp_path / kind, stages(recipe)["pretrain"])
    assert all(torch.isfinite(value).all() for value in weights.values())
    mixer = mixer_of(tracks(prepared), ("vocals",), recipe.mixing, 0)
    assert (mixer.draw(0, 2)[1] <= 1).all() and type(mixer).__name__.lower().startswith(kind)
    if kind == "accompaniment":
        with pytest.raises(ValueError, match="accompaniment is mixed for one source, not for vocals, bass"):
            mixer_of(tracks(prepared), ("vocals", "bass"), recipe.mixing, 0)
