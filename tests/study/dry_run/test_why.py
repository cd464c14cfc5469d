"""``--why`` names the one thing that sets a stage apart from the nearest artefact of the store."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mss_core.data.config import TrackSet
from mss_core.graph import Context, Stage
from mss_core.store import Store, materialize
from mss_core.study.binding import Binder
from mss_core.study.designs import Variant
from mss_core.study.dry_run import why
from mss_core.study.plan import make_plan
from mss_core.study.study import Trial
from tests.conftest import write_track


@dataclass(frozen=True)
class Training:
    lr: float = 1e-3
    phases: tuple[int, ...] = (1, 2)
    seed: int = 0


def prepare(*, data: TrackSet, version: int = 1, out: Path, ctx: Context) -> None:
    (out / "packed").write_text("x")


def train(*, data: Path, config: Training, version: int = 1, out: Path, ctx: Context) -> None:
    (out / "weights").write_text("x")


def score(*, data: Path, model: Path, version: int = 1, out: Path, ctx: Context) -> None:
    (out / "scores.csv").write_text("x")


def root(
    data: TrackSet, config: Training = Training(), version: int = 1, function: Callable[..., None] = score
) -> Stage:
    packed = Stage(prepare, data=data)
    return Stage(function, data=packed, model=Stage(train, data=packed, config=config, version=version))


@pytest.fixture
def music(tmp_path: Path) -> Path:
    for number, name in enumerate(("train/a", "train/b", "valid/c", "test/d")):
        write_track(tmp_path / "stems" / name, seconds=0.1, seed=number)
    return tmp_path / "stems"


def bound(music: Path, store: Store) -> TrackSet:
    found = Binder({"stems": music}, store.root)(TrackSet(name="stems"))
    assert isinstance(found, TrackSet)
    return found


def told(store: Store, call: Stage, music: Path) -> dict[str, str]:
    plan = make_plan([Trial(Variant("a", {}, {}), 0, None, call)], store, settle=False)
    lines = why.lines(plan, store, {"stems": music})
    assert len(lines) == len(plan.needed)  # one line each
    return {name: reason for name, _, reason in (line.strip().partition(": ") for line in lines)}


@pytest.fixture
def store(tmp_path: Path, music: Path) -> Store:
    """One trial with seed 0 and one with seed 1."""
    found = Store(tmp_path / "store")
    for seed in (0, 1):
        materialize(root(bound(music, found), Training(seed=seed)), found, Context())
    return found


def test_nothing_is_needed_and_nothing_is_said(store: Store, music: Path) -> None:
    assert told(store, root(bound(music, store)), music) == {}


def test_a_learning_rate(store: Store, music: Path) -> None:
    found = told(store, root(bound(music, store), Training(lr=2e-3)), music)
    assert found["train"].startswith("config.lr is 0.002, not 0.001 (nearest: ")
    assert found["score"].startswith("config.lr of train is 0.002, not 0.001 (nearest: ")
    assert set(found) == {"train", "score"}


def test_the_nearest_is_the_one_with_the_fewest_differences(store: Store, music: Path) -> None:
    call = root(bound(music, store), Training(lr=2e-3, seed=1))
    nearest = root(bound(music, store), Training(seed=1))
    assert told(store, call, music)["score"].endswith(f"(nearest: {nearest.key[:12]})")
    two = told(store, root(bound(music, store), Training(lr=2e-3, phases=(1, 3), seed=1)), music)["train"]
    assert two.startswith("config.lr is 0.002, not 0.001 (") and two.endswith("and 1 more: config.phases.1")
    longer = told(store, root(bound(music, store), Training(phases=(1, 2, 3))), music)["train"]
    assert longer.startswith("config.phases is [1, 2, 3], not [1, 2] (")


def test_an_upstream_seed(store: Store, music: Path) -> None:
    found = told(store, root(bound(music, store), Training(seed=7)), music)
    assert found["score"].startswith("config.seed of train is 7, not ")
    assert found["train"].startswith("config.seed is 7, not ")


def test_a_version(store: Store, music: Path) -> None:
    found = told(store, root(bound(music, store), version=2), music)
    assert found["train"].startswith("version is 2, not 1 (")
    assert found["score"].startswith("version of train is 2, not 1 (")


def test_the_content_of_a_data_set_names_its_files(store: Store, music: Path) -> None:
    time.sleep(1.1)  # a manifest's time is in seconds
    path = music / "train" / "b" / "bass.wav"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = told(store, root(bound(music, store)), music)
    sentence = "the content of the data set is another (written since: stems/train/b/bass.wav) (nearest: "
    assert found["prepare"].startswith(f"data.fingerprint: {sentence}")
    assert found["train"].startswith(f"data.fingerprint of prepare: {sentence}")
    assert found["score"].startswith(f"data.fingerprint of prepare: {sentence}")
    assert "more" not in "".join(found.values())


def test_another_setting_of_a_data_set(store: Store, music: Path) -> None:
    found = told(store, root(replace(bound(music, store), samplerate=8000)), music)
    assert found["prepare"].startswith("data.samplerate is 8000, not 16000 (")
    assert found["score"].startswith("data.samplerate of prepare is 8000, not 16000 (")


def test_the_package_of_a_function(store: Store, music: Path) -> None:
    namespace = {"__name__": "theirs.stages"}
    source = "def score(*, data, model, version=1, out, ctx):\n    (out / 'scores.csv').write_text('x')\n"
    exec(source, namespace)  # as it would be in a package that the store has not seen
    found = told(store, root(bound(music, store), function=namespace["score"]), music)  # type: ignore[arg-type]
    assert found["score"].startswith(f"function is theirs.stages.score, not {__name__}.score (nearest: ")


def test_a_missing_artefact(store: Store, music: Path) -> None:
    call = root(bound(music, store))
    trained = call.arguments["model"]
    os.rename(store.directory(trained), store.root / "gone")
    os.rename(store.directory(call), store.root / "gone too")
    found = told(store, call, music)
    assert found["score"].startswith("config.seed of train is 0, not 1 (")  # nothing of it is left: the nearest
    os.rename(store.root / "gone too", store.directory(call))
    os.remove(store.directory(call) / "scores.csv")
    found = told(store, call, music)
    assert found["train"] == f"its artefact is missing: the store had it once (score {call.key[:12]} was made of it)"


def test_an_artefact_that_a_study_had(store: Store, music: Path) -> None:
    call = root(bound(music, store))
    os.rename(store.directory(call), store.root / "gone")
    (store.root / "studies" / "x").mkdir(parents=True)
    (store.root / "studies" / "y").mkdir(parents=True)
    (store.root / "studies" / "y" / "study.json").write_text("[1")
    (store.root / "studies" / "x" / "study.json").write_text(json.dumps({"stages": {call.key: {"status": "done"}}}))
    assert told(store, call, music)["score"] == "its artefact is missing: the store had it once (study x)"


def test_a_damaged_artefact(store: Store, music: Path) -> None:
    call = root(bound(music, store))
    (store.directory(call) / "scores.csv").write_text("y")
    found = told(store, call, music)
    assert found == {"score": "its artefact is damaged: scores.csv has another checksum than its manifest"}
    with store.claim(call) as claim:
        store.set_aside(call, claim)
    assert told(store, call, music)["score"].startswith(
        f"its artefact was damaged, and lies aside as score/{call.key[:12]}....damaged-"
    )


def test_work_that_was_begun(store: Store, music: Path) -> None:
    call = root(bound(music, store), Training(seed=5))
    store.begin(call.arguments["model"])
    assert told(store, call, music)["train"] == "it was begun and has not ended: it goes on from there"


def test_an_empty_store_and_a_set_that_is_not_here(tmp_path: Path, store: Store, music: Path) -> None:
    call = root(bound(music, store))
    empty = told(Store(tmp_path / "nowhere"), call, music)
    assert empty["train"] == "the store holds no artefact of train"
    absent = Binder({}, store.root, lenient=True)(TrackSet(name="stems"))
    assert told(store, root(absent), music)["prepare"].startswith(
        "data.fingerprint: the data set is not on this machine (nearest: "
    )


def test_equal_lines_are_one(store: Store, music: Path, tmp_path: Path) -> None:
    calls = [root(bound(music, store), Training(seed=seed)) for seed in (3, 4, 5)]
    plan = make_plan([Trial(Variant("a", {}, {}), 0, None, call) for call in calls], Store(tmp_path / "nowhere"))
    lines = why.lines(plan, Store(tmp_path / "nowhere"), {})
    assert lines[1] == "  train (3): the store holds no artefact of train" and len(lines) == 3
