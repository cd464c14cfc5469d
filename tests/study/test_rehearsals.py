"""Every study rehearsed at full width on trees in the published layouts: ``make rehearsals``.

Parts of them are in ``make test``, all in this process, so that what every study imports is imported once. All share
one store, so that what several studies need is made once. Released weights are random values in the layout of the
public files (tests/layouts.json).
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from mss_core.data.files import facts
from mss_core.study import run
from tests.conftest import REPOSITORY
from tests.data import published
from tests.layouts import checkpoint
from tests.study.test_studies import STUDIES

ONE = ("--seeds", "1")
QUICK: dict[str, tuple[str, ...]] = {
    "activity_smoothing": ("--seeds", "2", "--set", 'targets=["vocals", "piano"]'),
    "demo": ONE,
    "embedding_baseline": (*ONE, "--only", "genre, musicnn, penultimate, both"),
    "hierarchy_transfer": (
        *(*ONE, "--only", "Slakh2100, clean guitars, sequential", "MS21, electric guitar, direct"),
        "four stems, other, mixed",
    ),
    "joint_start": (*ONE, "--only", "vocals, Glorot"),
    "open_unmix_comparison": (*ONE, "--only", "MUSDB18-HQ, ideal binary mask"),  # IASS: the two around it
    "open_unmix_stereo": (*ONE, "--only", "Open-Unmix", "IASS", "ideal ratio mask"),
    "real_tagger": (*ONE, "--only", "drums, steered towards"),
    "separator_transfer": ONE,
    "soft_bins": (*ONE, "--only", "-60 dB", "expander"),  # the others are this recipe with other thresholds
    "supervised_ceilings": (*ONE, "--only", "MUSDB vocals, X-UMX", "Slakh bass, Hybrid Demucs"),
    "training_free": (
        *(*ONE, "--only", "MUSDB vocals, TagBox", "MUSDB vocals, REPET-SIM"),
        "Slakh drums, TagBox, released code",
    ),
}
"""Rehearsed by ``make test``, with these flags: every data set, every kind of released weights but ImageNet's, every
system, statistics of one seed and of two; of levels that differ by a figure alone, a few."""
SETS: dict[str, tuple[str, ...]] = {
    "source_ablation": ("musdb18", "mtat", "fma_medium_minus_small", "imagenet"),
    "source_ablation_replicated": ("musdb18", "mtat", "fma_medium_minus_small", "imagenet"),
    "backend_pretraining": ("musdb18", "mtat", "imagenet"),
    "joint_start": ("musdb18", "mtat"),
    "finetune_search": ("musdb18", "mtat"),
    "separator_search": ("musdb18", "mtat"),
    "activity_ablation": ("mm",),
    "activity_smoothing": ("mm",),
    "label_weight": ("mm",),
    "open_unmix_comparison": ("mm", "musdb18hq"),
    "open_unmix_stereo": ("musdb18hq",),
    "median_filter": ("musdb18hq",),
    "blocks_ablation": ("musdb18hq",),
    "stem_quality": ("musdb18hq", "irmas"),
    "aemic_readings": ("musdb18hq", "irmas"),
    "soft_bins": ("musdb18hq", "irmas"),
    "separator_regularisation": ("musdb18hq", "irmas"),
    "demo": ("musdb18hq",),
    "mask_style": ("slakh2100",),
    "loss_type": ("slakh2100",),
    "query_by_example": ("slakh2100",),
    "hierarchy_transfer": ("slakh2100", "ms21", "musdb18hq"),
    "separator_transfer": ("musdb18hq", "ms21"),
    "training_free": ("musdb18hq", "slakh2100", "jukebox", "taggers"),
    "tagger_ablation": ("musdb18hq", "slakh2100", "jukebox", "taggers"),
    "steering_switches": ("musdb18hq", "jukebox", "taggers"),
    "embedding_baseline": ("mtat", "fma_medium_minus_small", "mtt_musicnn"),
    "real_tagger": ("stems", "mtt_musicnn", "mtt_vgg"),
    "supervised_ceilings": ("musdb18hq", "slakh2100", "xumx", "hdemucs"),
}


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the data that a study reads, each set once, and gives the folder that holds one folder for each."""
    root = tmp_path_factory.mktemp("music")

    def music_of(study: str) -> Path:
        for name in SETS[study]:
            if not (root / name).exists():
                make(name, root)
        return root

    return music_of


def make(name: str, root: Path) -> None:
    """A data set or weights as published, in a folder of that name."""
    maker: Callable[[Path], object] | None = getattr(published, name, None)
    if name != "taggers" and maker is not None:
        maker(root / name)
        return
    if name == "taggers":
        published.taggers(root)
        (root / name).mkdir()
    else:
        checkpoint(name, root / name)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def surroundings(data: Path) -> dict[str, str]:
    """Variables that a rehearsal needs: where the data are, and what reads MUSDB18's stem files."""
    path = os.pathsep.join([str(data / "musdb18" / "bin"), os.environ["PATH"]])
    return {"MSS_DATA": str(data), "PATH": path}


