"""What stages must leave is asked before it is committed, in a message that names the file and the column."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mss_core import artefact
from mss_core.graph import OURS, Stage, module_of, package
from mss_core.store import Store, materialize
from mss_core.study import Factor, Study, left, run, stale
from mss_core.study.designs import FOLDERS
from mss_core.study.plan import make_plan
from tests.conftest import REPOSITORY

WHOLE = "metric,score\naccuracy,0.5\n"


def judged(*, content: str, name: str = "scores.csv", also: str = "", level: int = 0, seed: int = 0, out, ctx) -> None:
    if content:
        (out / name).write_text(content)
    if name != "scores.csv":
        (out / "scores.csv").write_text(WHOLE)
    (out / "by.txt").write_text(also)


def predicted(*, columns: dict, level: int = 0, seed: int = 0, out, ctx) -> None:
    pd.DataFrame(columns).to_parquet(out / "predictions.parquet")
    (out / "scores.csv").write_text(WHOLE)


@dataclasses.dataclass(frozen=True)
class Recipe:
    content: str = WHOLE
    name: str = "scores.csv"
    columns: dict | None = None
    level: int = 0
    seed: int = 0

    def pipeline(self) -> Stage:
        shared = {"level": self.level, "seed": self.seed}
        if self.columns is not None:
            return Stage(predicted, columns=self.columns, **shared)
        return Stage(judged, content=self.content, name=self.name, **shared)


def study(**recipe) -> Study:
    return Study(
        name="own",
        question="Does it matter?",
        baseline=Recipe(**recipe),
        factors=[Factor("level", {"low": {}, "high": {"level": 1}})],
        reference={"level": "low"},
        metric="accuracy",
        smoke=lambda recipe: recipe,
        seeded=["seed"],
        seeds=range(2),
    )


BAD = {
    "no file": ({"content": ""}, "it has left no scores.csv"),
    "no score": ({"content": "metric\naccuracy\n"}, "scores.csv has no column 'score'; choose from 'metric'"),
    "no metric": ({"content": "score\n1\n"}, "scores.csv has no column 'metric'; choose from 'score'"),
    "near": ({"content": "metric,Score\naccuracy,1\n"}, "no column 'score'; did you mean 'Score'?"),
    "a label": ({"content": "metric,score,seed\naccuracy,1,0\n"}, "has a column 'seed', which the study itself adds"),
    "a factor": ({"content": "metric,score,level\naccuracy,1,0\n"}, "has a column 'level', which the study itself"),
    "two": ({"content": "metric,score,score\naccuracy,1,0\n"}, "scores.csv has two columns 'score'"),
    "no row": ({"content": "metric,score\n"}, "scores.csv holds no row"),
    "empty": ({"content": "\n"}, "scores.csv has no column 'metric'"),
    "text": ({"content": "metric,score\naccuracy,good\n"}, "scores.csv: 'score' is 'good', which is no number"),
    "unnamed": ({"content": "metric,score\n,1\n"}, "scores.csv has a row whose 'metric' is empty"),
    "twice": ({"content": WHOLE + "accuracy,0.6\n"}, "two scores for track '', target '', metric 'accuracy'"),
    "ragged": ({"content": WHOLE + "accuracy,0.6,1,2\n"}, "scores.csv cannot be read as a table"),
    "other": ({"content": "metric,score\nacuracy,1\n"}, "no metric 'accuracy', which the study reports; did you mean"),
    "notes": ({"name": "notes.json", "content": '[{"count": "many"}]'}, "notes.json"),
    "no note": ({"name": "notes.json", "content": '[{"count": 1}]'}, "notes.json has a note without 'kind' or 'text'"),
    "no JSON": ({"name": "notes.json", "content": "["}, "notes.json is not JSON"),
    "example": ({"name": "examples.json", "content": '[{"track": "a"}]'}, "an example whose 'target' is None"),
    "no sound": (
        {"name": "examples.json", "content": '[{"track": "a", "target": "b", "folder": "c"}]'},
        "examples.json names the folder 'c', which has no mixture.wav",
    ),
    "groups": ({"name": "groups.json", "content": '{"a": 1}'}, "groups.json"),
    "no parquet": ({"name": "predictions.parquet", "content": "x"}, "predictions.parquet cannot be read"),
    "no target": ({"columns": {"item": ["a"], "truth": [1], "score": [0.5]}}, "parquet has no column 'target'"),
    "truth": (
        {"columns": {"item": ["a"], "target": ["b"], "truth": [3], "score": [0.5]}},
        "predictions.parquet: 'truth' is 3; it must be 0 or 1",
    ),
}


@pytest.mark.parametrize("recipe, message", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_not_committed(tmp_path, recipe, message) -> None:
    declared = study(**recipe)
    trials = declared.trials([0], False, {}, lambda recipe: recipe)
    asked = left.asked(declared, trials)
    stage, store = trials[0].root, Store(tmp_path)
    out = store.begin(stage)
    stage.function(**stage.arguments, out=out, ctx=None)
    with pytest.raises(ValueError) as error:
        left.check(asked, stage, out)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_study_says_it_and_commits_nothing(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        run(study(content=""), ["--in-process", "--store", str(tmp_path)])
    told = capsys.readouterr().err
    assert ended.value.code == 1 and "it has left no scores.csv" in told and "try again with the same command" in told
    assert not list(tmp_path.rglob("manifest.json"))


def test_two_columns_are_enough(tmp_path) -> None:
    run(study(), ["--in-process", "--store", str(tmp_path)])
    table = pd.read_csv(tmp_path / "studies" / "own" / "scores.csv", keep_default_na=False)
    assert set(table["score"]) == {0.5} and len(table) == 4 and {*table["track"], *table["target"]} == {""}
    assert (tmp_path / "studies" / "own" / "report.html").exists()


def test_what_an_earlier_release_took_is_named_with_its_key(tmp_path) -> None:
    declared = study(content="score\n1\n")
    trials = declared.trials([0], False, {}, lambda recipe: recipe)
    store = Store(tmp_path)
    for trial in trials:
        out = store.begin(trial.root)
        trial.root.function(**trial.root.arguments, out=out, ctx=None)
        store.commit(trial.root, {})
    with pytest.raises(
        ValueError, match=r"judged \w{12} in the store: scores.csv has no column 'metric'.*mss store rm"
    ):
        left.check_found(left.asked(declared, trials), make_plan(trials, store), store)


def test_ours_pass(tmp_path) -> None:
    """What the writers of this package write is what is asked for, and not where another metric is."""
    artefact.write_scores(tmp_path, [("one", "vocals", "accuracy", "", 1.0), ("two", "vocals", "accuracy", "", 0.0)])
    artefact.write_notes(tmp_path, [artefact.note("skipped", "No sound.", ["a"])])
    artefact.write_groups(tmp_path, {"one": "album"})
    stage = Stage(judged, content="")
    asked = left.Asked(frozenset([stage.key]), ("level",), ("accuracy",))
    left.check(asked, stage, tmp_path)  # raises nothing
    with pytest.raises(ValueError, match="'sdr'"):
        left.check(dataclasses.replace(asked, metrics=("sdr",)), stage, tmp_path)


def search(*, level: int = 0, seed: int = 0, out, ctx) -> None: ...


@dataclasses.dataclass(frozen=True)
class Other:
    function: str = "search"
    level: int = 0
    seed: int = 0

    def pipeline(self) -> Stage:
        def inner(*, level: int, seed: int, out, ctx) -> None: ...

        function = {"search": search, "inner": inner, "lambda": lambda *, level, seed, out, ctx: None}[self.function]
        return Stage(function, level=self.level, seed=self.seed)


@pytest.mark.parametrize(
    "function, message",
    [
        ("search", "a stage cannot be called 'search': that is a folder of the store"),
        ("inner", "a stage is a function at the top of a module"),
        ("lambda", "a stage is a function at the top of a module"),
    ],
)
def test_names_of_stages(function, message) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(study(), baseline=Other(function)).check()


def test_the_folders_of_a_store_are_known() -> None:
    from mss_core.store.catalogue import OTHERS

    assert OTHERS <= set(FOLDERS) and package(module_of(judged)) != OURS


SCRIPT = """
from dataclasses import dataclass
from mss_core.graph import Stage
from mss_core.study import Factor, Study, run

