"""Stores and data in folders of any name: what is printed can be pasted, and a database lies where it should."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import sqlalchemy

from mss_core.folders import place
from mss_core.store import Store
from mss_core.study.flags import data_roots
from mss_core.study.tracking.mirror import database
from mss_core.study.tracking.tracker import Tracker

NAMES = ["a%20b", "a?b=c", "a#b", "100% (1) & 'two'", 'say "so"', "~x", "blank blank", "é;$HOME"]


@pytest.mark.parametrize("name", NAMES)
def test_a_database_lies_in_its_store(tmp_path: Path, name: str) -> None:
    """SQLAlchemy reads %XX and ? of a URL, and MLflow wrote beside the store or nowhere."""
    (tmp_path / name).mkdir()
    engine = sqlalchemy.create_engine(database(tmp_path / name))
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("create table x (y int)"))
        connection.commit()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.db")] == [Path(name) / "mlflow.db"]


@pytest.mark.parametrize("name", NAMES)
def test_the_line_that_opens_mlflow_can_be_pasted(tmp_path: Path, name: str) -> None:
    told = object.__new__(Tracker)
    told.store = Store(tmp_path / name)
    assert shlex.split(told.how_to_open())[-2:] == ["--store", str(tmp_path / name)]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zsh, dash and make leave ~ alone behind =."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MSS_DATA", raising=False)
    (tmp_path / "sets" / "clips").mkdir(parents=True)
    assert data_roots(["stems=~/music", "mtat=/x/~y", "irmas=~x"]) == {
        "stems": tmp_path / "music",
        "mtat": Path("/x/~y"),
        "irmas": Path("~x"),
    }
    monkeypatch.setenv("MSS_DATA", "~/sets")
    assert data_roots([]) == {"clips": tmp_path / "sets" / "clips"} and place("~") == tmp_path
