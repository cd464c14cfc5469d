"""The stage graph: keys are a function of the resolved call, artefacts are what their manifest says."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import importlib
import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_core import disk, graph
from mss_core.claim import Claim, ClaimLost
from mss_core.graph import UNSAID, Context, Stage, digest, module_of, plain, read_history, walk
from mss_core.store import MANIFEST, StageFailed, Store, materialize, run_stage
from mss_core.study.plan import make_plan
from mss_core.study.study import Trial
from tests.conftest import REPOSITORY

CALLS: list[str] = []


@dataclasses.dataclass(frozen=True)
class Config:
    size: int = 1
    rate: float = 0.5


def source(*, value: int = 1, config: Config = Config(), version: int = 1, out: Path, ctx: Context) -> None:
    CALLS.append(f"source {value}")
    (out / "value.txt").write_text(str(value))
    ctx.report(step=1, total=1, value=value)


def double(*, left: Path, right: Path | None = None, out: Path, ctx: Context) -> None:
    CALLS.append("double")
    total = sum(int((side / "value.txt").read_text()) for side in (left, right) if side)
    (out / "value.txt").write_text(str(2 * total))


def join(*, parts: tuple[Path, ...], out: Path, ctx: Context) -> None:
    (out / "value.txt").write_text("".join((part / "value.txt").read_text() for part in parts))


def broken(*, left: Path, out: Path, ctx: Context) -> None:
    (out / "half.txt").write_text("half")
    raise ArithmeticError("first line\nsecond line")


@pytest.fixture(autouse=True)
def _forget() -> None:
    CALLS.clear()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def read(path: Path) -> str:
    return (path / "value.txt").read_text()


def test_equal_calls_have_equal_keys_however_they_are_written() -> None:
    assert Stage(source).key == Stage(source, value=1, config=Config()).key
    assert Stage(source, value=1).key == Stage(source, value=1.0).key
    assert Stage(source, value=2).key != Stage(source).key
    assert Stage(source, config=Config(rate=0.25)).key != Stage(source).key
    assert Stage(double, left=Stage(source)).key != Stage(double, left=Stage(source, value=2)).key


@dataclasses.dataclass(frozen=True)
class Holder:
    parts: object
    table: object = None


@dataclasses.dataclass
class Unsaid:
    z: object
    a: object = dataclasses.field(default=None, metadata=UNSAID)


class Word(enum.StrEnum):
    LAST = "last é"


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SUBCLASSES = FLOATS.map(np.float64) | st.sampled_from([Word.LAST, enum.IntEnum("Count", {"TWO": 2}).TWO])
LEAVES = st.none() | st.booleans() | st.integers() | FLOATS | st.text() | SUBCLASSES
TREES = st.recursive(
    LEAVES,
    lambda parts: (
        st.lists(parts)
        | st.lists(parts).map(tuple)
        | st.dictionaries(st.text() | st.integers(), parts)
        | st.builds(Holder, parts, parts)
        | st.builds(Unsaid, parts, parts)
        | parts.map(lambda part: Stage(source, config=part))
    ),
)


@given(TREES)
def test_a_digest_is_of_the_json_of_plain_data(tree: object) -> None:
    text = json.dumps(plain(tree), sort_keys=True, separators=(",", ":"))
    for _ in range(2):  # the second time what cannot change is known
        assert digest(tree) == hashlib.sha256(text.encode()).hexdigest()


def grow(tree: object) -> None:
    """Change every list and dict of a tree in place; a stage has its key already."""
    if isinstance(tree, list | dict | tuple):
        for part in list(tree.values() if isinstance(tree, dict) else tree):
            grow(part)
    elif dataclasses.is_dataclass(tree):
        for field in dataclasses.fields(tree):
            grow(getattr(tree, field.name))
    if isinstance(tree, list):
        tree.append(-0.0)
    elif isinstance(tree, dict):
        tree["grown"] = True


def forgetful(tree: object) -> str:
    """The digest in a process that has seen nothing else."""
    graph._TEXTS.clear()
    graph._leaf.cache_clear()
    return digest(tree)


@given(st.lists(TREES, max_size=4))
def test_a_digest_does_not_depend_on_what_was_seen_before(trees: list[object]) -> None:
    """Equal values of other types (1, 1.0 and True, 0.0 and -0.0) and values that change in place are among them."""
    for _ in range(2):
        seen = [digest(tree) for tree in [*trees, trees, *trees]]
        assert seen == [forgetful(tree) for tree in [*trees, trees, *trees]]
        for tree in trees:
            grow(tree)


def test_a_digest_tells_what_equals_and_is_not_the_same() -> None:
    for value, other in ((1, True), (0, False), ("1", 1)):
        assert digest(Holder((value,))) != digest(Holder((other,)))
    assert digest(Holder((2,))) == digest(Holder((2.0,)))


@pytest.mark.parametrize("holder", [Holder, lambda part: (part,), lambda part: Holder(((1, part),))])
def test_what_is_changed_in_place_has_another_digest(holder) -> None:
    table, row = {"depth": 1}, [1]
    trees = holder(table), holder(row)
    before = [digest(tree) for tree in trees]
    table["depth"], row[0] = 2, 2
    assert [digest(tree) for tree in trees] == [digest(holder({"depth": 2})), digest(holder([2]))]
    assert before == [digest(holder({"depth": 1})), digest(holder([1]))]


def test_golden_key() -> None:
    """An accidental change of how keys are made would silently retrain everything."""
    assert Stage(source).key == digest(
        {
            "stage": "tests.test_graph:source",
            "arguments": {"value": 1, "config": {"size": 1, "rate": 0.5}, "version": 1},
        }
    )
    assert Stage(double, left=Stage(source)).key == "bb2bae46a0a4c0c3d1cc36ca25e1a9881ffa52b95a81d080b0ab97d1ebc70302"


@pytest.mark.parametrize("module", ["mss_core.stages.double", "mss_core.systems.iass.double"])
def test_a_stage_of_this_package_keeps_its_key_when_it_moves(module: str, monkeypatch) -> None:
    monkeypatch.setattr(double, "__module__", module)
    left = Stage(source)
    assert Stage(double, left=left).key == digest({"stage": "double", "arguments": {"left": left, "right": None}})


def test_stages_that_are_there_are_found_among_many_as_one_by_one(store: Store) -> None:
    stages = [Stage(source, value=value) for value in range(4)]
    stages += [Stage(double, left=stage) for stage in stages]
    assert store.among(stages) == []
    materialize(stages[1], store, Context())
    store.directory(stages[2]).mkdir()  # without a manifest
    store.directory(stages[3]).symlink_to("nowhere")
    assert store.among(stages) == [stage for stage in stages if store.present(stage)] == [stages[1], stages[3]]


EVALUATE = """
def evaluate(*, version: int = 1, out, ctx):
    (out / "value.txt").write_text({name!r})
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch) -> list[Stage]:
    """Equal calls of functions of one name in two packages that are not ours."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("logistic_paper", "nearest_paper"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stages.py").write_text(EVALUATE.format(name=name))
        monkeypatch.delitem(sys.modules, f"{name}.stages", raising=False)
    return [Stage(importlib.import_module(f"{n}.stages").evaluate) for n in ("logistic_paper", "nearest_paper")]


def test_equal_calls_of_two_packages_are_two_artefacts(store: Store, outside: list[Stage]) -> None:
    first, second = (materialize(stage, store, Context()) for stage in outside)
    assert first != second and first.parent == second.parent == store.root / "evaluate"
    assert [read(first), read(second)] == ["logistic_paper", "nearest_paper"]
    assert [store.get(stage) for stage in outside] == [first, second]
    assert store.manifest(outside[0])["function"] == "logistic_paper.stages.evaluate"  # type: ignore[index]


def test_what_another_package_made_under_our_key_is_not_ours(store: Store, outside: list[Stage], monkeypatch) -> None:
    """As stores hold it that were filled when keys did not name packages."""
    ours, other = outside
    monkeypatch.setattr(ours.function, "__module__", "mss_core.stages.evaluate")
    ours = Stage(ours.function)
    assert ours.key == digest({"stage": "evaluate", "arguments": {"version": 1}})
    other.key = ours.key
    directory = materialize(other, store, Context())
    assert store.damage(ours) == (
        "it was made by nearest_paper.stages.evaluate, and this stage is mss_core.stages.evaluate.evaluate"
    )
    plan = make_plan([Trial(None, 0, None, ours)], store, settle=False)  # type: ignore[arg-type]
    assert plan.needed == [ours.key] and "nearest_paper" in plan.damaged[ours.key]
    assert read(materialize(ours, store, Context())) == "logistic_paper"
    assert len(list(directory.parent.glob("*.damaged-*"))) == 1


SCRIPT = """
from mss_core.graph import Stage, module_of

