"""Which commit, or version, of whose package a result comes from; and the command that is printed."""

from __future__ import annotations

import importlib.util
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from mss_core.graph import Context, Stage
from mss_core.store import Store, materialize
from mss_core.store.command import show
from mss_core.study import origin
from reports.sections.reproduce import environment as printed
from tests.conftest import REPOSITORY

CODE = "def make(*, out, ctx):\n    (out / 'x').touch()\n"


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Path:
    """A package in a repository of its own; its only file."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    origin.origin.cache_clear()
    folder = tmp_path / "repository"
    file = folder / "my_paper" / "stages.py"
    file.parent.mkdir(parents=True)
    file.write_text(CODE)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return file


def stage(file: Path) -> Stage:
    spec = importlib.util.spec_from_file_location("my_paper.stages", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Stage(module.make)


def test_the_commit_is_that_of_the_package_a_stage_comes_from(package: Path, tmp_path: Path, capsys) -> None:
    head = git(package.parent, "rev-parse", "HEAD")
    told = origin.environment([stage(package)])
    assert told["packages"] == {"my_paper": {"commit": head, "dirty": False}}
    assert told["commit"] == git(REPOSITORY, "rev-parse", "HEAD") != head
    materialize(stage(package), Store(tmp_path / "store"), Context(environment=told))
    (manifest,) = (tmp_path / "store").glob("make/*/manifest.json")
    assert json.loads(manifest.read_text())["environment"]["packages"]["my_paper"]["commit"] == head
    show(tmp_path / "store", manifest.parent.name[:12])
    assert f"my_paper commit {head}" in capsys.readouterr().out
    assert origin.in_short({"commit": "c0ffee", "packages": told["packages"]}) == f"c0ffee; my_paper {head}"


@pytest.mark.parametrize("change", ["edited", "new file"])
def test_changes_since_the_commit_are_told(package: Path, change: str) -> None:
    if change == "edited":
        package.write_text(CODE + "\n")
    else:
        package = package.with_name("more.py")
        package.write_text(CODE)
    facts = origin.environment([stage(package)])["packages"]["my_paper"]
    assert facts == {"commit": git(package.parent, "rev-parse", "HEAD"), "dirty": True}
    assert origin.in_short({"packages": {"my_paper": facts}}).endswith("(with uncommitted changes)")


@pytest.mark.parametrize("where", ["venv/lib/site-packages", "ignored"])
def test_the_repository_around_an_environment_is_not_the_package_s(package: Path, where: str, monkeypatch) -> None:
    """It recorded the commit of whatever repository the virtual environment was made in."""
    (package.parents[1] / ".gitignore").write_text("ignored\n")
    installed = package.parents[1] / where / "my_paper" / "stages.py"
    installed.parent.mkdir(parents=True)
    installed.write_text(CODE)
    distribution = installed.parents[1] / "my_paper-3.1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: my-paper\nVersion: 3.1\n")
    (distribution / "top_level.txt").write_text("my_paper\n")
    monkeypatch.syspath_prepend(str(installed.parents[1]))
    assert origin.environment([stage(installed)])["packages"] == {"my_paper": {"version": "3.1"}}


def test_the_report_names_the_packages() -> None:
    class Findings:
        class study:
            environment = {
                "commit": "c0ffee",
                "packages": {"one": {"commit": "abc", "dirty": True}, "two": {"version": "3.1"}},
            }
            stages: dict = {}

    assert printed(Findings) == [  # type: ignore[arg-type]
        ("commit", "c0ffee"),
        ("package one", "abc (with uncommitted changes)"),
        ("package two", "3.1"),
    ]


def test_the_command_is_the_script_that_was_called(tmp_path: Path, monkeypatch, capsys) -> None:
    script = tmp_path / "any name.py"
    script.write_text("from mss_core.study.origin import command\nprint(command(['--seeds', '2']))\n")
    for folder, shown in ((tmp_path, "'any name.py'"), (tmp_path / "elsewhere", f"'{script}'")):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", [str(script)])
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["__main__"], "__spec__", None)
            runpy.run_path(str(script))
        assert capsys.readouterr().out.strip() == f"{Path(sys.executable).name} {shown} --seeds 2"
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", importlib.util.find_spec("studies.source_ablation"))
    assert origin.command(["--smoke"]) == f"{Path(sys.executable).name} -m studies.source_ablation --smoke"
