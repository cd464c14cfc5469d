"""One code everywhere: the table of files, the commit that travels with a copy, older code, and what was submitted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mss_core.source import files
from mss_core.study import codes, origin
from tests.conftest import REPOSITORY


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages without a repository, as rsync leaves it on another machine."""
    folder = tmp_path / "mss"
    for name in ("mss_core", "reports", "search_spaces"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def ask(folder: Path, expression: str) -> str:
    """What a fresh process that imports the packages of a copy says."""
    script = f"from mss_core.source import files; from mss_core.study import origin; import json; print({expression})"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_commit_and_changes_travel_with_a_copy(copy: Path) -> None:
    told = "json.dumps([origin.origin('mss_core', origin.__file__), origin.committed(), files.table()])"
    assert json.loads(ask(copy, told))[0].get("commit", "") == ""
    facts = {"commit": "c0ffee", "dirty": False, "committed": "2026-01-02T03:04:05Z"}
    files.write_checkout(copy, facts)  # on the machine that it was copied from
    here, committed, table = json.loads(ask(copy, told))
    assert (here, committed) == ({"commit": "c0ffee", "dirty": False}, "2026-01-02T03:04:05Z")
    assert table == files.table() and "mss_core/training.py" in table
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in table)
    (copy / "mss_core" / "deleted_elsewhere.py").touch()  # rsync leaves it, and no import reaches it
    assert json.loads(ask(copy, told))[0] == {"commit": "c0ffee", "dirty": False}
    with (copy / "mss_core" / "training.py").open("a") as file:
        file.write("\nEPOCHS = 1\n")
    assert json.loads(ask(copy, told))[0] == {"commit": "c0ffee", "dirty": True}


def test_a_checkout_s_file_says_what_git_says() -> None:
    assert (REPOSITORY / files.CHECKOUT).name in (REPOSITORY / ".gitignore").read_text()
    committed = origin.committed()
    assert len(committed) == 20 and committed.startswith("20") and committed.endswith("Z")


def test_other_code_is_named_by_file() -> None:
    here = {"mss_core/a.py": "1", "mss_core/b.py": "2", "mss_core/only_here.py": "3"}
    assert files.other_code(here, {"mss_core/a.py": "1"}) == ""
    others = {f"mss_core/{letter}.py": "9" for letter in "abcdef"}
    assert files.other_code(here, others) == (
        "it has other code: mss_core/a.py differs, mss_core/b.py differs, mss_core/c.py is missing and 3 more files"
    )


def test_older_code_says_so(tmp_path: Path, monkeypatch) -> None:
    def run(code: str, commit: str, committed: str) -> str:
        monkeypatch.setattr(codes.files, "table", lambda: {"mss_core/a.py": code})
        return codes.record(tmp_path, {"commit": commit, "dirty": False}, committed)

    assert run("first", "aaa", "2026-01-01T00:00:00Z") == ""
    assert run("first", "aaa", "2026-01-01T00:00:00Z") == ""
    assert run("second", "bbb", "2026-01-02T00:00:00Z") == ""
    again = run("first", "aaa", "2026-01-01T00:00:00Z")
    assert again.startswith("older code: the last study on this store ran bbb") and "newer than this one's aaa" in again
    assert run("second", "bbb", "2026-01-02T00:00:00Z") == ""
    assert "older code" in run("never seen here", "000", "2025-12-31T00:00:00Z")
    assert run("no commit", "", "") == ""
    assert run("edited", "", "") == ""
    assert "older code" in run("no commit", "", "")  # the edit undone, or a copy from before it
    lines = [json.loads(line) for line in (tmp_path / codes.NAME).read_text().splitlines()]
    assert [line["commit"] for line in lines] == ["aaa", "bbb", "aaa", "bbb", "000", "", "", ""]


def test_what_ray_submit_left_behind_is_told(tmp_path: Path, monkeypatch) -> None:
    facts = {"commit": "c0ffee" * 7, "dirty": False}
    home, package = tmp_path / "home", tmp_path / "mss"
    for folder in (home, package / "studies", package / "mss_core" / "study"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(codes, "__file__", str(package / "mss_core" / "study" / "codes.py"))
    monkeypatch.setattr(Path, "home", lambda: home)
    twin, script = package / "studies" / "mine.py", home / "mine.py"
    twin.write_text("study = 1\n")
    assert codes.submitted(facts, twin) == ""
    script.write_text("study = 1\n")
    assert codes.submitted(facts, script).startswith("code: c0ffeec0ffee, copied at unknown time; `ray submit` alone")
    (package / files.CHECKOUT).write_text("{}")
    assert "c0ffeec0ffee, copied here 20" in codes.submitted(facts, script)
    script.write_text("study = 2\n")
    with pytest.raises(ValueError, match=r"mine.py is not the .*studies/mine.py of the checkout on this machine; copy"):
        codes.submitted(facts, script)
