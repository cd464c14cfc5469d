"""HMSS as it is published: Slakh's folders, MERL's own hierarchy and its rule for chunks, MS21's lists."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from mss_core.data import hierarchy
from mss_core.data.loaders import slakh
from mss_core.data.ms21_build import main
from mss_core.data.ms21_mix import INSTRUMENTS
from mss_core.data.packed import Packed
from mss_core.data.sets import TrackSet, survey
from mss_core.graph import Context, Stage
from mss_core.recipe import override
from mss_core.store import Store, materialize
from mss_core.systems.hmss import hmss, hmss_ms21
from mss_core.systems.hmss.saliency import Sampling, chunks
from tests.conftest import REPOSITORY
from tests.data import trees
from tests.data.test_ms21_build import FILES, RATE, write_song

STUDIES = ("mask_style", "loss_type", "query_by_example", "hierarchy_transfer")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return trees.slakh2100(tmp_path_factory.mktemp("data") / "slakh2100")


@pytest.mark.parametrize("name", STUDIES)
def test_the_slakh_studies_read_the_published_folders(name: str, tree: Path) -> None:
    """Every variant's own data set, with its settings, in the layout of the release."""
    study = runpy.run_path(str(REPOSITORY / "studies" / f"{name}.py"))["study"]
    configs = set()
    for variant in study.variants():
        recipe = override(study.baseline, variant.departures)
        if recipe.data.name == "slakh2100":
            configs.add(recipe.pipeline().inputs["data"].arguments["data"])
    assert configs
    for config in configs:
        (item, *_) = survey(config, {"slakh2100": tree}).items
        rows = item.read().rows
        assert set(config.sources) <= set(rows)
        if "clean_guitars" in rows:  # stems S02 (program 25) and S03 (program 25) of the tree
            assert rows["clean_guitars"].any()


def test_a_node_of_the_hierarchy_and_a_group_of_programs_of_one_name_are_one_thing() -> None:
    """TagBox's strings (40-46, 48-51) and the thesis' orchestral strings (with the harpsichord) are two."""
    for name in set(slakh.NODES) & set(slakh.PROGRAMS):
        assert set(slakh.NODES[name]) == set(slakh.PROGRAMS[name]), name
    assert "strings" not in slakh.NODES
    assert set(slakh.NODES["orchestral_strings"]) - set(slakh.PROGRAMS["strings"]) == {6}  # harpsichord
    assert hmss().paths(("bowed_strings",))[0][1] == "orchestral_strings"


@pytest.fixture
def published(shared_data: Path) -> Path:
    return shared_data / "metadata" / "hierarchies" / "ismir_hierarchy.json"


def test_merls_own_file_is_read_as_it_is(published: Path, tree: Path, tmp_path: Path) -> None:
    """4 top, 18 lowest nodes of three levels, and each leaf's patches, computed here from the file itself."""
    content = json.loads(published.read_text())["mix"]
    merl = hierarchy.load("merl")
    lowest = {leaf: below for top in content.values() for mid in top.values() for leaf, below in mid.items()}
    assert (len(content), sum(map(len, content.values())), len(lowest)) == (4, 8, 18)
    named = {leaf: merl.contents[leaf][0].removeprefix("patches:") for leaf in merl.paths}
    assert set(named.values()) == set(lowest)
    for top in content.values():  # the same nodes lie below the same
        for mid in top.values():
            ours = {merl.paths[leaf][1:] for leaf, name in named.items() if name in mid}
            assert len(ours) == 1
    root = Path(shutil.copytree(tree, tmp_path / "slakh2100"))
    recipe = override(hmss(), {"hierarchy": "merl"})
    assert recipe.paths() == (("clean_guitars", "guitars", "strings_guitars_keyboards"),)
    config = recipe.pipeline().inputs["data"].arguments["data"]
    with pytest.raises(ValueError, match="has no hierarchy.json: put the file of hierarchical_music_separation"):
        survey(config, {"slakh2100": root})
    shutil.copy(published, root / "hierarchy.json")
    patches = slakh.nodes(json.loads(published.read_text()))
    for leaf, name in named.items():
        flat = {patch for patch_list in lowest[name].values() for patch in patch_list}
        assert patches[name] == flat, leaf
    assert len(survey(config, {"slakh2100": root}).items) == 6


def test_the_real_slakh_track_is_read_by_every_node(shared_data: Path, tmp_path: Path) -> None:
    """One stem of it sounds, a distorted guitar (program 30)."""
    mini = shared_data / "metadata" / "mirdata_minis" / "slakh" / "slakh2100_flac_redux" / "train" / "Track00001"
    root = tmp_path / "slakh2100"
    for number in (1, 1501, 1876):
        shutil.copytree(mini, root / f"Track{number:05d}")
    recipe = override(hmss(), {"leaves": ("effected_guitars",), "sampling.seconds": 1.0, "sampling.threshold_db": -60})
    stage = recipe.pipeline().inputs["data"]
    packed = Packed(materialize(stage, Store(tmp_path / "store"), Context(data={"slakh2100": root})))
    assert packed.rows == ("mixture", "effected_guitars", "guitars", "strings_guitars_keyboards")
    for item in packed.items:
        leaf, *above = (packed.read(item, row) for row in packed.rows[1:])
        assert leaf.any()
        for node in above:
            np.testing.assert_allclose(node, leaf, atol=1e-4)
    with pytest.raises(ValueError, match="with root salient beside it, at -60 dB"):
        chunks(packed, "train", recipe.paths(), recipe.sampling)  # all other stems of this copy are zeros


