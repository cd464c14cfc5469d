"""Energy of stages: what is read of a machine's counters, what is said where there are none, what a manifest has."""

from __future__ import annotations

import ctypes
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_core import disk, energy
from mss_core.energy import MIG, Counter, Meter, Part, between, counters, of_cpus, of_gpus
from mss_core.graph import WORK, Context, Stage, Stopped
from mss_core.store import Store, read_manifest, run_stage
from mss_core.store.manifest import sealed
from mss_core.study.resources import part


def zone(root: Path, name: str, called: str, energy: int, most: int = 10_000_000) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "name").write_text(f"{called}\n")
    (root / name / "energy_uj").write_text(f"{energy}\n")
    (root / name / "max_energy_range_uj").write_text(f"{most}\n")


# ---- counters


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 999), min_size=1, max_size=30),
    st.integers(1000, 2000),
    st.integers(0, 999),
    st.floats(0, 1),
)
def test_a_counter_that_starts_again_loses_nothing(steps: list[int], range_: int, start: int, share: float) -> None:
    """Whatever is taken between two looks, if it is less than the counter's range, is counted once."""
    truth = list(itertools.accumulate([start, *steps]))
    looks = [value % range_ for value in truth]
    found = math.fsum(share * between(a, b, range_) for a, b in itertools.pairwise(looks))
    assert found == pytest.approx(share * (truth[-1] - truth[0]), abs=1e-6)


def test_a_counter_without_a_range_that_goes_back_was_reset() -> None:
    with pytest.raises(ValueError, match="reset"):
        between(5.0, 1.0)


def test_packages_and_memory_are_read_once_each(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 2_500_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 1_000_000)  # within the package
    zone(tmp_path, "intel-rapl:0:1", "dram", 500_000, 4_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 9_000_000)  # the whole machine, packages included
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 2_500_000)  # the first package again
    found = of_cpus(tmp_path)
    assert [(each.name, each.read(), each.range) for each in found] == [
        ("RAPL", 2.5, 10.0),
        ("RAPL", 0.5, 4.0),
        ("RAPL", 7.0, 10.0),
    ]


def test_a_machine_without_a_counter_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "none")
    assert counters("cpu") == ([], "this machine shows no RAPL counter")
    zone(tmp_path / "some", "intel-rapl:0", "package-0", 1)

    def refused(path: Path) -> bytes:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return path.read_bytes()

    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "some")
    monkeypatch.setattr(disk, "read", refused)
    assert counters("cpu") == ([], "RAPL's counters may not be read by this user")
    monkeypatch.setattr(energy, "LIBRARIES", ("no-such-library.so",))
    assert counters("cuda") == ([], "the GPU's driver has no NVML library here")


class Nvml:
    """NVML of a machine whose cards have taken so many millijoules, as ctypes calls it."""

    def __init__(self, cards: dict[str, int], status: int = 0, mig: int = 0, has_mig: bool = True) -> None:
        self.cards, self.status, self.mig = cards, status, mig
        self.nvmlInit_v2: Callable[[], int] = lambda: 0
        if has_mig:
            self.nvmlDeviceGetMigMode = self._mig

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        handle._obj.value = 1 + list(self.cards).index(uuid.decode())
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: ctypes.c_void_p, energy: Any) -> int:
        assert handle.value is not None
        energy._obj.value = list(self.cards.values())[handle.value - 1]
        return self.status

    def _mig(self, handle: ctypes.c_void_p, mode: Any, pending: Any) -> int:
        mode._obj.value = self.mig
        return 0


def test_a_card_is_asked_by_its_own_name() -> None:
    """What torch calls GPU 0 may be NVML's third."""
    cards = {"GPU-a": 1_000, "GPU-b": 2_000, "GPU-c": 2**40}
    names = ["GPU-c", "GPU-a"]
    found = of_gpus(range(2), Nvml(cards, has_mig=False), names.__getitem__)
    assert [(each.name, each.read(), each.range) for each in found] == [
        ("NVML", 2**40 / 1e3, math.inf),
        ("NVML", 1.0, math.inf),
    ]
    cards["GPU-a"] += 500
    assert found[1].read() == 1.5


@pytest.mark.parametrize(
    ("nvml", "said"),
    [
        (Nvml({"GPU-a": 1}, status=3), "this card has no counter of energy"),
        (Nvml({"GPU-a": 1}, status=4), "may not be read by this user"),
        (Nvml({"GPU-a": 1}, status=15), "status 15"),
        (Nvml({"GPU-a": 1}, mig=1), MIG),
    ],
)
def test_a_card_without_a_counter_of_its_own_says_why(nvml: Nvml, said: str) -> None:
    with pytest.raises(OSError, match=said):
        of_gpus([0], nvml, lambda index: "GPU-a")


# ---- shares


@settings(deadline=None)
@given(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=8), st.integers(1, 64))
def test_stages_that_fit_a_node_are_given_no_more_than_was_counted(cpus: list[int], cores: int) -> None:
    if sum(cpus) <= cores:
        assert sum(part({"CPU": each}, "cpu", cores).share for each in cpus) <= 1 + 1e-12


def test_a_stage_is_given_the_share_that_it_asked_for() -> None:
    assert part({"CPU": 1, "GPU": 0.25}, "cuda", 16) == Part(0.25, 0.25)
    assert part({"CPU": 2, "GPU": 2}, "cuda", 16) == Part(2, 1.0)
    assert part({"CPU": 4}, "cpu", 16) == Part(4, 0.25)
    assert part({"CPU": 1, "GPU": 1}, "cpu", 2) == Part(1, 0.5)  # it asked for a GPU where there is none
    assert part({}, "cpu", 0) == Part(1.0, 1.0)


