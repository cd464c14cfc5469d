"""What a stage asks for: by rule, by its module's word, by a file for one's own machines."""

from __future__ import annotations

import os
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from mss_core import runtime
from mss_core.graph import Stage, walk
from mss_core.study.execution import nodes, stages_on_ray
from mss_core.study.resources import (
    RESOURCES,
    VARIABLE,
    asked,
    check_shares,
    memory_share,
    out_of_memory,
    processes,
    processes_here,
    resources,
    stated_processes,
    taken_from,
    warm,
)
from mss_core.training import TrainConfig
from tests.conftest import REPOSITORY
from tests.golden import STUDIES


def infer(*, number: int = 0, out, ctx) -> None: ...


def learn(*, data: Stage | None = None, train: TrainConfig | None, out, ctx) -> None: ...


def third(*, out, ctx) -> None: ...


STAGE_RESOURCES = {"third": {"cpu": 2, "gpu": 0.33}}
TRAIN = TrainConfig()


def test_a_training_asks_for_a_gpu_and_a_process_whatever_it_is_called() -> None:
    assert resources(Stage(learn, train=TRAIN), 8) == {"CPU": 1, "GPU": 1} and not warm(Stage(learn, train=TRAIN))
    assert resources(Stage(learn, train=None), 8) == {"CPU": 1}
    assert resources(Stage(learn, train=TRAIN), 0) == {"CPU": 1}


def test_a_training_that_asks_for_several_gpus_is_shared_by_as_many_processes(monkeypatch) -> None:
    """One for each, with a core; a share of one, or what trains nothing, is one process. On CPUs it is said."""
    learning, other = Stage(learn, train=TRAIN), Stage(third)

    def declared(**request: float) -> None:
        monkeypatch.setattr(sys.modules[__name__], "STAGE_RESOURCES", {"learn": request, "third": request})

    declared(gpu=2)
    assert resources(learning, 8) == {"CPU": 2, "GPU": 2} and resources(other, 8) == {"CPU": 1, "GPU": 2}
    assert resources(learning, 1) == {"CPU": 1, "GPU": 1} and resources(learning, 0) == {"CPU": 1}
    assert [processes(learning, None, gpus) for gpus in (0, 0.5, 1, 2)] == [1, 1, 1, 2]
    assert processes(other, None, 2) == 1
    declared(gpu=0.5)
    assert resources(learning, 8) == {"CPU": 1, "GPU": 0.5} and stated_processes(learning) is None
    declared(processes=3, gpu=0)
    assert resources(learning, 8) == {"CPU": 3} and processes_here(learning, "cpu") == 3
    with pytest.raises(ValueError, match="'third' asks for 3 processes, and only trainings are shared"):
        stated_processes(other)
    declared(processes=3, gpu=2, cpu=8)
    assert resources(learning, 0) == {"CPU": 8}
    with pytest.raises(ValueError, match="'learn' asks for 3 processes, .* and has 2"):
        resources(learning, 8)
    declared(processes=1, gpu=2)  # a training that uses its GPUs by itself
    assert resources(learning, 8) == {"CPU": 1, "GPU": 2} and processes(learning, 1, 2) == 1
    for request, said in (({"processes": 1.5}, "whole number from 1 on, not 1.5"), ({"gpu": 1.5}, "must be whole")):
        declared(**request)
        with pytest.raises(ValueError, match=said):
            asked(learning)


def test_the_table_of_this_package_is_not_for_stages_of_another() -> None:
    """An outside ``infer`` may train for all we know."""
    assert RESOURCES["infer"] and asked(Stage(infer)) == {"cpu": 1} and not warm(Stage(infer))


def test_a_module_says_what_its_stages_ask_for(monkeypatch) -> None:
    assert resources(Stage(third), 4) == {"CPU": 2, "GPU": 0.33} and resources(Stage(third), 0) == {"CPU": 2}
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "STAGE_RESOURCES", {"third": {"gpus": 1}})
    with pytest.raises(ValueError, match="no field of 'third' in STAGE_RESOURCES of .*test_resources: 'gpus'.*'gpu'"):
        asked(Stage(third))
    monkeypatch.setattr(here, "STAGE_RESOURCES", ["third"])
    with pytest.raises(ValueError, match="STAGE_RESOURCES of .* must hold one table of requests for each stage"):
        asked(Stage(third))


