"""Effects beside the main table, published examples of R, figures, and the plain table's
report.
"""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats as scipy_stats
from statsmodels.stats.anova import anova_lm

import reports
from reports.__main__ import main as command
from reports.drawing import figures
from reports.inputs.study import read_study
from reports.statistics import hypothesis_tests, power
from reports.statistics.effects import variance_by_factor
from tests.reports.test_edges import study


def factorial(home: Path, seed: int, runs: int = 3) -> tuple[Path, pd.DataFrame]:
    """A 2 x 3 study with main effects and an interaction; its scores as a table."""
    rng = np.random.default_rng(seed)
    arms, variants, rows = {}, [], []
    for i, loss in enumerate(("l1", "l2")):
        for j, width in enumerate(("16", "32", "64")):
            name = f"{loss} / {width}"
            mean = 0.3 * i * rng.random() + 0.2 * j + 0.2 * i * j * rng.random()
            arms[name] = (mean + rng.normal(0, 0.2, runs)).tolist()
            levels = {"loss": loss, "width": width}
            recipe = {"loss.name": loss, "model.width": int(width)}
            variants.append({"variant": name, "levels": levels, "recipe": recipe})
            rows += [{"variant": name, "loss": loss, "width": width, "score": score} for score in arms[name]]
    factors = [
        {"name": "loss", "levels": {v: {"loss.name": v} for v in ("l1", "l2")}},
        {"name": "width", "levels": {v: {"model.width": int(v)} for v in ("16", "32", "64")}},
    ]
    declare = {"factors": factors, "reference": "l1 / 16", "design": "full_factorial"}
    return study(home, arms, variants=variants, declare=declare), pd.DataFrame(rows)


@pytest.mark.parametrize("seed", range(50))
def test_variance_by_factor_is_type_two_anova(tmp_path: Path, seed: int) -> None:
    home, table = factorial(tmp_path, seed)
    runs = {variant: dict(enumerate(group["score"])) for variant, group in table.groupby("variant", sort=False)}
    shares = variance_by_factor(runs, read_study(home / "study.json"))
    found = {part.name: part for part in shares}
    full = anova_lm(smf.ols("score ~ C(loss) * C(width)", table).fit(), typ=2)
    total = full["sum_sq"].sum()
    for name, term in (("loss", "C(loss)"), ("width", "C(width)"), ("interactions", "C(loss):C(width)")):
        assert found[name].df == full.loc[term, "df"]
        assert found[name].p == pytest.approx(full.loc[term, "PR(>F)"])
        assert found[name].eta_squared == pytest.approx(full.loc[term, "sum_sq"] / total)
    error = full.loc["Residual"]
    mean = error["sum_sq"] / error["df"]
    omega = (full.loc["C(width)", "sum_sq"] - 2 * mean) / (total + mean)
    assert found["width"].omega_squared == pytest.approx(max(0.0, omega))


@pytest.mark.parametrize("seeds, arms", [(n, k) for n in (2, 3, 5, 8) for k in (2, 3, 6)])
def test_variance_of_a_single_factor_is_one_way_anova(seeds: int, arms: int) -> None:
    """Also where all runs of an arm are equal: 6 runs in 3 arms once had more than all of the variance."""
    rng = np.random.default_rng(seeds)
    scores = rng.normal(-2, 0.4, (arms, seeds)) + rng.normal(0, 1, (arms, 1))
    scores[-1] = scores[-1, 0]
    none = SimpleNamespace(declaration=SimpleNamespace(factors=()), variants=())
    runs = {f"arm {k}": dict(enumerate(row)) for k, row in enumerate(scores)}
    between, within = variance_by_factor(runs, none)
    f, p = scipy_stats.f_oneway(*scores)
    assert between.p == pytest.approx(p) and (between.df, within.df) == (arms - 1, arms * (seeds - 1))
    assert between.eta_squared == pytest.approx((arms - 1) * f / ((arms - 1) * f + within.df))
    assert between.eta_squared + within.eta_squared == pytest.approx(1)