def fit(*, seed: int = 0, out, ctx):
    (out / "value.txt").write_text("fitted")

if __name__ == "__main__":
    import sys, cloudpickle
    print(module_of(fit), Stage(fit).key)
    with open(sys.argv[1], "wb") as file:
        cloudpickle.dump((fit, Stage(fit)), file)
"""

WORKER = """
import pickle, sys
from mss_core.graph import Stage, module_of
fit, stage = pickle.load(open(sys.argv[1], "rb"))
assert fit.__module__ == "__main__" and stage.key == Stage(fit).key == Stage(stage.function).key
print(module_of(fit), Stage(fit).key)
"""


def test_a_function_of_a_script_has_one_key_wherever_the_script_lies_and_runs(tmp_path: Path) -> None:
    """In the driver, in a worker that is another program, in another folder, as a module and when it is imported."""

    def said(*command: str) -> list[str]:
        words = [sys.executable, *command, str(tmp_path / "pickled")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(tmp_path)])}
        done = subprocess.run(words, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.split()

    for folder in ("here", "elsewhere/below", "my_paper"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "my_study.py").write_text(SCRIPT)
    script = said("here/my_study.py")
    assert script[0] == "my_study" and said("-c", WORKER) == script
    assert said("elsewhere/below/my_study.py") == script
    ran = runpy.run_path(str(tmp_path / "here" / "my_study.py"))["fit"]
    assert [module_of(ran), Stage(ran).key] == script
    module = said("-m", "my_paper.my_study")
    assert module[0] == "my_paper.my_study" and module != script and said("-c", WORKER) == module
    imported = "from my_paper.my_study import *; print(module_of(fit), Stage(fit).key)"
    assert said("-c", imported) == module


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_plain_is_json_and_stable(value: object) -> None:
    assert json.loads(json.dumps(plain(value))) == plain(plain(value))
    assert digest(value) == digest(json.loads(json.dumps(plain(value))))


@pytest.mark.parametrize("value", [Path("x"), float("nan"), float("inf"), {1, 2}, print])
def test_what_is_not_plain_cannot_be_part_of_a_key(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be part of a stage's key"):
        digest(value)


def test_a_wrong_edge_fails_when_the_graph_is_built() -> None:
    with pytest.raises(TypeError, match="takes no argument 'lefd'; it takes left, right"):
        Stage(double, lefd=Stage(source))
    with pytest.raises(TypeError, match="needs the argument 'left'"):
        Stage(double)


def test_shared_stages_run_once(store: Store) -> None:
    shared = Stage(source)
    root = Stage(double, left=Stage(double, left=shared), right=Stage(double, left=shared, right=shared))
    assert read(materialize(root, store, Context())) == "12"
    assert sorted(CALLS) == ["double"] * 3 + ["source 1"]
    materialize(root, store, Context())
    assert len(CALLS) == 4
    assert [stage.name for stage in walk([root]).values()] == ["source", "double", "double", "double"]


def test_tuples_of_stages_are_edges(store: Store) -> None:
    root = Stage(join, parts=(Stage(source, value=1), Stage(source, value=2)))
    assert list(root.inputs) == ["parts.0", "parts.1"]
    assert read(materialize(root, store, Context())) == "12"


def test_manifest_says_what_was_called(store: Store) -> None:
    root = Stage(double, left=Stage(source, value=3))
    materialize(root, store, Context(device="cpu", device_name="abacus", environment={"commit": "c0ffee"}))
    manifest = store.manifest(root)
    assert manifest is not None
    assert manifest["inputs"] == {"left": {"stage": "source", "key": Stage(source, value=3).key}}
    assert manifest["device_name"] == "abacus" and manifest["environment"] == {"commit": "c0ffee"}
    assert manifest["seconds"] >= 0 and set(manifest["files"]) == {"value.txt"}


def test_a_failure_is_not_cached_and_says_where_its_log_is(store: Store) -> None:
    root = Stage(broken, left=Stage(source))
    with pytest.raises(StageFailed, match="ArithmeticError: first line") as failure:
        materialize(root, store, Context())
    assert "second line" in failure.value.log.read_text()
    assert store.get(root) is None and store.get(Stage(source)) is not None


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "manifest", "add", "add below", "list nothing"])
def test_damage_is_found_and_recomputed(store: Store, harm: str) -> None:
    stage = Stage(source, value=7)
    directory = materialize(stage, store, Context())
    file = directory / "value.txt"
    if harm == "flip":
        status = file.stat()
        file.write_text("8")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif harm == "truncate":
        file.write_text("")
    elif harm == "remove":
        file.unlink()
    elif harm.startswith("add"):
        added = directory / ("below/scores.csv" if "below" in harm else "scores.csv")
        added.parent.mkdir(exist_ok=True)
        added.write_text("of another run")
    elif harm == "list nothing":
        manifest = json.loads((directory / MANIFEST).read_text())
        (directory / MANIFEST).write_text(json.dumps({**manifest, "files": {}}))
    else:
        (directory / MANIFEST).write_text("{")
    again = Store(store.root)
    assert again.get(stage) is None
    assert read(materialize(stage, again, Context())) == "7"
    assert len(CALLS) == 2
    assert len(list(directory.parent.glob("*.damaged-*"))) == 1


def test_what_a_desktop_or_a_file_server_leaves_is_no_damage(store: Store) -> None:
    directory = materialize(Stage(source), store, Context())
    for name in (".DS_Store", ".nfs0000000012345678", ".work/step"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).touch()
    assert store.get(Stage(source)) == directory


def nested(*, out: Path, ctx: Context) -> None:
    (out / "songs").mkdir()
    (out / "songs" / "a.csv").write_text("a")
    (out / "z.csv").write_text("z")


def silent(*, out: Path, ctx: Context) -> None:
    """A stage that forgot to write its result."""


@pytest.mark.parametrize("place", ["", "songs"])
def test_a_folder_that_cannot_be_listed_is_not_committed_in_part(store: Store, place: str, monkeypatch) -> None:
    """As an expired ticket of a network file system does: what could not be listed would be left without a checksum."""
    listed, refused = disk.names, []

    def names(path: Path) -> list[str]:
        if ".partial" in str(path) and str(path).endswith(place or ".partial") and committing:
            refused.append(path)
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    committing: list[bool] = []
    commit = Store.commit
    monkeypatch.setattr(disk, "names", names)
    monkeypatch.setattr(Store, "commit", lambda *a, **k: (committing.append(True), commit(*a, **k))[1])
    with pytest.raises(StageFailed, match="PermissionError"):
        run_stage(Stage(nested), store, Context())
    assert refused and store.get(Stage(nested)) is None
    committing.clear()
    monkeypatch.setattr(Store, "commit", commit)
    run_stage(Stage(nested), store, Context())
    assert set(store.manifest(Stage(nested))["files"]) == {"songs/a.csv", "z.csv"}  # type: ignore[index]


def test_a_stage_that_leaves_no_file_has_failed(store: Store) -> None:
    with pytest.raises(StageFailed, match="silent has left no file in its folder"):
        run_stage(Stage(silent), store, Context())
    assert store.get(Stage(silent)) is None


def test_a_directory_without_manifest_is_no_artefact_and_its_work_is_kept(store: Store) -> None:
    stage = Stage(source)
    directory = store.directory(stage)
    (directory / ".work").mkdir(parents=True)
    (directory / ".work" / "checkpoint.pt").write_text("kept")
    assert store.get(stage) is None
    partial = store.begin(stage)
    assert (partial / ".work" / "checkpoint.pt").read_text() == "kept"
    assert read(run_stage(stage, store, Context())) == "1"


def test_history_is_part_of_the_artefact_and_rewinds(store: Store, tmp_path: Path) -> None:
    directory = materialize(Stage(source, value=5), store, Context())
    assert read_history(directory) == [{"step": 1, "total": 1, "value": 5}]
    ctx = Context(out=tmp_path)
    for step in range(1, 6):
        ctx.report(step=step, total=5, loss=1 / step)
    ctx.rewind(3)
    assert [row["step"] for row in read_history(tmp_path)] == [1, 2, 3]


def test_an_empty_clock_file_is_no_obstacle(store: Store) -> None:
    """A kill between truncating and writing the time spent."""
    partial = store.begin(Stage(source, value=9))
    (partial / ".work").mkdir(exist_ok=True)
    (partial / ".work" / "seconds").write_text("")
    assert read(materialize(Stage(source, value=9), store, Context())) == "9"


# ---- claims


def test_a_claim_excludes_and_is_released(tmp_path: Path) -> None:
    path = tmp_path / "key.claim"
    with Claim(path) as first:
        first.check()
        assert not Claim(path)._create()
    assert not path.exists()
    with Claim(path):
        assert path.exists()


def test_a_dead_process_loses_its_claim_at_once(tmp_path: Path) -> None:
    path = tmp_path / "key.claim"
    child = os.fork()
    if child == 0:
        Claim(path)._create()
        os._exit(0)
    os.waitpid(child, 0)
    assert path.exists()
    start = time.monotonic()
    with Claim(path, seconds=60) as claim:
        claim.check()
    assert time.monotonic() - start < 5


def test_a_silent_owner_on_another_machine_is_taken_over_and_notices(tmp_path: Path) -> None:
    path = tmp_path / "key.claim"
    old = Claim(path, seconds=0.5)
    assert old._create()
    content = json.loads(path.read_text()) | {"host": "elsewhere"}
    path.write_text(json.dumps(content))
    os.utime(path, (time.time() - 5, time.time() - 5))
    with Claim(path, seconds=0.5, poll=0.05) as new:
        new.check()
        with pytest.raises(ClaimLost, match="another worker took over"):
            old.check()
        ctx = Context(out=tmp_path, claim=old)
        with pytest.raises(ClaimLost):
            ctx.report(step=1, total=1)
    assert not (tmp_path / "history.jsonl").exists()


def test_a_renewed_claim_is_put_back(tmp_path: Path) -> None:
    path = tmp_path / "key.claim"
    with Claim(path, seconds=60) as owner:
        Claim(path, seconds=60)._take_away()
        owner.check()
        assert path.exists() and list(tmp_path.iterdir()) == [path]
