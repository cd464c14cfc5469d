"""``python -m mss_core.store``: what it lists, verifies, prunes, shows and exports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mss_core import models
from mss_core.graph import Stage
from mss_core.models import model
from mss_core.store import Store
from mss_core.store.catalogue import artefacts
from mss_core.store.command import main
from mss_core.store.drivers import Driver
from tests.conftest import REPOSITORY


def prepare_music(*, data: str, out: Path, ctx) -> None: ...


def train(*, music: Path, seed: int, out: Path, ctx) -> None: ...


def evaluate(*, trained: Path, out: Path, ctx) -> None: ...


DESCRIBED = model("cnn_tail", widths=(2,) * 7, dense=4)
FACTS = {
    "seconds": 7200.0,
    "device": "cpu",
    "device_name": "a CPU",
    "finished": "2026-01-01T00:00:00Z",
    "environment": {"commit": "c0ffee"},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two trials of a study (one training each, one set shared), and a third training that no study names."""
    store = Store(tmp_path / "store")
    music = Stage(prepare_music, data="made up")
    trainings = [Stage(train, music=music, seed=seed) for seed in range(3)]
    scores = [Stage(evaluate, trained=training) for training in trainings[:2]]
    for stage in (music, *trainings, *scores):
        out = store.begin(stage)
        if stage.name == "train":
            torch.manual_seed(stage.arguments["seed"])
            models.save(out, DESCRIBED, models.build(DESCRIBED))
        else:
            (out / "table.csv").write_text(stage.key * 100)
        store.commit(stage, FACTS)
    folder = store.root / "studies" / "which"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(
        json.dumps(
            {
                "trials": [
                    {
                        "trial": f"a/seed{seed}",
                        "status": "done",
                        "command": "python studies/which.py --smoke",
                        "stages": {"evaluate": root.key},
                    }
                    for seed, root in enumerate(scores)
                ]
            }
        )
    )
    store.stages = {"music": music, "trainings": trainings, "scores": scores}
    return store


def run(store: Store, *words: str) -> int:
    return main([*words, "--store", str(store.root)])


def test_list_counts_by_study_and_stage(store: Store, capsys) -> None:
    assert run(store, "list", "--keys") == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert told[1][:3] == ["which", "2/2", "5"] and told[2][:3] == ["(no", "study)", "1"]
    stages = {row[0]: row for row in told[4:7]}
    assert {name: row[1] for name, row in stages.items()} == {"evaluate": "2", "prepare_music": "1", "train": "3"}
    assert stages["train"][4] == "6.00"  # hours
    assert len(told) == 3 + 1 + 3 + 6


def test_verify_finds_a_changed_byte(store: Store, capsys) -> None:
    assert run(store, "verify") == 0
    weights = store.directory(store.stages["trainings"][0]) / "weights.pt"
    content = bytearray(weights.read_bytes())
    content[100] ^= 1
    weights.write_bytes(content)
    assert run(store, "verify") == 1
    assert "weights.pt has another checksum than its manifest" in capsys.readouterr().out


def test_verify_finds_a_file_that_no_manifest_lists(store: Store, capsys) -> None:
    (store.directory(store.stages["trainings"][0]) / "scores.csv").write_text("of another run")
    assert run(store, "verify") == 1
    assert "scores.csv is not in its manifest" in capsys.readouterr().out


def test_prune_shows_first_and_deletes_only_what_no_study_names(store: Store, capsys) -> None:
    free = store.stages["trainings"][2]
    unfinished = store.begin(Stage(train, music=store.stages["music"], seed=9))
    kept = {each.key for each in artefacts(store.root)} - {free.key}
    assert run(store, "prune") == 0
    said = capsys.readouterr().out
    assert "2 entries" in said and f"would delete train/{free.key}" in said and "prune --delete" in said
    assert store.directory(free).exists()
    assert run(store, "prune", "--delete") == 0
    assert {each.key for each in artefacts(store.root)} == kept and not unfinished.exists()
    assert run(store, "prune") == 0 and "0 entries" in capsys.readouterr().out
    assert run(store, "verify") == 0


def test_rm_takes_one_artefact_and_says_whose_it_was(store: Store, capsys) -> None:
    held = artefacts(store.root)
    scored = next(each for each in held if each.stage == "evaluate")
    driver = Driver(store.root)
    driver.start()
    try:
        assert main(["rm", scored.key[:12], "--store", str(store.root)]) == 2 and scored.folder.exists()
        assert "a study is running on" in capsys.readouterr().err
    finally:
        driver.stop()
    assert main(["rm", scored.key[:12], "--store", str(store.root)]) == 0
    assert f"removed evaluate {scored.key}" in (said := capsys.readouterr().out) and "of which" in said
    assert {each.key for each in artefacts(store.root)} == {each.key for each in held} - {scored.key}
    assert main(["rm", scored.key[:12], "--store", str(store.root)]) == 2


