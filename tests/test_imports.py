"""Who may import whom: docs of the layout, enforced."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

BASE = {
    "naming",
    "claim",
    "graph",
    "recipe",
    "audio",
    "losses",
    "metrics",
    "runtime",
    "augment",
    "decibels",
    "variants",
}
ALLOWED: dict[str, set[str]] = {
    # module or package of mss_core: what of mss_core it may import besides itself
    "naming": set(),
    "claim": set(),
    "graph": {"claim"},
    "drivers": {"claim", "graph"},
    "store": {"claim", "graph", "store_tool"},  # its command line, imported when it is run
    "store_tool": {"drivers", "graph"},
    "recipe": {"naming", "graph"},
    "audio": set(),
    "augment": set(),
    "classic": set(),
    "decibels": {"naming"},
    "variants": {"augment", "naming"},
    "losses": {"naming"},
    "metrics": set(),
    "runtime": set(),
    "pictures": {"audio"},
    "models": {"audio", "decibels", "naming"},
    "data": {"audio", "naming", "graph", "runtime"},
    "apply": {"audio"},
    "steer": {"apply", "audio", "models", "naming"},
    "training": {"graph", "losses", "naming"},
    "gating": {"naming"},
    "masking": {"audio"},
    "classify": {"apply", "audio", "augment", "data", "graph", "losses", "training"},
    "stages": {
        "classify",
        *BASE,
        "models",
        "data",
        "apply",
        "gating",
        "masking",
        "training",
        "pictures",
        "classic",
        "steer",
    }
    - {"recipe"},
    "systems": {
        "audio",
        "augment",
        "decibels",
        "losses",
        "variants",
        "naming",
        "graph",
        "recipe",
        "models",
        "data",
        "gating",
        "masking",
        "stages",
        "training",
        "steer",
    },
    "study": {"naming", "claim", "graph", "store", "recipe", "runtime", "data", "training", "drivers"},
}
ONLY_IN = {
    "ray": {"mss_core/study/launch.py", "mss_core/study/launch_search.py"},
    "optuna": {"mss_core/study/suggest.py", "mss_core/study/conduct.py", "mss_core/study/journal.py", "search_spaces"},
    "mlflow": {"mss_core/study/tracking/"},
    "torchaudio": {"mss_core/audio.py", "mss_core/models/released.py"},
    "museval": {"mss_core/metrics"},
}
FILES = [
    path
    for folder in ("mss_core", "search_spaces", "reports", "studies")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_imports_point_up(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    for name in imports(path):
        words = name.split(".")
        if parts[0] == "mss_core" and words[0] == "mss_core" and len(parts) > 1 and len(words) > 1:
            here, there = parts[1], words[1]
            assert there == here or there in ALLOWED[here], f"{ids(path)} imports {name}"
        if parts[0] in ("search_spaces", "reports"):
            assert words[0] not in ("mss_core", "studies"), f"{ids(path)} imports {name}"
        if parts[0] == "mss_core":
            assert words[0] != "studies", f"{ids(path)} imports {name}"
            assert words[0] != "reports" or ids(path) == "mss_core/study/run.py", f"{ids(path)} imports {name}"
        if parts[0] == "studies":
            assert words[0] != "mss_core" or words[1] in ("study", "systems"), f"{ids(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_each_infrastructure_library_has_one_room(path: Path) -> None:
    for name in imports(path):
        rooms = ONLY_IN.get(name.split(".")[0])
        assert rooms is None or any(ids(path).startswith(room) for room in rooms), f"{ids(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_nothing_is_unpickled(path: Path) -> None:
    """Split lists, weights and arrays of others may be pickles, and a pickle is a program."""
    assert not {name.split(".")[0] for name in imports(path)} & {"pickle", "cPickle", "dill", "joblib", "shelve"}
    for call in (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("allow_pickle", "False") == "False"
        assert ast.unparse(call.func) != "torch.load" or given.get("weights_only") == "True"
        assert not ast.unparse(call.func).endswith("read_pickle")


@pytest.mark.parametrize("package", ["data", "metrics", "models", "study"])
def test_no_cycle_within_a_package(package: str) -> None:
    """Imports inside functions count: they hide a cycle, they do not undo it."""
    prefix = f"mss_core.{package}."
    graph = {
        path.stem: {name.removeprefix(prefix).split(".")[0] for name in imports(path) if name.startswith(prefix)}
        for path in (ROOT / "mss_core" / package).glob("*.py")
        if path.stem != "__init__"
    }
    inside = {name: {other for other in found if other in graph and other != name} for name, found in graph.items()}
    order = list(TopologicalSorter(inside).static_order())  # raises CycleError
    assert set(order) == set(graph)


def test_stages_do_not_import_each_other() -> None:
    stages = {path.stem for path in (ROOT / "mss_core" / "stages").glob("*.py")} - {"__init__"}
    for path in sorted((ROOT / "mss_core" / "stages").glob("*.py")):
        others = stages - {path.stem}
        for name in imports(path):
            words = name.split(".")
            assert words[:2] != ["mss_core", "stages"] or words[2] not in others, f"{ids(path)} imports {name}"


def test_every_module_of_the_core_has_a_rule() -> None:
    found = {
        path.stem if path.is_file() else path.name
        for path in (ROOT / "mss_core").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"}
    assert found == set(ALLOWED)
