"""The call of a stage, read back from what it left in a store: the manifest of an artefact, or the log of a failure.

A manifest holds every argument as plain JSON. The annotations of the function say which dataclasses they were. What is
read back has the key of the original, or is refused.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.graph import OURS, Stage, module_of, package, plain

MARK = "call: "
"""How the last line of a failed stage's log begins; JSON follows."""
LOG = re.compile(r"[0-9a-f]{64}\.log")


def described(stage: Stage) -> str:
    """The last line of a failed stage's log: its call."""
    file = inspect.unwrap(stage.function).__globals__.get("__file__")
    call = {
        "stage": stage.name,
        "key": stage.key,
        "function": f"{module_of(stage.function)}.{stage.name}",
        "file": str(Path(file).absolute()) if file else "",
        "arguments": plain(stage.arguments),
        "inputs": {name: {"stage": up.name, "key": up.key} for name, up in stage.inputs.items()},
    }
    return MARK + json.dumps(call)


def failed(root: Path, start: str) -> list[Path]:
    """The logs of failed stages whose key starts so."""
    stages = [path for path in disk.entries(root) if disk.is_folder(path)]
    logs = [path for stage in stages for path in disk.entries(stage) if LOG.fullmatch(path.name)]
    return [path for path in logs if path.name.startswith(start)]


def of_log(path: Path) -> dict[str, Any]:
    """The call of a failed stage, and the last line of its traceback as ``error``.

    Raises:
        ValueError: the log holds none: an earlier release wrote it.
    """
    before, _, last = disk.read(path).decode(errors="replace").rstrip().rpartition("\n")
    error = before.rstrip().rpartition("\n")[2]
    try:
        return {**json.loads(last.removeprefix(MARK)), "error": error} if last.startswith(MARK) else _none(path)
    except json.JSONDecodeError:
        return _none(path)


def _none(path: Path) -> typing.NoReturn:
    raise ValueError(f"{path} does not end with the stage's call: run the study again, and it will")


def of_artefact(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The call of a committed artefact, by its manifest."""
    homes = manifest.get("environment", {}).get("paths", {})
    return {**manifest, "file": homes.get(package(manifest["function"]), "")}


def rebuilt(call: Mapping[str, Any]) -> Stage:
    """The stage of a call; its inputs are known by name and key alone.

    Raises:
        ValueError: its function cannot be imported, or takes other arguments by now.
    """
    what = f"{call['stage']} {call['key'][:12]}"
    function = _function(call["function"], call.get("file", ""))
    names = {up["key"]: up["stage"] for up in call["inputs"].values()}
    try:
        hints = typing.get_type_hints(function)
        arguments = {
            name: _typed(value, hints.get(name, Any), name, names) for name, value in call["arguments"].items()
        }
        stage = Stage(function, **arguments)
    except (TypeError, NameError, ValueError) as error:
        raise ValueError(f"{what}: its call cannot be made again by the code of now: {error}") from None
    if stage.key != call["key"]:
        raise ValueError(
            f"{what}: the code of now would make it under another key, {stage.key[:12]}: its arguments, or their "
            "defaults, have changed since. Check out the commit that mss store show names"
        )
    return stage


def _function(name: str, file: str) -> Callable[..., None]:
    module, _, attribute = name.rpartition(".")
    try:
        found = _module(module, file)
    except SystemExit:
        raise ValueError(
            f"{file} runs a study where it is imported: put run(study) below if __name__ == '__main__'"
        ) from None
    except Exception as error:  # whatever somebody's module raises
        raise ValueError(f"the module {module} ({file or 'of unknown place'}) cannot be imported: {error}") from None
    if not hasattr(found, attribute):
        raise ValueError(f"{module} ({getattr(found, '__file__', file)}) has no function {attribute!r} by now")
    return typing.cast(Callable[..., None], getattr(found, attribute))


def _module(module: str, file: str) -> types.ModuleType:
    """A module of ours, of a package, or a script by its file, which others know by its name without folder."""
    if package(module) == OURS or not file:
        return importlib.import_module(module)
    path = Path(file)
    inside = path.name == "__init__.py" and path.parent.name == package(module)
    above = path.parents[1] if inside else path.parents[module.count(".")]
    sys.path.insert(0, str(above))
    if "." in module or inside:
        return importlib.import_module(module)
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError("it is not there any more")
    made = importlib.util.module_from_spec(spec)
    sys.modules[module] = made
    spec.loader.exec_module(made)
    return made


# ---- values by the types that annotations say


def _typed(value: Any, hint: Any, place: str, names: Mapping[str, str]) -> Any:
    """A value of a manifest as what its annotation says."""
    if isinstance(value, dict) and "$stage" in value:
        return _input(names[value["$stage"]], value["$stage"])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _one_of(value, typing.get_args(hint), place, names)
    if isinstance(value, dict):
        return _object(value, hint, place, names)
    if isinstance(value, list):
        inner = typing.get_args(hint)
        kinds = inner[:1] * len(value) if len(inner) != len(value) or inner[-1:] == (Ellipsis,) else inner
        kinds = kinds or (dict if hint is dict else Any,) * len(value)
        return tuple(_typed(item, kind, place, names) for item, kind in zip(value, kinds, strict=True))
    return float(value) if hint is float and type(value) is int else value


def _one_of(value: Any, options: tuple[Any, ...], place: str, names: Mapping[str, str]) -> Any:
    """A value of a union: a dict is the dataclass with its fields, any other value is what it is."""
    if not isinstance(value, dict):
        kinds = [kind for kind in options if kind is not type(None)]
        return _typed(value, kinds[0] if len(kinds) == 1 and value is not None else Any, place, names)
    fitting = [kind for kind in options if dataclasses.is_dataclass(kind) and {*value} <= {*_fields(kind)}]
    exact = [kind for kind in fitting if {*value} == {*_fields(kind)}]
    plain_dict = [kind for kind in options if (typing.get_origin(kind) or kind) in (dict, Mapping)]
    found = (exact or fitting or plain_dict)[:1]
    if not found:
        raise ValueError(f"{place!r} is none of what its annotation allows")
    return _typed(value, found[0], place, names)


def _object(value: Mapping[str, Any], hint: Any, place: str, names: Mapping[str, str]) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint)
        for name in value:
            if name not in hints:
                raise ValueError(f"{place!r} is a {hint.__name__}, which has no {name!r} by now")
        return hint(**{name: _typed(part, hints[name], f"{place}.{name}", names) for name, part in value.items()})
    if hint is Any or hint is object:
        raise ValueError(f"no annotation says what {place!r} is")
    return {name: _typed(part, _of_values(hint), f"{place}.{name}", names) for name, part in value.items()}


def _of_values(hint: Any) -> Any:
    """The annotation of a mapping's values; of what nobody annotates, plain data."""
    inner = typing.get_args(hint)
    return inner[1] if len(inner) == 2 and inner[1] is not Any else dict


def _fields(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _input(name: str, key: str) -> Stage:
    """A stage that is known by name and key."""

    def function() -> None: ...

    function.__name__ = name
    stage = Stage(function)
    stage.key = key
    return stage
