"""Who may import whom: docs of the layout, enforced."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ALLOWED: dict[str, set[str]] = {
    # module or package of mss_core: what of mss_core it may import besides itself
    "errors": set(),
    "bad_file": set(),
    "names": {"errors"},
    "disk": set(),
    "energy": {"disk"},
    "claim": {"disk"},
    "runtime": set(),
    "seal": set(),
    "graph": {"claim", "disk", "energy", "runtime"},
    "recipe": {"errors", "graph"},
    "source": {"disk", "graph"},
    "ranks": set(),
    "store": {"claim", "disk", "energy", "errors", "folders", "graph", "ranks", "runtime", "source"},
    "folders": {"bad_file"},
    "mp3": {"bad_file"},
    "audio": {"bad_file", "mp3"},
    "augment": set(),
    "metrics": {"audio", "folders"},
    "losses": {"errors", "names"},
    "apply": {"audio"},
    "pictures": {"audio"},
    "models": {"audio", "errors", "names"},
    "artefact": {"audio", "disk", "models", "pictures"},
    "training": {"disk", "errors", "graph", "names", "ranks"},
    "data": {"artefact", "audio", "bad_file", "disk", "errors", "folders", "names", "graph", "runtime", "seal"},
}
TOOLBOX = set(ALLOWED) - {"claim", "energy", "ranks", "recipe", "source", "store"}
ALLOWED["stages"] = TOOLBOX
ALLOWED["systems"] = TOOLBOX | {"recipe", "stages"}
ALLOWED["study"] = {"artefact", "claim", "data", "disk", "errors", "folders", "graph", "recipe", "runtime", "seal"} | {
    "energy",
    "source",
    "store",
    "training",
}
ALLOWED["examples"] = TOOLBOX | {"stages", "study"}
ALLOWED["__main__"] = set()
ONLY_IN = {
    "ray": {
        "mss_core/study/execution/stages_on_ray.py",
        "mss_core/study/execution/joining.py",
        "mss_core/study/search/on_ray.py",
    },
    "optuna": {
        "mss_core/study/search/optuna_storage.py",
        "mss_core/study/search/scheduler.py",
        "mss_core/study/search/journal.py",
        "search_spaces",
    },
    "obstore": {"mss_core/store/remote/objects.py"},
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
            leaf = name == "reports.contract" or name.startswith("reports.contract.")
            assert words[0] != "reports" or leaf or ids(path) == "mss_core/study/run.py", f"{ids(path)} imports {name}"
        if parts[:2] == ("reports", "contract"):
            assert words[0] != "reports" or words[:2] == ["reports", "contract"], f"{ids(path)} imports {name}"
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


ROUND = {
    ("mss_core", "mss_core/models"),
    ("mss_core/data", "mss_core/data/loaders"),
    ("mss_core/data", "mss_core/data/synthetic"),
    ("mss_core/study", "mss_core/study/search"),
}
"""Folders that import each other, always a folder and the one it lies in. Modules never do."""


def test_no_more_folders_import_each_other() -> None:
    arrows = set()
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                found = [module_file(f"{node.module}.{alias.name}") for alias in node.names]
                arrows |= {(ids(path.parent), ids(file.parent)) for file in found if file is not None}
    assert {(here, there) for here, there in arrows if here < there and (there, here) in arrows} == ROUND


def test_stages_do_not_import_each_other() -> None:
    stages = {path.stem for path in (ROOT / "mss_core" / "stages").glob("*.py")} - {"__init__"}
    for path in sorted((ROOT / "mss_core" / "stages").glob("*.py")):
        for name in imports(path):
            words = name.split(".")
            assert words[:2] != ["mss_core", "stages"] or words[2] == path.stem, f"{ids(path)} imports {name}"
    assert stages


SYSTEMS = {path.name: path for path in (ROOT / "mss_core" / "systems").iterdir() if (path / "recipe.py").exists()}


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_systems_do_not_import_each_other(system: str) -> None:
    for path in sorted(SYSTEMS[system].rglob("*.py")):
        for name in imports(path):
            words = name.split(".")
            assert words[:2] != ["mss_core", "systems"] or words[2] == system, f"{ids(path)} imports {name}"


def test_nothing_shared_imports_a_system() -> None:
    """What only one paper needs lies in its folder, so nothing outside may need it (a study imports its recipe)."""
    for path in (path for path in FILES if ids(path).startswith("mss_core") and "systems" not in path.parts):
        assert not any(name.startswith("mss_core.systems.") for name in imports(path)), ids(path)


def module_file(name: str) -> Path | None:
    """The file of the module that an imported name is, or lies in; None outside this project."""
    while name:
        for path in (ROOT / (name.replace(".", "/") + ".py"), ROOT / name.replace(".", "/") / "__init__.py"):
            if path.exists():
                return path
        name = name.rpartition(".")[0]
    return None


def users(folder: str) -> dict[str, set[str]]:
    """``{file of the folder: systems that reach it}``, by imports at any depth and by names of models in recipes."""
    from mss_core import models

    by_name = {name: module_file(module) for name, (module, _) in models.NAMES.items()}
    reached: dict[str, set[str]] = {path.stem: set() for path in (ROOT / "mss_core" / folder).glob("*.py")}
    for system, home in SYSTEMS.items():
        waiting, seen = sorted(home.rglob("*.py")), set()
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            strings = (
                {
                    node.value
                    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
                if home in path.parents
                else set()
            )
            waiting += [file for name in imports(path) if (file := module_file(name)) and "mss_core" in file.parts]
            waiting += [file for name, file in by_name.items() if name in strings and file is not None]
        for path in seen:
            if path.parent == ROOT / "mss_core" / folder:
                reached[path.stem].add(system)
    return {name: systems for name, systems in reached.items() if name != "__init__"}


@pytest.mark.parametrize("folder", ["stages", "models"])
def test_what_is_shared_serves_at_least_two_systems(folder: str) -> None:
    assert {name: systems for name, systems in users(folder).items() if len(systems) < 2} == {}


def test_every_module_of_the_core_has_a_rule() -> None:
    found = {
        path.stem if path.is_file() else path.name
        for path in (ROOT / "mss_core").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"}
    assert found == set(ALLOWED)
