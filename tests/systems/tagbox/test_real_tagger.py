"""Steering a mask, judges that were not steered, and what the report says of both."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from mss_core import models
from mss_core.artefact import read_scores, write_json
from mss_core.data.packed import Packed
from mss_core.data.sets import TrackSet
from mss_core.graph import Context, Stage, walk
from mss_core.store import Store, materialize
from mss_core.systems.tagbox import real_tagger, smoke
from mss_core.systems.tagbox.infer_classic import infer_classic
from mss_core.systems.tagbox.judge import heard, judge_estimates
from mss_core.systems.tagbox.mask_codec import MaskCodec
from mss_core.systems.tagbox.prepare import prepare_songs
from mss_core.systems.tagbox.score import score_estimates
from mss_core.systems.tagbox.steering import SteerConfig, Wanted, steer
from reports.papers.tagbox.heard import Mean, in_words, mean

RATE = 16_000


class High(nn.Module):
    """Two tags: how much of the power lies above 2 kHz, and how much below; a third that hears level."""

    seconds = 0.5

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(6.0))

    def features(self, waveform: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(waveform).abs().square()

    def forward(self, power: torch.Tensor) -> torch.Tensor:
        share = power[:, power.shape[1] // 4 :].sum(1) / power.sum(1).clamp_min(1e-9)
        return torch.stack(
            [self.gain * (share - 0.5), self.gain * (0.5 - share), power.sum(1).clamp_max(1e6).log1p()], 1
        )


@pytest.fixture(scope="module")
def mixture() -> torch.Tensor:
    time = torch.arange(RATE) / RATE
    low, high = torch.sin(2 * torch.pi * 440 * time), torch.sin(2 * torch.pi * 5_000 * time)
    return torch.stack([low + high, 0.3 * low + 0.1 * high])


def moved(mixture: torch.Tensor, **changes: object) -> tuple[torch.Tensor, torch.Tensor]:
    settings = {"direction": "descent", "steps": 15, "lr": 0.5, "codebook": "none", "mask": False, **changes}
    found = steer(MaskCodec(1024), [Wanted(High(), torch.tensor([1.0, 0, 0]))], mixture, RATE, SteerConfig(**settings))
    torch.testing.assert_close(found.reference, mixture, atol=1e-6, rtol=0)
    return found.masked, found.probability


def high_share(waves: torch.Tensor) -> torch.Tensor:
    power = torch.fft.rfft(waves).abs().square()
    return power[:, 2_000:].sum(1) / power.sum(1)


def test_the_mask_begins_at_half_and_never_lets_through_more_than_there_is(mixture: torch.Tensor) -> None:
    first, _ = moved(mixture, steps=1)
    torch.testing.assert_close(first, mixture / 2, atol=1e-5, rtol=0)
    masked, _ = moved(mixture, steps=30)
    assert (masked.square().sum(1) <= mixture.square().sum(1)).all()


def test_descent_lets_through_what_has_the_tag_and_ascent_what_has_not(mixture: torch.Tensor) -> None:
    before = high_share(mixture)
    masked, said = moved(mixture)
    assert (high_share(masked) > before + 0.2).all() and (said[-1] > said[0] + 0.2).all()
    masked, said = moved(mixture, direction="ascent")
    assert (high_share(mixture - masked) > before + 0.05).all() and (said[-1] < said[0]).all()
    masked, said = moved(mixture, direction="random")
    assert (said[-1] - said[0]).abs().max() < 0.1
    assert not torch.equal(masked, moved(mixture, direction="random", seed=1)[0])


def test_a_clip_comes_out_as_it_would_alone(mixture: torch.Tensor) -> None:
    together, _ = moved(mixture)
    alone, _ = moved(mixture[:1])
    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=0)


def test_a_mask_of_cells_is_that_mask() -> None:
    """Ones everywhere give the mixture; a closed band takes its tone away and leaves the other."""
    time = torch.arange(RATE) / RATE
    low, high = torch.sin(2 * torch.pi * 440 * time), torch.sin(2 * torch.pi * 5_000 * time)
    codec = MaskCodec(1024)
    odds = codec.encode((low + high)[None]) + 40.0
    torch.testing.assert_close(codec.decode(odds)[0], low + high, atol=1e-5, rtol=0)
    odds[:, 150:] = -40.0
    torch.testing.assert_close(codec.decode(odds)[0, 1024:-1024], low[1024:-1024], atol=1e-2, rtol=0)


# ---- the recipe


def test_the_study_needs_no_vqvae_and_asks_a_tagger_that_nothing_follows() -> None:
    root = real_tagger().pipeline()
    names = [stage.name for stage in walk([root]).values()]
    assert root.name == "judge_estimates" and not {"prepare_vqvae", "train_vqvae"} & set(names)
    assert root.arguments["names"] == ("steered_probability", "tag_probability")
    assert {s.name for s in walk([smoke(real_tagger()).pipeline()]).values()} >= {"train_tail", "judge_estimates"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"songs": "test"}, "'seconds' is a length above 0 where 'songs' is 'all'"),
        ({"steer": SteerConfig()}, "'codec' is 'mask': .* got True, 'frozen' and"),
        ({"codec": "vqvae", "vqvae_weights": None}, "a VQ-VAE would be trained on them"),
        ({"codec": "masc"}, "no codec 'masc'"),
        ({"judges": real_tagger().judges[1:] * 2}, "holds several that give 'tag_probability'"),
        ({"judges": (replace(real_tagger().judges[0], name="musicn"),)}, "'judges.0.name'"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(real_tagger(), **changes)


def test_songs_of_all_splits_are_packed_in_part(shared_stems: Path, tmp_path: Path) -> None:
    stage = Stage(prepare_songs, data=TrackSet("stems"), tracks=5, seconds=2.0, segment=RATE)
    packed = Packed(materialize(stage, Store(tmp_path), Context(data={"stems": shared_stems})))
    assert [item.length for item in packed.split("test")] == [2 * RATE] * 5 and len(packed.items) == 5


# ---- the judge


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    folder = tmp_path / "judge"
    folder.mkdir()
    models.save(folder, {"name": "tests.systems.tagbox.test_real_tagger:High", "classes": 3}, High())
    write_json(folder, "labels.json", ["high", "low", "loud"])
    return folder


def test_a_judge_hears_no_level() -> None:
    wave = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    loud, quiet, itself = (heard(High(), x, wave, RATE, "cpu") for x in (10 * wave, 1e-3 * wave, wave))
    np.testing.assert_allclose(loud, itself, rtol=1e-4)
    np.testing.assert_allclose(quiet, itself, rtol=1e-4)
    assert np.isnan(heard(High(), 0 * wave, wave, RATE, "cpu")).all()


def test_estimates_are_judged_beside_mixture_and_source(shared_stems: Path, tmp_path: Path, judge: Path) -> None:
    """Of the mixture 60 dB down the judge says what it says of the mixture; the bass is lower than both."""
    store, context = Store(tmp_path / "store"), Context(data={"stems": shared_stems})
    tracks = Stage(prepare_songs, data=TrackSet("stems"), tracks=3, seconds=None, segment=RATE)
    down = Stage(infer_classic, data=tracks, method="attenuated", target="bass", tracks=None)
    told = {"data": tracks, "estimates": (down,), "targets": ("bass",), "output": "masked"}
    scores = Stage(score_estimates, **told)
    folders = {name: materialize(stage, store, context) for name, stage in (("t", tracks), ("d", down), ("s", scores))}
    told = {"data": folders["t"], "estimates": [folders["d"]], "targets": ("bass",), "output": "masked"}
    told |= {"scores": folders["s"], "judges": [judge], "names": ["tag_probability"]}
    judge_estimates(**told, tags=[["low"]], out=tmp_path, ctx=context)
    found = read_scores(tmp_path)
    of_track = found[found["target"] == "bass"].pivot(index="track", columns="metric", values="score")
    assert len(of_track) == 3 and "si_sdr_improvement" in of_track
    np.testing.assert_allclose(of_track["tag_probability"], of_track["tag_probability_mixture"], rtol=1e-3)
    assert (of_track["tag_probability_reference"] > 0.9).all()
    with pytest.raises(ValueError, match="no tag of the judge 'lo'; did you mean 'low'"):
        judge_estimates(**told, tags=[["lo"]], out=tmp_path, ctx=context)


# ---- the report


def test_intervals_over_songs_are_the_t_test_s() -> None:
    values = np.random.default_rng(1).normal(1.0, 1.0, 5)
    found = mean(pd.Series([*values, math.nan]))
    wanted = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.low, found.high, found.songs) == (pytest.approx(wanted.low), pytest.approx(wanted.high), 5)
    assert found.sign == (1 if wanted.low > 0 else 0)
    assert mean([2.0]).sign == 0 and mean([2.0]).text(1) == "+2.0" and mean([]).sign == 0


def test_a_sentence_claims_what_its_interval_shows() -> None:
    sure, unsure, less = Mean(2.0, 1.0, 3.0, 5), Mean(2.0, -1.0, 5.0, 5), Mean(-2.0, -3.0, -1.0, 5)
    judges = {"steered_probability": sure, "tag_probability": unsure}
    itself = {name: sure for name in judges}
    told = in_words({"si_sdr_improvement": unsure}, judges, itself).replace("\N{MINUS SIGN}", "-")
    assert told.startswith("no separation is shown (SI-SDR +2.00 [-1.00, +5.00] dB); the steered tagger hears more")
    assert told.endswith("to a tagger that was not steered no change is shown (+2.0 [-1.0, +5.0] points).")
    told = in_words({"si_sdr_improvement": sure}, {"tag_probability": less}, {"tag_probability": unsure})
    assert told.startswith("it separates") and "hears less" in told
    assert told.endswith("the source itself is not shown to have more of them either.")
    assert "further from the source" in in_words({"si_sdr_improvement": less}, {}, {})
