"""Every sentence and star agrees with numbers derived anew from the score table, with scipy
alone.
"""

import json
import math
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as oracle

import reports
from reports import level, prose
from reports.__main__ import main as command
from reports.sections.result import matrix
from reports.writers import latex
from tests.reports.test_edges import study

NUMBER = r"([+−]?[\d.]+|–)"
SENTENCE = re.compile(
    r"^(?P<variant>.+?) "
    r"(?:(?P<verb>raises|lowers) (?P<metric>.+?) by (?P<amount>[\d.]+)(?: \w+)? over"
    r"|shows no significant difference to) (?P<reference>.+?)"
    rf"(?: on .+?: (?P<difference>{NUMBER})(?: \w+)?)? "
    rf"\(95\s% simultaneous CI \[(?P<wide_low>{NUMBER}), (?P<wide_high>{NUMBER})\]; "
    rf"pointwise \[(?P<low>{NUMBER}), (?P<high>{NUMBER})\]; (?P<test>[\w -]+), "
    rf"t\((?P<df>[\d.]+)\) = (?P<t>{NUMBER}); p (?P<p>[=<] [\d.]+); "
    rf"corrected p (?P<corrected>[=<] [\d.]+) \(Bonferroni, family of (?P<family>\d+)\)\)\.$"
)


def value(text: str) -> float:
    return float(text.replace("−", "-"))


def agrees(printed: str, p: float) -> bool:
    """Whether `= .012` or `< .0001` is p, within the rounding of its digits."""
    sign, digits = printed.split(" ")
    if sign == "<":
        return p < float(digits)
    places = len(digits.split(".")[1]) if "." in digits else 3
    return abs(float(digits) - p) <= 0.5 * 10**-places + 1e-12


def derive(home: Path, metric: str, target: str, reference: str, family: int) -> dict[str, dict[str, float]]:
    """Welch tests of all variants from the CSV, by scipy."""
    table = pd.read_csv(home / "scores.csv", keep_default_na=False)
    table = table[(table["metric"] == metric) & (table["target"] == target)]
    table = table[table["score"] != ""].astype({"score": float})
    runs = {variant: group["score"].to_numpy() for variant, group in table.groupby("variant")}
    out = {}
    for variant in sorted(set(runs) - {reference}):
        found = oracle.ttest_ind(runs[variant], runs[reference], equal_var=False)
        interval, wide = found.confidence_interval(), found.confidence_interval(1 - 0.05 / family)
        out[variant] = {
            "difference": runs[variant].mean() - runs[reference].mean(),
            "base": runs[reference].mean(),
            "t": found.statistic,
            "df": found.df,
            "p": found.pvalue,
            "low": interval.low,
            "high": interval.high,
            "wide_low": wide.low,
            "wide_high": wide.high,
        }
    return out


def significant(home: Path, metric: str, target: str, reference: str, scale: float, family: int) -> int:
    """How many sentences of a rendered study call a difference significant; each of them, and each
    star, is as `derive` has it.
    """
    paths = reports.render(home)
    document = json.loads(paths["json"].read_text())
    expected = derive(home, metric, target, reference, family)
    table = pd.read_csv(paths["csv"], keep_default_na=False)
    rows = table[table["metric"] == metric].set_index("variant")
    half = 0.5 * 10**-2 + 1e-9
    clear = {}
    assert len(document["sentences"]) == len(expected)
    for sentence in document["sentences"]:
        match = SENTENCE.match(sentence)
        assert match, sentence
        variant, found = match["variant"], expected[match["variant"]]
        corrected = min(1.0, found["p"] * family)
        clear[variant] = corrected < 0.05
        assert bool(match["verb"]) == clear[variant], sentence
        assert match["reference"] == reference and int(match["family"]) == family
        if match["verb"]:
            assert match["verb"] == ("raises" if found["difference"] > 0 else "lowers")
            assert abs(float(match["amount"]) - abs(found["difference"]) * scale) <= half
        else:
            assert abs(value(match["difference"]) - found["difference"] * scale) <= half
        for name in ("low", "high", "wide_low", "wide_high"):
            told = found[name] * scale
            if scale == 100:  # a share ends at 0 and 100 points
                told = min(max(told, -100 * found["base"]), 100 - 100 * found["base"])
            assert abs(value(match[name]) - told) <= half, (sentence, name)
        assert abs(value(match["t"]) - found["t"]) <= half
        assert abs(float(match["df"]) - found["df"]) <= 0.05 + 1e-9
        assert agrees(match["p"], found["p"]) and agrees(match["corrected"], corrected)
        wanted = "".join("*" for limit in (0.05, 0.01, 0.001) if corrected < limit)
        assert rows.loc[variant, "stars"] == wanted
        for text in (unescape(paths["html"].read_text()), paths["md"].read_text()):
            assert sentence in text
        line = next(
            x for x in paths["tex"].read_text().splitlines() if x.startswith(variant.replace("_", r"\_") + " &")
        )
        cell = line.split("&")[1]
        assert (f"^{{{wanted}}}" in cell) == bool(wanted)
        assert ("textbf" in cell) == (found["difference"] > 0 and corrected < 0.05)
    headline = document["headline"]
    for variant, is_clear in clear.items():
        named = re.search(rf"(?:^|[ ,]){re.escape(variant)} \(([+−][\d.]+)", headline)
        assert bool(named) == is_clear, headline
        if named:
            assert abs(value(named[1]) - expected[variant]["difference"] * scale) <= half
    better = [v for v, is_clear in clear.items() if is_clear and expected[v]["difference"] > 0]
    worse = [v for v, is_clear in clear.items() if is_clear and expected[v]["difference"] < 0]
    assert ("significantly better" in headline) == bool(better)
    assert ("significantly worse" in headline) == bool(worse)
    return len(better) + len(worse)


