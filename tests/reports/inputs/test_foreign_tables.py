"""Tables of somebody else: direction and unit of a metric, spellings of levels, seeds, empty rows."""

import csv
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.__main__ import main as command
from reports.inputs.foreign import layout
from reports.inputs.tables import read_scores
from reports.text import directed, style


def table(path: Path, metric: str, scores: dict[str, list[float]], tail: str = "") -> Path:
    lines = [f"{name},{seed},{metric},{score}" for name, runs in scores.items() for seed, score in enumerate(runs)]
    path.write_text("model,seed,metric,score\n" + "\n".join(lines) + "\n" + tail)
    return path


FALLS = {"A": [0.30, 0.31, 0.29, 0.30, 0.30], "B": [0.19, 0.20, 0.18, 0.19, 0.20]}


@pytest.mark.parametrize("metric", ["wer", "perplexity", "L1Freq", "weighted_mse", "val1_acc", "error_free_share"])
def test_a_direction_is_asked_for_and_never_guessed(tmp_path: Path, capsys, metric: str) -> None:
    """A word error rate that falls from .30 to .19 was "significantly worse"."""
    words = [str(table(tmp_path / "t.csv", metric, FALLS)), "--factor", "model", "--reference", "A"]
    assert command(words) == 2
    assert f"whether more '{metric}' is better or worse is not known" in capsys.readouterr().err
    assert command([*words, "--lower-is-better"]) == 0
    assert "is significantly better than A" in capsys.readouterr().out
    assert command([*words, "--higher-is-better"]) == 0
    assert "is significantly worse than A" in capsys.readouterr().out


def test_known_metrics_have_their_direction(tmp_path: Path, capsys) -> None:
    assert directed("mae") and not style("mae").higher_is_better and not directed("wer")
    assert command([str(table(tmp_path / "t.csv", "mae", FALLS)), "--factor", "model", "--reference", "A"]) == 0
    assert "is significantly better than A" in capsys.readouterr().out


def test_percent_is_not_multiplied_again(tmp_path: Path, capsys) -> None:
    assert style("accuracy", scores=[0.9, 0.8]).value(0.9) == "90.00"
    assert style("accuracy", scores=[90.0, 80.0]).value(90.0) == "90.00"
    percent = {name: [100 * score for score in runs] for name, runs in FALLS.items()}
    assert command([str(table(tmp_path / "t.csv", "accuracy", percent)), "--factor", "model", "--reference", "A"]) == 0
    assert "−10.80 points" in capsys.readouterr().out


@pytest.mark.parametrize("other", ["a", "A ", " A"])
def test_levels_that_differ_only_by_spelling_are_refused(tmp_path: Path, other: str) -> None:
    path = table(tmp_path / "t.csv", "sdr", {"A": [1.0, 2.0], other: [2.0, 3.0]})
    with pytest.raises(ValueError, match="differ only by blanks, case or the form of a number"):
        read_scores(path, "model")


def test_a_row_of_latex_that_begins_with_a_bracket_is_guarded(tmp_path: Path) -> None:
    """booktabs reads \\midrule[ as its width, and LaTeX takes the star of \\\\*."""
    path = tmp_path / "t.csv"
    scores = {"[0.25; 1.25]": [0.1, 0.11], "*none*": [0.2, 0.21], "base": [0.3, 0.31]}
    words = [str(table(path, "mae", scores)), "--factor", "model", "--reference", "base"]
    assert command([*words, "--out", str(tmp_path), "--format", "tex"]) == 0
    lines = (tmp_path / "report.tex").read_text().splitlines()
    assert any(line.startswith("{}[0.25; 1.25] &") for line in lines)
    assert any(line.startswith("{}*none* &") for line in lines) and any(line.startswith("base &") for line in lines)


