"""Whether a variant separates or is only quieter: gains over the mixture, against arithmetic on the score table."""

from pathlib import Path

import numpy as np
import pytest

import reports
from reports.sections import attenuation
from reports.text import number
from tests.reports.test_edges import study

SCORES = {  # by variant and metric, one score per seed
    "base": {
        "usdr": [5.0, 6.0, 7.0],
        "usdr_mixture": [-4.0] * 3,
        "si_sdr": [4.0, 4.5, 5.0],
        "si_sdr_mixture": [-4.5] * 3,
    },
    "new": {"usdr": [1.0] * 3, "usdr_mixture": [-4.0] * 3, "si_sdr": [-4.5] * 3, "si_sdr_mixture": [-4.5] * 3},
}
SECTION = {"kind": "attenuation", "metric": "usdr", "invariant": "si_sdr"}


def home(folder: Path, left_out: str = "") -> Path:
    extra = "".join(
        f"edge,{variant}/seed{seed},{variant},{variant},{seed},,,{metric},,{score}\n"
        for variant, metrics in SCORES.items()
        for metric, runs in metrics.items()
        for seed, score in enumerate(runs)
        if metric not in ("usdr", left_out)
    )
    arms = {variant: metrics["usdr"] for variant, metrics in SCORES.items()}
    return study(folder, arms, "usdr", declare={"sections": [SECTION]}, extra=extra)


def test_gains_over_the_mixture_are_those_of_the_score_table(tmp_path: Path) -> None:
    where = home(tmp_path)
    found = reports.read(where)
    options = {name: value for name, value in SECTION.items() if name != "kind"}
    made = attenuation.section(found, options, reports.study_tables(where))
    assert made is not None
    for row in made.tables[0].cells:
        means = {metric: float(np.mean(runs)) for metric, runs in SCORES[row[0].text].items()}
        wanted = [
            value
            for metric in ("usdr", "si_sdr")
            for value in (means[metric], means[metric] - means[f"{metric}_mixture"])
        ]
        assert [cell.value for cell in row[1:5]] == pytest.approx(wanted, abs=1e-12)
        assert [cell.text for cell in row[1:5]] == [number(w, 2, signed=k % 2 == 1) for k, w in enumerate(wanted)]
    assert [row[5].text for row in made.tables[0].cells] == ["separated", "only quieter"]
    assert "only quieter" in reports.render(where, ("md",))["md"].read_text()


def test_without_scores_of_the_mixture_nothing_is_said(tmp_path: Path) -> None:
    assert "only quieter" not in reports.render(home(tmp_path, "si_sdr_mixture"), ("md",))["md"].read_text()
