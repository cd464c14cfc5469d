"""Networks, losses, mixers and data readers of another package, by dotted name; wrong ones are told first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mss_core import losses, models, names
from mss_core.data.config import ClipSet, TrackSet
from mss_core.data.packed import Packed
from mss_core.data.sets import needs_folder, survey
from mss_core.graph import Context, Stage
from mss_core.recipe import override
from mss_core.stages.prepare import prepare_tracks
from mss_core.stages.pretrain import Mixing, pretrain
from mss_core.store import Store, materialize
from mss_core.study.binding import ABSENT, Binder
from mss_core.systems import aemic, hmss, iass, msspt
from mss_core.training import Phase, TrainConfig

HERE = "tests.parts"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package.parts:Net", "part 'no_such_package.parts:Net': the module 'no_such_package.parts' cannot be"),
        ("tests.parts:Maks", "tests.parts has no 'Maks'; did you mean 'Mask'"),
        ("tests.parts:NUMBER", "cannot be called: it is 3"),
        (":Net", "the module '' cannot be imported"),
        ("ons", "no part 'ons'; choose from 'ours'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_name_and_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        names.named("part", name, {"ours": 1})
    with pytest.raises(ValueError, match=message):
        names.check("part", name, ["ours"])


def test_a_network_by_name_is_described_built_and_read_back(tmp_path: Path) -> None:
    described = models.model(f"{HERE}:Mask", width=3)
    assert described == {"name": f"{HERE}:Mask", "width": 3}  # how many sources, data decide
    module = models.build({**described, "sources": 2})
    models.save(tmp_path, {**described, "sources": 2}, module)
    assert torch.equal(models.load(tmp_path).scale, module.scale)
    with pytest.raises(ValueError, match="has no argument 'widht'; did you mean 'width'"):
        models.model(f"{HERE}:Mask", widht=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"separator": {"name": f"{HERE}:Msk"}}, "tests.parts has no 'Msk'.*in 'separator'"),
        ({"separator": {"name": f"{HERE}:Mask", "wdth": 2}}, "wdth.*in 'separator'"),
        ({"separator": {"name": f"{HERE}:nothing", "config": 1}}, "'sources'.*in 'separator'|no torch.nn.Module"),
        ({"separation_loss": f"{HERE}:one_argument"}, "takes 1 arguments; one of waveforms takes 2"),
        ({"separation_loss": f"{HERE}:no_loss"}, "separation loss 'tests.parts:no_loss': tests.parts has no 'no_loss'"),
    ],
)
def test_a_recipe_with_a_wrong_part_is_refused_when_it_is_made(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(msspt.msspt_cnn(), **change)


def test_every_part_of_a_recipe_that_is_ours_by_name_can_be_somebody_else_s() -> None:
    mixer, loss = f"{HERE}:Mixer", f"{HERE}:mask_loss"
    assert override(msspt.msspt_cnn(), {"mixing.kind": mixer, "separation_loss": loss}).pipeline()
    assert override(iass.iass_mm(), {"mixing.kind": mixer}).pipeline()
    assert override(hmss.hmss(), {"objective.loss": loss}).pipeline()
    assert override(aemic.aemic(), {"autoencoder_loss": f"{HERE}:waveform_loss"}).pipeline()
    assert losses.separation_loss(loss)[1] and not losses.separation_loss(f"{HERE}:waveform_loss")[1]
    assert all(losses.separation_loss(name)[1] == (name in losses.MASK_LOSSES) for name in losses.SEPARATION_LOSSES)


@pytest.mark.parametrize("loss", ["waveform_loss", "mask_loss"])
def test_a_separator_of_foreign_parts_is_trained(tmp_path: Path, loss: str) -> None:
    """Data, mixer, network and loss, all by name, through the stages as they are."""
    data = Stage(prepare_tracks, data=TrackSet(f"{HERE}:hum", sources=("hum", "rest")), segment=16_000)
    stage = Stage(
        pretrain,
        data=data,
        sources=("hum", "rest"),
        separator=models.model(f"{HERE}:Mask"),
        mixing=Mixing(f"{HERE}:Mixer", segment_seconds=1.0, hop_seconds=0.5, frames=32, valid_segments=4),
        loss=f"{HERE}:{loss}",
        train=TrainConfig(phases=(Phase(epochs=1),), epoch_steps=2, batch=2, precision="float32"),
    )
    folder = materialize(stage, Store(tmp_path), Context())
    assert models.load(folder).scale.abs().sum() > 0  # it has moved


def test_a_reader_by_name_reads_what_data_names_and_its_content_is_in_the_key(tmp_path: Path) -> None:
    name = f"{HERE}:hum_of_files"
    config, folder = TrackSet(name, sources=("hum",)), tmp_path / "hum"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text(str(number))
    with pytest.raises(ValueError, match=f"no folder for data set '{name}': pass --data {name}=PATH"):
        survey(config, {})
    assert len(survey(config, {name: folder}).items) == 4
    store = Store(tmp_path / "store")
    first = Binder({name: folder}, store.root)(config)
    (folder / "3.txt").write_text("another song")
    second = Binder({name: folder}, store.root)(config)
    keys = {Stage(prepare_tracks, data=bound, segment=16_000).key for bound in (config, first, second)}
    assert len(keys) == 3 and first.fingerprint != second.fingerprint
    lenient = Binder({}, store.root, lenient=True)
    assert lenient(config).fingerprint == ABSENT and name in lenient.absent
    assert (
        len(
            Packed(
                materialize(Stage(prepare_tracks, data=second, segment=16_000), store, Context(data={name: folder}))
            ).items
        )
        == 4
    )


def test_a_reader_that_makes_its_music_needs_no_folder(tmp_path: Path) -> None:
    name = f"{HERE}:hum"
    assert not needs_folder(name) and needs_folder(f"{HERE}:hum_of_files") and not needs_folder("synthetic")
    assert Binder({}, tmp_path, lenient=True)(TrackSet(name)).fingerprint not in ("", ABSENT)
    assert TrackSet(name, split="mine", subset="all").split == "mine"  # the reader's to judge
    with pytest.raises(ValueError, match="tests.parts has no 'hmu'; did you mean 'hum'"):
        TrackSet(f"{HERE}:hmu")
    with pytest.raises(ValueError, match="clip data set 'no.such:reader': the module 'no.such' cannot be imported"):
        ClipSet("no.such:reader")
    with pytest.raises(ValueError, match="its reader must return a Survey, not a NoneType"):
        survey(TrackSet(f"{HERE}:nothing"), {})
