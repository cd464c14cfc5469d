"""The command ``mss``, and the examples that it copies."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from mss_core.__main__ import COMMANDS, main
from tests.conftest import REPOSITORY

EXAMPLES = REPOSITORY / "mss_core" / "examples"
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "ray", "mlflow", "optuna", "soundfile", "sklearn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def mss(folder: Path, *words: str, before: str = "") -> subprocess.CompletedProcess:
    program = f"{before}import sys; from mss_core.__main__ import main; sys.exit(main({list(words)}))"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("words, most", [(["without_audio"], 32), (["separator"], 74)])
def test_the_examples_are_short(words, most) -> None:
    lines = (EXAMPLES / f"{words[0]}.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= most


def test_every_command_has_a_main() -> None:
    for module in COMMANDS.values():
        tree = ast.parse((REPOSITORY / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        assert "main" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    "words, message",
    [
        (["reprt"], "no command 'reprt'; did you mean 'report'?"),
        (["new"], "mss new takes the name of a folder"),
        (["new", "a", "--with"], "mss new takes the name of a folder"),
        (["new", "reports"], "'reports' cannot name a package of yours"),
        (["new", "json"], "'json' cannot name a package of yours"),
        (["new", "numpy"], "'numpy' is a module that is installed, and yours would hide it"),
        (["new", "my-study"], "'my-study' cannot name a package of yours"),
        (["run"], "mss run takes the file of a study"),
        (["run", "gone/study.py"], "there is no file gone/study.py"),
        (["open", "gone"], "no study 'gone' in store/studies; there is none to choose"),
        (["compare", "gone", "away"], "no study 'gone' in store/studies"),
        (["stage", "abc", "--store", "gone"], "gone is no folder: name the store with --store"),
        (["stage", "abc", "--store", ".", "--data", "stems"], "--data takes NAME=PATH, not 'stems'"),
    ],
)
def test_mistakes(words, message, capsys) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_mistake_in_the_flags_of_metrics_is_one_line(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["metrics", "references"])
    assert capsys.readouterr().err == "error: ESTIMATES is missing (--help says what it takes)\n"


def test_new_names_the_study_as_its_folder(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "mine"]) == 0 and main(["new", "other", "--without-audio"]) == 0
    assert "mss run mine/study.py --in-process   (without Ray" in capsys.readouterr().out
    assert 'name="mine"' in (tmp_path / "mine" / "study.py").read_text()
    assert 'name="other"' in (tmp_path / "other" / "study.py").read_text()
    assert main(["new", "mine"]) == 2 and "is there already" in capsys.readouterr().err


def test_open_shows_the_page_of_a_study(tmp_path, monkeypatch, capsys) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda page: bool(shown.append(page)) or len(shown) == 1)
    folder = tmp_path / "store" / "studies" / "mine"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    words = ["open", "mine", "--store", "store"]
    assert main(words) == 2 and "report.html is not there: mss report mine writes it" in capsys.readouterr().err
    (folder / "report.html").write_text("<html>")
    assert main(words) == 0 and shown == [(folder / "report.html").as_uri()]
    assert capsys.readouterr().out == "store/studies/mine/report.html\n"
    (tmp_path / "mine").mkdir()  # as mss new makes it
    (folder / "study.json").write_text("{}")
    assert main(words) == 1 and shown[-1] == shown[0]
    assert main(["open", str(folder)]) == 1 and "no browser could be started" in capsys.readouterr().err


def test_a_report_needs_neither_torch_nor_ray_nor_mlflow(tmp_path) -> None:
    rows = [
        (method, seed, f"song{track}", level + 0.1 * seed + track / 10)
        for method, level in (("mine", 6.5), ("base", 6.0))
        for seed in range(3)
        for track in range(4)
    ]
    pd.DataFrame(rows, columns=["method", "seed", "track", "score"]).to_csv(tmp_path / "own.csv", index=False)
    words = ["report", "own.csv", "--factor", "method", "--reference", "base", "--higher-is-better", "--out", "out"]
    done = mss(tmp_path, *words, before=WITHOUT)
    assert done.returncode == 0, done.stderr
    assert "+0.500" in done.stdout and (tmp_path / "out" / "report.html").exists()
    absent = mss(tmp_path, "data", "list", before=WITHOUT)
    assert absent.returncode == 2 and "pip install 'mss-ablation[separation]'" in absent.stderr


MISTAKEN = """
from mss_core.study import Study, load
from study import study

reveal_type(study.check)
study.metrc
load(3, "a/seed0")
"""


@pytest.mark.slow
def test_types_are_found_in_the_wheel(tmp_path) -> None:
    """mypy --strict on both examples, in an environment that has the wheel and, beside it, what this one has."""
    made = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(copied(tmp_path))]
    subprocess.run([sys.executable, "-m", *made], check=True, capture_output=True, timeout=300)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True, timeout=60)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    with zipfile.ZipFile(next(tmp_path.glob("mss_ablation-*.whl"))) as wheel:
        wheel.extractall(site)
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    for example in ("separator", "without_audio"):
        mine = tmp_path / example
        mine.mkdir()
        shutil.copy(EXAMPLES / f"{example}.py", mine / "study.py")
        assert strict(tmp_path, mine) == "Success: no issues found in 1 source file\n"
    (mine / "mistaken.py").write_text(MISTAKEN)
    told = strict(tmp_path, mine, "mistaken.py")
    assert 'Revealed type is "def ()"' in told and '"Study" has no attribute "metrc"; maybe "metric' in told
    assert 'Argument 1 to "load" has incompatible type "int"; expected "str | Path"' in told
    for marker in site.glob("*/py.typed"):
        marker.unlink()
    assert "missing library stubs or py.typed marker" in strict(tmp_path, mine, "mistaken.py")


def copied(folder: Path) -> Path:
    """The files that a wheel is built of: building leaves folders beside them."""
    made = folder / "source"
    made.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, made)
    for name in ("mss_core", "reports", "search_spaces"):
        shutil.copytree(REPOSITORY / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    return made


def strict(folder: Path, place: Path, file: str = "study.py") -> str:
    python = folder / "env" / "bin" / "python"
    words = ["--strict", "--python-executable", str(python), "--cache-dir", str(folder / "cache"), file]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words], cwd=place, capture_output=True, text=True, timeout=500
    )
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("example, stages", [("--without-audio", 6), ("", 9)])
def test_what_new_writes_runs(tmp_path, example, stages) -> None:
    assert mss(tmp_path, *filter(None, ["new", "mine", example])).returncode == 0
    seeds = "1" if example else "2"
    done = mss(tmp_path, "run", "mine/study.py", "--in-process", "--seeds", seeds)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{stages} stages executed" in done.stderr
    table = pd.read_csv(tmp_path / "store" / "studies" / "mine" / "scores.csv")
    scored = table.dropna(subset="score").groupby(["variant", "seed"]).size()  # vocals rest in some tracks
    assert len(scored) == len(table.groupby(["variant", "seed"])) > 1
    assert (tmp_path / "store/studies/mine/report.html").exists()
