"""Stores that earlier releases wrote are opened, verified and continued by the code of now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import reports
from mss_core.graph import Context, read_history
from mss_core.store import Store, materialize, sources
from mss_core.store.catalogue import artefacts, named
from mss_core.store.command import main
from mss_core.study import stale
from mss_core.study.plan import make_plan
from tests.store import replay

RELEASES = sorted(path.name for path in replay.FOLDER.iterdir())


@pytest.fixture(params=RELEASES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(shutil.copytree(replay.FOLDER / request.param, tmp_path / "store"))


def test_it_verifies_and_is_listed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--store", str(store.root)]) == 0
    assert capsys.readouterr().out.startswith("9 artefacts, ") and main(["list", "--store", str(store.root)]) == 0
    assert "replay" in capsys.readouterr().out
    held = artefacts(store.root)
    owners = named(store.root, held)
    assert all(owners[each.key] == {"replay"} for each in held)


def test_nothing_of_it_is_made_again(store: Store) -> None:
    """Keys, manifests and files are still what they were; so is what these stages' source does."""
    plan = make_plan(replay.study.trials(range(replay.SEEDS), False, {}, lambda recipe: recipe), store)
    assert plan.needed == [] and plan.damaged == {} and len(plan.done) == 9
    found, unrecorded = stale.hits(plan, store)
    assert found == [] and unrecorded in (0, 9)
    for key in plan.done if not unrecorded else ():
        manifest = store.manifest(plan.stages[key])
        assert manifest is not None and sources.kept(store.root, manifest["source"]) is not None


def test_a_training_that_was_stopped_goes_on(store: Store) -> None:
    call = replay.root(0.5, replay.SEEDS)
    materialize(call, store, Context())
    trained = store.directory(call.arguments["model"])
    assert json.loads((trained / "weights.json").read_text())["began_at"] == 3
    assert [row["step"] for row in read_history(trained)] == [1, 2, 3, 4, 5, 6]
    numbers = [1 / (1 + number) for number in range(5)]
    expected = replay.SEEDS + 0.5 * (sum(numbers) + numbers[0])
    assert json.loads((trained / "weights.json").read_text())["weight"] == pytest.approx(expected, rel=1e-12)
    assert main(["verify", "--store", str(store.root)]) == 0


def test_its_study_is_reported(store: Store, tmp_path: Path) -> None:
    folder = store.root / "studies" / "replay"
    found = reports.read(reports.study_tables(folder))
    assert found.study.question == replay.study.question
    written = reports.write(found, reports.study_tables(folder), tmp_path, ("json", "md"))
    assert set(written) == {"json", "md"} and "fast" in written["md"].read_text()
