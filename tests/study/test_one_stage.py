"""``mss stage KEY``: one stage again, in this process, with nothing written into the store."""

from __future__ import annotations

import io
import json
import runpy
import subprocess
import sys
from dataclasses import dataclass, is_dataclass
from pathlib import Path

import pytest

from mss_core.data.config import TrackSet
from mss_core.graph import Context, Stage, digest, walk
from mss_core.recipe import children
from mss_core.store import StageFailed, Store, materialize, read_manifest
from mss_core.store.calls import MARK, described, of_artefact, rebuilt
from mss_core.study import one_stage
from mss_core.training import Phase, TrainConfig
from tests.conftest import REPOSITORY


@dataclass(frozen=True)
class Shape:
    widths: tuple[int, ...] = (1, 2)
    rate: float = 1.0
    inner: TrackSet | None = None


def grow(*, shape: Shape, train: TrainConfig | None, described: dict, out: Path, ctx: Context) -> None:
    assert isinstance(shape, Shape) and isinstance(shape.widths, tuple) and isinstance(shape.rate, float)
    assert train is None or isinstance(train.phases[0], Phase)
    ctx.report(step=1, total=1, valid_loss=0.5)
    (out / "grown.json").write_text(json.dumps([list(shape.widths), described]))


def weigh(*, grown: tuple[Path, ...], heavy: int, out: Path, ctx: Context) -> None:
    total = sum(json.loads((path / "grown.json").read_text())[0][0] for path in grown)
    if heavy > 3:
        raise ArithmeticError(f"{total} is too heavy")
    (out / "scores.csv").write_text(f"metric,score\nweight,{total + heavy}\n")


def sloppy(*, anything, out: Path, ctx: Context) -> None:
    (out / "x").write_text("x")


TRAIN = TrainConfig((Phase("adam", lr=0.5), Phase(epochs=2)), batch=3)


def weighed(heavy: int) -> Stage:
    grown = tuple(
        Stage(grow, shape=Shape(inner=TrackSet(size=12)), train=train, described={"name": "net", "widths": (4, 5)})
        for train in (None, TRAIN)
    )
    return Stage(weigh, grown=grown, heavy=heavy)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def everything(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*")}


def test_a_call_is_read_back_with_its_types(store: Store) -> None:
    stage = weighed(1)
    materialize(stage, store, Context())
    for each in (stage, *stage.inputs.values()):
        again = rebuilt(of_artefact(read_manifest(store.directory(each)) or {}))
        assert again.key == each.key and again.function is each.function
        assert {name: up.key for name, up in again.inputs.items()} == {n: up.key for n, up in each.inputs.items()}
    shape = rebuilt(of_artefact(read_manifest(store.directory(stage.inputs["grown.1"])) or {})).arguments
    assert shape["shape"] == Shape(inner=TrackSet(size=12)) and shape["train"] == TRAIN
    assert shape["described"] == {"name": "net", "widths": (4, 5)}


def test_a_stage_that_is_done_leaves_the_same_files_again(store: Store, capsys) -> None:
    stage = weighed(1)
    folder = materialize(stage, store, Context())
    before = everything(store.root)
    assert one_stage.main([stage.key[:12], "--store", str(store.root)]) == 0
    assert "1 file, as in the store" in capsys.readouterr().out
    assert everything(store.root) == before
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace('"finished"', '"finishes"'))
    assert one_stage.main([stage.key[:12], "--store", str(store.root)]) == 2


def test_other_files_than_those_of_the_store_are_named(store: Store, capsys, monkeypatch) -> None:
    stage = weighed(1)
    materialize(stage, store, Context())
    text = Path.write_text
    monkeypatch.setattr(Path, "write_text", lambda path, content, *more: text(path, content.replace("weight", "mass")))
    assert one_stage.main([stage.key[:12], "--store", str(store.root)]) == 1
    assert "not as in the store: scores.csv" in capsys.readouterr().out


def test_a_stage_that_failed_stops_in_the_debugger(store: Store, capsys, monkeypatch) -> None:
    stage = weighed(4)
    with pytest.raises(StageFailed):
        materialize(stage, store, Context())
    assert store.log(stage).read_text().splitlines()[-1] == described(stage)
    before = everything(store.root)
    monkeypatch.setattr(sys, "stdin", io.StringIO("p total, heavy\nq\n"))
    assert one_stage.main([stage.key[:8], "--debug", "--store", str(store.root)]) == 1
    told = capsys.readouterr()
    assert "it failed with ArithmeticError: 2 is too heavy" in told.out
    assert "(2, 4)" in told.out and "ArithmeticError: 2 is too heavy" in told.err
    assert everything(store.root) == before
    assert one_stage.main([stage.key[:8], "--store", str(store.root)]) == 1
    assert "add --debug" in capsys.readouterr().err


