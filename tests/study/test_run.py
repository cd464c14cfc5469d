"""A study as its user runs it: from the command line, to tables, report and MLflow; killed, resumed, repeated."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mss_core.study import run as run_study
from mss_core.study.study import FRESH
from tests.conftest import REPOSITORY, tiny_flags

STUDY = REPOSITORY / "studies" / "source_ablation.py"
STUDY_VALUE = runpy.run_path(str(STUDY))["study"]


def command(*flags: str) -> list[str]:
    return [sys.executable, str(STUDY), *flags]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_ADDRESS": "local", **more}


def run(*flags: str, expect: int = 0, **more: str) -> subprocess.CompletedProcess:
    done = subprocess.run(command(*flags), capture_output=True, text=True, timeout=900, env=environment(**more))
    assert done.returncode == expect, done.stderr[-3000:] + done.stdout[-1000:]
    return done


@pytest.fixture
def here(capsys: pytest.CaptureFixture) -> Callable[..., subprocess.CompletedProcess]:
    """The command in this process, which has imported torch and MLflow already."""

    def run_here(*flags: str, expect: int = 0) -> subprocess.CompletedProcess:
        capsys.readouterr()
        status = 0
        try:
            run_study(STUDY_VALUE, list(flags))
        except SystemExit as end:
            status = int(end.code or 0)
        done = subprocess.CompletedProcess(flags, status, *capsys.readouterr())
        assert status == expect, done.stderr[-3000:] + done.stdout[-1000:]
        return done

    return run_here


Here = Callable[..., subprocess.CompletedProcess]


def folder(store: Path) -> Path:
    (found,) = (store / "studies").iterdir()
    return found


def scores(store: Path, *variants: str) -> list[str]:
    """The lines of a study's scores, of these variants or of all."""
    head, *lines = (folder(store) / "scores.csv").read_text(encoding="utf-8").splitlines()
    place = head.split(",").index("variant")
    return [head, *(line for line in lines if not variants or line.split(",")[place] in variants)]


def committed(store: Path) -> dict[str, int]:
    """Artefacts in a store, by stage: manifests on disk."""
    found: dict[str, int] = {}
    for manifest in store.glob("*/*/manifest.json"):
        found[manifest.parts[-3]] = found.get(manifest.parts[-3], 0) + 1
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The store of one undisturbed run in process, without MLflow's help."""
    store = tmp_path_factory.mktemp("finished")
    run(*tiny_flags(store, "--in-process"))
    return store


@pytest.mark.slow
def test_the_plan_says_what_a_run_executes(finished: Path, tmp_path: Path, here: Here) -> None:
    plan = json.loads(here(*tiny_flags(tmp_path, "--dry-run", "--json")).stdout)
    assert plan["totals"] == {"trials": 10, "calls": 61, "distinct": 42, "done": 0, "to_run": 42}
    assert {name: row["to_run"] for name, row in plan["stages"].items()} == committed(finished)
    again = json.loads(here(*tiny_flags(finished, "--dry-run", "--json")).stdout)
    assert again["totals"]["to_run"] == 0 and again["totals"]["done"] == 42


