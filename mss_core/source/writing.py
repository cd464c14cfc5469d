"""What a definition says: its syntax without what cannot matter, and what it leads to."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mss_core.source.modules import FUNCTIONS, Module, bound, imported, scope

LENGTH = 16
"""Hexadecimal digits of a definition's hash."""

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_ERRORS = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
)
_UNWRITTEN = frozenset({"annotation", "returns", "type_comment", "type_params", "kind", "ctx"})


def digest(value: Any, length: int = LENGTH) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


class Definition(NamedTuple):
    """A name in a module; ``key`` where it is one entry of a table."""

    module: str
    name: str
    key: str = ""


class Entry(NamedTuple):
    """An entry of a table: what it names, and where it stands."""

    dotted: str
    text: tuple[str, int, str]


Scope = Mapping[str, str | None]
"""Names of a scope: what they import, None for what is local."""


Resolve = Callable[[str], tuple[Definition | None, list[str]]]
"""The definition that a dotted path leads to, and the attributes of it that follow."""


@dataclasses.dataclass
class Parts:
    """What stands in a definition: hash and place of each part by label, and what it leads to."""

    hashes: dict[str, str] = dataclasses.field(default_factory=dict)
    texts: dict[str, tuple[str, int, str]] = dataclasses.field(default_factory=dict)
    leads: set[Definition] = dataclasses.field(default_factory=set)
    iterated: set[Definition] = dataclasses.field(default_factory=set)
    strings: set[str] = dataclasses.field(default_factory=set)
    called: set[Definition] = dataclasses.field(default_factory=set)
    bases: set[Definition] = dataclasses.field(default_factory=set)
    defaults: set[str] = dataclasses.field(default_factory=set)
    listed: set[str] = dataclasses.field(default_factory=set)
    entries: dict[str, Definition] = dataclasses.field(default_factory=dict)
    files: set[str] = dataclasses.field(default_factory=set)


class Writer:
    """Writes the syntax of a definition without what cannot matter, and collects what it leads to."""

    def __init__(self, resolve: Resolve, module: Module, parts: Parts) -> None:
        self.resolve, self.module, self.parts = resolve, module, parts

    def write(self, node: Any, scopes: tuple[Scope, ...]) -> Any:
        if isinstance(node, list):
            return [self.write(item, scopes) for item in node if not _is_idle(item)]
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._name(node, scopes)
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self.parts.strings.add(node.value)
            return [type(node.value).__name__, repr(node.value)]
        if isinstance(node, ast.Compare | ast.MatchValue):
            before = set(self.parts.strings)  # what is compared with names nothing
            written = self._fields(node, scopes)
            self.parts.strings = before
            return written
        if isinstance(node, ast.Raise):
            return ["Raise", self.write(_without_message(node.exc), scopes)]
        if isinstance(node, ast.Assert):
            return ["Assert", self.write(node.test, scopes)]
        if isinstance(node, ast.AnnAssign):
            return ["Assign", ["targets", self.write([node.target], scopes)], ["value", self.write(node.value, scopes)]]
        if isinstance(node, (*FUNCTIONS, ast.Lambda)):
            return self._function(node, scopes)
        if isinstance(node, ast.ClassDef):
            return self._class(node, scopes)
        if isinstance(node, _COMPREHENSIONS):
            scopes = (*scopes, dict.fromkeys(bound(node.generators)))
        if isinstance(node, ast.For | ast.comprehension):
            self.parts.iterated |= self.named(node.iter, scopes)
        if isinstance(node, ast.Call):
            self.parts.called |= self.named(node.func, scopes)
        return self._fields(node, scopes)

    def _fields(self, node: ast.AST, scopes: tuple[Scope, ...]) -> Any:
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in _UNWRITTEN]
        return [
            type(node).__name__,
            *([name, self.write(value, scopes)] for name, value in fields if value or value == 0),
        ]

    def _function(self, node: Any, scopes: tuple[Scope, ...]) -> Any:
        arguments = [a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)]
        body = node.body if isinstance(node.body, list) else [node.body]
        names, imports = scope(body)
        inner: dict[str, str | None] = dict.fromkeys([*arguments, *names])
        for statement in imports:
            inner |= imported(statement, self.module.name, self.module.file.is_package)
        outer = tuple(scope for scope in scopes if not isinstance(scope, ClassScope))
        return [
            type(node).__name__,
            getattr(node, "name", ""),
            self.write(node.args, scopes),
            self.write(getattr(node, "decorator_list", []), scopes),
            self.write(body, (*outer, inner)),
        ]

    def _class(self, node: ast.ClassDef, scopes: tuple[Scope, ...]) -> Any:
        inner = (*scopes, ClassScope(dict.fromkeys(bound(node.body))))
        heads = [self.write(part, scopes) for part in (node.bases, node.keywords, node.decorator_list)]
        return ["Class", node.name, *heads, self.body(node.body, inner)]

    def body(self, body: Iterable[ast.stmt], scopes: tuple[Scope, ...]) -> Any:
        written = []
        for statement in body:
            if isinstance(statement, ast.AnnAssign):  # a field of a dataclass, which an attribute is not
                shared = "ClassVar" in ast.dump(statement.annotation)
                before, self.parts.strings = self.parts.strings, set()
                written.append(["Field", shared, ast.unparse(statement.target), self.write(statement.value, scopes)])
                self.parts.defaults |= self.parts.strings
                self.parts.strings = before
            elif not _is_idle(statement):
                written.append(self.write(statement, scopes))
        return written

    def _name(self, node: Any, scopes: tuple[Scope, ...]) -> Any:
        dotted = self.dotted(node, scopes)
        if dotted is None:
            if isinstance(node, ast.Name):
                if node.id == "__file__":
                    self.parts.files.add("")
                return ["Name", node.id]
            return ["Attribute", self.write(node.value, scopes), node.attr]
        found, rest = self.resolve(dotted)
        if found is None:
            return ["Outside", dotted]
        self.parts.leads.add(found)
        if rest[:1] in (["items"], ["values"]):
            self.parts.iterated.add(found)
        return ["Ours", found.name, *rest]

    def dotted(self, node: Any, scopes: tuple[Scope, ...]) -> str | None:
        """The path of what a name and its attributes stand for; None for what is local or built in."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        for names in reversed(scopes):
            if node.id in names:
                base = names[node.id]
                return None if base is None else ".".join([base, *attributes])
        if node.id in self.module.imports:
            return ".".join([self.module.imports[node.id], *attributes])
        return ".".join([self.module.name, node.id, *attributes]) if node.id in self.module.definitions else None

    def named(self, node: ast.AST, scopes: tuple[Scope, ...]) -> set[Definition]:
        """The definition that an expression names, if it names one of ours."""
        dotted = self.dotted(node, scopes)
        found = self.resolve(dotted)[0] if dotted else None
        return set() if found is None else {found}


class ClassScope(dict):
    """The names of a class body, which its methods do not see."""


def _is_idle(node: Any) -> bool:
    """Whether a statement does nothing: a docstring, ``pass``, an import (what it names is written out where it is
    used), an annotation alone."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Pass | ast.Global | ast.Nonlocal):
        return True
    if isinstance(node, ast.AnnAssign):
        return node.value is None
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _without_message(raised: ast.expr | None) -> ast.expr | None:
    if isinstance(raised, ast.Call) and isinstance(raised.func, ast.Name) and raised.func.id in _ERRORS:
        return raised.func
    return raised