def test_a_file_changes_what_is_asked_for_while_it_is_in_force(tmp_path: Path, monkeypatch) -> None:
    file, other = tmp_path / "mine.toml", tmp_path / "other.toml"
    file.write_text(f'third.gpu = 0.5\n[learn]\ngpu = 0.25\nwarm = 1\n["{__name__}:infer"]\ncpu = 3\n')
    other.write_text("[third]\ncpu = 7\n")
    monkeypatch.setenv(VARIABLE, str(other))
    with taken_from(file):
        assert asked(Stage(third)) == {"cpu": 2, "gpu": 0.5}
        assert resources(Stage(infer), 1) == {"CPU": 3}
        training = Stage(learn, train=TRAIN)
        assert resources(training, 1) == {"CPU": 1, "GPU": 0.25} and not warm(training)  # a training is never warm
        assert f"raise 'gpu' (or 'gpu_memory') of 'learn' in {file}" in out_of_memory(training)
    assert os.environ[VARIABLE] == str(other) and asked(Stage(third))["cpu"] == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[learn]\ngpuu = 1\n", "no field of 'learn' in .*mine.toml: 'gpuu'; did you mean 'gpu'"),
        ("[learn]\ngpu = 'all'\n", "'gpu' of 'learn' must be a number of at least 0, not 'all'"),
        ("[learn]\ngpu = -1\n", "must be a number of at least 0, not -1"),
        ("learn = 1\n", "'learn' must be a table"),
        ("[learn", "is not TOML"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "mine.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=message), taken_from(file):
        pass
    assert VARIABLE not in os.environ


def test_a_share_of_a_gpu_is_a_share_of_its_memory(monkeypatch) -> None:
    assert memory_share(Stage(third)) == 0.33 and memory_share(Stage(infer)) == 1.0
    monkeypatch.setattr(sys.modules[__name__], "STAGE_RESOURCES", {"third": {"gpu": 0.5, "gpu_memory": 0.1}})
    assert memory_share(Stage(third)) == 0.1
    monkeypatch.setattr(sys.modules[__name__], "STAGE_RESOURCES", {"third": {"gpu": 2}})
    assert memory_share(Stage(third)) == 1.0 and resources(Stage(third), 1) == {"CPU": 1, "GPU": 1}
    limits: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)
    runtime.limit_memory("cpu", 0.33)
    runtime.limit_memory("cuda", 0.33)
    runtime.limit_memory("cuda:0", 1.0)  # a warm process that ran something smaller before
    assert limits == [0.33, 1.0]


def test_out_of_memory_says_which_file_to_write() -> None:
    assert runtime.is_out_of_memory(torch.OutOfMemoryError("full")) and not runtime.is_out_of_memory(MemoryError())
    assert out_of_memory(Stage(third)) == (
        "not enough GPU memory: 'third' asks for 0.33 of a GPU and may use 33% of its memory; raise 'gpu' (or "
        "'gpu_memory') of 'third' in a file given with --resources FILE (or MSS_RESOURCES=FILE), or make its "
        "batch smaller"
    )
    assert "it had the whole GPU: make its batch smaller" in out_of_memory(Stage(learn, train=TRAIN))


def test_no_row_of_the_table_is_for_a_stage_that_no_study_has() -> None:
    """And each says something that the rule does not."""
    assert all(
        set(request) & {"gpu", "warm", "gpu_memory"} or request.get("cpu", 1) != 1 for request in RESOURCES.values()
    )
    golden = (REPOSITORY / "tests" / "golden_keys.json").read_text()
    assert [name for name in RESOURCES if f'"{name}"' not in golden and name != "reconstruct"] == []


def test_the_stages_of_a_study_ask_for_what_they_did() -> None:
    assert "source_ablation" in STUDIES
    study = runpy.run_path(str(REPOSITORY / "studies" / "source_ablation.py"))["study"]
    trials = study.trials([0], False, {}, bind=lambda recipe: recipe)
    requests = {stage.name: (resources(stage, 8), warm(stage)) for stage in walk(t.root for t in trials).values()}
    whole, share, core = {"CPU": 1, "GPU": 1}, {"CPU": 1, "GPU": 0.25}, {"CPU": 1}
    assert requests == {
        "prepare_tracks": (core, False),
        "prepare_clips": (core, False),
        "prepare_weights": (core, False),
        "pretrain": (whole, False),
        "train_tail": (whole, False),
        "finetune": (whole, False),
        "infer": (share, True),
        "score_separator": (share, True),
        "evaluate": (core, True),
    }