def test_prune_leaves_what_somebody_works_on(store: Store, capsys) -> None:
    claimed = Stage(train, music=store.stages["music"], seed=9)
    with store.claim(claimed) as claim:
        work = store.begin(claimed, claim)
        assert run(store, "prune", "--delete") == 0
        assert work.exists()
    driver = Driver(store.root)
    driver.start()
    try:
        assert run(store, "prune", "--delete") == 2
        assert "a study is running on" in capsys.readouterr().err and work.exists()
    finally:
        driver.stop()
    assert run(store, "prune", "--delete") == 0 and not work.exists()


def test_prune_refuses_a_store_without_a_study(store: Store, capsys) -> None:
    (store.root / "studies" / "which" / "study.json").unlink()
    assert run(store, "prune", "--delete") == 2
    assert "names no study: everything would go" in capsys.readouterr().err


def test_show_gives_the_recipe_and_the_command(store: Store, capsys) -> None:
    training = store.stages["trainings"][1]
    assert run(store, "show", training.key[:10]) == 0
    said = capsys.readouterr().out
    assert "seed = 1" in said and "c0ffee" in said and "7200.0 s on cpu" in said
    assert f"input music: prepare_music {store.stages['music'].key[:16]}" in said
    assert "made by: python studies/which.py --smoke\n    for which: a/seed1\n" in said


def test_exported_weights_are_the_trained_ones(store: Store, tmp_path: Path, capsys) -> None:
    pytest.importorskip("safetensors")
    from safetensors import safe_open

    training = store.stages["trainings"][1]
    target = tmp_path / "weights.safetensors"
    assert run(store, "export", training.key, str(target)) == 0
    with safe_open(target, "pt") as file:
        origin = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert origin["key"] == training.key and json.loads(origin["model"])["name"] == "cnn_tail"
    built = models.build(json.loads(origin["model"]))
    built.load_state_dict(weights)
    expected = models.state(store.directory(training))
    assert all(torch.equal(value, expected[name]) for name, value in built.state_dict().items())
    assert run(store, "export", store.stages["music"].key, str(target)) == 2
    assert "holds no weights.pt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [(["show", "xyz"], "has a key that starts with 'xyz'"), (["show", ""], "6 artefacts have keys that start with ''")],
)
def test_mistakes_are_one_clear_line(store: Store, capsys, words: list[str], message: str) -> None:
    assert run(store, *words) == 2
    assert message in capsys.readouterr().err


def test_a_store_that_is_not_there(tmp_path: Path, capsys) -> None:
    assert main(["list", "--store", str(tmp_path / "none")]) == 2
    assert "is no folder: name the store with --store" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["mss_core.store", "list", "--store", "{store}"], ["mss_core.data", "list"]])
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, command: list[str]) -> None:
    """As `| head -1` does; by the time anything is printed nobody reads any more."""
    shown = [part.format(store=tmp_path) for part in command]
    process = subprocess.Popen(
        [sys.executable, "-m", *shown], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == -signal.SIGPIPE


def test_verify_sees_what_has_a_keys_name_and_is_no_artefact(store: Store, capsys) -> None:
    """A cut manifest, an altered one, a loop of links, files in place of folders: all would vanish from the count."""
    assert main(["verify", "--store", str(store.root)]) == 0
    first, *_ = sorted(path.parent for path in store.root.glob("*/*/manifest.json"))
    whole = (first / "manifest.json").read_text()
    (first / "manifest.json").write_text(whole.replace('"device"', '"device_of"'))
    (first.parent / ("f" * 64)).symlink_to(first.parent / ("f" * 64))
    capsys.readouterr()
    assert main(["verify", "--store", str(store.root)]) == 1
    assert capsys.readouterr().out.count("no valid manifest") == 2
    (first.parent / ("e" * 64)).write_text("x")
    (store.root / "a_stage").write_text("x")
    (store.root / "another").symlink_to("nowhere")
    assert main(["verify", "--store", str(store.root)]) == 1
    told = capsys.readouterr().out
    assert told.count("no valid manifest") == 3 and told.count("it is no folder") == 2
    assert f"damaged: {first.parent.name} {'e' * 16}: it has" in told and "damaged: a_stage: it is" in told


def test_prune_sweeps_what_is_of_no_use_although_its_key_is(store: Store, capsys) -> None:
    """Scratch of a commit that was killed, a claim taken over, work of a worker that lost, an earlier prune."""
    kept = store.directory(store.stages["trainings"][0])
    left = [kept / ".work", kept.with_name(f"{kept.name}.abc.partial"), kept.with_name(f".{kept.name}.pruned")]
    for folder in left:
        folder.mkdir()
    claim = kept.with_name(f"{kept.name}.claim.abc")
    claim.touch()
    os.utime(claim, (1, 1))
    assert main(["prune", "--delete", "--store", str(store.root)]) == 0
    assert not any(path.exists() for path in [*left, claim]) and (kept / "manifest.json").exists()
