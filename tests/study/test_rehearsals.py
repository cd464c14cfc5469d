"""Every study rehearsed at full width on trees in the published layouts: ``make rehearsals``.

The cheap ones are part of ``make test``. All share one store, so that what several studies need is made once. Released
weights are random values in the layout of the public files (tests/layouts.json).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.data import published
from tests.layouts import checkpoint
from tests.study.test_studies import STUDIES

QUICK: dict[str, tuple[str, ...]] = {
    "supervised_ceilings": (),  # reads released weights of two layouts, trains nothing
    "blocks_ablation": (),
    "separator_transfer": (),  # with two seeds, so with all statistics
    "query_by_example": ("--seeds", "1"),
    "soft_bins": (),
}
"""Rehearsed by ``make test``, with these flags: of each system the study that takes least, but of MSSPT none:
its cheapest takes more than a minute of CPU time."""
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
    "median_filter": ("musdb18hq",),
    "blocks_ablation": ("musdb18hq",),
    "stem_quality": ("musdb18hq", "irmas"),
    "aemic_readings": ("musdb18hq", "irmas"),
    "soft_bins": ("musdb18hq", "irmas"),
    "separator_regularisation": ("musdb18hq", "irmas"),
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

    def make(study: str) -> Path:
        for name in SETS[study]:
            if not (root / name).exists():
                _make(name, root)
        return root

    return make


def _make(name: str, root: Path) -> None:
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


def rehearse(study: str, data: Path, store: Path, *flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "studies" / f"{study}.py"), "--rehearse", "--store", str(store), *flags]
    path = os.pathsep.join([str(data / "musdb18" / "bin"), os.environ["PATH"]])
    surroundings = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MSS_DATA": str(data), "PATH": path}
    return subprocess.run(command, capture_output=True, text=True, timeout=3000, env=surroundings)


def test_the_data_of_every_study_are_made() -> None:
    assert set(SETS) == set(STUDIES)


@pytest.mark.parametrize(
    "study",
    [pytest.param(name, marks=pytest.mark.slow if name in QUICK else pytest.mark.rehearsal) for name in STUDIES],
)
def test_a_study_runs_on_the_published_layouts(study: str, music: Callable[[str], Path], store: Path) -> None:
    done = rehearse(study, music(study), store, "--in-process", *QUICK.get(study, ()))
    assert done.returncode == 0, done.stderr[-5000:]
    folder = store / "studies" / f"{study}-rehearsal"
    described = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert described["rehearsal"] and {trial["status"] for trial in described["trials"]} == {"done"}
    assert not [note for note in described["notes"] if note["kind"] == "skipped"]
    for name in ("report.html", "report.md", "report.csv", "report.tex", "report.json"):
        assert "rehearsal" in (folder / name).read_text(encoding="utf-8").lower(), name


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