# ---- a stage


TAKEN: list[float] = []
"""What the counter reads, look by look."""


def train(*, steps: int = 3, out: Path, ctx: Context) -> None:
    """Takes 10 J per step, and stops once after the second."""
    for step in range(1, steps + 1):
        TAKEN.append(TAKEN[-1] + 10.0)
        ctx.report(step=step, total=steps)
        if step == 2 and ctx.stop is not None:
            raise Stopped
    (out / "done.txt").write_text("done")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of a counter that begins again at 100 J."""
    TAKEN[:] = [85.0]
    counter = Counter("RAPL", lambda: TAKEN[-1] % 100.0, 100.0)
    monkeypatch.setattr(energy, "counters", lambda device, many=1: ([counter], ""))
    yield


def cost_of(store: Store, stage: Stage) -> Any:
    manifest = store.manifest(stage)
    assert manifest is not None
    return manifest.get("cost")


def test_a_manifest_has_the_share_of_what_was_counted(tmp_path: Path, counted: None) -> None:
    """Three steps of 10 J, over the counter's end; a quarter of them with a quarter of the machine."""
    for folder, held, joules in ((tmp_path / "a", Part(), 30.0), (tmp_path / "b", Part(4, 0.25), 7.5)):
        store, stage = Store(folder), Stage(train)
        run_stage(stage, store, Context(part=held))
        said = {"devices": held.devices or 1, "joules": joules, "counter": "RAPL", "share": held.share}
        assert cost_of(store, stage) == said


def test_energy_survives_a_resume(tmp_path: Path, counted: None) -> None:
    """20 J before the stop, and 30 J after it; what the machine took meanwhile is nobody's."""
    store, stage = Store(tmp_path), Stage(train)
    with pytest.raises(Stopped):
        run_stage(stage, store, Context(part=Part(), stop=lambda: True))
    TAKEN.append(TAKEN[-1] + 55.0)
    run_stage(stage, store, Context(part=Part()))
    assert cost_of(store, stage)["joules"] == 50.0


def test_a_stage_is_measured_in_all_its_attempts_or_not(
    tmp_path: Path, counted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = energy.counters
    none = ([], "this machine shows no RAPL counter")
    for place, first, then in (("a", lambda *_: none, found), ("b", found, lambda *_: none)):
        store, stage = Store(tmp_path / place), Stage(train)
        monkeypatch.setattr(energy, "counters", first)
        with pytest.raises(Stopped):
            run_stage(stage, store, Context(part=Part(), stop=lambda: True))
        monkeypatch.setattr(energy, "counters", then)
        run_stage(stage, store, Context(part=Part()))
        assert cost_of(store, stage)["unmeasured"].endswith(none[1]) and "joules" not in cost_of(store, stage)
    store, stage = Store(tmp_path / "c"), Stage(train)  # begun by a version that measured nothing
    monkeypatch.setattr(energy, "counters", found)
    with pytest.raises(Stopped):
        run_stage(stage, store, Context(stop=lambda: True))
    run_stage(stage, store, Context(part=Part()))
    assert cost_of(store, stage) == {"devices": 1, "unmeasured": "an earlier attempt at this stage was not measured"}


def test_where_nothing_is_counted_that_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage's clock saves with each of its checks; a file per check would be a cost without a use."""
    written: list[Path] = []
    monkeypatch.setattr(disk, "write_atomically", lambda path, *rest, **options: written.append(path))
    meter = Meter(tmp_path / "energy", Part(), ([], "this machine shows no RAPL counter"))
    meter.save()
    meter.save()
    assert written == [tmp_path / "energy"]


def test_a_counter_that_stops_answering_ends_the_measurement(tmp_path: Path) -> None:
    answers = iter([1.0, 2.0])

    def read() -> float:
        value = next(answers, None)
        if value is None:
            raise OSError("the card has fallen off the bus")
        return value

    meter = Meter(tmp_path / "energy", Part(), ([Counter("NVML", read)], ""))
    meter.save()
    meter.close()
    assert json.loads((tmp_path / "energy").read_text()) == {"joules": 1.0, "counters": ["NVML"]}
    assert meter.said() == {"devices": 1.0, "unmeasured": "the card has fallen off the bus"}


def test_several_cards_add_up(tmp_path: Path) -> None:
    cards = {"GPU-a": 1_000, "GPU-b": 5_000}
    found = of_gpus(range(2), Nvml(cards), list(cards).__getitem__)
    meter = Meter(tmp_path / "energy", Part(), (found, ""), devices=2)
    cards |= {"GPU-a": 4_000, "GPU-b": 5_500}
    assert meter.said() == {"devices": 2.0, "joules": 3.5, "counter": "NVML", "share": 1.0}
    meter.close()


def test_nothing_is_said_where_nobody_asks_and_old_manifests_stay_readable(tmp_path: Path, counted: None) -> None:
    """Keys and artefacts are as they were, with or without a cost."""
    store, stage = Store(tmp_path), Stage(train)
    folder = run_stage(stage, store, Context())
    manifest = read_manifest(folder)
    assert manifest is not None and "cost" not in manifest and store.damage(stage) is None
    other = {**{k: v for k, v in manifest.items() if k != "self"}, "cost": {"devices": 1.0, "joules": 2.0}}
    (folder / "manifest.json").write_text(json.dumps(sealed(other)))
    assert read_manifest(folder) is not None and Store(tmp_path).damage(stage) is None
    assert not (folder / WORK).exists()
