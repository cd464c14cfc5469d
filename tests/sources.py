"""The source that every stage of every study reaches, as a table, and how a change of it is explained.

    python -m tests.sources                    write tests/golden_sources.json anew
    python -m tests.sources same STAGE WHY     record that a change means the same, shown on a small artefact

A stage whose source has changed needs a raised ``version``, or a record in mss_core/same_meaning.json. The second
command makes one: it computes the smallest artefact of the stage that the studies' smoke recipes give, cut as a
rehearsal is, with the committed source and with that of now, and compares all bytes. A stage that no smoke recipe has
reads a small tree in the layout of its data set.
"""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core import runtime
from mss_core.graph import Context, Stage
from mss_core.recipe import override
from mss_core.source import same as same_meaning
from mss_core.source import stage as of_stage
from mss_core.source.following import Reached
from mss_core.store import MANIFEST, Store, materialize
from mss_core.systems.msspt import MSSPT
from tests import golden

FILE = golden.FOLDER / "golden_sources.json"
ROOT = golden.FOLDER.parent
SAME = ROOT / "mss_core" / "same_meaning.json"
SMOKE = {
    "separator.widths": (4, 8, 16, 32, 48, 48),
    "separator.post": 4,
    "mixing.frames": 384,
    "mixing.valid_segments": 24,
    "infer.hop": 192,
}
SMOKE_CNN = {"tail.dropout": 0.5, "train_tail.phases.0.lr": 3e-3, "train_tail.phases.0.cosine": None}
"""What MSSPT's smoke recipe had when the first records were made: the bytes of all of them are of it."""

Table = Mapping[str, Mapping[str, Any]]
"""By stage: its version, and the hash of each definition that some call of it reaches."""


def table() -> Table:
    """What all studies reach now, at full and at smoke size."""
    merged: dict[str, Reached] = {}
    versions: dict[str, int] = {}
    seen = set()
    for name in golden.STUDIES:
        for smoke in (False, True):
            for stage in golden.stages(name, smoke).values():
                strings, types = of_stage.words(stage)
                call = (stage.function, strings, types)
                if call in seen:
                    continue
                seen.add(call)
                reached = of_stage.reach(*call)
                assert reached is not None, stage
                versions[stage.name] = stage.arguments["version"]
                one = merged.setdefault(stage.name, reached)
                one.seen |= reached.seen
                one.strings |= reached.strings
    return {
        name: {"version": versions[name], "functions": dict(merged[name].source().functions)} for name in sorted(merged)
    }


def unexplained(recorded: Table, now: Table, entries: tuple[Mapping[str, Any], ...] = ()) -> dict[str, list[str]]:
    """The stages whose source has changed while their version has not, with the definitions that differ and that no
    entry explains."""
    found = {}
    for name in recorded.keys() & now.keys():
        if recorded[name]["version"] == now[name]["version"]:
            names = same_meaning.differing(recorded[name]["functions"], now[name]["functions"], entries)
            if names:
                found[name] = names
    return dict(sorted(found.items()))


def recorded() -> Table:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def write(now: Table) -> None:
    lines = (f"{json.dumps(name)}: {json.dumps(row)}" for name, row in now.items())
    FILE.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


# ---- a change that means the same


@functools.cache
def smallest() -> Mapping[str, Stage]:
    """By name, a call of each stage of which all that comes before it is cut as far as it can be: of a smoke recipe, or
    where none has it, of one that reads a data set of which tests/data/trees.py has a small tree."""
    from mss_core.graph import walk
    from mss_core.study import rehearse

    found: dict[str, Stage] = {}
    for smoke in (True, False):
        for study_name in golden.STUDIES:
            study = golden.study(study_name)
            study = study.at_smoke_size() if smoke else study
            for variant in study.variants():
                recipe = study.recipe(variant, 0, smoke, {}, lambda recipe: recipe)
                if smoke and isinstance(recipe, MSSPT):
                    recipe = override(recipe, SMOKE)
                    if recipe.tail["name"] == "cnn_tail" and recipe.train_tail is not None:
                        recipe = override(recipe, SMOKE_CNN)
                recipe = rehearse.cut(recipe)
                for stage in walk([recipe.pipeline()]).values():
                    found.setdefault(stage.name, stage)
    return found


