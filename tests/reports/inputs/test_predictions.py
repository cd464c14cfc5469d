"""Tables of predictions through the command line, against scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from reports.__main__ import main as command
from reports.inputs import predictions
from reports.statistics.auc import of_runs


def table(seeds: int = 3, tags: tuple[str, ...] = ("rock", "jazz", "folk"), clips: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    truth = {tag: rng.integers(0, 2, clips) for tag in tags}
    return pd.DataFrame(
        [
            (model, seed, f"c{k}", tag, int(truth[tag][k]), round(rng.normal(gain * truth[tag][k], 1), 1))
            for model, gain in (("old", 0.6), ("new", 1.2))
            for seed in range(seeds)
            for tag in tags
            for k in range(clips)
        ],
        columns=["model", "seed", "item", "target", "truth", "score"],
    )


def run(path: Path, *flags: str) -> int:
    return command([str(path), "--factor", "model", "--reference", "old", *flags])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_areas_are_those_of_scikit_learn(tmp_path: Path, capsys, suffix: str) -> None:
    frame, path = table(), tmp_path / f"t{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    found = of_runs(predictions.read_table(path, "model")).set_index(["variant", "seed", "target"])
    areas: dict[tuple[str, int], list[float]] = {}
    for (model, seed, tag), one in frame.groupby(["model", "seed", "target"]):
        theirs = roc_auc_score(one["truth"], one["score"])
        assert found.loc[(model, seed, tag), "score"] == pytest.approx(theirs)
        areas.setdefault((model, seed), []).append(theirs)
    assert run(path, "--json", "-") == 0
    (contrast,) = json.loads(capsys.readouterr().out)
    means = [np.mean([np.mean(areas[model, seed]) for seed in range(3)]) for model in ("new", "old")]
    assert contrast["difference"] == pytest.approx(means[0] - means[1])
    assert (contrast["test"], contrast["items"], contrast["n"]) == ("seeds_clips", 60, [3, 3])


def test_one_run_each_is_delongs_test_of_these_models(tmp_path: Path, capsys) -> None:
    frame = table(seeds=1, tags=("rock",)).drop(columns="target")
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert run(tmp_path / "t.csv", "--out", str(tmp_path)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "These models as given: on ROC-AUC, new" in said and "DeLong z" in said
    assert "not for other trainings of them" in " ".join((tmp_path / "report.md").read_text().split())


def test_groups_of_clips_are_the_sample(tmp_path: Path, capsys) -> None:
    frame = table()
    frame["group"] = "song " + (frame["item"].str[1:].astype(int) // 4).astype(str)
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert run(tmp_path / "t.csv", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)[0]["items"] == 15


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda f: f.drop(5),
            "'old' with seed 0 has 179 of 180 predictions (none for 'c5', 'rock'). AUCs over different",
        ),
        (lambda f: pd.concat([f, f[:1]]), "a second prediction for variant 'old', seed"),
        (lambda f: f.assign(truth=f["truth"].replace(1, 2)), "it must be 0 or 1"),
        (lambda f: f.assign(truth=(np.arange(len(f)) // 7) % 2), "has truth 0 and 1 for"),
        (
            lambda f: f.assign(score=f["score"].astype(str).replace("0.1", "high")),
            "score is 'high'; it must be a finite",
        ),
        (lambda f: f.drop(columns="item"), "has no column 'item'"),
        (lambda f: f.assign(truth=1), "no target has items with truth 0 and items with truth 1"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, capsys, change, told: str) -> None:
    change(table()).to_csv(tmp_path / "t.csv", index=False)
    assert run(tmp_path / "t.csv") == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_predictions_in_any_dialect_are_the_same(tmp_path: Path, separator: str, encoding: str) -> None:
    """Separators, a decimal comma, truths in capitals, row numbers and the empty rows of a spreadsheet."""
    rng = np.random.default_rng(0)
    rows = [(name, seed, f"c{i}", i % 2, round(rng.random(), 4)) for name in "AB" for seed in (0, 1) for i in range(6)]
    plain, other = tmp_path / "plain.csv", tmp_path / "other.CSV"
    head = ("model", "seed", "item", "truth", "score")
    plain.write_text("\n".join(",".join(map(str, row)) for row in [head, *rows]))
    written = [("", *head)]
    for number, (name, seed, item, truth, score) in enumerate(rows):
        text = str(score) if separator == "," else str(score).replace(".", ",")
        written.append((str(number), name, str(seed), item, ("FALSE", "TRUE")[truth], text))
    lines = [separator.join(row) for row in [*written[:4], ("",) * 6, *written[4:], ("",) * 6]]
    other.write_bytes("\r\n".join(lines).encode(encoding))
    assert predictions.holds_predictions(other) and predictions.holds_predictions(plain)
    pd.testing.assert_frame_equal(
        *(predictions.read_table(path, "model").reset_index(drop=True) for path in (other, plain))
    )
    other.write_bytes("\r\n".join([*lines, separator.join(["24", "A", "0", "c9"])]).encode(encoding))
    with pytest.raises(ValueError, match=rf"line {len(lines) + 1}: 3 fields where the head has 5"):
        predictions.read_table(other, "model")