@pytest.mark.slow
def test_tables_report_and_tracking_of_a_finished_study(finished: Path) -> None:
    from mlflow.tracking import MlflowClient

    home = folder(finished)
    table = pd.read_csv(home / "scores.csv", keep_default_na=False)
    sources = {"no U-Net", "random init", "bass", "drums", "other", "vocals", "multiple"}
    assert set(table.variant) == sources | {"placebo", "planted loss"}
    macro = table[(table.metric == "roc_auc") & (table.target == "macro")]
    assert len(macro) == 10 and macro.score.astype(float).between(0, 1).all()
    study = json.loads((home / "study.json").read_text())
    assert [trial["status"] for trial in study["trials"]] == ["done"] * 10
    assert {stage["device"] for stage in study["stages"].values()} <= {"cpu", "cuda"}
    assert study["examples"] and all((finished / e["estimate"]).exists() for e in study["examples"])
    assert (home / "report.html").stat().st_size > 10_000
    client = MlflowClient(f"sqlite:///{finished / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == home.name]
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 11 and {r.info.status for r in runs} == {"FINISHED"}
    (vocals,) = [r for r in runs if r.info.run_name == "vocals/seed0"]
    assert vocals.data.params == {"source": "vocals", "sources": '["vocals"]', "pretrain.phases.0.lr": "0.002"}
    expected = float(macro[macro.variant == "vocals"].score.iloc[0])
    assert vocals.data.metrics["roc_auc"] == pytest.approx(expected)
    assert len(client.get_metric_history(vocals.info.run_id, "pretrain/valid_loss")) == 2
    assert {"pretrain seconds", "pretrain device", "key pretrain", "git commit", "seed"} <= set(vocals.data.tags)
    audio = {a.path for a in client.list_artifacts(vocals.info.run_id, "audio/vocals")}
    assert {"audio/vocals/vocals.png", "audio/vocals/mixture.wav", "audio/vocals/estimate.wav"} <= audio
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert "report.html" in {a.path for a in client.list_artifacts(parent.info.run_id)}
    assert "| variant | difference |" in parent.data.tags["mlflow.note.content"]


@pytest.mark.slow
def test_a_second_run_executes_nothing_and_changes_nothing(finished: Path) -> None:
    before = (folder(finished) / "scores.csv").read_bytes()
    done = run(*tiny_flags(finished, "--in-process"))
    assert "0 stages executed, 42 found in the store" in done.stderr
    assert (folder(finished) / "scores.csv").read_bytes() == before


@pytest.mark.slow
def test_neither_ray_nor_mlflow_is_needed_in_process(finished: Path, tmp_path: Path) -> None:
    """A row without a separator and one with all that a separator brings."""
    for name in ("ray", "mlflow"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}', name='{name}')")
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    rows = ("no U-Net", "vocals")
    done = run(*tiny_flags(tmp_path / "store", "--in-process", "--only", *rows), PYTHONPATH=path)
    assert "mlflow is not installed: this run is not tracked" in done.stderr
    assert scores(tmp_path / "store") == scores(finished, *rows) and len(scores(finished, *rows)) > 20
    done = run(*tiny_flags(tmp_path / "other"), PYTHONPATH=path, expect=2)
    assert "mlflow is not installed" in done.stderr


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1200)
def test_ray_gives_the_same_scores_also_when_killed(finished: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of a training, then the same command: nothing repeated, equal tables, clean MLflow. Of rows
    without a separator, with one and with several."""
    from mlflow.tracking import MlflowClient

    rows = ("no U-Net", "vocals", "multiple")
    flags = tiny_flags(tmp_path, "--only", *rows)
    victim = subprocess.Popen(
        command(*flags),
        env=environment(MSS_CHECKPOINT_SECONDS="0"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("pretrain/*.partial/.work/checkpoint.pt")):
        assert victim.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/manifest.json")}
    time.sleep(3)  # Ray's processes notice that their driver is gone
    done = run(*flags)
    kept = {path: path.stat().st_mtime_ns for path in before}
    assert kept == before
    assert "found in the store" in done.stderr
    assert scores(tmp_path) == scores(finished, *rows)
    made, all_made = (
        {path.relative_to(x).parent for path in x.glob("*/*/manifest.json")} for x in (tmp_path, finished)
    )
    assert made < all_made and len(made) == 15
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert sorted(r.info.run_name for r in runs) == sorted({r.info.run_name for r in runs}) and len(runs) == 4
    assert {r.info.status for r in runs} == {"FINISHED"}


@pytest.mark.slow
def test_damage_is_computed_again_and_gives_the_same_table(finished: Path, here: Here) -> None:
    before = (folder(finished) / "scores.csv").read_bytes()
    weights = next(finished.glob("finetune/*/weights.pt"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    done = here(*tiny_flags(finished, "--in-process"))
    assert "damaged, set aside and computed again: finetune" in done.stderr and "1 stages executed" in done.stderr
    assert (folder(finished) / "scores.csv").read_bytes() == before


@pytest.mark.slow
def test_another_seed_gives_another_table(finished: Path, here: Here) -> None:
    flags = tiny_flags(finished, "--in-process")
    flags[flags.index("--seeds") + 1] = "2"
    here(*flags)
    table = pd.read_csv(folder(finished) / "scores.csv", keep_default_na=False)
    macro = table[(table.metric == "roc_auc") & (table.target == "macro")]
    by_seed = macro.pivot(index="variant", columns="seed", values="score")
    assert set(by_seed) == {0, 1, FRESH, FRESH + 1}  # the placebo has twice as many
    assert by_seed.shape[0] == 9 and not by_seed[0].equals(by_seed[1])  # few clips: some scores coincide


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set", "finetune.bach=3"], "no 'bach' in recipe path 'finetune.bach'; did you mean 'finetune.batch'"),
        (["--set", "finetune.batch"], "--set takes PATH=VALUE, not 'finetune.batch'"),
        (["--set", "finetune.batch=many"], "'finetune.batch' takes a whole number, not 'many'"),
        (["--set", 'sources=["vocal"]'], "level 'bass' of factor 'source' sets sources to ('bass',)"),
        (["--set", "separator.name=unett"], "no model 'unett'; did you mean 'unet'"),
        (["--set", "separator.pooling=avg"], "no pooling 'avg'"),
        (["--set", "tail.widths=[2, 2]"], "a CNN tail has 7 blocks"),
        (["--set", "finetune.epoch_steps=abc"], "'finetune.epoch_steps' takes a whole number, not 'abc'"),
        (["--set", "finetune.phases.0.weight_decay=NaN"], "is not a number to compute with"),
        (["--set", "separation.samplerate=44100"], "'separation.samplerate' must be 16000 Hz"),
        (
            ["--data", "stems=EMPTY"],
            "this study reads synthetic, not 'stems'; choose it with --set separation.name=stems",
        ),
        (["--data", "stems=NOWHERE"], "NOWHERE is not a folder"),
        (["--data", "stems"], "--data takes NAME=PATH, not 'stems'"),
        (["--seeds", "0"], "--seeds takes a number of replicates of at least 1"),
        (
            ["--set", 'separation.sources=["vocal", "drums", "bass", "other"]'],
            "no source to separate (the data set's 'separation.sources' lack it) 'vocals'",
        ),
        (["--set", "separation.name=stems"], "no folder for data set 'stems': pass --data stems=PATH"),
        (["--set", "separation.name=stem"], "no track data set 'stem'; did you mean 'stems'"),
        (["--set", "separation.name=stems", "--data", "stems=NOWHERE"], "NOWHERE is not a folder"),
        (["--set", "separation.name=stems", "--data", "stems=EMPTY"], "holds no train/, valid/ or test/ folder"),
    ],
)
def test_a_mistake_is_one_clear_line_before_anything_runs(
    tmp_path: Path, capsys, flags: list[str], message: str
) -> None:
    (tmp_path / "EMPTY").mkdir()
    flags = [flag.replace("EMPTY", str(tmp_path / "EMPTY")) for flag in flags]
    with pytest.raises(SystemExit) as stopped:
        run_study(STUDY_VALUE, ["--smoke", "--in-process", "--store", str(tmp_path / "store"), *flags])
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert said.err.startswith("error: ") and message in said.err and len(said.err.splitlines()) == 1
    assert not list((tmp_path / "store").glob("*/*.partial"))


def test_a_folder_of_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "music").mkdir()
    for path, message in (("~/music", "not 'stems'"), ("~/musik", "~/musik is not a folder")):
        with pytest.raises(SystemExit):
            run_study(STUDY_VALUE, ["--smoke", "--dry-run", "--store", str(tmp_path / "s"), "--data", f"stems={path}"])
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "name", "advice"),
    [
        ("source_ablation", "stems", "choose it with --set separation.name=stems"),
        ("source_ablation", "clips", "choose it with --set tagging.name=clips"),
        ("source_ablation_replicated", "clips", "choose it with --set tagging.name=clips or --set genre.name=clips"),
        ("median_filter", "stems", "choose it with --set data.name=stems"),
        ("training_free", "stems", "choose from 'synthetic'"),  # its stems are what a factor varies
        ("median_filter", "syntetic", "did you mean 'synthetic'?"),
    ],
)
def test_data_that_a_study_does_not_read_are_refused_with_the_path_of_its_own_recipe(
    script: str, name: str, advice: str, tmp_path: Path, capsys
) -> None:
    study = runpy.run_path(str(STUDY.with_name(f"{script}.py")))["study"]
    with pytest.raises(SystemExit):
        run_study(study, ["--smoke", "--dry-run", "--store", str(tmp_path), "--data", f"{name}={tmp_path}"])
    said = capsys.readouterr().err
    assert f"not {name!r}; {advice}\n" in said and len(said.splitlines()) == 1


def test_a_full_run_names_all_that_is_missing_at_once(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        run_study(STUDY_VALUE, ["--in-process", "--store", str(tmp_path / "store")])
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "error: 4 things are not as this study needs them:"
    sets = [line.removeprefix("no folder for data set ").partition(":")[0] for line in lines]
    assert sorted(sets) == ["'fma_medium_minus_small'", "'imagenet'", "'mtat'", "'musdb18'"]
    assert not (tmp_path / "store").exists()


def test_a_wrong_reference_level_is_one_clear_line(tmp_path: Path, capsys) -> None:
    wrong = replace(STUDY_VALUE, reference={"source": "no Unet"})
    with pytest.raises(SystemExit):
        run_study(wrong, ["--dry-run", "--smoke", "--store", str(tmp_path)])
    assert capsys.readouterr().err.strip().endswith("'no Unet'; did you mean 'no U-Net'?")


def test_a_search_that_a_study_does_not_declare_is_one_clear_line(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        run_study(replace(STUDY_VALUE, search=None), ["--smoke", "--search", "each_variant", "--store", str(tmp_path)])
    said = capsys.readouterr().err
    assert said == "error: --search each_variant: study 'source_ablation' declares no search\n"


def test_a_dry_run_needs_no_data(tmp_path: Path, here: Here) -> None:
    plan = json.loads(here("--dry-run", "--json", "--store", str(tmp_path)).stdout)
    assert set(plan["absent_data"]) == {"musdb18", "mtat", "fma_medium_minus_small", "imagenet"}
    assert (
        plan["totals"]["distinct"] == 436 + 3 * 5 * 3
    )  # controls: five seeds, ten of the placebo: tail, inference and scores


@pytest.mark.slow
def test_a_failing_stage_blocks_only_what_needs_it(stems_tree: Path, tmp_path: Path, here: Here) -> None:
    """Separators with too little music to mix leave the other rows standing; report and exit code say so."""
    for track in ("b", "c", "d"):
        shutil.rmtree(stems_tree / "train" / track)
    flags = tiny_flags(
        tmp_path / "store", "--in-process", "--set", "separation.name=stems", "--data", f"stems={stems_tree}"
    )
    done = here(*flags, expect=1)
    assert "5 stages failed, 20 more could not start" in done.stderr
    assert "a training mixture needs 4 segments of 6 s; the training tracks hold 1" in done.stderr
    assert "try again with the same command" in done.stderr
    study = json.loads((folder(tmp_path / "store") / "study.json").read_text())
    status = {trial["variant"]: trial["status"] for trial in study["trials"]}
    assert status == {
        "no U-Net": "done",
        "random init": "done",
        "bass": "failed",
        "drums": "failed",
        "other": "failed",
        "vocals": "failed",
        "multiple": "failed",
        "placebo": "done",
        "planted loss": "done",
    }
    assert all("log:" in trial["error"] for trial in study["trials"] if trial["status"] == "failed")
