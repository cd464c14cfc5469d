"""Modules as syntax: where they lie, and what each name in them is."""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

ON_IMPORT = "(on import)"
"""The name of what a module does when it is imported."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.Lambda, ast.ClassDef)


class File(NamedTuple):
    """The source of a module."""

    text: str
    is_package: bool
    folder: Path | None


Read = Callable[[str], File | None]


def installed(name: str, scripts: Mapping[str, str] | None = None) -> File | None:
    """The source of a module by its dotted name, without importing it; None where there is none to read.

    ``scripts`` says where the modules lie that are known by no name, as a script's ``__main__``.
    """
    if scripts and name in scripts:
        return _file(Path(scripts[name]), False)
    top, *below = name.split(".")
    for root in roots(top):
        path = root.joinpath(*below)
        found = _file(path / "__init__.py", True) or (_file(path.with_suffix(".py"), False) if below else None)
        if found or (not below and root.suffix == ".py" and (found := _file(root, False))):
            return found
        if path.is_dir():
            return File("", True, path)
    return None


@functools.cache
def roots(top: str) -> tuple[Path, ...]:
    """The folders of a top-level package, or the file of a module that is no package."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return ()
    if spec.submodule_search_locations is not None:
        return tuple(Path(place) for place in spec.submodule_search_locations)
    return (Path(spec.origin),) if spec.origin and spec.origin.endswith(".py") else ()


@functools.cache
def lies_beside(top: str) -> bool:
    """Whether a top-level package lies outside site-packages and the standard library."""
    if top in sys.stdlib_module_names or not top.isidentifier():
        return False
    return any(not {"site-packages", "dist-packages"} & set(root.parts) for root in roots(top))


def _file(path: Path, is_package: bool) -> File | None:
    try:
        return File(path.read_text(encoding="utf-8"), is_package, path.parent)
    except (OSError, UnicodeDecodeError):
        return None


class Module:
    """The definitions of a module by name, what its names import, and what it does when it is imported."""

    def __init__(self, name: str, file: File) -> None:
        self.name, self.file = name, file
        self.lines = file.text.splitlines()
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, str] = {}
        try:
            self._collect(ast.parse(file.text).body)
        except SyntaxError:
            return

    def _collect(self, body: Iterable[ast.stmt]) -> None:
        late = []
        for statement in body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imports |= imported(statement, self.name, self.file.is_package)
            elif isinstance(statement, ast.Expr):
                late.append(statement)
            else:
                names, imports = scope([statement])
                for inner in imports:
                    self.imports |= imported(inner, self.name, self.file.is_package)
                for name in names | changed(statement):
                    self.definitions.setdefault(name, []).append(statement)
        for statement in late:
            if isinstance(statement.value, ast.Constant):
                continue
            names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            for name in names & set(self.definitions) or {ON_IMPORT}:
                self.definitions.setdefault(name, []).append(statement)


def imported(statement: ast.Import | ast.ImportFrom, module: str, is_package: bool) -> dict[str, str]:
    """What each name stands for after an import, as a dotted path."""
    if isinstance(statement, ast.Import):
        named = ((a.asname, a.name, a.name.partition(".")[0]) for a in statement.names)
        return {given or first: name if given else first for given, name, first in named}
    base = statement.module or ""
    if statement.level:
        parts = module.split(".")
        kept = parts[: len(parts) - statement.level + is_package]
        base = ".".join([*kept, *filter(None, [statement.module])])
    return {alias.asname or alias.name: f"{base}.{alias.name}" for alias in statement.names}


def bound(body: Iterable[ast.AST]) -> set[str]:
    """The names that are bound in a scope, without those of the scopes inside it and of imports."""
    return scope(body)[0]


def scope(body: Iterable[ast.AST]) -> tuple[set[str], list[ast.Import | ast.ImportFrom]]:
    """The names that are bound in a scope, and its imports; nothing of the scopes inside it."""
    found: set[str] = set()
    unbound: set[str] = set()
    imports: list[ast.Import | ast.ImportFrom] = []
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                found.add(node.id)
            continue
        if isinstance(node, ast.Constant):
            continue
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.add(node.rest)
        elif isinstance(node, ast.Global):
            unbound.update(node.names)
        waiting += ast.iter_child_nodes(node)
    return found - unbound, imports


def changed(statement: ast.stmt) -> set[str]:
    """The names whose items or attributes a statement sets."""
    found = set()
    for node in ast.walk(statement) if not isinstance(statement, SCOPES) else ():
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            base: ast.AST = node
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            if isinstance(base, ast.Name):
                found.add(base.id)
    return found
