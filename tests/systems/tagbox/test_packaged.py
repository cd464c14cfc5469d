"""The taggers of the package musicnn: names, networks, gradients, and what is said where the package is missing.

What needs no weights is tested with small networks whose bundles are written here; the real ones where the package is.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mss_core import audio, models
from mss_core.data import bundles, packaged
from mss_core.data.config import WeightSet
from mss_core.graph import Context, Stage, walk
from mss_core.metrics.classification import roc_auc
from mss_core.models.musicnn import MSD, MTT, PATCH_FRAMES, PATCH_SECONDS, PublishedVgg, trained
from mss_core.recipe import override
from mss_core.stages.prepare_published import prepare_published
from mss_core.store import Store, materialize
from mss_core.study.binding import Binder
from mss_core.systems.tagbox import TAGS, listening, tagbox
from mss_core.systems.tagbox.steering import score
from tests.data import bundle_writer
from tests.systems.tagbox import straight_line

MODELS = {"mtt_musicnn": "published_musicnn", "mtt_vgg": "published_vgg"}
SMALL = {"published_musicnn": {"timbre": 3, "rhythm": 2, "width": 4, "dense": 5}, "published_vgg": {"width": 4}}


@pytest.fixture(params=sorted(MODELS))
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name and the prepared artefact of weights that the package carries."""
    name = request.param
    if packaged.installed(name) is None:
        pytest.skip(f"the package musicnn is not installed ({packaged.PACKAGED[name].install})")
    stage = Stage(prepare_published, data=WeightSet(name), tagger=models.model(MODELS[name]))
    return name, materialize(stage, Store(tmp_path_factory.getbasetemp() / "published"), Context())


def sound(seconds: float = PATCH_SECONDS) -> np.ndarray:
    """Tones and noise, float32 at 16 kHz."""
    rng, time = np.random.default_rng(3), np.arange(round(seconds * 16_000)) / 16_000
    tones = sum(
        np.sin(2 * np.pi * f * time) * (1 + np.sin(2 * np.pi * r * time)) for f, r in ((90, 2), (440, 3), (3e3, 7))
    )
    return (0.1 * tones + 0.05 * rng.normal(size=len(time))).astype(np.float32)


# ---- the networks


@pytest.mark.parametrize(("weights", "model"), MODELS.items())
def test_a_bundle_becomes_the_network_that_numpy_computes(tmp_path: Path, weights: str, model: str) -> None:
    """Another way from the same arrays: a small network through bundle, stage and artefact, and straight down."""
    arrays = bundle_writer.arrays_of(model, **SMALL[model])
    extra = {"beta1_power": np.float32(0.9), "dense/kernel/Adam_1": np.zeros(3, np.float32)}
    bundle_writer.write(tmp_path / "bundle", {**arrays, **extra})
    stage = Stage(prepare_published, data=WeightSet(weights), tagger=models.model(model, **SMALL[model]))
    context = Context(data={weights: tmp_path / "bundle"})
    folder = materialize(stage, Store(tmp_path / "store"), context)
    module = models.load(folder)
    assert json.loads((folder / "labels.json").read_text()) == list(MTT)
    (note,) = json.loads((folder / "notes.json").read_text())
    assert "ISC licence" in note["text"] and "ROC-AUC .90" in note["text"] and len(note["items"]) == 2
    _same(module, arrays, model)


def test_the_real_networks_are_what_numpy_computes(real: tuple[str, Path]) -> None:
    name, folder = real
    arrays = bundles.read(packaged.installed(name) / ".index", trained)
    module = models.load(folder)
    _same(module, arrays, MODELS[name])
    assert sum(p.numel() for p in module.parameters()) == {"mtt_musicnn": 787_159, "mtt_vgg": 605_748}[name]


