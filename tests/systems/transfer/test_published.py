"""The transfer study as the thesis has it: MS21's levels, released weights in their published layouts, leaks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import signal

from mss_core import audio, models
from mss_core.artefact import read_notes
from mss_core.data.files import facts
from mss_core.data.loaders import ms21
from mss_core.data.packed import Packed
from mss_core.data.sets import TrackSet, WeightSet, survey
from mss_core.graph import Context, Stage
from mss_core.recipe import override
from mss_core.stages.prepare_separator import prepare_separator
from mss_core.store import Store, materialize
from mss_core.systems.transfer import transfer
from mss_core.systems.transfer.score import known_songs
from tests.layouts import checkpoint


def lufs(waveform: np.ndarray) -> float:
    """Integrated loudness at 48 kHz by the printed coefficients of BS.1770-4, annex 1, block by block."""
    x = signal.lfilter(
        [1.53512485958697, -2.69169618940638, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585], waveform
    )
    x = signal.lfilter([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621], x)
    blocks = [np.square(x[:, start : start + 19_200]).mean(1).sum() for start in range(0, x.shape[1] - 19_199, 4_800)]
    loud = np.array([b for b in blocks if -0.691 + 10 * np.log10(b + 1e-20) > -70])
    return -0.691 + 10 * np.log10(loud[loud > 0.1 * loud.mean()].mean())


def test_the_row_at_ms21_s_levels_has_them(tmp_path: Path) -> None:
    """-25 LUFS for what is pitched, a peak of -1 dB for drums, the mixture their sum [Sec. 3.1.4]."""
    from studies.separator_transfer import study

    (row,) = (v for v in study.variants() if v.levels["songs"] == "MUSDB18 at MS21's levels")
    recipe = override(study.baseline, row.departures)
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for number, source in enumerate(recipe.test.sources):
            folder = tmp_path / "stems" / split / f"{split} song"
            folder.mkdir(parents=True, exist_ok=True)
            sound = (0.02 * (number + 1) * rng.standard_normal((2, 96_000))).astype(np.float32)
            audio.save_float(folder / f"{source}.wav", sound, 48_000)
        audio.save_float(folder / "mixture.wav", sound, 48_000)
    config = TrackSet("stems", recipe.test.sources, mixture=recipe.test.mixture)
    sound = survey(config, {"stems": tmp_path / "stems"}).items[0].read()
    for source in ("bass", "vocals", "other"):
        assert lufs(sound.rows[source].astype(float)) == pytest.approx(-25.0, abs=0.1)
    assert 20 * np.log10(np.abs(sound.rows["drums"]).max()) == pytest.approx(-1.0, abs=1e-3)
    total = sum(sound.rows[source] for source in recipe.test.sources)
    np.testing.assert_allclose(sound.rows["mixture"], total, atol=1e-6)


def test_the_authors_test_songs_that_musdb18_trains_on_are_named(shared_data: Path) -> None:
    """Counted here from the two published lists."""
    metadata = shared_data / "metadata"
    listed = ms21.listed(metadata / "mixing_secrets" / "split_track_list.txt")
    test = [song for song, split in listed.items() if split == "test"]
    everything = (metadata / "musdb" / "musdb18_tracklist.csv").read_text(encoding="utf-8")
    tested = json.loads((metadata / "musdb" / "mus18_test_tracks.json").read_text())
    assert sorted(facts()["musdb18"]["test"]) == sorted(tested)
    assert set(facts()["musdb18"]["valid"]) <= set(facts()["musdb18"]["train"])
    assert len(facts()["musdb18"]["train"]) == 100 and all(n in everything for n in facts()["musdb18"]["train"])
    assert not set(tested) & set(facts()["musdb18"]["train"])
    assert known_songs(sorted(test), facts()["musdb18"]["train"]) == [
        "Hollow Ground - Ill Fate (another song of Hollow Ground)",
        "Hollow Ground - Left Blind",
    ]
    sizes = facts()["sets"]["ms21"]["expected"]["splits"]
    assert {split: list(listed.values()).count(split) for split in sizes} == sizes


@pytest.mark.parametrize(("name", "network"), [("xumx", models.model("xumx")), ("hdemucs", models.model("hdemucs"))])
def test_released_separators_load_in_their_published_layout(tmp_path: Path, name: str, network: dict) -> None:
    checkpoint(name, tmp_path / name)
    stage = Stage(prepare_separator, data=WeightSet(name), layout=name)
    folder = materialize(stage, Store(tmp_path / "store"), Context(data={name: tmp_path / name}))
    module = models.load(folder)
    assert set(module.stems) == {"bass", "drums", "vocals", "other"}
    assert {k: v.shape for k, v in module.state_dict().items()} == {
        k: v.shape for k, v in models.build(network).state_dict().items()
    }
    if name == "xumx":  # the filter that the thesis' figures were made with, behind the trained network, too
        assert module.wiener_iterations == transfer().xumx["wiener_iterations"] == 1


def test_stereo_songs_are_packed_without_a_false_alarm(shared_stems: Path, tmp_path: Path) -> None:
    stage = transfer().pipeline().inputs["model"].inputs["data"]
    config = TrackSet("stems", ("bass", "drums", "vocals", "other"))
    stage = Stage(stage.function, **{**stage.arguments, "data": config, "segment": 16_000})
    folder = materialize(stage, Store(tmp_path), Context(data={"stems": shared_stems}))
    assert len(Packed(folder).rows) == 8
    assert not [note for note in read_notes(folder) if "channels" in note["text"]]


def test_a_contrast_between_data_sets_is_declared_by_the_name(tmp_path: Path) -> None:
    from reports.contrasts import _follows, covers

    assert _follows("test.fingerprint", ["test.name", "test.sources"])
    assert not _follows("training.fingerprint", ["test.name"]) and not _follows("test.split", ["test.name"])
    assert not covers("test.name", "test.fingerprint")


def test_losses_in_decibels_by_hand() -> None:
    """Ten times the logarithm of the mean error, that of Gusó et al. 2022."""
    from mss_core.losses import MASK_LOSSES

    inputs = torch.full((1, 2, 2), 2.0 + 0j)
    references, masks = torch.full((1, 2, 2), 1.0 + 0j), torch.full((1, 2, 2), 0.25)
    assert float(MASK_LOSSES["magnitude_log_l1"](masks, inputs, references)) == pytest.approx(10 * np.log10(0.5))
    assert float(MASK_LOSSES["magnitude_log_mse"](masks, inputs, references)) == pytest.approx(10 * np.log10(0.25))


def test_misprints_are_told_beside_our_scores() -> None:
    from reports.published import paper

    first, second = (paper("hmss").table(name) for name in ("Tables 6 and 7", "Table 8"))
    sq, wide = first.rows["SQ_SSS(Guitar), 3 levels"], second.rows
    assert round(sq["level 3"].value - sq["level 3 mix"].value, 1) == -3.2 and "-3.2" in first.note
    for other, off in (("MUSDB18", "0.75"), ("MDXDB21", "0.27")):
        assert f"{wide[other]['global avg'].value - wide['MS21']['global avg'].value:.2f}" == off
        assert f"{off} dB below {other}" in second.note