def rehearse(study: str, data: Path, store: Path, *flags: str) -> subprocess.CompletedProcess:
    """As a user types it."""
    command = [sys.executable, str(REPOSITORY / "studies" / f"{study}.py"), "--rehearse", "--store", str(store), *flags]
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), **surroundings(data)}
    return subprocess.run(command, capture_output=True, text=True, timeout=3000, env=variables)


@pytest.fixture
def rehearse_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[..., subprocess.CompletedProcess]:
    """The same in this process, and without MLflow: seconds of each study, and other tests' matter."""
    monkeypatch.setitem(sys.modules, "mss_core.study.tracking.tracker", None)

    def here(study: str, data: Path, store: Path, *flags: str) -> subprocess.CompletedProcess:
        for name, value in surroundings(data).items():
            monkeypatch.setenv(name, value)
        words = ["--rehearse", "--in-process", "--store", str(store), *flags]
        status: int | str | None = 0
        try:
            run(importlib.import_module(f"studies.{study}").study, words)
        except SystemExit as end:
            status = end.code
        return subprocess.CompletedProcess(words, int(status or 0), *capsys.readouterr())

    return here


def test_the_data_of_every_study_are_made() -> None:
    assert set(SETS) == set(STUDIES)


@pytest.mark.rehearsal
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_on_the_published_layouts(study: str, music: Callable[[str], Path], store: Path) -> None:
    told(rehearse(study, music(study), store, "--in-process"), study, store, {"done"})


@pytest.mark.slow
@pytest.mark.parametrize("study", QUICK)
def test_a_part_of_a_study_runs_on_the_published_layouts(
    study: str, music: Callable[[str], Path], store: Path, rehearse_here: Callable[..., subprocess.CompletedProcess]
) -> None:
    flags = QUICK[study]
    left_out = {"missing"} if "--only" in flags else set()
    told(rehearse_here(study, music(study), store, *flags), study, store, {"done", *left_out})


def told(done: subprocess.CompletedProcess, study: str, store: Path, expected: set[str]) -> None:
    """A rehearsal ended well, with trials of these kinds and a report that says what it is."""
    assert done.returncode == 0 and "every table is whole" in done.stderr, done.stderr[-5000:]
    (folder,) = (store / "studies").glob(f"{study}-rehearsal*")  # with what --set changes behind it
    described = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert described["rehearsal"] and {trial["status"] for trial in described["trials"]} == expected
    assert not [note for note in described["notes"] if note["kind"] == "skipped"]
    for name in ("report.html", "report.md", "report.csv", "report.tex", "report.json"):
        assert "rehearsal" in (folder / name).read_text(encoding="utf-8").lower(), name


def real_songs(source: Path, root: Path) -> Path:
    """Real songs as MUSDB18-HQ has them, by links: one under the name of a published validation song, and for the test
    the original of one of MUSDB18's, and one without bass."""
    album, original = source / "everything_is_free", source / "musdb18_excerpt" / "hq_train" / "Music Delta - 80s Rock"
    valid = facts()["musdb18"]["valid"][0]
    places = {f"train/{name}": album / "train" / name for name in ("Hydrogen", "Potassium", "Sodium")}
    places |= {f"train/{valid}": album / "train" / "Lithium", "test/Rubidium": album / "test" / "Rubidium"}
    places |= {"test/Lithium": album / "train" / "Lithium", f"test/{original.name}": original}
    for place, folder in places.items():
        (root / place).mkdir(parents=True)
        for path in [*folder.glob("*.flac"), *folder.glob("*.wav")]:
            (root / place / path.name).symlink_to(path)
    return root


@pytest.mark.slow
def test_a_study_of_separators_runs_on_real_songs(
    shared_data: Path, tmp_path: Path, rehearse_here: Callable[..., subprocess.CompletedProcess]
) -> None:
    real_songs(shared_data, tmp_path / "music" / "musdb18hq")
    store = tmp_path / "store"
    done = rehearse_here("blocks_ablation", tmp_path / "music", store, *ONE)
    assert done.returncode == 0 and "every table is whole" in done.stderr, done.stderr[-5000:]
    scores = pd.read_csv(store / "studies" / "blocks_ablation-rehearsal" / "scores.csv", keep_default_na=False)
    tracks = scores[(scores.metric == "sdr") & (scores.track != "")]
    sung = {track: set(rows.target) for track, rows in tracks.groupby("track")}
    assert "bass" not in sung.pop("Rubidium", set())
    assert sung == dict.fromkeys(("Lithium", "Music Delta - 80s Rock"), {"vocals", "bass", "drums", "other"})
    assert set(scores[scores.target == "macro"].variant.astype(str)) == {"3", "4"}


@pytest.mark.rehearsal
@pytest.mark.parametrize("flags", [("--seeds", "1"), ("--search", "each_variant", "--set", "search.trials=2")])
def test_flags_that_a_cluster_will_see(flags: tuple[str, ...], music: Callable[[str], Path], store: Path) -> None:
    """Under Ray, where the other rehearsals are in process."""
    run = partial(rehearse, "separator_transfer", music("separator_transfer"), store)
    planned = run("--dry-run", *flags)
    assert planned.returncode == 0, planned.stderr[-3000:]
    done = run(*flags)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "every table is whole" in done.stderr
