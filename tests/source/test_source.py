"""What changes a stage's fingerprint and what does not, on a package of the test's own."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mss_core.graph import Context, Stage
from mss_core.source import stage as of_stages
from mss_core.source.following import Source, Tree
from mss_core.source.modules import File, installed
from mss_core.source.same import differing as differ
from mss_core.source.stage import owners
from mss_core.store import Store, materialize, read_manifest, sources
from tests.conftest import REPOSITORY

STAGES = '''
"""Stages."""
from own import losses
from own.models import build
from own.settings import RATE as rate


def train(*, data, loss: str, network: dict, version: int = 1, out, ctx) -> None:
    """Train."""
    module = build(network["name"])  # by name
    for item in data:
        total = losses.LOSSES[loss](module(item), item) * rate
        if total < 0:
            raise ValueError(f"negative: {total}")
'''
MODULES = {
    "own": "",
    "own.stages": STAGES,
    "own.settings": "RATE: float = 0.1\nUNUSED = 3\n",
    "own.models": """
import importlib
import numpy as np

NAMES = {"small": ("own.networks", "Small"), "large": ("own.networks", "Large")}


def build(name):
    module, attribute = NAMES[name]
    return getattr(importlib.import_module(module), attribute)()
""",
    "own.networks": """
import numpy as np
from own.deep import weights


class Base:
    def __call__(self, x):
        return self.forward(x)


class Small(Base):
    width: int = 4

    def __init__(self):
        self.weights = weights(self.width)

    def forward(self, x):
        return np.dot(self.weights, x)


class Large(Small):
    width = 8
""",
    "own.deep": "import numpy\n\n\ndef weights(width):\n    return numpy.ones(width) / width\n",
    "own.losses": """
import numpy as np


def l1(x, y):
    return np.abs(x - y).mean()


def l2(x, y):
    return _squared(x - y).mean()


def _squared(x):
    return x * x