def test_mistakes(store: Store, capsys) -> None:
    stage = weighed(1)
    materialize(stage, store, Context())
    loose = Stage(sloppy, anything=TRAIN)
    materialize(loose, store, Context())
    many = [folder.name for folder in (store.root / "grow").iterdir()]

    def said(*words: str) -> str:
        assert one_stage.main([*words, "--store", str(store.root)]) == 2
        return capsys.readouterr().err

    assert "has a key that starts with 'zz', done or failed; mss store list" in said("zz")
    assert "4 stages have keys that start with ''" in said("")
    assert "no annotation says what 'anything' is" in said(loose.key)
    (store.directory(stage.inputs["grown.0"]) / "grown.json").write_text("[]")
    assert "the input grow" in said(stage.key) and len(many) == 2
    (store.root / "weigh" / f"{'a' * 64}.log").write_text("Traceback\n")
    assert "does not end with the stage's call" in said("aaaa")
    call = of_artefact(read_manifest(store.directory(stage)) or {})
    with pytest.raises(ValueError, match="under another key"):
        rebuilt({**call, "key": digest("other")})
    with pytest.raises(ValueError, match="has no function 'gone' by now"):
        rebuilt({**call, "function": f"{__name__}.gone"})
    with pytest.raises(ValueError, match="takes no argument 'light'"):
        rebuilt({**call, "arguments": {**call["arguments"], "light": 1}})


SCRIPT = """
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from mss_core.graph import Context, Stage
from mss_core.study import Factor, Study, run

@dataclass(frozen=True)
class Size:
    width: int = 1

def measure(*, size: Size, seed: int, out: Path, ctx: Context) -> None:
    if size.width == 2:
        raise ArithmeticError("two is too wide")
    (out / "scores.csv").write_text(f"metric,score\\nmae,{size.width + seed}\\n")

@dataclass(frozen=True)
class Recipe:
    size: Size = Size()
    seed: int = 0

    def pipeline(self) -> Stage:
        return Stage(measure, size=self.size, seed=self.seed)

study = Study(
    name="widths", question="How wide?", baseline=Recipe(), metric="mae", seeds=range(2), seeded=["seed"],
    factors=[Factor("width", {"1": {}, "2": {"size.width": 2}})], reference={"width": "1"}, smoke=lambda recipe: recipe,
)
if __name__ == "__main__":
    run(study)
"""


@pytest.mark.slow
def test_stages_of_a_script_are_found_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.py").write_text(SCRIPT)

    def mss(*words: str, stdin: str = "") -> subprocess.CompletedProcess:
        program = f"import sys; from mss_core.__main__ import main; sys.exit(main({list(words)}))"
        return subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, input=stdin, timeout=120,
        )  # fmt: skip

    ran = mss("run", "mine/study.py", "--in-process")
    assert ran.returncode == 1 and "2 stages failed" in ran.stderr
    assert "stop where it raised:  mss stage" in ran.stderr and "--debug --store store\n" in ran.stderr
    keys = {path.name[:64] for path in (tmp_path / "store" / "measure").iterdir()}
    logs = {path.name[:64] for path in (tmp_path / "store" / "measure").glob("*.log")}
    failed = mss("stage", min(logs), "--debug", stdin="p size.width\nq\n")
    assert failed.returncode == 1 and "ArithmeticError: two is too wide" in failed.stderr and "(Pdb)" in failed.stdout
    done = mss("stage", min(keys - logs))
    assert done.returncode == 0 and "1 file, as in the store" in done.stdout, done.stderr


def kinds(value: object) -> object:
    """Which dataclasses a value is made of, and where."""
    below = children(value)
    return type(value).__name__ if below is None else (type(value).__name__, {n: kinds(v) for n, v in below.items()})


def test_every_stage_of_every_study_is_read_back() -> None:
    stages: dict[str, Stage] = {}
    for path in (REPOSITORY / "studies").glob("[!_]*.py"):
        study = runpy.run_path(str(path))["study"].at_smoke_size()
        for trial in study.trials(list(study.seeds)[:1], True, {}, lambda recipe: recipe):
            stages |= walk([trial.root])
    assert len(stages) > 300
    for key, stage in stages.items():
        again = rebuilt(json.loads(described(stage).removeprefix(MARK)))
        assert again.key == key
        for name, value in stage.arguments.items():
            if is_dataclass(value):
                assert kinds(again.arguments[name]) == kinds(value) and again.arguments[name] == value
