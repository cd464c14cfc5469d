"""TagBox: the recipe, its stages, released weights, and the studies over them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mss_core import models
from mss_core.data.packed import Packed
from mss_core.data.sets import ClipSet, TrackSet, WeightSet
from mss_core.graph import Context, Stage, walk
from mss_core.recipe import override
from mss_core.store import Store, materialize
from mss_core.systems.tagbox import TAGS, TagBox, Tagger, smoke, tagbox
from mss_core.systems.tagbox.steering import SteerConfig

# ---- the recipe


def test_presets_are_names_at_the_published_places() -> None:
    from mss_core.data.files import facts

    known = facts()["mtat"]["tags"]
    places = {target: sorted(known.index(tag) for tag in tags) for target, tags in TAGS["mtat"].items()}
    assert places == {
        "vocals": [13, 15, 18, 19, 20, 26, 27, 33, 35, 36, 39, 40, 48, 49],
        "guitar": [0],
        "piano": [9, 22],
        "strings": [4, 12, 43],
        "drums": [5, 11, 41],
    }
    for tags in TAGS["mtg_jamendo"].values():
        assert set(tags) <= set(facts()["mtg_jamendo"]["top50"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": "mtat"}, "no tags of 'mtat' for target 'bass' .*set 'wanted'"),
        ({"method": "hpss"}, "'hpss' estimates drums and nothing else; 'targets' names vocals, bass, drums"),
        ({"method": "repet"}, "did you mean 'repet_sim'"),
        ({"targets": ("vocal",)}, "did you mean 'vocals'"),
        ({"taggers.0.name": "fnc"}, "did you mean 'fcn'"),
        ({"taggers.0.weights": None}, "neither released weights .* nor clips"),
        ({"output": "mask"}, "did you mean 'masked'"),
        ({"limit": 0}, "'limit' must be at least 1"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        override(tagbox(), changes)


def test_equal_searches_are_one_stage_and_each_reading_is_scored() -> None:
    recipe = tagbox(targets=("vocals",))
    keys = {
        stage.key
        for output in ("masked", "residual")
        for seed in (0, 1)
        for stage in walk([override(recipe, {"output": output, "steer.seed": seed}).pipeline()]).values()
        if stage.name == "infer_steered"
    }
    assert len(keys) == 1, "seed and output change nothing in a search without chance"
    assert override(recipe, {"wanted": {"vocals": ("genre---metal",)}}).tags_of("vocals") == ("genre---metal",)


# ---- stages

TINY = TagBox(
    tracks=TrackSet("synthetic", samplerate=8_000, size=10),
    targets=("bass", "drums"),
    limit=2,
    taggers=(Tagger("musicnn", None),),
    vocabulary="synthetic",
    clips=ClipSet("synthetic", labels="tags", size=10),
    vqvae_weights=None,
)


@pytest.fixture(scope="module")
def tiny() -> TagBox:
    small = smoke(TINY)
    return replace(
        small,
        tracks=TINY.tracks,
        clips=TINY.clips,
        limit=2,
        vqvae={**small.vqvae, "widths": (8,), "depths": (1,), "codes": 16},
        train_vqvae=replace(
            small.train_vqvae,
            phases=(replace(small.train_vqvae.phases[0], epochs=8, lr=5e-3),),
            epoch_steps=12,
            batch=4,
        ),
        train_tagger=replace(small.train_tagger, phases=(replace(small.train_tagger.phases[0], epochs=1),), batch=4),
        steer=SteerConfig(steps=3, lr=0.05, n_fft=(256,), segment_seconds=4.0, clips=2),
    )


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory) -> tuple[Store, Stage]:
    store, root = Store(tmp_path_factory.mktemp("store")), tiny.pipeline()
    materialize(root, store, Context())
    return store, root


def test_a_vqvae_improves_while_it_trains(finished) -> None:
    from mss_core.graph import read_history

    store, root = finished
    (stage,) = (s for s in walk([root]).values() if s.name == "train_vqvae")
    losses = [row["valid_loss"] for row in read_history(store.directory(stage))]
    assert losses[-1] < 0.9 * losses[0] and models.load(store.directory(stage)).codebook().k.any()


def test_estimates_of_every_track_and_scores_of_every_target(finished) -> None:
    store, root = finished
    stages = [s for s in walk([root]).values() if s.name == "infer_steered"]
    assert len(stages) == 2
    packed = Packed(store.directory(root.inputs["data"]))
    for stage in stages:
        folder = store.directory(stage)
        for item in packed.split("test")[:2]:
            masked_, reference = (np.load(folder / item.name / f"{kind}.npy") for kind in ("masked", "reference"))
            np.testing.assert_allclose(reference, packed.read(item), atol=1e-6)
            assert masked_.shape == reference.shape and masked_.any()
        assert len(pd.read_csv(folder / "steps.csv")) == 3
    table = pd.read_csv(store.directory(root) / "scores.csv", keep_default_na=False)
    assert set(table.target) == {"bass", "drums", "macro"}
    one = table[(table.metric == "si_sdr_improvement") & (table.track == table.track.iloc[0])].set_index("target")
    scored = [float(one.score[t]) for t in ("bass", "drums") if t in one.index]
    assert float(one.score["macro"]) == pytest.approx(np.mean(scored))


@pytest.mark.parametrize("direction", ["descent", "random"])
def test_a_killed_search_goes_on_from_its_last_clips(finished, tmp_path, direction) -> None:
    store, root = finished
    stage = next(s for s in walk([root]).values() if s.name == "infer_steered")
    config = replace(stage.arguments["config"], direction=direction)
    stage = Stage(stage.function, **{**stage.arguments, "config": config})
    materialize(stage, store, Context())
    again = Store(tmp_path)
    for upstream in stage.inputs.values():
        target = again.directory(upstream)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(store.directory(upstream))
    seen: list[int] = []

    def die(row: dict) -> None:
        seen.append(row["step"])
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialize(stage, again, Context(listen=die))
    directory = materialize(stage, again, Context(listen=die))
    assert seen == [2, 4], "two clips before the kill, two after, none twice"
    for path in sorted(store.directory(stage).rglob("*.npy")):
        other = directory / path.relative_to(store.directory(stage))
        np.testing.assert_array_equal(np.load(path), np.load(other))
    assert (directory / "steps.csv").read_text() == (store.directory(stage) / "steps.csv").read_text()


def test_a_tag_that_the_tagger_does_not_know_is_named(finished, tmp_path) -> None:
    store, root = finished
    stage = next(s for s in walk([root]).values() if s.name == "infer_steered")
    from mss_core.store import StageFailed

    wrong = Stage(stage.function, **{**stage.arguments, "tags": (("vocal",),)})
    with pytest.raises(StageFailed, match="no tag of the tagger 'vocal'; did you mean 'vocals'"):
        materialize(wrong, store, Context())


# ---- released weights


def test_the_released_vqvae_is_read_by_name(tmp_path: Path) -> None:
    from mss_core.systems.tagbox.released import prepare_vqvae

    torch.manual_seed(0)
    described = models.model("vqvae", downs=((1,), (1, 1)), widths=(4, 4), depths=(1, 1), embedding=4, codes=8)
    state = models.build(described).state_dict()
    state = {name: torch.randn_like(value) for name, value in state.items()}
    root = tmp_path / "jukebox"
    root.mkdir()
    torch.save({"model": state, "step": 1}, root / "vqvae.pth.tar")
    found = materialize(
        Stage(prepare_vqvae, data=WeightSet("jukebox"), vqvae=described),
        Store(tmp_path / "s"),
        Context(data={"jukebox": root}),
    )
    loaded = models.load(found).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    assert "encoders.0.level_blocks.0.model.0.1.model.0.model.1.weight" in state, "the released names"
    assert "bottleneck.level_blocks.1.k" in state
    note = json.loads((found / "notes.json").read_text())[0]
    assert hashlib.sha256((root / "vqvae.pth.tar").read_bytes()).hexdigest() in note["items"][0]
    from mss_core.store import StageFailed

    other = models.model("vqvae", downs=((1,), (1, 1)), widths=(4, 8), depths=(1, 1), embedding=4, codes=8)
    with pytest.raises(StageFailed, match="has shape .* the model's is"):
        materialize(
            Stage(prepare_vqvae, data=WeightSet("jukebox"), vqvae=other),
            Store(tmp_path / "s"),
            Context(data={"jukebox": root}),
        )


def test_a_released_tagger_needs_its_labels_and_all_its_tensors(tmp_path: Path) -> None:
    from mss_core.store import StageFailed
    from mss_core.systems.tagbox.released import prepare_tagger

    described = models.model("fcn", widths=(4,) * 5)
    module = models.build({**described, "classes": 3})
    released = {
        **module.state_dict(),
        "spec.mel_scale.fb": torch.zeros(257, 96),
        "spec.spectrogram.window": torch.zeros(512),
    }
    root = tmp_path / "fcn_mtat"
    root.mkdir()
    torch.save(released, root / "best_model.pth")
    context, store = Context(data={"fcn_mtat": root}), Store(tmp_path / "s")
    stage = Stage(prepare_tagger, data=WeightSet("fcn_mtat"), tagger=described)
    with pytest.raises(StageFailed, match="labels.txt is missing: one tag per line"):
        materialize(stage, store, context)
    (root / "labels.txt").write_text("guitar\nslow\nslow\n")
    with pytest.raises(StageFailed, match="names a tag twice"):
        materialize(stage, store, context)
    (root / "labels.txt").write_text("guitar\nslow\nmetal\n")
    found = materialize(stage, store, context)
    assert json.loads((found / "labels.json").read_text()) == ["guitar", "slow", "metal"]
    del released["dense.bias"]
    torch.save(released, root / "best_model.pth")
    with pytest.raises(StageFailed, match="no 'dense.bias', which the model has"):
        materialize(Stage(prepare_tagger, data=WeightSet("fcn_mtat", "2"), tagger=described), store, context)


def test_a_supervised_ceiling_is_scored_like_the_rest(tiny, finished, tmp_path: Path) -> None:
    from mss_core.systems.tagbox.infer_separated import infer_separated
    from mss_core.systems.tagbox.score import score_estimates

    recipe = replace(tiny, method="xumx", targets=("drums",), limit=1)
    assert [s.name for s in walk([recipe.pipeline()]).values()] == [
        "prepare_tracks",
        "prepare_separator",
        "infer_separated",
        "score_estimates",
    ]
    with pytest.raises(ValueError, match="no released weights for 'xumx'"):
        smoke(recipe)
    torch.manual_seed(0)
    described = {
        **models.model("xumx", samplerate=8_000, size=256, hop=64, max_bin=100, hidden=4, layers=1),
        "channels": 1,
    }
    models.save(tmp_path, described, models.build(described))
    store, root = finished
    data, out = store.directory(root.inputs["data"]), tmp_path / "out"
    out.mkdir()
    infer_separated(data=data, separator=tmp_path, tracks=1, out=out, ctx=Context())
    (item,) = Packed(data).split("test")[:1]
    reference = np.load(out / item.name / "reference.npy")
    np.testing.assert_array_equal(reference, Packed(data).read(item))
    for stem in ("vocals", "drums", "bass", "other"):  # one run of the separator, every stem
        estimate = np.load(out / item.name / f"{stem}.npy")
        assert estimate.shape == reference.shape and np.isfinite(estimate).all()
    scored = tmp_path / "scored"
    scored.mkdir()
    score_estimates(data=data, estimates=[out], targets=("drums",), output="masked", out=scored, ctx=Context())
    assert set(pd.read_csv(scored / "scores.csv").target) <= {"drums", "macro"}
    with pytest.raises(ValueError, match="no target of the estimates 'drum'; did you mean 'drums'"):
        score_estimates(data=data, estimates=[out], targets=("drum",), output="masked", out=scored, ctx=Context())
    with pytest.raises(ValueError, match="'xumx' estimates vocals, drums, bass, other and nothing else"):
        override(tagbox(), {"method": "xumx", "tracks.sources": ("guitar",), "targets": ("guitar",)})


def test_a_separator_stands_beside_its_own_published_row_or_none() -> None:
    """X-UMX is not Open-Unmix, nor Hybrid Demucs the Demucs of the paper."""
    from reports.published import paper
    from studies.supervised_ceilings import study

    rows = paper("tagbox").table("Table 1").rows
    (method,) = (factor for factor in study.factors if factor.name == "method")
    networks = {"Open-Unmix": "open_unmix", "Demucs": "demucs"}
    for label, changes in method.levels.items():
        assert label not in rows or networks[label] == changes["method"]


def test_the_tagger_study_has_every_cell_of_table_2() -> None:
    """And tries the published taggers nowhere else: the empty cells are those that MTAT has no tag for."""
    from reports.published import paper
    from studies.tagger_ablation import study

    table = paper("tagbox").table("Table 2")
    variants = study.variants()
    tried = {(v.levels["tagger"], v.levels["stem"]) for v in variants}
    assert {cell for cell in tried if cell[0] in table.rows} == {
        (row, column) for row, cells in table.rows.items() for column in cells
    }
    assert len(tried) == len(variants) == 10 * 8 - 4 * 2
    references = study.references()
    for variant in variants:
        assert references[variant.name].levels == {"stem": variant.levels["stem"], "tagger": "MTG, FCN"}


def test_the_studies_plan_without_data(capsys, tmp_path) -> None:
    from mss_core.study import run
    from studies import steering_switches, supervised_ceilings, tagger_ablation, training_free

    run(supervised_ceilings.study, ["--dry-run", "--json", "--store", str(tmp_path)])
    absent = json.loads(capsys.readouterr().out)["absent_data"]
    assert {"xumx", "hdemucs"} <= set(absent) and "jukebox" not in absent
    for module in (steering_switches, tagger_ablation, training_free):
        run(module.study, ["--dry-run", "--json", "--store", str(tmp_path)])
        plan = json.loads(capsys.readouterr().out)
        assert "jukebox" in plan["absent_data"] and "train_vqvae" not in plan["stages"]
    # 8 stems, one search each by the paper and by the released code; the masked mixture is a reading of the first.
    assert plan["stages"]["infer_steered"]["distinct"] == 16
    assert plan["stages"]["infer_classic"]["distinct"] == 8 + 2 + 1