def content(stage: Stage, store: Path) -> dict[str, str]:
    """Compute a stage's artefact: the checksum of each of its files, without what says when and where it was made."""
    from mss_core.data.config import read_by
    from tests.data import trees

    data = {name: store / "data" / name for name in sorted({config.name for config in read_by(stage)} - {"synthetic"})}
    for name, folder in data.items():
        if not folder.exists():
            getattr(trees, name)(folder)
    folder = materialize(stage, Store(store / "store"), Context(data=data))
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return {name: file["sha256"] for name, file in manifest["files"].items()}


def made_on() -> str:
    """What the last bits of a sum depend on: processors of one name differ in their instructions."""
    import torch

    which = "with" if torch.cpu._is_avx512_bf16_supported() else "without"
    return f"{runtime.device_name('cpu')} {which} bfloat16 instructions, torch {torch.__version__}"


@contextlib.contextmanager
def committed() -> Iterator[tuple[str, Path]]:
    """The commit that is checked out, and a folder with its files. Raises ValueError where what is to be compared with
    it is in it already."""
    if not subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "mss_core"], cwd=ROOT, check=False).returncode:
        raise ValueError("mss_core is as it was committed: show that a change means the same before you commit it")
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield commit, Path(folder)


def computed(root: Path, *names: str) -> dict[str, dict[str, str]]:
    """The content of the smallest artefact of each stage by the source in a folder, in a process of its own."""
    words = [sys.executable, "-m", "tests.sources", "content", *names]
    done = subprocess.run(words, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{', '.join(names)} cannot be computed in {root}:\n{done.stderr}")
    lines = done.stdout.splitlines()[-len(names) :]
    return {name: json.loads(line) for name, line in zip(names, lines, strict=True)}


def entry(name: str, why: str, before: Table, now: Table, shown: Mapping[str, Any]) -> dict[str, Any]:
    """The record that all that differs in a stage's source means the same."""
    old, new = before[name]["functions"], now[name]["functions"]
    names = same_meaning.differing(old, new)
    return {
        "before": {each: old[each] for each in names if each in old},
        "after": {each: new[each] for each in names if each in new},
        "why": why,
        "shown": shown,
    }


def same(name: str, why: str) -> None:
    """Record that a stage's source means what it meant. Raises ValueError where the bytes say otherwise."""
    before, now = recorded(), table()
    if not unexplained({name: before[name]}, {name: now[name]}):
        raise ValueError(f"the source of {name} has not changed, or its version was raised")
    with committed() as (commit, folder):
        old, new = computed(folder, name)[name], computed(ROOT, name)[name]
    if old != new:
        files = sorted(file for file in old.keys() | new.keys() if old.get(file) != new.get(file))
        raise ValueError(f"{name} does not mean the same: {', '.join(files)} differ; raise its version")
    entries = json.loads(SAME.read_text(encoding="utf-8")) if SAME.exists() else []
    entries.append(entry(name, why, before, now, {"stage": name, "commit": commit, "files": new, "made_on": made_on()}))
    SAME.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    same_meaning.recorded.cache_clear()


def main(words: list[str]) -> None:
    if words[:1] == ["content"]:
        with tempfile.TemporaryDirectory() as store:
            for name in words[1:]:
                print(json.dumps(content(smallest()[name], Path(store))))
        return
    if words[:1] == ["same"]:
        same(*words[1:])
    now = table()
    left = unexplained(recorded(), now, same_meaning.recorded("mss_core"))
    for name, functions in left.items():
        print(f"{name} (version {now[name]['version']}): {', '.join(functions)} changed", file=sys.stderr)
    if left:
        sys.exit("raise the version of each, or show that it means the same: python -m tests.sources same STAGE WHY")
    write(now)


if __name__ == "__main__":
    main(sys.argv[1:])
