"""Which contrasts are said to have run on different devices."""

from __future__ import annotations

from typing import Any

import pytest

from reports.contract import Stage, Study, Trial
from reports.declared import devices

H100, H200 = ({"device": "cuda", "device_name": name, "torch": "2.11"} for name in ("H100", "H200"))
CPU = {"device": "cpu", "device_name": "EPYC", "torch": "2.11"}


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ((H100, CPU), (H100, CPU), []),
        ((CPU, CPU), (CPU, {**CPU, "device_name": "Xeon"}), []),
        ((H100, CPU), (H200, CPU), ["H100", "H200"]),
        ((H100, CPU), (CPU, CPU), ["H100", "cpu"]),
        ((H100, H100), (H100, {**H100, "torch": "2.12"}), ["H100 with torch 2.11", "H100 with torch 2.12"]),
        ((H100, CPU), ({**H100, "kernels": "free"}, CPU), ["H100", "H100 and free kernels"]),
        ((H100, CPU), ({**H100, "torch": ""}, CPU), []),
        ((CPU, CPU), ({**CPU, "processes": 2}, CPU), ["cpu", "cpu in 2 processes"]),
    ],
)
def test_arms_are_told_apart_by_card_version_kernels_and_processes(
    one: tuple[dict[str, Any], ...], other: tuple[dict[str, Any], ...], said: list[str]
) -> None:
    stages = {"shared": Stage(name="prepare", **H200)}
    trials = []
    for arm, made in (("a", one), ("b", other)):
        mine = {name: Stage(name=name, **facts) for name, facts in zip(("train", "score"), made, strict=True)}
        stages |= {f"{name} {arm}": stage for name, stage in mine.items()}
        trials.append(
            Trial(
                name=arm, variant=arm, seed=0, stages={"prepare": "shared", **{name: f"{name} {arm}" for name in mine}}
            )
        )
    assert devices(Study(title="t", name="n", trials=tuple(trials), stages=stages), "a", "b") == said
