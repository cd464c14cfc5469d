"""A store with the sounds of a small study, as its own stages leave them: three variants, two runs, three songs."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest

from mss_core import artefact
from mss_core.graph import Stage
from mss_core.study import Factor, Study, run
from reports import study_tables
from reports.inputs.directory import Tables

RATE = 16_000
GAINS = {"plain": 0.3, "louder": 0.9, "noisy": 0.1}
NOISE = {"plain": 0.05, "louder": 0.1, "noisy": 0.4}


def separate_noise(*, kind: str, seed: int, out: Path, ctx: object) -> None:
    examples, rows = [], []
    for song in range(3):
        reference = np.random.default_rng(song).normal(0, 0.1, 2 * RATE)
        wrong = np.random.default_rng([song, seed, len(kind)]).normal(0, 0.1, 2 * RATE)
        sounds = {
            "mixture": reference + wrong,
            "reference": reference,
            "estimate": GAINS[kind] * (reference + NOISE[kind] * wrong),
        }
        cut = {name: sound.astype(np.float32) for name, sound in sounds.items()}
        examples.append(artefact.example(out, f"examples/{song}", f"song {song}", "vocals", cut, RATE, picture=False))
        rows.append((f"song {song}", "vocals", "sdr", "", -20 * np.log10(NOISE[kind]) + seed / 10 + song))
    artefact.write_examples(out, examples)
    artefact.write_scores(out, rows)


@dataclasses.dataclass(frozen=True)
class Recipe:
    kind: str = "plain"
    seed: int = 0

    def pipeline(self) -> Stage:
        return Stage(separate_noise, kind=self.kind, seed=self.seed)


STUDY = Study(
    name="heard",
    question="Which one sounds best?",
    baseline=Recipe(),
    factors=[Factor("kind", {"plain": {}, "louder": {"kind": "louder"}, "noisy": {"kind": "noisy"}})],
    reference={"kind": "plain"},
    metric="sdr",
    target="vocals",
    seeded=["seed"],
    seeds=range(2),
    smoke=lambda recipe: recipe,
)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's directory."""
    store = tmp_path_factory.mktemp("store")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        run(STUDY, ["--in-process", "--store", str(store)])
    return store / "studies" / "heard"


@pytest.fixture(scope="session")
def tables(home: Path) -> Tables:
    return study_tables(home)