def _same(module: torch.nn.Module, arrays: dict[str, np.ndarray], model: str) -> None:
    wave = sound()
    with torch.inference_mode():
        features = module.features(torch.from_numpy(wave)[None])
        logits, layers = module(features)[0].numpy(), module.layers(features)
    expected = straight_line.log_mel(wave)
    assert features.shape == (1, PATCH_FRAMES, 96)
    np.testing.assert_allclose(features[0].numpy(), expected, atol=1e-4)
    found = (straight_line.musicnn if model == "published_musicnn" else straight_line.vgg)(expected, arrays)
    np.testing.assert_allclose(logits, found.pop("logits"), atol=1e-4)
    for layer, value in found.items():
        np.testing.assert_allclose(layers[layer][0].numpy(), value, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", MODELS.values())
def test_gradients_to_the_waveform_are_finite_differences(model: str) -> None:
    _gradients(models.build({**models.model(model, **SMALL[model]), "classes": 50}).eval())


def test_gradients_of_the_real_networks_are_finite_differences(real: tuple[str, Path]) -> None:
    _gradients(models.load(real[1]))


def _gradients(module: torch.nn.Module) -> None:
    """Central differences of all tags' probabilities along random directions, in double precision. The steps are so
    small that hardly a maximum or ReLU changes sides."""
    module = module.double()
    wave = torch.from_numpy(sound().astype(np.float64))[None]
    generator = torch.Generator().manual_seed(0)

    def heard(x: torch.Tensor) -> torch.Tensor:
        return (torch.sigmoid(module(module.features(x)))[0] * torch.linspace(-1, 1, 50)).sum()

    x = wave.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(heard(x), x)
    for _ in range(3):
        way = torch.randn(wave.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            slope = float(heard(wave + 1e-9 * way) - heard(wave - 1e-9 * way)) / 2e-9
        assert slope == pytest.approx(float((gradient * way).sum()), rel=1e-3, abs=1e-6)


def test_a_piece_has_187_frames_and_the_vgg_takes_no_other_number() -> None:
    module = PublishedVgg(width=2).eval()
    assert round(PATCH_SECONDS * 16_000) == 47_616
    assert score(module, torch.zeros(1, 100_000)).shape == (1, 50)
    with pytest.raises(RuntimeError):
        module(torch.zeros(1, 400, 96))


def test_tags_are_the_packages_by_name(real: tuple[str, Path]) -> None:
    source = packaged.installed(real[0]).parent / "configuration.py"
    found = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
    }
    assert (list(MTT), list(MSD)) == (found["MTT_LABELS"], found["MSD_LABELS"])


def test_tags_of_every_target_are_tags() -> None:
    assert len(set(MTT)) == len(set(MSD)) == 50
    assert {tag for tags in TAGS["mtat"].values() for tag in tags} <= set(MTT)
    assert {tag for tags in TAGS["msd"].values() for tag in tags} <= set(MSD)


@pytest.mark.parametrize("real", ["mtt_musicnn"], indirect=True)
def test_drums_are_told_from_other_stems_on_real_songs(real: tuple[str, Path], shared_data: Path) -> None:
    """The middle ten seconds of every stem of five songs that sounds there; the whole songs give 1.0, and so do both
    networks. Of one patch alone, 3 s, it would be .80: in some the drums rest."""
    module, is_drums, said = models.load(real[1]), [], []
    for song in sorted((shared_data / "everything_is_free").glob("t*/*")):
        for stem in ("vocals", "drums", "bass", "other"):
            wave, rate = audio.load(song / f"{stem}.flac")
            first = max(0, wave.shape[1] - 10 * rate) // 2
            mono = audio.resample(np.ascontiguousarray(wave[:, first : first + 10 * rate].mean(0)), rate, 16_000)
            if np.any(mono):
                with torch.inference_mode():
                    said.append(float(score(module, torch.from_numpy(mono)[None])[0, MTT.index("drums")]))
                is_drums.append(stem == "drums")
    assert sum(is_drums) == 5 and len(said) >= 15
    assert roc_auc(np.array(is_drums)[:, None], np.array(said)[:, None])[0] >= 0.95


# ---- the package, or not


def test_a_tagger_of_the_package_is_one_more_by_name() -> None:
    recipe = override(tagbox(("vocals", "drums")), listening("mtat", "published_musicnn", "published_vgg"))
    stages = [stage for stage in walk([recipe.pipeline()]).values() if stage.name == "prepare_published"]
    assert [stage.arguments["data"].name for stage in stages] == ["mtt_musicnn", "mtt_vgg"]
    assert listening("msd", "published_vgg")["taggers"][0].weights == WeightSet("msd_vgg")


def test_without_the_package_the_one_line_to_type_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    recipe = override(tagbox(("drums",)), {**listening("mtat", "published_musicnn"), "vqvae_weights": None})
    recipe = override(recipe, {"tracks.name": "synthetic", "tracks.samplerate": 16_000})
    line = "pip install --no-deps musicnn==0.1.0"
    with pytest.raises(ValueError, match=f"'mtt_musicnn': .*ISC licence.* not installed here: {line}"):
        Binder({}, tmp_path)(recipe)
    lenient = Binder({}, tmp_path, lenient=True)
    lenient(recipe)
    assert lenient.absent == {"mtt_musicnn": line}
    with pytest.raises(ValueError, match=f"nowhere is not a folder; .*{line}"):
        packaged.root("mtt_musicnn", {"mtt_musicnn": Path("nowhere")})
    with pytest.raises(ValueError, match="did you mean 'mtt_musicnn'"):
        packaged.root("mtt_musicn", {})


def test_the_content_of_a_bundle_is_part_of_the_key(tmp_path: Path) -> None:
    arrays = bundle_writer.arrays_of("published_vgg", width=4)
    prints = []
    for number in range(2):
        folder = tmp_path / str(number)
        bundle_writer.write(folder, {**arrays, "dense/bias": np.full(50, number, np.float32)})
        binder = Binder({"mtt_vgg": folder}, tmp_path / "store")
        prints.append(binder(WeightSet("mtt_vgg")).fingerprint)
        assert prints[-1] == binder(WeightSet("mtt_vgg")).fingerprint != ""
    assert len(set(prints)) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dense/bias": None}, "no array 'dense/bias' .1 missing, 0 left over"),
        ({"dense_7/bias": np.zeros(1, np.float32)}, "an array 'dense_7/bias' that this model has no place for"),
        ({"dense/bias": np.zeros(49, np.float32)}, r"'dense.bias' has shape \(49,\); the model's is \(50,\)"),
    ],
)
def test_a_bundle_that_is_another_models_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    arrays = bundle_writer.arrays_of("published_vgg", width=4)
    kept = {name: array for name, array in {**arrays, **change}.items() if array is not None}
    bundle_writer.write(tmp_path / "bundle", kept)
    stage = Stage(prepare_published, data=WeightSet("mtt_vgg"), tagger=models.model("published_vgg", width=4))
    with pytest.raises(ValueError, match=message):
        prepare_published(
            **{k: v for k, v in stage.arguments.items()},
            out=tmp_path,
            ctx=Context(data={"mtt_vgg": tmp_path / "bundle"}),
        )


def test_a_folder_without_weights_or_with_several_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold one file"):
        packaged.files("mtt_vgg", tmp_path)
    for prefix in ("a", "b"):
        bundle_writer.write(tmp_path, {"x": np.zeros(1, np.float32)}, prefix)
    with pytest.raises(ValueError, match="holds several bundles: a.index, b.index"):
        packaged.files("mtt_vgg", tmp_path)