def test_fixture(study_directory: Path) -> None:
    assert significant(study_directory, "roc_auc", "macro", "no U-Net", 100, 6) == 0


def test_random_studies(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    found = 0
    for k in range(12):
        means = {"base": 0.0} | {f"arm_{i}": rng.choice([0.0, 1.0, -1.0]) for i in range(4)}
        arms = {name: (mean + rng.normal(0, 0.3, 5)).tolist() for name, mean in means.items()}
        recipe = {"loss.name": "l1"}
        variants = [{"variant": v, "levels": {"method": v}, "recipe": recipe} for v in arms]
        home = study(tmp_path / str(k), arms, variants=variants, declare={"seeds": list(range(5)), "test": "welch"})
        found += significant(home, "sdr", "", "base", 1, 4)
    assert 5 < found < 43, "the studies must hold both kinds of sentence"


def test_power_sentence_is_of_the_design(findings) -> None:
    text = level.power_sentence(findings)
    rows = [row for row in findings.main.rows if len(row.runs) > 1]
    squares = sum((len(r.runs) - 1) * np.var(list(r.runs.values()), ddof=1) for r in rows)
    sd = math.sqrt(squares / sum(len(r.runs) - 1 for r in rows))
    assert f"SD of {100 * sd:.2f} points" in text
    assert f"{100 * findings.power.detectable:.2f} points would have been found" in text


def test_naive_sentence_names_those_the_pooled_test_would_star(findings) -> None:
    main = findings.main
    fooled = [c for c in main.contrasts if c.naive.p * main.family < 0.05 and c.p_corrected >= 0.05]
    text = prose.naive_sentence(findings)
    assert bool(text) == bool(fooled) and all(c.variant in text for c in fooled)


def test_lower_is_better_turns_the_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    runs = {"old": (0.50, 0.52, 0.51, 0.49), "new": (0.30, 0.31, 0.29, 0.32)}
    lines = [f"{v},{s},{x},l1" for v, xs in runs.items() for s, x in enumerate(xs)]
    table.write_text("model,seed,score,metric\n" + "\n".join(lines))
    assert command([str(table), "--factor", "model", "--reference", "old"]) == 0
    assert "new (−0.20000, corrected p < .0001) is significantly better than old" in capsys.readouterr().out


def test_latex_escapes_and_compiles(findings, tmp_path: Path) -> None:
    assert latex.escape("a_b & 5 % ±") == r"a\_b \& 5 \% $\pm$"
    table = latex.to_latex(matrix(findings), "a study")
    assert table.count(r"\begin") == table.count(r"\end{") and table.count(r"\\") == 8
    text = "\n".join([r"\documentclass{article}\usepackage{booktabs}\begin{document}", table, r"\end{document}"])
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine")
    (tmp_path / "t.tex").write_text(text)
    subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
