"""Cost beside effect: every number against a study that was reckoned by hand, and the Pareto front by brute force."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reports
from reports import cost
from reports.contract import Cost, Stage
from reports.cost import Amount, Amounts, front, over_runs
from reports.document import Section, Table
from reports.drawing import svg
from reports.findings import Findings
from reports.sections.cost import section
from tests.reports.test_edges import study

ARMS = {"base": [1.0, 1.1, 1.3], "new": [1.5, 1.8, 1.7], "big": [0.9, 1.0, 1.15]}
H = 3600.0
STUDENT = 4.302652729911275
"""97.5 % quantile of t with 2 degrees of freedom."""
GPU, CPU = {"device": "cuda", "device_name": "card"}, {"device": "cpu", "device_name": "chip"}


def stage(name: str, seconds: float, on: dict[str, str], held: dict[str, Any] | None) -> dict[str, Any]:
    return {"stage": name, "status": "done", "seconds": seconds, **on, **({"cost": held} if held else {})}


def counted(joules: float, devices: float = 1.0, share: float = 1.0, counter: str = "NVML") -> dict[str, Any]:
    return {"devices": devices, "joules": joules, "counter": counter, "share": share}


def stages() -> dict[str, dict[str, Any]]:
    """One preparation for all; a teacher for all runs of ``new``; one training per run. In GPU-hours and kWh per run:
    base 0.5, 1 and 1.5, and 0.1, 0.2 and 0.3; new 2 + 1, and 0.2 + 0.3; big 20, and 4. The preparation: 1 h, 0.01 kWh.
    """
    made = {
        "prepare": stage("prepare", H, CPU, counted(36_000, counter="RAPL")),
        "teacher": stage("pretrain", 2 * H, GPU, counted(720_000)),
    }
    for seed in range(3):
        made[f"base{seed}"] = stage("train", (seed + 1) * H, GPU, counted(360_000 * (seed + 1), 0.5, 0.5))
        made[f"new{seed}"] = stage("train", H, GPU, counted(1_080_000))
        made[f"big{seed}"] = stage("train", 10 * H, GPU, counted(14_400_000, 2))
    return made


def written(home: Path, made: dict[str, dict[str, Any]], arms: dict[str, list] = ARMS, **raw: Any) -> Path:
    """A study directory with these stages."""
    levels = {name: {} if name == "base" else {"loss.name": "l2"} for name in arms}
    place = study(home, arms, declare={"factors": [{"name": "method", "levels": levels}]})
    document = json.loads((place / "study.json").read_text())
    document["stages"] = made
    document["trials"] = [
        {
            "trial": f"{name}/seed{seed}",
            "variant": name,
            "seed": seed,
            "status": "done",
            "stages": {
                "prepare": "prepare",
                **({"pretrain": "teacher"} if name == "new" else {}),
                "train": f"{name}{seed}",
            },
        }
        for name, runs in arms.items()
        for seed in range(len(runs))
    ]
    (place / "study.json").write_text(json.dumps(document | raw))
    return place


def made_of(place: Path) -> tuple[Findings, Section]:
    found = reports.read(place)
    made = section(found, {}, reports.study_tables(place))
    assert made is not None
    return found, made


def rows(table: Table) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in table.texts}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return written(tmp_path, stages())


# ---- numbers


def test_what_a_run_costs(place: Path) -> None:
    _, made = made_of(place)
    table = made.tables[0]
    assert table.head == (
        *("variant", "runs", "difference", "95\N{NO-BREAK SPACE}% simultaneous CI"),
        *("GPU-hours", "CPU core-hours", "kWh of GPUs", "kWh of CPUs", "kWh of GPUs and CPUs", "front"),
    )
    half = STUDENT * 0.5 / 3**0.5  # 1.2421, more than the mean of 1: the interval ends at 0
    found = rows(table)
    assert found["base"] == [
        *("3", "reference", ""),
        f"1.00 [0, {1 + half:.2f}]",
        "1.00",
        f"0.200 [0, {0.2 + half / 5:.3f}]",
        "0.0100",
        f"0.210 [0, {0.21 + half / 5:.3f}]",
        "yes",
    ]
    assert found["new"][3:] == ["3.00", "1.00", "0.500", "0.0100", "0.510", "yes"]
    assert found["big"][3:] == ["20.0", "1.00", "4.00", "0.0100", "4.01", ""]
    contrast = reports.read(place).main.contrast("new")
    assert contrast is not None
    assert found["new"][1] == f"+{1.6666666666666667 - 1.1333333333333333:.2f}"
    assert found["new"][2] == "[{:+.2f}, {:+.2f}]".format(*contrast.simultaneous).replace("-", "−")


def test_what_a_variant_costs_alone_and_what_the_study_took(place: Path) -> None:
    _, made = made_of(place)
    assert made.parts[0].tables[0].head == (
        *("variant", "stages", "GPU-hours", "CPU core-hours", "kWh of GPUs", "kWh of CPUs", "kWh of GPUs and CPUs"),
        *("own stages", "own GPU-hours", "own CPU core-hours", "own kWh of GPUs", "own kWh of CPUs"),
        "own kWh of GPUs and CPUs",
    )
    found = rows(made.parts[0].tables[0])
    assert found["base"] == ["4", "3.00", "1.00", "0.600", "0.0100", "0.610", "3", "3.00", "0", "0.600", "0", "0.600"]
    assert found["new"] == ["5", "5.00", "1.00", "1.10", "0.0100", "1.11", "4", "5.00", "0", "1.10", "0", "1.10"]
    assert found["big"][:6] == ["4", "60.0", "1.00", "12.0", "0.0100", "12.0"]
    assert found["the study"][:6] == ["11", "68.0", "1.00", "13.7", "0.0100", "13.7"]


def test_the_same_numbers_as_a_table_of_numbers(place: Path) -> None:
    paths = reports.render(place)
    lines = {line["variant"]: line for line in csv.DictReader((place / "report-cost.csv").open())}
    half = STUDENT * 0.5 / 3**0.5
    expected = {
        "base": {"gpu_hours": (1, 0, 1 + half, 3, 3), "kwh": (0.21, 0, 0.21 + half / 5, 0.61, 0.6)},
        "new": {"gpu_hours": (3, 3, 3, 5, 5), "kwh": (0.51, 0.51, 0.51, 1.11, 1.1), "core_hours": (1, 1, 1, 1, 0)},
        "big": {"gpu_kwh": (4, 4, 4, 12, 12), "cpu_kwh": (0.01, 0.01, 0.01, 0.01, 0)},
    }
    costs = {row["variant"]: row for row in json.loads(paths["json"].read_text())["costs"]}
    for variant, measures in expected.items():
        assert lines[variant]["runs"] == "3"
        for measure, values in measures.items():
            for part, value in zip(("per_run", "low", "high", "all", "own"), values, strict=True):
                assert float(lines[variant][f"{measure}_{part}"]) == pytest.approx(value)
                assert costs[variant][f"{measure}_{part}"] == pytest.approx(value)
    tex = (place / "report-cost.tex").read_text()
    assert "0.510 & yes" in tex and "tab:edge-cost" in tex
    assert "## Cost beside effect" in paths["md"].read_text()
    assert '<h2 id="cost">Cost beside effect</h2>' in paths["html"].read_text()


def test_tables_of_scores_hold_no_time(place: Path) -> None:
    """They are byte for byte those of another run of the same study, which takes another time."""
    before = [(place / name).read_bytes() for name in ("report.csv", "report.tex") if reports.render(place)]
    raw = json.loads((place / "study.json").read_text())
    for each in raw["stages"].values():
        each["seconds"] *= 1.01
    (place / "study.json").write_text(json.dumps(raw))
    costs = (place / "report-cost.csv").read_bytes()
    reports.render(place)
    assert [(place / name).read_bytes() for name in ("report.csv", "report.tex")] == before
    assert (place / "report-cost.csv").read_bytes() != costs


# ---- the figure


def numbers(kind: str, drawing: str) -> list[list[float]]:
    """The places of the lines of a class."""
    found = re.findall(rf'<line class="{kind}" x1="([^"]*)" y1="([^"]*)" x2="([^"]*)" y2="([^"]*)"', drawing)
    return [[float(each) for each in one] for one in found]


def scale(drawing: str, anchor: str, place: int) -> Any:
    """The inverse of an axis, of its first and last tick."""
    told = re.findall(rf'<text class="tick" x="([^"]*)" y="([^"]*)" text-anchor="{anchor}">([^<]*)<', drawing)
    points = [(float(one[place]) - (4 if place else 0), float(one[2].replace("−", "-"))) for one in told]
    (a, low), (b, high) = points[0], points[-1]
    return lambda at: low + (at - a) / (b - a) * (high - low)


def test_marks_and_intervals_lie_where_the_numbers_are(place: Path) -> None:
    found, made = made_of(place)
    (figure,) = made.figures
    x, y = scale(figure.svg, "middle", 0), scale(figure.svg, "end", 1)
    assert "kWh of GPUs and CPUs per run" in figure.svg and "Pareto front" in figure.caption
    for place_, (name, kwh) in enumerate({"base": 0.21, "new": 0.51, "big": 4.01}.items()):
        contrast = found.main.contrast(name)
        effect = contrast.primary.difference if contrast else 0.0
        ahead = " ahead" if name != "big" else ""
        marks = re.findall(rf'<circle class="dot s{place_}{ahead}" cx="([^"]*)" cy="([^"]*)"', figure.svg)
        assert len(marks) == 2  # in the plane, and beside its name
        assert x(float(marks[0][0])) == pytest.approx(kwh, abs=0.01)
        assert y(float(marks[0][1])) == pytest.approx(effect, abs=0.01)
        dash = "" if contrast else " dashed"
        lines = numbers(f"series fine s{place_}{dash}", figure.svg)
        if contrast:
            ((at, one, same, other), (left, level, right, _)) = lines
            assert at == same and x(at) == pytest.approx(kwh, abs=0.01)
            assert (y(one), y(other)) == pytest.approx(contrast.simultaneous, abs=0.01)
            assert left == right and y(level) == pytest.approx(effect, abs=0.01)  # no spread of its cost over runs
        else:
            ((left, _, right, _),) = lines
            assert (x(left), x(right)) == pytest.approx((0.0, 0.21 + STUDENT * 0.1 / 3**0.5), abs=0.01)


def test_one_drawing_per_reference(tmp_path: Path) -> None:
    """Differences to unlike references are not drawn in one plane, and a front is of one plane."""
    arms = {"base": [1.0, 1.1, 1.3], "new": [1.5, 1.8, 1.7], "other": [0.2, 0.3, 0.25], "more": [0.4, 0.6, 0.5]}
    made = {"prepare": stage("prepare", H, CPU, None), "teacher": stage("pretrain", H, CPU, None)}
    made |= {f"{name}{k}": stage("train", (1 + n) * H, CPU, None) for n, name in enumerate(arms) for k in range(3)}
    place = written(tmp_path, made, arms)
    raw = json.loads((place / "study.json").read_text())
    raw["declaration"]["references"] = {"base": "base", "new": "base", "other": "other", "more": "other"}
    (place / "study.json").write_text(json.dumps(raw))
    _, found = made_of(place)
    assert [set(re.findall(r"<title>(\w+): ", figure.svg)) for figure in found.figures] == [
        {"base", "new"},
        {"other", "more"},
    ]
    assert [row[-1] for row in found.tables[0].texts] == ["yes"] * 4
    assert "other and more are on the Pareto front" in " ".join(found.paragraphs)


def test_costs_far_apart_are_on_a_logarithmic_axis(tmp_path: Path) -> None:
    made = stages()
    for seed in range(3):
        made[f"big{seed}"] |= {"seconds": 1000 * H, "cost": counted(3.6e9, 1)}  # 1000 kWh
    _, found = made_of(written(tmp_path, made))
    (figure,) = found.figures
    assert "per run, logarithmic" in figure.svg
    marks = re.findall(r'<circle class="dot s\d(?: ahead)?" cx="([^"]*)"', figure.svg)
    base, new, big = (float(marks[number]) for number in (0, 2, 4))
    assert (big - new) / (new - base) == pytest.approx(3.2924 / 0.38536, rel=0.01)  # log10 of the ratios of the means


def test_a_colour_is_that_of_other_figures_and_a_mark_tells_the_ninth_from_the_first(tmp_path: Path) -> None:
    arms = {"base": [1.0, 1.1, 1.3], **{f"v{k}": [1.0 + k / 10, 1.2, 1.3] for k in range(9)}}
    made = {"prepare": stage("prepare", H, CPU, None)}
    made |= {f"{name}{seed}": stage("train", H + seed, CPU, None) for name in arms for seed in range(3)}
    _, found = made_of(written(tmp_path, made, arms))
    drawing = found.figures[0].svg
    assert len(re.findall(r'<circle class="dot s0[^"]*"', drawing)) == 2
    assert len(re.findall(r'<polygon class="dot s0[^"]*"', drawing)) == 2 and svg.COLOURS == 8


# ---- what is said


def test_where_nothing_was_measured_the_reason_is_said(tmp_path: Path) -> None:
    made = stages()
    for each in made.values():
        why = "this machine shows no RAPL counter" if each["device"] == "cpu" else "the driver has no library"
        each["cost"] = {"devices": 1.0, "unmeasured": why}
    _, found = made_of(written(tmp_path, made))
    told = " ".join(found.paragraphs)
    assert "Energy of CPUs: not measured on this machine: this machine shows no RAPL counter." in told
    assert "Energy of GPUs: not measured on this machine: the driver has no library." in told
    assert found.tables[0].head[4:] == ("GPU-hours", "CPU core-hours", "front")
    assert "GPU-hours per run" in found.figures[0].svg


def test_a_stage_that_was_not_measured_leaves_the_variant_without_a_sum(tmp_path: Path) -> None:
    made = stages()
    made["new1"]["cost"] = {"devices": 1.0, "unmeasured": "the counter was reset"}
    _, found = made_of(written(tmp_path, made))
    table = rows(found.tables[0])
    assert table["new"][5] == "–" and table["base"][5].startswith("0.200")
    assert "GPU-hours per run" in found.figures[0].svg
    told = " ".join(found.paragraphs)
    assert "9 of 10 stages on GPUs were measured; the others not: the counter was reset (1 stage)." in told
    assert "given the share of a GPU that it asked for (0.5 to 1)" in told


def test_stages_of_before_count_whole_devices(tmp_path: Path) -> None:
    made = {key: {k: v for k, v in each.items() if k != "cost"} for key, each in stages().items()}
    made["big0"]["processes"] = 2
    _, found = made_of(written(tmp_path, made))
    assert rows(found.parts[0].tables[0])["big"][1] == "40.0"  # 2 x 10, 10 and 10
    told = " ".join([*found.paragraphs, *found.parts[1].points])
    assert "11 of 11 stages do not say what they held" in told
    assert "not measured on this machine: they were made before energy was recorded" in told


def test_a_smoke_run_says_that_its_costs_are_not_the_studys(tmp_path: Path) -> None:
    _, found = made_of(written(tmp_path, stages(), smoke=True))
    assert found.paragraphs[0].startswith("This is a smoke run") and "not those of the study" in found.paragraphs[0]
    _, found = made_of(written(tmp_path / "b", stages(), smoke=True, rehearsal=True))
    assert found.paragraphs[0].startswith("This is a rehearsal")


def test_scores_without_stages_have_no_cost(tmp_path: Path) -> None:
    place = study(tmp_path, ARMS)
    assert section(reports.read(place), {}, reports.study_tables(place)) is None
    paths = reports.render(place)
    assert not list(place.glob("report-cost.*")) and "Cost beside" not in paths["html"].read_text()


def test_a_variant_without_an_effect_is_named(place: Path) -> None:
    raw = json.loads((place / "study.json").read_text())
    raw["declaration"]["factors"][0]["levels"].pop("big")  # what it changes was not declared: refused
    (place / "study.json").write_text(json.dumps(raw))
    _, found = made_of(place)
    assert "Not in the figure, for want of an effect: big." in " ".join(found.paragraphs)
    assert rows(found.tables[0])["big"][3] == "20.0"


def test_stages_of_runs_that_have_not_ended_cost_nobody(place: Path) -> None:
    raw = json.loads((place / "study.json").read_text())
    raw["trials"] = [trial | {"status": "failed"} for trial in raw["trials"]]
    (place / "study.json").write_text(json.dumps(raw))
    paths = reports.render(place)
    assert "Cost beside" not in paths["html"].read_text() and not list(place.glob("report-cost.*"))


def test_the_front_is_said_and_is_that_of_the_means(place: Path) -> None:
    _, found = made_of(place)
    told = " ".join(found.paragraphs)
    assert "base and new are on the Pareto front of effect and kWh of GPUs and CPUs per run" in told
    assert "Not on it: big." in told


# ---- properties


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), max_size=12))
def test_the_pareto_front_is_that_of_brute_force(points: list[tuple[int, int]]) -> None:
    named = {str(number): (float(gain), float(price)) for number, (gain, price) in enumerate(points)}
    truth = {
        name
        for name, (gain, price) in named.items()
        if not any(g >= gain and c <= price and (g > gain or c < price) for g, c in named.values())
    }
    assert front(named) == truth


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=8))
def test_an_interval_of_a_cost_holds_its_mean_and_is_not_negative(values: list[float]) -> None:
    found = over_runs(values, 0.05)
    assert 0 <= found.low <= found.mean * (1 + 1e-9) and found.mean <= found.high * (1 + 1e-9)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 10_000), st.sampled_from([None, 0, 5, 70])), min_size=1, max_size=10
    )
)
def test_amounts_add_up_whatever_the_order(made: list[tuple[bool, int, int | None]]) -> None:
    several = [
        Stage(
            seconds=float(seconds),
            device="cuda" if gpu else "cpu",
            cost=Cost(joules=joules if joules is None else float(joules)),
        )
        for gpu, seconds, joules in made
    ]
    found = cost.amounts(several)
    assert found == cost.amounts(reversed(several))
    assert found.gpu.hours + found.cpu.hours == pytest.approx(sum(seconds for _, seconds, _ in made) / 3600)
    whole = all(joules is not None for gpu, _, joules in made if gpu)
    assert (found.gpu.kwh == found.gpu.kwh) is whole
    assert cost.amounts([]) == Amounts(Amount(), Amount())
