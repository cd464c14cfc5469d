"""What was declared when, and what the report makes of it: one toy study run in sequence on one store (finding A5)."""

from __future__ import annotations

import errno
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import Mock

import pytest

import reports
from mss_core import disk
from mss_core.claim import ClaimLost
from mss_core.graph import Context, Stage
from mss_core.study import Factor, Study, run
from mss_core.study.ledger import record, reported
from reports import ledger
from reports.inputs.study import read_ledger
from reports.statistics.calibration import peeking


def finish(*, number: int, seed: int, out: Path, ctx: Context) -> None:
    score = 0.5 + 0.1 * number + ((seed * 7919 + number * 104729) % 13) / 1000
    (out / "scores.csv").write_text(
        f"track,target,metric,aggregation,score\n,macro,roc_auc,,{score}\n,macro,pr_auc,,{score}\n"
    )


@dataclass(frozen=True)
class Tape:
    number: int = 0
    seed: int = 0

    def pipeline(self) -> Stage:
        return Stage(finish, number=self.number, seed=self.seed)


STUDY = Study(
    name="tapes",
    question="Which tape?",
    baseline=Tape(),
    factors=[Factor("number", {"0": {}, "1": {"number": 1}, "2": {"number": 2}})],
    reference={"number": "0"},
    metric="roc_auc",
    smoke=lambda recipe: recipe,
    seeded=("seed",),
    seeds=range(3),
    test="half_pooled",
)


@pytest.fixture
def go(monkeypatch, tmp_path):
    """Run a study in this process, without MLflow, whose database takes ten seconds to set up; returns its folder."""
    monkeypatch.setattr(sys.modules["mss_core.study.run"], "_tracker", lambda *given: None)

    def run_it(study: Study, *flags: str) -> Path:
        run(study, ["--in-process", "--store", str(tmp_path), *flags])
        return tmp_path / "studies" / "tapes"

    return run_it