LOSSES = {"l1": l1, "l2": l2}
""",
}


def source(
    modules: dict[str, str], root: str = "own.stages.train", strings: tuple[str, ...] = ("small", "l1")
) -> Source:
    packages = {name.rpartition(".")[0] for name in modules}

    def read(name: str) -> File | None:
        return File(modules[name], name in packages, None) if name in modules else None

    tree = Tree(read, frozenset({"own", "theirs"}))
    reached = tree.reach_from(root, [], strings)
    assert reached is not None
    return reached.source()


BEFORE = source(MODULES)


def edited(module: str, *changes: tuple[str, str]) -> dict[str, str]:
    text = MODULES[module]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return {**MODULES, module: text}


def differing(after: Source) -> set[str]:
    return {
        name for name in BEFORE.functions | after.functions if BEFORE.functions.get(name) != after.functions.get(name)
    }


MEANING = {
    "the stage": ("own.stages", [("* rate", "* rate * 2")], {"train"}),
    "a callee two modules away": ("own.deep", [("/ width", "/ (width + 1)")], {"weights"}),
    "a method": ("own.networks", [("np.dot(self.weights, x)", "np.dot(x, self.weights)")], {"Small.forward"}),
    "a method of a base class": ("own.networks", [("self.forward(x)", "self.forward(2 * x)")], {"Base.__call__"}),
    "a field of a class": ("own.networks", [("width: int = 4", "width: int = 5")], {"Small"}),
    "a constant": ("own.settings", [("0.1", "0.2")], {"RATE"}),
    "a loss by name": ("own.losses", [("np.abs(x - y)", "np.abs(y - x) ** 1.0")], {"l1"}),
    "another network of that name": ("own.models", [('"Small")', '"Large")')], {"NAMES[small]", "Large"}),
    "what a module does when imported": (
        "own.deep",
        [("import numpy\n", "import numpy\nnumpy.seterr('raise')\n")],
        {"(on import)"},
    ),
    "a library's function": ("own.deep", [("numpy.ones", "numpy.zeros")], {"weights"}),
    "a kind of error": ("own.stages", [("ValueError", "KeyError")], {"train"}),
    "a default": ("own.stages", [("loss: str,", "loss: str = 'l1',")], {"train"}),
    "a whole number for a float": ("own.stages", [("total < 0:", "total < 0.0:")], {"train"}),
}


@pytest.mark.parametrize("what", MEANING)
def test_a_change_of_meaning_is_seen_and_named(what: str) -> None:
    module, changes, names = MEANING[what]
    after = source(edited(module, *changes))
    assert after.fingerprint != BEFORE.fingerprint
    assert differing(after) == names


SAME: dict[str, Callable[[], dict[str, str]]] = {
    "a comment": lambda: edited("own.stages", ("# by name", "# by its name, see models.py")),
    "a docstring": lambda: edited("own.stages", ('"""Train."""', '"""Train a network.\n\n    Long.\n    """')),
    "an annotation": lambda: edited("own.stages", ("network: dict", "network: dict[str, object]"), (" -> None", "")),
    "an annotation of a constant": lambda: edited("own.settings", ("RATE: float", "RATE")),
    "a formatter": lambda: edited(
        "own.stages",
        ('network["name"]', "(\n        network['name']\n    )"),
        ("loss: str, ", "\n    loss: str,\n    "),
    ),
    "the wording of an error": lambda: edited("own.stages", ("negative: {total}", "below zero: {total!r}")),
    "how a library is called": lambda: edited(
        "own.deep", ("import numpy\n", "import numpy as N\n"), ("numpy.ones", "N.ones")
    ),
    "where something is imported": lambda: edited(
        "own.stages", ("from own import losses\n", ""), ('"""Train."""', "import own.losses as losses")
    ),
    "an import of the name itself": lambda: edited(
        "own.stages", ("from own import losses", "from own.losses import LOSSES"), ("losses.LOSSES", "LOSSES")
    ),
    "a definition that is not reached": lambda: edited(
        "own.settings", ("UNUSED = 3", "UNUSED = 4\n\n\ndef more(): pass")
    ),
    "a loss of another name": lambda: edited(
        "own.losses", ("x * x", "x**2"), ("LOSSES = {", 'LOSSES = {"l3": _squared, ')
    ),
    "a network of another name": lambda: edited("own.networks", ("width = 8", "width = 16")),
    "the order of definitions": lambda: {
        **MODULES,
        "own.losses": MODULES["own.losses"].replace("def l1(x, y):\n    return np.abs(x - y).mean()\n", "")
        + "\n\ndef l1(x, y):\n    return np.abs(x - y).mean()\n",
    },
    "a package of that text elsewhere": lambda: {**MODULES, "theirs": "", "theirs.losses": MODULES["own.losses"]},
}


@pytest.mark.parametrize("what", SAME)
def test_what_cannot_change_an_artefact_is_no_difference(what: str) -> None:
    after = source(SAME[what]())
    assert differing(after) == set()
    assert after.fingerprint == BEFORE.fingerprint


def test_moves_and_renames_of_modules_are_no_difference() -> None:
    moved = {
        "own.machines" if name == "own.models" else "own.parts.nets" if name == "own.networks" else name: text
        for name, text in MODULES.items()
    }
    moved["own.parts"] = ""
    moved["own.machines"] = moved["own.machines"].replace("own.networks", "own.parts.nets")
    moved["own.stages"] = moved["own.stages"].replace("own.models", "own.machines")
    assert source(moved).fingerprint == BEFORE.fingerprint
    # one function into another module, and the class it is a base of into a package of its own
    split = {
        **moved,
        "theirs": "",
        "theirs.base": 'class Base:\n    """Calls."""\n    def __call__(self, x): return self.forward(x)\n',
    }
    text = split["own.parts.nets"]
    split["own.parts.nets"] = "from theirs.base import Base\n" + text.replace(
        text[text.index("class Base") : text.index("class Small")], ""
    )
    assert source(split).fingerprint == BEFORE.fingerprint


def test_two_functions_of_one_name_are_not_mistaken_for_one_another() -> None:
    def modules(first: str, second: str) -> dict[str, str]:
        return {
            "own": "",
            "own.a": "def helper(): return 1\n",
            "own.b": "def helper(): return 2\n",
            "own.stages": "from own import a, b\n"
            f"def train(): return {first}.helper(), two()\n"
            f"def two(): return {second}.helper()\n",
        }

    one, other = source(modules("a", "b")), source(modules("b", "a"))
    assert one.functions == other.functions and one.fingerprint != other.fingerprint


def test_locals_hide_what_a_module_has() -> None:
    text = "from own import losses\n\n\ndef train(losses):\n    return [settings for settings in losses.LOSSES]\n"
    assert set(source({**MODULES, "own.stages": text}).functions) == {"train"}


def test_a_table_that_is_gone_through_counts_whole() -> None:
    text = "from own import losses\n\n\ndef train(x):\n    return [loss(x, x) for loss in losses.LOSSES.values()]\n"
    assert {"l1", "l2", "LOSSES[l2]"} <= set(source({**MODULES, "own.stages": text}, strings=()).functions)


def test_a_name_that_a_function_states_counts() -> None:
    text = 'from own import losses\nDEFAULT = "l2"\ndef train(x, name=DEFAULT):\n    return losses.LOSSES[name](x, x)\n'
    assert {"l2", "_squared"} <= set(source({**MODULES, "own.stages": text}, strings=()).functions)
    compared = text.replace("name=DEFAULT", "name").replace("return", 'assert name != "l2"\n    return')
    assert not {"l2", "l1"} & set(source({**MODULES, "own.stages": compared}, strings=()).functions)


def test_a_dotted_name_is_followed_into_its_package() -> None:
    theirs = {
        **MODULES,
        "theirs": "",
        "theirs.nets": "from theirs.more import gain\n\n\nclass Net:\n    def forward(self, x): return gain(x)\n",
        "theirs.more": "def gain(x): return 2 * x\n",
    }
    names = ("small", "l1", "theirs.nets:Net")
    one = source(theirs, strings=names)
    assert {"Net.forward", "gain"} <= set(one.functions)
    other = source({**theirs, "theirs.more": "def gain(x): return 3 * x\n"}, strings=names)
    assert {n for n in one.functions if one.functions[n] != other.functions[n]} == {"gain"}


def test_a_package_may_export_a_function_under_the_name_of_its_module() -> None:
    """``pkg.train`` is a module and, by ``from pkg.train import train``, a function: it was followed without end."""
    text = "def train(*, out, ctx): helper()\n\ndef helper(): ...\n"
    files = {
        "own": File("from own.train import train", True, None),
        "own.train": File(text, False, None),
        "own.user": File(
            "import own\nimport own.train as t\n\ndef a(): own.train()\n\ndef b(): t.train()\n", False, None
        ),
    }
    tree = Tree(files.get, frozenset({"own"}))
    for dotted in ("own.train", "own.train.train"):
        found, rest = tree.resolve(dotted)
        assert found is not None and (found.module, found.name, rest) == ("own.train", "train", [])
    assert tree.resolve("own.train.nothing.of.this") == (None, [])
    for function in ("own.user.a", "own.user.b"):
        reached = Tree(files.get, frozenset({"own"})).reach_from(function, [], [])
        assert reached is not None and "helper" in reached.source().functions


def test_a_part_of_torch_by_name_is_not_followed() -> None:
    assert owners(["mss_core.training.fit"], ["torch.optim:RAdam", "mine.nets:Net"]) >= {"mss_core", "mine"}
    assert "torch" not in owners([], ["torch.optim:RAdam"])


def test_a_file_that_does_not_parse_is_no_error() -> None:
    assert source({**MODULES, "own.deep": "def weights(:\n"}).fingerprint != BEFORE.fingerprint


# ---- our own source


PROGRAM = """
from mss_core.source.following import Tree
from mss_core.source.modules import installed
tree = Tree(installed, frozenset({"mss_core", "reports"}))
for name in ("stages.pretrain.pretrain", "stages.prepare.prepare_tracks", "stages.evaluate.evaluate"):
    print(tree.reach_from(f"mss_core.{name}", [], ("unet", "l1", "slakh2100")).source().fingerprint)