def test_published_examples_of_r() -> None:
    # ?sleep, ?t.test: extra hours of sleep of ten patients under two drugs.
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    welch = hypothesis_tests.welch(one, two)
    assert (welch.statistic, welch.df, welch.p) == pytest.approx((-1.8608, 17.776, 0.07939), abs=5e-4)
    assert (welch.low, welch.high) == pytest.approx((-3.3654832, 0.2054832), abs=1e-6)
    student = hypothesis_tests.student(one, two)
    assert (student.df, student.p) == pytest.approx((18, 0.07919), abs=5e-5)
    paired = hypothesis_tests.paired(dict(enumerate(one)), dict(enumerate(two)))
    assert (paired.statistic, paired.df, paired.p) == pytest.approx((-4.0621, 9, 0.002833), abs=5e-5)
    # ?wilcox.test: depression scale of nine patients at two visits; V = 40, two-sided p 0.03906.
    first = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    second = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    wilcoxon = hypothesis_tests.wilcoxon(dict(enumerate(first)), dict(enumerate(second)))
    assert wilcoxon.p == pytest.approx(0.03906, abs=5e-6)
    # ?power.t.test: power.t.test(n = 20, delta = 1, sd = 1) and (power = .90, delta = 1): n 22.02.
    assert power.power(1, math.sqrt(2 / 20), 38, 0.05) == pytest.approx(0.8689528, abs=1e-6)
    assert power.fewest(1, lambda n: (math.sqrt(2 / n), 2 * n - 2), 0.05, wanted=0.9) == 23


def marks(drawing: str) -> list[float]:
    """x of each diamond of a forest plot, in order."""
    found = re.findall(r'<polygon class="mark \w+" points="([\d.]+),', drawing)
    return [float(x) + 6 for x in found]


def test_forest_marks_lie_where_the_axis_says(findings) -> None:
    drawing = figures.forest(findings.main)
    ticks = re.findall(r'<text class="tick" x="([\d.]+)" y="[\d.]+" text-anchor="middle">([−\d.]+)<', drawing)
    (x0, v0), (x1, v1) = [(float(x), float(v.replace("−", "-"))) for x, v in (ticks[0], ticks[-1])]
    for x, contrast in zip(marks(drawing), findings.main.contrasts, strict=True):
        value = v0 + (x - x0) / (x1 - x0) * (v1 - v0)
        assert value == pytest.approx(100 * contrast.primary.difference, abs=0.05)


def test_interaction_and_track_figures(tmp_path: Path) -> None:
    home, _ = factorial(tmp_path / "a", 0)
    drawn = figures.interaction(reports.read(home))
    assert drawn.count("<polyline") == 3 and "16" not in figures.interaction(
        reports.read(study(tmp_path / "b", {"base": [1.0, 2.0], "new": [1.0, 3.0]}))
    )
    found = reports.read(study(tmp_path / "c", {"base": [1.0, 1.1, 1.3], "new": [1.5, 1.8, 1.4]}, tracks=30))
    effects = found.by_track["new"]
    assert len(effects) == 30 and [e.difference for e in effects] == sorted(
        (e.difference for e in effects), reverse=True
    )
    assert figures.item_effects(found.main, "new", effects).count("<circle") == 20


def test_same_bytes_whatever_the_hash_seed(study_directory: Path, rendered: dict[str, Path]) -> None:
    before = {name: path.read_bytes() for name, path in rendered.items()}
    code = "import reports, sys, pathlib; reports.render(pathlib.Path(sys.argv[1]))"
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    root = Path(reports.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code, str(study_directory)], check=True, cwd=root, env=environment)
    assert {name: path.read_bytes() for name, path in rendered.items()} == before


def test_own_table_with_tracks_renders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    rows = [
        f"{m},{s},song{t},vocals,sdr,{rng.normal(5 + (m == 'b'), 0.3)}"
        for m in "ab"
        for s in range(4)
        for t in range(6)
    ]
    table = tmp_path / "t.csv"
    table.write_text("model,seed,track,target,metric,score\n" + "\n".join(rows))
    arguments = [
        str(table),
        "--factor",
        "model",
        "--reference",
        "a",
        "--out",
        str(tmp_path / "out"),
        "--higher-is-better",
    ]
    assert command([*arguments, "--format", "html,json"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["report.html", "report.json"]
    (contrast,) = json.loads((tmp_path / "out" / "report.json").read_text())["contrasts"]
    assert contrast["test"] == "crossed" and contrast["items"] == 6
    assert contrast["naive_p"] < contrast["p"] < 0.05
    assert "seeds x tracks t" in capsys.readouterr().out
    assert command([*arguments, "--format", "pdf"]) == 2
    assert "unknown format 'pdf'" in capsys.readouterr().err