def test_the_guide_quotes_the_requests_that_are_made(monkeypatch, tmp_path) -> None:
    """Its table is RESOURCES, and its example of a failure is what the file of its example gives."""
    text = (REPOSITORY / "docs" / "cluster.md").read_text(encoding="utf-8")
    quoted = {}
    for names, cpu, gpu, kept in re.findall(r"^\| (`[^|]*) \| ([\d.]+) \| ([\d.]+) \| (yes|no) \|$", text, re.M):
        for name in re.findall(r"`(\w+)`", names):
            quoted[name] = (float(cpu), float(gpu), kept == "yes")
    assert quoted == {
        name: (request.get("cpu", 1.0), request.get("gpu", 0.0), bool(request.get("warm")))
        for name, request in RESOURCES.items()
    }
    study = runpy.run_path(str(REPOSITORY / "studies" / "source_ablation.py"))["study"]
    trials = study.trials([2], True, {}, lambda recipe: recipe)
    stage = next(s for s in walk(t.root for t in trials).values() if s.name == "finetune")
    example = re.search(r"```toml\n(.*?)```", text, re.S)[1]
    (tmp_path / "resources.toml").write_text(example)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSS_RESOURCES", "resources.toml")
    failed = " ".join(re.search(r"^FAILED (.*?)```", text, re.S | re.M)[1].split())
    assert failed.endswith(out_of_memory(stage))


def test_memory_that_stages_on_one_gpu_could_take_together_is_at_most_all_of_it(monkeypatch) -> None:
    def check(**requests) -> None:
        monkeypatch.setattr(sys.modules[__name__], "STAGE_RESOURCES", requests)
        check_shares([Stage(third), Stage(infer)])

    check(third={"gpu": 0.5, "gpu_memory": 0.5}, infer={"gpu": 0.25})
    check(third={"gpu": 0.4, "gpu_memory": 0.5}, infer={"gpu": 1})  # two fit by turns, and by memory
    check(third={"gpu": 0.6, "gpu_memory": 0.7}, infer={"gpu": 0.35, "gpu_memory": 0.3})
    check(third={"gpu": 2, "gpu_memory": 1}, infer={"gpu": 0})
    with pytest.raises(ValueError, match="0.7 of 'third' \\+ 0.7 of 'third', which is 140% of its memory; lower"):
        check(third={"gpu": 0.5, "gpu_memory": 0.7}, infer={"gpu": 1})
    with pytest.raises(ValueError, match="0.4 of 'infer' \\+ 0.7 of 'third', which is 110%"):
        check(third={"gpu": 0.6, "gpu_memory": 0.7}, infer={"gpu": 0.4, "gpu_memory": 0.4})


def test_a_stage_may_name_the_type_of_gpu_it_needs(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys.modules[__name__], "STAGE_RESOURCES", {"third": {"gpu": 1, "accelerator": "A100"}})
    request = resources(Stage(third), 4)
    assert request == {"CPU": 1, "GPU": 1, "accelerator_type:A100": 0.001}
    assert resources(Stage(third), 0) == {"CPU": 1}
    t4, a100 = ({"CPU": 8.0, "GPU": 1.0, f"accelerator_type:{name}": 1.0} for name in ("T4", "A100"))
    stages_on_ray.check_fit({"third": request}, [t4, a100])
    stages_on_ray.check_fit({"third": request}, [{"CPU": 8.0, "GPU": 1.0}])  # it may still be one: it is not there yet
    with pytest.raises(RuntimeError, match="stage 'third' asks for .*accelerator_type:A100"):
        stages_on_ray.check_fit({"third": request}, [t4, {"CPU": 64.0}])
    file = tmp_path / "mine.toml"
    file.write_text("[third]\naccelerator = 100\n")
    with (
        pytest.raises(ValueError, match="'accelerator' of 'third' must be a type such as 'A100', not 100"),
        taken_from(file),
    ):
        pass


def test_gpus_that_nobody_tells_ray_of_are_promised_in_a_variable(monkeypatch) -> None:
    monkeypatch.delenv("MSS_GPUS", raising=False)
    assert nodes.promised() == []
    monkeypatch.setenv("MSS_GPUS", "4")
    assert [node["GPU"] for node in nodes.promised()] == [4.0]
    monkeypatch.setenv("MSS_GPUS", "many")
    with pytest.raises(ValueError, match="MSS_GPUS=many is not a number of GPUs"):
        nodes.promised()