def test_a_chunk_needs_one_sounding_leaf_below_the_same_root(tmp_path: Path) -> None:
    """MERL's rule, counted here on the single stems: a rock trio has no sibling of its guitar in its own stem."""
    root = trees.ms21(tmp_path / "ms21")
    sampling = {"sampling.seconds": 0.5, "sampling.hop_ratio": 1.0, "sampling.threshold_db": -40.0}
    recipe = override(hmss_ms21(), sampling)
    stage = recipe.pipeline().inputs["data"]
    packed = Packed(materialize(stage, Store(tmp_path / "store"), Context(data={"ms21": root})))
    splits = ("train", "valid", "test")
    places = [chunk for split in splits for chunk in chunks(packed, split, recipe.paths(), recipe.sampling)]
    found = {(chunk.item.name, chunk.start) for chunk in places}
    config = TrackSet("ms21", ("electric_guitar", "drum_set", "bass"))
    expected = set()
    for item in survey(config, {"ms21": root}).items:
        sound = item.read()
        rows = {row: waveform.mean(0) for row, waveform in sound.rows.items()}
        step = sound.samplerate // 2
        for number in range(len(rows["mixture"]) // step):
            part = slice(number * step, (number + 1) * step)
            loud = {row: 10 * np.log10(np.mean(np.square(w[part])) + 1e-12) >= -40.0 for row, w in rows.items()}
            if loud["electric_guitar"] and (loud["drum_set"] or loud["bass"]):
                expected.add((item.name, number * 8000))
    assert expected and found == expected
    with pytest.raises(ValueError, match="with sibling salient beside it"):
        chunks(
            packed, "train", recipe.paths(), Sampling(seconds=0.5, hop_ratio=1.0, beside="sibling", threshold_db=-60.0)
        )


def test_songs_whose_instruments_are_at_their_own_level_are_named(tmp_path: Path) -> None:
    """A stem less one of its instruments is then not what the others are."""
    songs, told = [f"Artist {number} - Song" for number in range(3)], {}
    for name in songs:
        write_song(tmp_path / "raw", name, FILES, seconds=1.0)
    lines = [f"{split}/{name}" for name, split in zip(songs, ("train", "val", "test"), strict=True)]
    (tmp_path / "list.txt").write_text("\n".join(lines), encoding="utf-8")
    flags = ["--rate", str(RATE), "--workers", "1", "--split", str(tmp_path / "list.txt")]
    for rule in INSTRUMENTS:
        assert main([str(tmp_path / "raw"), str(tmp_path / rule), *flags, "--instruments", rule]) == 0
        found = survey(TrackSet("ms21", sources=("electric_guitar",)), {"ms21": tmp_path / rule})
        told[rule] = [sorted(note.items) for note in found.notes if note.kind == "levels"]
    assert told == {"in-the-mix": [], "normalised": [songs]}


def test_leaves_of_two_roots_have_siblings_of_their_own() -> None:
    tree = hierarchy.load("slakh")
    guitars = tree.siblings(tree.path("clean_guitars", 3))
    assert len(guitars) == 7 and "electric_basses" not in guitars  # of eight leaves below the first root
    assert tree.siblings(tree.path("electric_basses", 3)) == ("acoustic_basses", "synth_basses")
    assert tree.siblings(tree.path("clean_guitars", 2)) == ("effected_guitars",)
    assert set(hierarchy.load("four_stems").siblings(("vocals",))) == {"drums", "bass", "other"}


def test_a_hundred_epochs_are_trained_whatever_the_schedule_does() -> None:
    """Eight phases of patience 4 would end at epoch 60 where the best is at 20: the last has no patience."""
    *halved, last = hmss().train.phases
    assert last.patience is None and all(phase.patience == 4 for phase in halved)
    assert hmss().train.epochs() == 100


def test_a_stage_for_chunks_of_another_length_is_refused(tmp_path: Path) -> None:
    root = trees.ms21(tmp_path / "ms21")
    recipe = override(hmss_ms21(), {"sampling.seconds": 0.5})
    stage: Stage = recipe.pipeline().inputs["data"]
    packed = Packed(materialize(stage, Store(tmp_path / "store"), Context(data={"ms21": root})))
    with pytest.raises(ValueError, match="the powers of their neighbours are of 8000 every 2000"):
        chunks(packed, "train", recipe.paths(), Sampling(seconds=1.0))
