"""Two channels: what is packed of them, and that left and right never meet on the way to a batch."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_core.augment import Augment, augmented
from mss_core.data.batches import Feed, stacked, validation_segments, waveforms
from mss_core.data.channels import Sided, apart, beside, sided
from mss_core.data.mixing import AccompanimentMixer, CoherentMixer, IncoherentMixer, RemixMixer, mix
from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import Item, Sound, Survey, TrackSet, survey
from mss_core.data.synthetic.stereo import placed
from mss_core.graph import Context

RATE = 8000
SOURCES = ("vocals", "drums", "bass")
STEP = 2 / 32767
"""More than one step of any row below, whose peaks are at most 2."""


def stems(number: int, channels: int = 2, length: int = 3000) -> dict[str, np.ndarray]:
    """Left is even everywhere and right odd, in units of 1/1000: what mixes them is neither. Bass is silent on the
    right in track 0, and everywhere in track 1."""
    rng = np.random.default_rng(number)
    whole = rng.integers(-150, 150, (len(SOURCES), channels, length)) * 2
    whole[:, 1:] += 1
    made = dict(zip(SOURCES, (whole / 1000).astype(np.float32), strict=True))
    if number == 0:
        made["bass"][1:] = 0
    if number == 1:
        made["bass"][:] = 0
    return made


def track(number: int, channels: int = 2) -> Sound:
    made = stems(number, channels)
    return Sound({"mixture": sum(made.values()), **made}, RATE)  # type: ignore[dict-item]


def found(channels: int = 2, count: int = 5) -> Survey:
    splits = ("train", "train", "train", "valid", "test")
    return Survey(tuple(Item(f"t{n}", splits[n % 5], partial(track, n, channels)) for n in range(count)))


def packed(out: Path, survey: Survey, channels: int = 2) -> Packed:
    out.mkdir()
    given = apart(survey) if channels == 2 else survey
    pack(given, sided(("mixture", *SOURCES), channels), RATE, 1000, out, Context(out=out), 1)
    return Packed(out)


def test_each_side_is_what_it_was_and_the_mixture_the_sum_of_its_stems(tmp_path: Path) -> None:
    tracks = Sided(packed(tmp_path / "p", found()))
    assert tracks.channels == 2 and tracks.rows == ("mixture", *SOURCES)
    for number, item in enumerate(tracks.items):
        rows = {row: tracks.read(item, row) for row in tracks.rows}
        for source, expected in stems(number).items():
            assert rows[source].shape == expected.shape
            np.testing.assert_allclose(rows[source], expected, atol=STEP / 2)
            assert not rows[source][expected == 0].any()  # silence stays silence, whatever the other side plays
        total = sum(rows[source] for source in SOURCES)
        np.testing.assert_allclose(rows["mixture"], total, atol=2 * STEP)
    assert [item.silent for item in tracks.items] == [(), ("bass",), (), (), ()]


def test_a_mono_recording_is_the_same_on_either_side_and_more_than_two_are_left_out(tmp_path: Path) -> None:
    survey = found()
    items = (*survey.items, Item("mono", "train", partial(track, 7, 1)), Item("quad", "train", partial(track, 8, 4)))
    tracks = Sided(packed(tmp_path / "p", Survey(items)))
    assert [item.name for item in tracks.items] == [*(f"t{n}" for n in range(5)), "mono"]
    left, right = tracks.read(tracks.items[-1], "drums")
    assert np.array_equal(left, right) and left.any()
    assert "quad (mixture has 4 channels" in (tmp_path / "p" / "notes.json").read_text()


def test_one_channel_is_what_the_set_holds(tmp_path: Path) -> None:
    plain = packed(tmp_path / "p", found(), channels=1)
    tracks = Sided(plain)
    assert tracks.channels == 1 and tracks.rows == plain.rows and tracks.items == plain.items
    for item in plain.items:
        assert np.array_equal(tracks.read(item, "bass", 5, 4000), plain.read(item, "bass", 5, 4000)[None])


MIXERS = {
    "coherent": lambda tracks: CoherentMixer(tracks, SOURCES[:2], 2000, 500, 1000, 3),
    "incoherent": lambda tracks: IncoherentMixer(
        tracks, SOURCES, dict(vocals=2, drums=1, bass=1), 2000, 500, 1000, 3, 1
    ),
    "incoherent, one source": lambda tracks: IncoherentMixer(tracks, SOURCES[:1], {}, 2000, 500, 1000, 3, 2),
    "remix": lambda tracks: RemixMixer(tracks, "vocals", 1000, 3, (1.0, 1.0)),
    "accompaniment": lambda tracks: AccompanimentMixer(tracks, "vocals", 1000, 3, 1, 2, (1.0, 1.0)),
}


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Sided:
    return Sided(packed(tmp_path_factory.mktemp("stereo") / "p", found()))


@pytest.mark.parametrize("name", MIXERS)
@settings(max_examples=8, deadline=None)
@given(step=st.integers(0, 10_000), room=st.sampled_from([0, 1 << 40]))
def test_a_batch_of_one_side_is_a_mono_batch_of_that_side(tracks: Sided, name: str, step: int, room: int) -> None:
    """Whatever is drawn and wherever it is read from: both sides come from one place of one song."""
    mixer = MIXERS[name](tracks)

    def batch(side: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        def draw(step: int):
            where, gains = mixer.draw(step, 3)
            both = beside(where, 2)
            if side is None:
                return both, gains
            return type(both)(both.row[..., side], both.start[..., side], both.available[..., side]), gains

        feed = Feed(tracks.packed, sided(mixer.rows, 2), mixer.crop, draw, Context(room=room))
        parts, gains = feed(step)
        heard = waveforms(parts)
        return mix(mixer, mixer.voices(heard) * gains.reshape(gains.shape + (1,) * (heard.ndim - 2)))

    mixtures, references = batch(None)
    assert mixtures.shape == (3, 2, mixer.crop) and references.shape == (3, len(mixer.sources), 2, mixer.crop)
    for side in (0, 1):
        alone, stems_alone = batch(side)
        assert torch.equal(mixtures[:, side], alone) and torch.equal(references[:, :, side], stems_alone)
    sounding = [source for source in mixer.sources if source != "bass"]
    odd = references[:, [mixer.sources.index(source) for source in sounding], 1] * 1000
    if name == "incoherent":  # two copies of the vocals add up to an even number
        odd = odd[:, 1:]
    if name in ("coherent", "incoherent"):
        assert ((odd.round() % 2 == 1) | (odd == 0)).all()


def test_augmentations_exchange_sides_and_never_add_them() -> None:
    sources = torch.from_numpy(np.stack([np.stack(list(stems(n).values())) for n in range(2, 6)]))
    config = Augment(channel_swap=0.5, polarity=0.5, reversal=0.5, remix=True)
    found = (augmented(sources, config, 0, 3) * 1000).round().abs().flatten(3) % 2
    assert ((found == 0).all(-1) | (found == 1).all(-1)).all()  # a side is all even or all odd, as it came
    assert (found[:, :, 0] != found[:, :, 1]).all() and not (found[:, :, 0] == 0).all()


def test_validation_reads_all_channels(tracks: Sided) -> None:
    (segments,) = validation_segments(tracks, 1000, 3, SOURCES)
    read = stacked(tracks, segments, "vocals", 1000)
    assert read.shape == (3, 2, 1000)
    np.testing.assert_allclose(read[1], stems(3)["vocals"][:, 1000:2000], atol=STEP / 2)


def test_synthetic_stereo_is_the_sum_of_sources_that_stand_apart(tmp_path: Path) -> None:
    config = TrackSet("mss_core.data.synthetic.stereo:survey", samplerate=RATE, size=10)
    again, items = survey(config, {}).items, survey(config, {}).items
    sound, mono = items[3].read(), survey(TrackSet(samplerate=RATE, size=10), {}).items[3].read()
    assert [item.split for item in items].count("train") == 6
    for source in config.sources:
        assert np.array_equal(sound.rows[source], again[3].read().rows[source])
        power = np.square(sound.rows[source]).sum() / 2
        assert power == pytest.approx(float(np.square(mono.rows[source]).sum()), rel=2e-3)
    loud = [source for source in config.sources if sound.rows[source].any()]
    ratios = [float(np.divide(*np.square(sound.rows[source]).sum(1))) for source in loud]
    assert len({round(ratio, 3) for ratio in ratios}) == len(loud) > 1
    np.testing.assert_allclose(sound.rows["mixture"], sum(sound.rows[s] for s in config.sources), atol=1e-6)


def test_a_place_between_left_and_right() -> None:
    tone = np.sin(np.arange(800) / 7).astype(np.float32)
    np.testing.assert_allclose(placed(tone, 0.0, RATE), [tone, tone], atol=1e-6)
    left, right = placed(tone, -0.5, RATE)
    assert np.square(left).sum() > np.square(right).sum() and right[0] == right[1] == 0.0


@pytest.mark.parametrize(
    ("name", "folder"), [("everything", "everything_is_free"), ("musdb", "musdb18_excerpt/hq_train")]
)
def test_real_music_keeps_its_sides(shared_data: Path, tmp_path: Path, name: str, folder: str) -> None:
    """Of free songs the published mixture is the sum of the stems, also after packing; of MUSDB18 it is not."""
    import soundfile

    place = next(path.parent for path in sorted((shared_data / folder).rglob("vocals.*")))
    suffix = next(place.glob("vocals.*")).suffix
    sources = ("vocals", "drums", "bass", "other")
    whole = {row: soundfile.read(place / f"{row}{suffix}", stop=2 * 44_100)[0].T for row in ("mixture", *sources)}
    sound = Sound({row: waveform.astype(np.float32) for row, waveform in whole.items()}, 44_100)
    out = tmp_path / name
    out.mkdir()
    items = (Item(name, "test", lambda: sound),)
    pack(apart(Survey(items)), sided(("mixture", *sources), 2), 44_100, 1000, out, Context(out=out), 1)
    tracks = Sided(Packed(out))
    rows = {row: tracks.read(tracks.items[0], row) for row in tracks.rows}
    for row, waveform in whole.items():
        np.testing.assert_allclose(rows[row], waveform, atol=1 / 32767)
    apart_by = np.abs(rows["mixture"] - sum(rows[source] for source in sources)).max()
    assert (apart_by < 5 / 32767) == (name == "everything")
    assert np.abs(rows["mixture"][0] - rows["mixture"][1]).max() > 0.01
