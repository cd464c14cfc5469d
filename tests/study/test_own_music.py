"""A small set of one's own, of real songs and clips: which weights are kept, and what is said of such a set.

Of five songs the one for validation has no bass, and the one for the test no vocals; of seventeen test clips three are
of a flute.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pytest
import soundfile

import reports
from mss_core.data.config import ClipSet, TrackSet
from mss_core.graph import Context, Stage
from mss_core.recipe import override
from mss_core.store import Store, materialize
from mss_core.study import Factor, Study, only_listed
from mss_core.study.binding import Binder
from mss_core.study.plan import make_plan
from mss_core.study.results import collect
from mss_core.systems.msspt import MSSPT, SOURCES, msspt_cnn, smoke
from reports.findings import Findings
from tests.conftest import tiny_settings

SPLITS = {"Hydrogen": "train", "Lithium": "train", "Potassium": "train", "Rubidium": "valid", "Sodium": "test"}
CLIPS = {"flute": (5, 2, 3), "piano": (4, 2, 4), "trumpet": (3, 2, 5), "violin": (3, 2, 5)}
"""Clips for train, valid and test, of the ten that there are of each."""
SEEDS = [0, 1]


def songs(source: Path, root: Path) -> Path:
    """Ten seconds of each song."""
    for folder in sorted(source.glob("t*/*")):
        place = root / SPLITS[folder.name] / folder.name
        place.mkdir(parents=True)
        for path in folder.glob("*.flac"):
            about = soundfile.info(path)
            start = 30 * about.samplerate if about.duration > 40 else 0
            samples, rate = soundfile.read(path, frames=10 * about.samplerate, start=start)
            soundfile.write(place / f"{path.stem}.wav", samples, rate)
    return root


def clips(source: Path, root: Path) -> Path:
    root.mkdir()
    with open(source / "clips.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ["path,label,split"]
    for label, counts in CLIPS.items():
        names = [row["path"] for row in rows if row["label"] == label]
        splits = [split for split, count in zip(("train", "valid", "test"), counts, strict=True) for _ in range(count)]
        for name, split in zip(names, splits, strict=True):
            shutil.copyfile(source / name, root / name)
            lines.append(f"{name},{label},{split}")
    (root / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def tiny(recipe: MSSPT) -> MSSPT:
    """Three looks of a step each, at a rate that moves a narrow separator far from where it began."""
    settings = {
        **tiny_settings(),
        "pretrain.phases.0.epochs": 3,
        "pretrain.phases.0.lr": 0.02,
        "pretrain.epoch_steps": 1,
        "separation": TrackSet("stems"),
        "tagging": ClipSet("clips", labels="label"),
    }
    small = smoke(recipe)
    there = {path: value for path, value in settings.items() if getattr(small, path.split(".")[0]) is not None}
    return override(small, {path: value for path, value in there.items() if not path.endswith(".size")})


STUDY = Study(
    name="own",
    question="Does separation pre-training help on my clips?",
    baseline=msspt_cnn(),
    factors=[Factor("source", {name: SOURCES[name] for name in ("no U-Net", "bass", "vocals")})],
    design=only_listed,
    reference={"source": "no U-Net"},
    seeds=SEEDS,
    seeded=("train_tail.seed", "finetune.seed"),
    metric="roc_auc",
    smoke=tiny,
)


@dataclass(frozen=True)
class Ran:
    """What a run left, the lines that it began with, and its stages by key."""

    store: Store
    folder: Path
    findings: Findings
    said: tuple[str, ...]
    stages: Mapping[str, Stage]

    def separator(self, source: str) -> Path:
        """Where that of a source lies."""
        trained = (stage for stage in self.stages.values() if stage.name == "pretrain")
        return next(self.store.directory(each) for each in trained if each.arguments["sources"] == (source,))


@pytest.fixture(scope="module")
def ran(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The study on these songs and clips, in this process, and its report."""
    root = tmp_path_factory.mktemp("own")
    data = {
        "stems": songs(shared_data / "everything_is_free", root / "stems"),
        "clips": clips(shared_data / "medley_solos", root / "clips"),
    }
    said: list[str] = []
    store = Store(root / "store")
    trials = STUDY.trials(SEEDS, True, {}, Binder(data, store.root, say=said.append))
    for trial in trials:
        materialize(trial.root, store, Context(data=data))
    plan = make_plan(trials, store)
    declaration = STUDY.declaration(SEEDS, True, {})
    folder = collect(STUDY, "own-smoke", plan, store, declaration, True, {}, "again", {})
    tables = reports.study_tables(folder)
    findings = reports.read(tables)
    reports.write(findings, tables, folder)
    return Ran(store, folder, findings, tuple(said), plan.stages)


def test_silence_chooses_no_checkpoint(ran: Ran) -> None:
    """By a loss over silence the quietest of the bass separators would be the best; the last is kept, as is told."""
    bass, vocals = (json.loads((ran.separator(source) / "best.json").read_text()) for source in ("bass", "vocals"))
    assert "loss" in vocals and "loss" not in bass and bass["epoch"] == bass["epochs"] == 3
    assert "valid_loss" not in (ran.separator("bass") / "history.jsonl").read_text()
    kept = {stage.kept.label: stage.kept for stage in ran.findings.study.stages.values() if stage.kept}
    assert (kept["pretrain bass"].by, kept["pretrain bass"].step) == ("", 3)
    assert kept["pretrain vocals"].by == "validation loss"


def test_the_source_that_validation_lacks_is_named_first(ran: Ran) -> None:
    assert ran.said[0] == (
        "caution: data set stems: sources silent in every valid item: no loss of theirs selects what is kept: bass"
    )
    assert ran.findings.cautions[0] == (
        "Sources silent in every valid item: no loss of theirs selects what is kept: bass."
    )


def test_the_cautions_of_so_small_a_set_name_what_they_are_about(ran: Ran) -> None:
    text = " ".join(ran.findings.cautions)
    for said in (
        "Sources silent in every test item: no score: vocals.",
        "There are 17 test clips",
        "flute 3, piano 4, trumpet 5 and violin 5",
        "There is one test track (Sodium)",
        ", source bass: ",
    ):
        assert said in text, said
    kept = [caution for caution in ran.findings.cautions if "kept the weights of the" in caution]
    assert not kept or all(" at step " in caution for caution in kept)
    assert "pretrain (" not in text


def test_the_page_says_nothing_that_cannot_be(ran: Ran) -> None:
    """No share beyond 0 to 100 points, no test of an area of three positives, no figure of anybody's print."""
    page = unescape((ran.folder / "report.html").read_text(encoding="utf-8"))
    text = re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style|svg).*?</\1>", " ", page, flags=re.DOTALL))
    shares = [float(found.replace("−", "-")) for found in re.findall(r"([-−+]?\d+\.\d+) points", text)]
    assert shares and all(-100 <= share <= 100 for share in shares)
    assert not re.search(r"\b(91\.47|published (claims|figures))\b", text)