def test_numbers_that_are_equal_are_one_level(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'1e-1' and '0.10'"):
        read_scores(table(tmp_path / "t.csv", "sdr", {"1e-1": [1.0], "0.10": [2.0]}), "model")


def test_seeds_are_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("model,seed,score\nA,0.2,1\nA,0.7,2\n")
    with pytest.raises(ValueError, match=r"line 2: seed is '0\.2', which is no whole number"):
        read_scores(path, "model")
    path.write_text("model,seed,score\nA,1.0,1\nA,9007199254740993,2\nA,9007199254740992,2\n")
    assert read_scores(path, "model").frame["seed"].tolist() == [1, 9007199254740993, 9007199254740992]


def test_empty_rows_and_empty_levels(tmp_path: Path) -> None:
    assert len(read_scores(table(tmp_path / "t.csv", "sdr", FALLS, tail=",,,\n,,,\n"), "model").frame) == 10
    path = table(tmp_path / "t.csv", "sdr", FALLS, tail=",0,sdr,0.1\n,1,sdr,0.12\n")
    assert read_scores(path, "model").variants() == ["A", "B", "(empty)"]  # None, as pandas writes it
    assert command([str(path), "--factor", "model", "--reference", ""]) == 0


def form(name: str) -> object:
    """What makes two names of levels different."""
    text = " ".join(name.split()).lower()
    try:
        return float(text)
    except ValueError:
        return text


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(
    lambda text: text.strip()
)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(CELLS, min_size=2, max_size=4, unique_by=form),
    scores=st.lists(st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 4)), min_size=8, max_size=8),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    comma=st.booleans(),
    blanks=st.lists(st.integers(0, 8), max_size=3),
    damage=st.sampled_from(["", "surplus", "missing"]),
    data=st.data(),
)
def test_a_table_in_any_dialect_is_the_same_table(
    names, scores, separator, quoting, end, encoding, comma, blanks, damage, data
) -> None:
    """Property: what is read does not depend on the dialect, and a row that does not fit is refused with its line."""
    rows = [
        [name, str(seed), score] for seed in range(2) for name, score in zip(names, scores[seed * 4 :], strict=False)
    ]
    written = [[*row[:2], str(row[2]).replace(".", ",") if comma else str(row[2])] for row in rows]
    if comma:
        written[0][2] = f"{rows[0][2]:.1f}".replace(".", ",")
        rows[0][2] = round(rows[0][2], 1)
    where = data.draw(st.integers(0, len(rows) - 1)) if damage else -1
    if damage:
        written[where] = [*written[where], "1"] if damage == "surplus" else written[where][:-1]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerow(["model", "seed", "score"])
    line = 1
    for number, row in enumerate(written):
        if number in blanks:
            text.write(separator * 2 + end)
            line += 1
        writer.writerow(row)
        line += 1
        bad = line if number == where else locals().get("bad", 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "T.CSV"
        path.write_bytes(text.getvalue().encode(encoding))
        if damage:
            with pytest.raises(ValueError, match=rf"line {bad}: \d fields where the head has 3"):
                read_scores(path, "model")
            return
        frame = read_scores(path, "model").frame
    assert frame["variant"].tolist() == [row[0] for row in rows]
    assert frame["seed"].tolist() == [int(row[1]) for row in rows]
    assert frame["score"].tolist() == pytest.approx([float(row[2]) for row in rows])


@pytest.mark.parametrize("name", ["t.tsv", "T.CSV", "t.txt"])
def test_suffixes_do_not_matter(tmp_path: Path, capsys, name: str) -> None:
    """Tables with tabs, another suffix or a suffix in capitals."""
    path = table(tmp_path / name, "mae", FALLS)
    path.write_text("sep=\t\n" + path.read_text().replace(",", "\t"))
    assert command([str(path), "--factor", "model", "--reference", "A"]) == 0
    assert "is significantly better than A" in capsys.readouterr().out


def test_a_comma_before_three_digits_may_part_thousands(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("model;seed;score\nA;0;1,234\nA;1;2,345\n")
    with pytest.raises(ValueError, match="line 2: score is '1,234', which is no number"):
        read_scores(path, "model")


def test_the_column_that_tells_rows_apart_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("model,seed,song,score\nA,0,x,1\nA,0,y,2\nB,0,x,1\nB,0,y,2\n")
    with pytest.raises(
        ValueError,
        match="line 3: a second score for .*; the column 'song' tells them apart: read it with --columns song=track,",
    ):
        read_scores(path, "model")
    path.write_text("model,seed,score,score\nA,0,1,2\n")
    with pytest.raises(ValueError, match="two columns are called 'score'"):
        read_scores(path, "model")


def test_tracks_that_are_one_number_in_two_forms_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("model,seed,track,score\nA,0,7,1\nA,0,8,2\nB,0,7.0,1\nB,0,8.0,2\n")
    with pytest.raises(ValueError, match="the tracks '7' and '7.0' differ only by .* the form of a number"):
        read_scores(path, "model")
    path.write_text("model,seed,track,score\nA,0,7,1\nA,0,07,2\nB,0,7,1\nB,0,07,2\n")
    assert len(read_scores(path, "model").frame) == 4


def test_tracks_that_arms_spell_in_two_ways_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("model,seed,track,score\nA,0,t0,1\nA,0,t1,2\nB,0,t0.wav,1\nB,0,t1.wav,2\n")
    with pytest.raises(ValueError, match="tracks 't0' and 't0.wav' differ only by case, blanks or suffix"):
        read_scores(path, "model")
    path.write_text("model,seed,track,score\nA,0,t0,1\nA,0,T0,2\nB,0,t0,1\nB,0,T0,2\n")
    assert len(read_scores(path, "model").frame) == 4  # two tracks, which every run has


def test_31_systems_with_one_run_each_are_compared_as_given(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    track = rng.normal(0, 2, 50)
    lines = ["model,seed,track,metric,score"]
    for k in range(31):
        lines += [f"s{k:02d},0,t{i},sdr,{track[i] + 0.05 * k + rng.normal(0, 0.5)}" for i in range(50)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert command([str(tmp_path / "t.csv"), "--factor", "model", "--reference", "s00", "--out", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "These models as given: on SDR" in said
    page = (tmp_path / "report.md").read_text()
    assert "these models as given: its conclusions reach to other tracks, not to other trainings" in page
    assert "would also have been called significant" not in " ".join((said, page)).replace("\n", " ")
    assert "would have been found with 80 % power" in page and "SD over tracks of the difference" in page


def test_the_scores_of_one_method_are_sent_to_the_table_of_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As mss_core.metrics writes them: no method and no seed."""
    path = tmp_path / "scores.csv"
    path.write_text("track,target,metric,score,aggregation,ill_conditioned\na,vocals,SDR,1.5,median,False\n")
    for arguments in ([], ["--factor", "method", "--reference", "x"]):
        assert command([str(path), *arguments]) == 2
        assert "--table METHODS.csv --label METHOD" in capsys.readouterr().err


WIDE = "model,track,seed,vocals,drums\n" + "".join(
    f"{model},{track},run{seed},{1 + gain + 0.1 * seed + track / 3},{2 + 0.1 * seed + track / 5}\n"
    for model, gain in (("A", 0.0), ("B", 1.0))
    for seed in range(3)
    for track in range(4)
)
FLAGS = ["--factor", "model", "--reference", "A"]


def test_columns_of_targets_and_runs_by_name(tmp_path: Path, capsys) -> None:
    (tmp_path / "t.csv").write_text(WIDE)
    words = [str(tmp_path / "t.csv"), *FLAGS, "--columns", "vocals=score,drums=score", "--wide", "target"]
    assert command([*words, "--higher-is-better", "--target", "vocals"]) == 0
    assert "B (+1.00, corrected" in " ".join(capsys.readouterr().out.split())
    frame = read_scores(tmp_path / "t.csv", "model", layout("vocals=score,drums=score", wide="target")).frame
    assert set(frame["target"]) == {"vocals", "drums"} and set(frame["seed"]) == {0, 1, 2} and len(frame) == 48
    assert set(frame["metric"]) == {"score"}
    assert command([str(tmp_path / "t.csv"), *FLAGS, "--wide", "target"]) == 2
    assert "--wide target: name the columns of scores by --columns" in capsys.readouterr().err


def test_one_column_of_scores_is_called_after_its_metric(tmp_path: Path, capsys) -> None:
    """`SDR=score` knows its unit and direction; a table with a column of metrics keeps those."""
    (tmp_path / "t.csv").write_text(WIDE.replace("vocals", "SDR"))
    assert command([str(tmp_path / "t.csv"), *FLAGS, "--columns", "SDR=score"]) == 0
    assert "On SDR, B (+1.00 dB" in capsys.readouterr().out
    (tmp_path / "m.csv").write_text("model,seed,metric,value\nA,0,sdr,1\nB,0,sdr,2\n")
    assert set(read_scores(tmp_path / "m.csv", "model", layout("value=score")).frame["metric"]) == {"sdr"}


def test_a_column_that_is_missing_can_be_named(tmp_path: Path, capsys) -> None:
    (tmp_path / "t.csv").write_text("model,seed,SDR\nA,0,1\nB,0,2\n")
    assert command([str(tmp_path / "t.csv"), *FLAGS]) == 2
    told = capsys.readouterr().err
    assert "no column 'score'; choose from 'SDR', 'model', 'seed'" in told and "--columns THEIRS=score" in told


@pytest.mark.parametrize("seeds", [("run0", "seed1"), ("run0", "1"), ("best", "run1"), ("run0.5", "run1")])
def test_runs_that_are_called_otherwise_each_have_no_number(tmp_path: Path, seeds: tuple[str, str]) -> None:
    lines = [f"{model},{seed},1" for model in "AB" for seed in seeds]
    (tmp_path / "t.csv").write_text("\n".join(["model,seed,score", *lines, ""]))
    with pytest.raises(ValueError, match="is no whole number; number the runs"):
        read_scores(tmp_path / "t.csv", "model")


@pytest.mark.parametrize(
    ("arm", "other"), [("é", "e\u0301"), ("A", "A\u200b"), ("A", "A\u00a0"), ("True", "true"), ("0.1", ".10")]
)
def test_levels_that_look_alike_are_named(tmp_path: Path, arm: str, other: str) -> None:
    with pytest.raises(ValueError, match="differ only by blanks, case or the form of a number"):
        read_scores(table(tmp_path / "t.csv", "sdr", {arm: [1.0], other: [2.0]}), "model")


@pytest.mark.parametrize("other", ["a_b", "A B", "a b.stem.mp4", "a  b.M4A"])
def test_tracks_that_another_system_spells_are_named(tmp_path: Path, other: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"model,seed,track,score\nA,0,a b,1\nA,0,c,2\nB,0,{other},1\nB,0,c,2\n")
    with pytest.raises(ValueError, match=r"the tracks 'a b' and .* differ only by case, blanks or suffix"):
        read_scores(path, "model")
    path.write_text(f"model,seed,track,score\nA,0,a b,1\nA,0,{other},2\nB,0,a b,1\nB,0,{other},2\n")
    assert len(read_scores(path, "model").frame) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A,99999999999999999999,1\nB,0,2\n", "line 2: seed is '99999999999999999999'; it must be below 2^63"),
        ("A,0,#DIV/0!\nB,0,2\n", "line 2: score is '#DIV/0!', which is no number; leave it empty where there is none"),
        ("A,0,1\nA,1,2\n", "has one level of 'model', 'A': there is nothing to compare it with"),
        ('A,0,"1\nB,0,2\n', "line 2: a quote is opened and not closed"),
        ("", "holds no scores: there is no row below its head"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_to_do(tmp_path: Path, capsys, text: str, told: str) -> None:
    (tmp_path / "t.csv").write_text("model,seed,score\n" + text)
    words = [str(tmp_path / "t.csv"), "--factor", "model", "--reference", "A", "--higher-is-better"]
    assert command(words) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


def test_a_true_minus_sign_and_a_column_of_row_numbers_are_read(tmp_path: Path) -> None:
    """As a report of ours prints numbers, and as pandas writes a table with its index."""
    path = tmp_path / "t.csv"
    path.write_text(",model,seed,score\n0,A,0,\u22121.5\n1,B,0,2\n", encoding="utf-8")
    assert read_scores(path, "model").frame["score"].tolist() == [-1.5, 2.0]


@pytest.mark.parametrize("name", ["t.dat", "scores", "T.XLSX"])
def test_a_file_that_is_there_is_a_table(tmp_path: Path, capsys, name: str) -> None:
    """That there is no such study was said of a table whose suffix is not known."""
    path = table(tmp_path / name, "mae", FALLS)
    words = [str(path), "--factor", "model", "--reference", "A", "--store", str(tmp_path / "store")]
    assert command(words) == 0 and "is significantly better than A" in capsys.readouterr().out
    path.write_bytes(b"PK\x03\x04\x00\x00")
    assert command(words) == 2
    assert "not a CSV file in UTF-8 (it holds the byte 0); save it as CSV, UTF-8" in capsys.readouterr().err