def test_the_first_declaration_is_there_before_any_score(go) -> None:
    folder = go(STUDY)
    (line,) = (folder / "declarations.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert entry["scored"] == [] and entry["seeds"] == [0, 1, 2] and entry["previous"] == ""
    assert entry["declared"] == json.loads((folder / "study.json").read_text())["declared"]
    findings = reports.read(folder)
    assert ledger.before_the_run(findings.study) and findings.deviations == ()
    go(STUDY)  # the same again: a line more, no change
    again = reports.read(folder)
    assert len(again.study.ledger) == 2 and len(again.study.ledger[1].scored) == 9
    assert ledger.before_the_run(again.study) and again.deviations == ()
    assert "declared before the run" in reports.render(folder)["html"].read_text()


def test_more_seeds_after_results_are_a_look_and_it_says_what_it_costs(go) -> None:
    go(STUDY)
    folder = go(STUDY, "--seeds", "5")
    findings = reports.read(folder)
    told = " ".join(findings.deviations)
    assert "when 9 trials had scores: seeds: 3 seeds → 5 seeds" in told
    assert "looked at 2 times (with 3 and 5 seeds)" in told and "fooled in" in told
    assert not ledger.before_the_run(findings.study)
    assert "declared before the run" not in reports.render(folder)["html"].read_text()


@pytest.mark.parametrize(
    "change, told",
    [
        ({"test": "welch"}, "test: half_pooled → welch"),
        ({"alpha": 0.1}, "alpha: 0.05 → 0.1"),
        ({"metric": "pr_auc"}, "metric: roc_auc → pr_auc"),
        ({"reference": {"number": "1"}}, "reference: 0 → 1"),
        ({"correction": "holm"}, "correction: bonferroni → holm"),
    ],
)
def test_a_change_after_results_is_a_deviation(go, change, told: str) -> None:
    go(STUDY)
    findings = reports.read(go(replace(STUDY, **change)))
    assert any("when 9 trials had scores" in text and told in text for text in findings.deviations)
    assert any("looked at 2 times" in text for text in findings.deviations)


def test_editing_by_hand_is_a_deviation(go) -> None:
    folder = go(STUDY)
    raw = json.loads((folder / "study.json").read_text())
    for key, value in {"test": "welch", "metric": "pr_auc", "reference": "1", "alpha": 0.1}.items():
        edited = {**raw, "declaration": {**raw["declaration"], key: value}}
        (folder / "study.json").write_text(json.dumps(edited))
        assert any("does not have the hash" in text for text in reports.read(folder).deviations), key
    raw = {**edited, "declared": "0" * 64}
    (folder / "study.json").write_text(json.dumps(raw))
    assert any("none that the ledger has" in text for text in reports.read(folder).deviations)
    go(STUDY)
    lines = (folder / "declarations.jsonl").read_text().replace('"alpha": 0.05', '"alpha": 0.01').splitlines()
    (folder / "declarations.jsonl").write_text("\n".join(lines) + "\n")
    assert any("ledger of declarations was edited or damaged" in text for text in reports.read(folder).deviations)


def test_half_a_line_after_a_loss_of_power_costs_no_report(go) -> None:
    path = go(STUDY) / "declarations.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:100])
    assert len(reports.read(path.parent).study.ledger) == 1
    findings = reports.read(go(STUDY))
    assert [entry.intact for entry in findings.study.ledger] == [True, True] and findings.deviations == ()
    path.write_bytes(whole[:100] + path.read_bytes())  # as an older version left it: a line glued to half a line
    findings = reports.read(go(STUDY))
    assert any("edited or damaged" in text for text in findings.deviations)
    assert not ledger.before_the_run(findings.study)


def test_who_is_driver_no_more_declares_nothing(tmp_path: Path) -> None:
    """Another driver has gone on, and its line may be there: it must not be written over."""

    def refuse() -> None:
        (tmp_path / "declarations.jsonl").write_bytes(b"{}\n")
        raise ClaimLost("another has it")

    with pytest.raises(ClaimLost):
        record(tmp_path, {"seeds": [1]}, (), "", guard=refuse)
    assert not any((tmp_path / ".declarations").iterdir())
    assert (tmp_path / "declarations.jsonl").read_bytes() == b"{}\n"


def test_a_driver_that_sleeps_while_it_writes_costs_nobody_a_line(tmp_path: Path, monkeypatch) -> None:
    """Its rename came after another driver's: an older ledger lay over a newer one."""
    replace_file, slept = disk.write_atomically, []

    def late(path: Path, content: bytes) -> None:
        if not slept:
            slept.append(path)
            record(tmp_path, {"seeds": [2]}, (), "of the rival")
        replace_file(path, content)

    monkeypatch.setattr(disk, "write_atomically", late)
    record(tmp_path, {"seeds": [1]}, (), "of the sleeper")
    entries = read_ledger(tmp_path / "study.json")
    assert [(entry.commit, entry.intact) for entry in entries] == [("of the sleeper", True), ("of the rival", True)]


@pytest.mark.parametrize("links", [True, False])
def test_two_drivers_never_write_one_line(tmp_path: Path, monkeypatch, links: bool) -> None:
    """The rival records between the look at the ledger and the writing; some disks know no hard links."""
    if not links:
        monkeypatch.setattr(disk, "link", Mock(side_effect=OSError(errno.EPERM, "no links")))
    monkeypatch.setattr(disk, "sleep", lambda seconds: None)
    met = []

    def guard() -> None:
        if not met:
            met.append(1)
            record(tmp_path, {"seeds": [2]}, (), "of the rival")

    record(tmp_path, {"seeds": [1]}, (), "of the other", guard=guard)
    entries = read_ledger(tmp_path / "study.json")
    assert [(entry.commit, entry.intact) for entry in entries] == [("of the rival", True), ("of the other", True)]
    assert not [path for path in (tmp_path / ".declarations").iterdir() if path.suffix == ".tmp"]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"{}", b'{"trials": [1]}', b'{"trials": 3}'])
def test_damaged_results_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "study.json").write_bytes(content)
    with pytest.raises(ValueError, match="study.json is damaged; move it away"):
        reported(tmp_path)


def test_without_a_ledger_nothing_was_declared_before_the_run(go) -> None:
    folder = go(STUDY)
    (folder / "declarations.jsonl").unlink()
    findings = reports.read(folder)
    assert not ledger.before_the_run(findings.study)
    assert any("No ledger of declarations" in text for text in findings.cautions)


def test_the_cost_of_looking_is_that_of_the_audit() -> None:
    """One contrast at .05, from 3 seeds after every seed: to 5 about 9 %, to 10 about 15 %; one look keeps 5 %."""
    assert peeking([5], 1, 0.05) == pytest.approx(0.05, abs=0.012)
    assert peeking([3, 4, 5], 1, 0.05) == pytest.approx(0.09, abs=0.02)
    assert peeking(list(range(3, 11)), 1, 0.05) == pytest.approx(0.155, abs=0.03)
