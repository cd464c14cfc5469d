"""One training in several processes: the batches of one, its weights to rounding, its checkpoints, and how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mss_core.graph import Context, Stage, Stopped, read_history
from mss_core.ranks import Ranks
from mss_core.store import MANIFEST, StageFailed, Store, run_stage
from mss_core.study.execution import in_process
from mss_core.study.plan import Plan
from mss_core.study.progress import DONE, Board
from mss_core.study.resources import taken_from
from mss_core.training import Phase, TrainConfig
from tests.store.lines import ITEMS, PLAIN, fail_to_train, train_lines, train_nothing

MODERN = TrainConfig(
    (Phase("adamw", lr=0.01, epochs=4, weight_decay=0.1, warmup=5, cosine=0.1, clip_norm=0.5, plateau=1, factor=0.5),),
    batch=ITEMS,
    ema=0.9,
    accumulate=2,
    epoch_steps=3,
)
CLIPPED = TrainConfig((Phase("sgd", lr=0.01, epochs=3, clip=40.0),), batch=ITEMS)


Case = tuple[str, TrainConfig]
CASES: dict[str, Case] = {
    "plain": ("tanh", PLAIN),
    "modern": ("tanh", MODERN),
    "clipped": ("tanh", CLIPPED),
    "batch norm": ("batch_norm", PLAIN),
    "modern batch norm": ("batch_norm", MODERN),
    "averaged batch norm": ("averaged_norm", PLAIN),
    "a part without gradient": ("unused", MODERN),
}


def trained(
    root: Path, processes: int, cases: dict[str, Case] | None = None, loss: str = "mean", trouble: str = "", **ctx: Any
) -> tuple[Path, dict[str, dict[str, Tensor]]]:
    cases = cases or {"modern batch norm": CASES["modern batch norm"]}
    middles, configs = {name: middle for name, (middle, _) in cases.items()}, tuple(c for _, c in cases.values())
    stage = Stage(train_lines, cases=middles, train=configs[0], others=configs[1:], loss=loss, trouble=trouble)
    folder = run_stage(stage, Store(root), Context(processes=processes, **ctx))
    return folder, torch.load(folder / "weights.pt", weights_only=True)


def same(one: dict[str, Tensor], other: dict[str, Tensor], within: float = 1e-9) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=within, atol=within)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Tensor]]]:
    return trained(tmp_path_factory.mktemp("alone"), 1, CASES, checkpoint_seconds=1e9)


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_are_as_one(tmp_path: Path, processes: int, alone: Any) -> None:
    """Same batches, weights and curves, also of batch norm and where clipping, averaging and plateaus look at all
    gradients; slices of 7 items are unequal."""
    folder, weights = alone
    shared, found = trained(tmp_path, processes, CASES, checkpoint_seconds=1e9)
    for name in CASES:
        same(found[name], weights[name])
    assert (shared / "batches.json").read_text() == (folder / "batches.json").read_text()
    assert shared.name == folder.name  # the key knows nothing of it, the manifest does
    assert json.loads((shared / MANIFEST).read_text())["environment"] == {"processes": processes}
    assert json.loads((folder / MANIFEST).read_text())["environment"] == {}
    for row, other in zip(read_history(shared), read_history(folder), strict=True):
        assert row == pytest.approx(other, rel=1e-9)


def stopping(after: int) -> Any:
    """Asks to stop after so many steps."""
    asked = iter(range(10_000))
    return lambda: next(asked) >= after - 1


def test_a_training_goes_on_in_another_number_of_processes(tmp_path: Path) -> None:
    """Two, one, two: the weights of one process, to rounding, and each step once."""
    for processes, steps in ((2, 5), (1, 3)):
        with pytest.raises(Stopped, match=f"stopped at step {5 if processes == 2 else 8} of 16"):
            trained(tmp_path / "cut", processes, stop=stopping(steps))
    folder, weights = trained(tmp_path / "cut", 2)
    whole, expected = trained(tmp_path / "whole", 1)
    same(weights["modern batch norm"], expected["modern batch norm"])
    for row, other in zip(read_history(folder), read_history(whole), strict=True):
        assert row == pytest.approx(other, rel=1e-9)


@pytest.mark.slow
def test_a_resume_in_as_many_processes_is_exact(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trained(tmp_path / "cut", 3, stop=stopping(5))
    (folder, _), (whole, _) = trained(tmp_path / "cut", 3), trained(tmp_path / "whole", 3)
    for name in ("weights.pt", "history.jsonl"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("kill", "process 2 of the 3 that share this training was killed by SIGKILL"),
        ("raise", "process 2 of the 3 that share this training failed: LookupError: the fourth batch is not there"),
    ],
)
def test_a_process_that_ends_ends_the_stage(tmp_path: Path, trouble: str, said: str) -> None:
    """With its own error, at once, and nothing is left running."""
    begun = time.monotonic()
    with pytest.raises(StageFailed, match=said):
        trained(tmp_path, 3, trouble=trouble)
    assert time.monotonic() - begun < 60
    assert not children()


def children() -> list[int]:
    """Processes that this one has started and that are alive."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            command = (status.parent / "cmdline").read_text()
            found += [int(status.parent.name)] if "helpers" in command else []
    return found


