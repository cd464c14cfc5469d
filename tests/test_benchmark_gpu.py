"""``make gpu`` on a CPU, tiny: every part gives rows and none is an error, so a first run on a card meets no typo."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu.py"


def measured(out: Path, *words: str) -> list[dict[str, Any]]:
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--quick", "--out", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    rows = json.loads((out / "gpu.json").read_text())["rows"]
    assert not [row for row in rows if "error" in row], done.stderr
    assert (out / "gpu.md").read_text() in done.stdout
    return rows


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU computes no LSTM in bfloat16, as it is compiled"
)
def test_networks_loader_scores_and_trainings_side_by_side_are_measured(tmp_path: Path) -> None:
    parts = ("models", "exact", "loop", "bss", "sharing")
    rows = measured(tmp_path, "--only", *parts, "--networks", "BLSTM")
    assert {row["part"] for row in rows} == {"machine", *parts}
    steps = {(row["task"], row["mode"]): row for row in rows if row["part"] == "models"}
    eager, compiled = steps["training step", "eager"], steps["training step", "compiled"]
    assert 0 < eager["floor ms"] < eager["ms"] and compiled["items/s"] > 0
    # Two layers of 8 units each way on 513 bins, then 3 x 513 masks from 16; a step is three times the forward pass.
    frames, forward = 2 * 17, 2 * (2 * 4 * 8 * (513 + 8) + 2 * 4 * 8 * (16 + 8) + 16 * 3 * 513)
    assert eager["GFLOP"] == pytest.approx(3e-9 * frames * forward, rel=0.01)
    assert all(row["equal"] for row in rows if row["part"] == "exact")


@pytest.mark.rehearsal
def test_every_part_works(tmp_path: Path) -> None:
    rows = measured(tmp_path)
    assert all(row["byte-equal"] for row in rows if "byte-equal" in row)
    assert (tmp_path / "study_report.md").exists()
    trained = {row["model"] for row in rows if row.get("task") == "training step"}
    assert {row["model"] for row in rows if row["part"] == "models"} == trained and len(trained) == 9


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_card_it_says_so_in_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "no CUDA device here: nothing was measured\n")
    assert not (tmp_path / "out").exists()


def test_the_page_is_what_the_runs_beside_the_script_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    page = importlib.import_module("on_gpu.page")
    written = (SCRIPT.parents[1] / "docs" / "gpu.md").read_text(encoding="utf-8")
    files = written.split("--merge ")[1].split(" --out")[0].split()
    runs = [page.read(SCRIPT.parents[1] / file) for file in files]
    assert page.page(runs) == written
    machine = {"part": "machine", "what": "device", "value": "another card"}
    tests = {"part": "tests", "test": "this one", "outcome": "passed"}
    later = {"rows": [machine, tests, {"part": "exact", "error": "stopped"}], "date": "later", "file": "b.json"}
    merged = page.page([*runs, later])
    assert "| this one | passed |" in merged and f"| {len(runs) + 1} | later | another card |" in merged
    assert "time_stretch" not in merged and "| deterministic | BLSTM |" in merged


def test_a_page_is_refused_of_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"rows": [], "quick": false}')
    command = [sys.executable, str(SCRIPT), "--merge", str(tmp_path / "a.json"), "--out", str(tmp_path / "a.md")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "a.json is of a run with --quick, or empty" in done.stderr