"""


def ours() -> dict[str, Stage]:
    from mss_core.graph import walk
    from mss_core.systems.msspt import msspt_cnn

    return {stage.name: stage for stage in walk([msspt_cnn().pipeline()]).values()}


def test_what_a_stage_of_ours_reaches() -> None:
    """By names in its recipe it has the networks, losses and readers that it uses, and no others."""
    found = {name: set(of_stages.of(stage).functions) for name, stage in ours().items()}  # type: ignore[union-attr]
    assert {"pretrain", "fit", "l1", "UNet.forward", "IncoherentMixer.draw", "Packed.read"} <= found["pretrain"]
    assert {"prepare_tracks", "pack", "resample", "TRACK_SETS[musdb18]"} <= found["prepare_tracks"]
    assert {"JointCnn.forward", "CnnTail.forward", "binary_cross_entropy"} <= found["finetune"]
    assert {"JointCnn.forward", "predict_clips"} <= found["infer"]  # the network that its input was trained with
    assert {"roc_auc", "macro"} <= found["evaluate"]
    others = {
        "OpenUnmix.forward",
        "TRACK_SETS[slakh2100]",
        "render",
        "phase_sensitive",
        "Context.report",
        "Store.commit",
    }
    assert not others & set().union(*found.values())


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    """Whatever order sets of strings have there."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=REPOSITORY,
            env={"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] and len(set(runs[0].split())) == 3


@pytest.mark.parametrize("name", ["pretrain", "prepare_tracks", "evaluate"])
def test_our_source_written_anew_is_no_difference(name: str) -> None:
    """Every module as a printer of syntax writes it: no comments, other quotes, other line breaks."""

    def printed(module: str) -> File | None:
        file = installed(module)
        return file and file._replace(text=ast.unparse(ast.parse(file.text)))

    stage = ours()[name]
    called = f"{stage.function.__module__}.{stage.name}"
    assert of_stages.reach_at(printed, called, stage).fingerprint == of_stages.of(stage).fingerprint  # type: ignore[union-attr]


# ---- in a store


def work(*, value: int, version: int = 1, out: Path, ctx: Context) -> None:
    (out / "value.txt").write_text(str(helped(value)))


def helped(value: int) -> int:
    return value + 1


def test_a_manifest_names_its_source_and_the_store_its_definitions(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Stage(work, value=1)
    manifest = read_manifest(materialize(stage, store, Context()))
    assert manifest is not None and manifest["source"] == of_stages.of(stage).fingerprint  # type: ignore[union-attr]
    kept = sources.kept(tmp_path, manifest["source"])
    assert kept is not None and set(kept) == {"helped", "work"}
    (tmp_path / "sources" / f"{manifest['source']}.json").write_text("no json")
    assert sources.kept(tmp_path, manifest["source"]) is None


def test_what_was_shown_to_mean_the_same_is_no_difference() -> None:
    entry = {"before": {"fit": "1", "loss": "1"}, "after": {"fit": "2", "loss": "2", "helper": "1"}}
    assert differ({"fit": "1", "loss": "1"}, {"fit": "2", "loss": "2", "helper": "1"}, [entry]) == []
    assert differ({"fit": "1"}, {"fit": "2", "helper": "1"}, [entry]) == []  # a stage that reaches a part of it
    assert differ({"fit": "1"}, {"fit": "3", "helper": "1"}, [entry]) == ["fit"]
    later = {"before": {"fit": "2"}, "after": {"fit": "3"}}
    assert differ({"fit": "1"}, {"fit": "3", "helper": "1"}, [entry, later]) == []
    assert differ({"fit": "0"}, {"fit": "3"}, [entry, later]) == ["fit"]