def judge(*, level: int, seed: int, version: int = 1, out, ctx):
    (out / "scores.csv").write_text(f"metric,score\\naccuracy,{{{score}}}\\n")

@dataclass(frozen=True)
class Recipe:
    level: int = 0
    seed: int = 0
    def pipeline(self):
        return Stage(judge, level=self.level, seed=self.seed)

if __name__ == "__main__":
    run(Study(name="{name}", question="Does it?", baseline=Recipe(), reference={{"level": "low"}}, metric="accuracy",
        factors=[Factor("level", {{"low": {{}}, "high": {{"level": 1}}}})], smoke=lambda recipe: recipe,
        seeded=["seed"], seeds=range(2)))
"""


def script(folder: Path, name: str, score: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "study.py").write_text(SCRIPT.format(name=name, score=score))
    return folder / "study.py"


def started(path: Path, store: Path, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(path), "--in-process", "--store", str(store), *flags],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.slow
def test_two_scripts_of_one_name_are_not_mixed(tmp_path) -> None:
    one, store = script(tmp_path / "one", "one", "seed + level"), tmp_path / "store"
    one.with_name("mlflow.py").write_text("raise ModuleNotFoundError(name='mlflow')")  # its database takes longer
    assert started(one, store, "--seeds", "1").returncode == 0
    refused = started(script(tmp_path / "two", "two", "9 * seed"), store, "--dry-run")
    assert refused.returncode == 2 and refused.stderr.count("error:") == 1
    assert "was made by another 'study'" in refused.stderr and str(one) in refused.stderr


def test_who_is_another_project(tmp_path) -> None:
    one, two = script(tmp_path / "one", "one", "seed"), script(tmp_path / "two", "two", "seed")

    def hit(file: Path, made_by: Path) -> stale.Hit:
        space: dict = {"__name__": "__main__", "__file__": str(file)}
        exec("def judge(*, out, ctx): ...", space)
        manifest = {"function": "study.judge", "environment": {"paths": {"study": str(made_by)}}}
        return stale.Hit(Stage(space["judge"]), ("judge",), manifest)

    with pytest.raises(ValueError, match="made by another 'study'.*one/study.py.*use another --store"):
        stale.refuse_strangers([hit(two, one)])
    stale.refuse_strangers([hit(one, one)])  # an edited script is the same script
    stale.refuse_strangers([hit(two, tmp_path / "gone" / "study.py")])  # one that was moved, too


def test_a_module_that_hides_ours_is_refused_at_once(tmp_path) -> None:
    for name in ("reports", "search_spaces"):
        folder = tmp_path / name
        path = script(folder, "own", "seed")
        (folder / f"{name}.py").write_text("mine = 1\n")
        refused = started(path, folder / "store")
        assert refused.returncode == 1 and not (folder / "store").exists()
        assert f"{name}.py hides the package {name!r} of mss-ablation" in refused.stderr.splitlines()[-1]


def test_the_path_of_a_package_stands_in_the_manifest(tmp_path) -> None:
    from mss_core.graph import Context
    from mss_core.study.origin import environment

    stage, store = Stage(judged, content=WHOLE), Store(tmp_path)
    folder = materialize(stage, store, Context(environment=environment([stage])))
    facts = json.loads((folder / "manifest.json").read_text())["environment"]["paths"]
    assert facts["tests"] == str(REPOSITORY / "tests" / "__init__.py")