def test_what_several_processes_cannot_do_is_refused(tmp_path: Path) -> None:
    """By the layer's or buffer's name, before the first step."""
    refused = {
        "dropout": r"shared by 2 processes: its network has dropout \(the Dropout 'middle'\)",
        "noise": "its loss draws random numbers",
        "codebook": "the buffer 'middle.largest' follows the items of a whole batch",
        "apart": "no layer may look from one item to another",
    }
    folder = run_stage(Stage(fail_to_train, middles=tuple(refused)), Store(tmp_path), Context(processes=2))
    for said, expected in zip(json.loads((folder / "said.json").read_text()), refused.values(), strict=True):
        assert re.search(expected, said), said
    with pytest.raises(StageFailed, match="a loss must be a mean over items, and no layer may look"):
        trained(tmp_path, 2, loss="sum")
    with pytest.raises(StageFailed, match="train_nothing was given 2 processes, and does not train by"):
        run_stage(Stage(train_nothing), Store(tmp_path), Context(processes=2))


@pytest.mark.parametrize("everybody", [False, True])
def test_a_study_that_is_stopped_leaves_a_checkpoint(tmp_path: Path, everybody: bool) -> None:
    """In this process, by a signal to it alone or to all processes, as a job's end sends it. The file of resources says
    how many there are."""
    (tmp_path / "resources.toml").write_text("[train_lines]\nprocesses = 2\n")
    name, (middle, config) = "modern batch norm", CASES["modern batch norm"]
    stage = Stage(train_lines, cases={name: middle}, train=config)
    store = Store(tmp_path / "store")

    def execute(**context: Any) -> Board:
        board = Board({stage.key: stage}, store, io.StringIO())
        plan = Plan([], {stage.key: stage}, set(), [stage.key], {})
        with taken_from(tmp_path / "resources.toml"):
            in_process.execute(plan, store, Context(**context), board)
        return board

    def stop(row: dict[str, Any]) -> None:
        if row["step"] == 8:
            for pid in [*(children() if everybody else ()), os.getpid()]:
                os.kill(pid, signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        execute(listen=stop, checkpoint_seconds=1e9)
    assert store.checkpoint_time(stage) and not children()
    assert execute().state[stage.key] == DONE
    folder = store.get(stage)
    assert folder is not None and json.loads((folder / MANIFEST).read_text())["environment"] == {"processes": 2}
    whole, expected = trained(tmp_path / "whole", 1)
    same(torch.load(folder / "weights.pt", weights_only=True)[name], expected[name])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_the_slices_are_the_batch(size: int) -> None:
    """In order, each item once, weighted so that their mean is that of all; what has no items is as it was."""
    batch = (torch.arange(7.0), [torch.arange(14.0).reshape(7, 2), None])
    parts = [Ranks(rank, size).part(batch) for rank in range(size)]
    assert torch.equal(torch.cat([part[0] for part, _ in parts]), batch[0])
    assert torch.equal(torch.cat([part[1][0] for part, _ in parts]), batch[1][0])
    assert all(type(part) is tuple and part[1][1] is None for part, _ in parts)
    assert sum(float(part[0].mean()) * weight for part, weight in parts) / size == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (torch.zeros(2), "a batch of 2 cannot be shared by 3 processes"),
        ((torch.zeros(4), torch.zeros(5)), r"tensors of one length, not of \[4, 5\]"),
        ((torch.zeros(4), 3.0), "holds tensors by item, and no float"),
        (torch.zeros(()), "holds tensors by item, and no Tensor"),
    ],
)
def test_a_batch_that_has_no_slices_is_refused(batch: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Ranks(1, 3).part(batch)
