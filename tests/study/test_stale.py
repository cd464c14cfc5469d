"""A hit on an artefact that other source made: what the plan says of it, in a repository of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mss_core.graph import Context, Stage, walk
from mss_core.source import modules, same, stage
from mss_core.store import Store, materialize
from mss_core.study import origin, stale
from mss_core.study.designs import Variant
from mss_core.study.plan import make_plan
from mss_core.study.study import Trial

STAGES = '''
from toypaper.middle import loss


def fit(*, width: int, version: int = 1, out, ctx) -> None:
    """Fit."""
    (out / "weights.txt").write_text(str(loss(width)))


def score(*, model, version: int = 1, out, ctx) -> None:
    (out / "scores.csv").write_text((model / "weights.txt").read_text())
'''
MIDDLE = "from toypaper.far import scale\n\n\ndef loss(x):\n    return scale(x) + 1\n"
FAR = "def scale(x):\n    # twice\n    return 2 * x\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package in a repository, committed."""
    package = tmp_path / "repository" / "toypaper"
    package.mkdir(parents=True)
    for name, text in {"__init__": "", "stages": STAGES, "middle": MIDDLE, "far": FAR}.items():
        (package / f"{name}.py").write_text(text)
    commit(package)
    monkeypatch.syspath_prepend(package.parent)
    forget()
    yield package
    forget()


def commit(package: Path) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-C", str(package.parent), *words], check=True, capture_output=True)


def forget() -> None:
    """As a new process would begin."""
    for cache in (stage._TREES, stage._SOURCES, stage._BY_KEY):
        cache.clear()
    for cached in (modules.roots, modules.lies_beside, same.recorded, origin.origin):
        cached.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "toypaper"]:
        del sys.modules[name]


def root() -> Stage:
    import toypaper.stages as stages

    return Stage(stages.score, model=Stage(stages.fit, width=3))


def made(store: Store, package: Path) -> None:
    call = root()
    facts = {"commit": "0" * 40, "packages": {"toypaper": origin.origin("toypaper", str(package / "stages.py"))}}
    materialize(call, store, Context(environment=facts))


def hits(store: Store) -> tuple[list[stale.Hit], int]:
    forget()
    call = root()
    return stale.hits(make_plan([Trial(Variant("a", {}, {}), 0, None, call)], store), store)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def formatted(package: Path) -> None:
    (package / "far.py").write_text("def scale( x ) :\n  return (\n    2*x\n  )\n")


def moved(package: Path) -> None:
    (package / "far.py").rename(package / "near.py")
    edit(package / "middle.py", "toypaper.far", "toypaper.near")


CHANGES: dict[str, tuple[Callable[[Path], Any], list[tuple[str, tuple[str, ...]]]]] = {
    "its source": (lambda p: edit(p / "stages.py", "str(loss", "repr(loss"), [("fit", ("fit",))]),
    "a callee two modules away": (lambda p: edit(p / "far.py", "2 * x", "3 * x"), [("fit", ("scale",))]),
    "a comment": (lambda p: edit(p / "far.py", "# twice", "# two times"), []),
    "a formatter": (formatted, []),
    "a move": (moved, []),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_hit_is_warned_of_where_its_source_means_something_else(what: str, folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made(store, folder)
    assert hits(store) == ([], 0)
    change, expected = CHANGES[what]
    change(folder)
    found, unrecorded = hits(store)
    assert [(hit.stage.name, hit.names) for hit in found] == expected and unrecorded == 0
    told = stale.lines(found, unrecorded)
    assert [line.startswith("stale? 1 fit artefact was made by other source: ") for line in told[:1]] == [True] * len(
        expected
    )
    if expected:
        with pytest.raises(ValueError, match="--strict: the store holds artefacts of other source\n.*fit"):
            stale.refuse(found)
    stale.refuse([])


def test_the_diff_is_from_the_commit_that_made_it(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made(store, folder)
    moved(folder)
    edit(folder / "near.py", "2 * x", "3 * x")
    found, _ = hits(store)
    text = list(stale.diff(found))
    assert text[0] == f"1 fit, made by {found[0].commit}" and len(found[0].commit) == 12
    assert "-    return 2 * x" in text and "+    return 3 * x" in text
    assert text[1] == f"--- toypaper.far:1 scale ({found[0].commit})" and text[2] == "+++ toypaper.near:1 scale (now)"


def test_the_diff_says_where_the_commit_is_not_what_ran(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    edit(folder / "far.py", "2 * x", "4 * x")  # not committed
    forget()
    made(store, folder)
    edit(folder / "far.py", "4 * x", "2 * x")
    found, _ = hits(store)
    assert found[0].commit.endswith("with uncommitted changes")
    assert any("it was changed and not committed" in line for line in stale.diff(found))


def test_what_the_store_cannot_say_is_said(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made(store, folder)
    edit(folder / "far.py", "2 * x", "3 * x")
    for path in (tmp_path / "store" / "sources").iterdir():
        path.unlink()
    found, _ = hits(store)
    assert [hit.names for hit in found] == [(stale.UNKNOWN,)]


def test_artefacts_from_before_sources_were_recorded_are_counted(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made(store, folder)
    for call in walk([root()]).values():
        path = store.directory(call) / "manifest.json"
        older = json.loads(path.read_text())
        path.write_text(json.dumps({name: value for name, value in older.items() if name not in ("self", "source")}))
    assert hits(store) == ([], 2)
    assert stale.lines([], 2) == ["2 artefacts are from before their source was recorded: nothing is known of it"]


def test_a_change_that_was_shown_to_mean_the_same_is_silent(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made(store, folder)
    edit(folder / "far.py", "2 * x", "x + x")
    found, _ = hits(store)
    before = json.loads(next((tmp_path / "store" / "sources").glob(f"{found[0].manifest['source']}*")).read_text())
    now = stage.of(found[0].stage)
    entry = {"before": {"scale": before["functions"]["scale"]}, "after": {"scale": now.functions["scale"]}}
    (folder / "same_meaning.json").write_text(json.dumps([entry]))
    assert hits(store) == ([], 0)
    (folder / "same_meaning.json").write_text("[{}]")
    with pytest.raises(ValueError, match="same_meaning.json is not a list of entries with 'before' and 'after'"):
        hits(store)
