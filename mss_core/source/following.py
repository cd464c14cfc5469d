"""From definition to definition: everything that a function leads to."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core.source.modules import FUNCTIONS, ON_IMPORT, SCOPES, Module, Read, bound, lies_beside
from mss_core.source.writing import ClassScope, Definition, Entry, Parts, Writer, digest

DOTTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""A part of a recipe by name, as ``names.py`` looks it up."""


@dataclasses.dataclass(frozen=True)
class Source:
    """What a stage reaches.

    Attributes:
        fingerprint: sha256 (hex) of all of it.
        functions: hash by definition; a method is ``Class.method``, an entry of a table ``TABLE[name]``.
        texts: where each definition stands, ``(module, first line, source)``, for whoever shows a difference.
    """

    fingerprint: str
    functions: Mapping[str, str]
    texts: Mapping[str, tuple[str, int, str]]


class Tree:
    """Modules as read from one place, the definitions in them, and what follows from what."""

    def __init__(self, read: Read, own: frozenset[str]) -> None:
        self.read, self.own = read, own
        self.modules: dict[str, Module | None] = {}
        self.parts: dict[Definition, Parts] = {}
        self.entries: dict[Definition, Entry] = {}
        self.resolved: dict[str, tuple[Definition | None, list[str]]] = {}

    def module(self, name: str) -> Module | None:
        if name not in self.modules:
            top = name.partition(".")[0]
            file = self.read(name) if top in self.own or lies_beside(top) else None
            self.modules[name] = None if file is None else Module(name, file)
        return self.modules[name]

    def resolve(self, dotted: str) -> tuple[Definition | None, list[str]]:
        """The definition that a dotted path leads to, and the attributes of it that follow; None for others' code and
        for a module as such."""
        if dotted not in self.resolved:
            self.resolved[dotted] = (None, [])  # a circle of imports leads nowhere
            self.resolved[dotted] = self._resolve(dotted)
        return self.resolved[dotted]

    def _resolve(self, dotted: str) -> tuple[Definition | None, list[str]]:
        name, *rest = dotted.split(".")
        while (module := self.module(name)) is not None:
            if not rest:
                break
            first, *rest = rest
            target = module.imports.get(first)
            if first in module.definitions and target is None:
                return Definition(name, first), rest
            if target is not None and target.startswith(f"{name}.{first}."):  # pkg: from pkg.train import train
                rest = rest or target.removeprefix(f"{name}.{first}.").split(".")
                name = f"{name}.{first}"
                continue
            if target is not None and target != f"{name}.{first}":
                return self.resolve(".".join([target, *rest]))
            name = f"{name}.{first}"
        return None, []

    def at(self, definition: Definition) -> Parts:
        if definition not in self.parts:
            self.parts[definition] = self._read_entry(definition) if definition.key else self._read_parts(definition)
        return self.parts[definition]

    def _read_parts(self, definition: Definition) -> Parts:
        module = self.module(definition.module)
        assert module is not None
        parts, name = Parts(), definition.name
        writer = Writer(self.resolve, module, parts)
        statements = module.definitions[name]
        if ON_IMPORT in module.definitions and name != ON_IMPORT:
            parts.leads.add(Definition(module.name, ON_IMPORT))
        table = _table(statements)
        if table is not None and self._read_table(table, definition, writer):
            return parts
        written: dict[str, list[Any]] = {}
        for statement in statements:
            if isinstance(statement, ast.ClassDef):
                for label, text in self._class_parts(statement, writer):
                    written.setdefault(label, []).append(text)
            else:
                written.setdefault(name, []).append(writer.write(statement, ()))
                self._place(parts, name, module, statement)
        if not any(isinstance(statement, SCOPES) for statement in statements) and not _is_text(statements):
            parts.listed, parts.strings = parts.strings, set()  # what could be chosen is not what the stage has chosen
        parts.hashes = {label: digest(text) for label, text in written.items()}
        if parts.files:
            parts.files = {
                text
                for text in parts.strings | parts.listed
                if module.file.folder and (module.file.folder / text).exists()
            }
        return parts

    def _class_parts(self, node: ast.ClassDef, writer: Writer) -> Iterator[tuple[str, Any]]:
        """Methods one by one, and the class without them."""
        scopes = (ClassScope(dict.fromkeys(bound(node.body))),)
        rest = [item for item in node.body if not isinstance(item, FUNCTIONS)]
        for base in node.bases:
            writer.parts.bases |= writer.named(base, ())
        heads = [writer.write(part, ()) for part in (node.bases, node.keywords, node.decorator_list)]
        self._place(writer.parts, node.name, writer.module, node)
        yield node.name, ["Class", node.name, *heads, writer.body(rest, scopes)]
        for method in (item for item in node.body if isinstance(item, FUNCTIONS)):
            label = f"{node.name}.{method.name}"
            self._place(writer.parts, label, writer.module, method)
            yield label, writer.write(method, scopes)

    def _place(self, parts: Parts, label: str, module: Module, node: ast.stmt) -> None:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        last = node.end_lineno or node.lineno
        if isinstance(node, ast.ClassDef):  # methods have places of their own
            last = min([last + 1, *(_first_line(item) for item in node.body if isinstance(item, FUNCTIONS))]) - 1
        before = parts.texts.get(label)
        text = "\n".join(module.lines[first - 1 : last]).rstrip() + "\n"
        parts.texts[label] = (before[0], before[1], before[2] + text) if before else (module.name, first, text)

    def _named(self, value: ast.expr | None, writer: Writer) -> str | None:
        """The dotted path that an entry of a table stands for: that of a name, or of a pair of a module of ours and a
        name in it; None for any other value."""
        if isinstance(value, ast.Tuple) and len(value.elts) == 2:
            words = [
                part.value for part in value.elts if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            ours = len(words) == 2 and words[0].partition(".")[0] in self.own
            return ".".join(words) if ours else None
        return writer.dotted(value, ())

    def _read_table(self, table: ast.Dict, definition: Definition, writer: Writer) -> bool:
        """Take a table apart into entries, if each names something."""
        named = {str(key.value): self._named(value, writer) for key, value in _items(table)}
        if None in named.values():
            return False
        for key, value in _items(table):
            text = f"{key.value!r}: {ast.unparse(value)}\n"
            entry = Entry(str(named[key.value]), (definition.module, key.lineno, text))
            writer.parts.entries[key.value] = Definition(definition.module, definition.name, key.value)
            self.entries[writer.parts.entries[key.value]] = entry
        return True

    def _read_entry(self, definition: Definition) -> Parts:
        entry = self.entries[definition]
        found, rest = self.resolve(entry.dotted)
        shown = [found.name, *rest] if found else [entry.dotted]
        label = f"{definition.name}[{definition.key}]"
        leads = {found} if found else set()
        return Parts({label: digest(["entry", definition.key, *shown])}, {label: entry.text}, leads)

    def reach_from(self, function: str, values: Iterable[str], strings: Iterable[str]) -> Reached | None:
        """Everything that a function leads to, by its dotted name; None where it is not found.

        Args:
            values: dotted names of the classes of which it is given values.
            strings: the texts among its arguments, which say which entries of tables count.
        """
        root = self.resolve(function)[0]
        if root is None:
            return None
        kinds = (kind for name in values if (kind := self.resolve(name)[0]) is not None)
        reached = Reached(self)
        for text in strings:
            reached.name(text)
        for definition in (root, *kinds):
            reached.follow(definition)
        reached.run()
        return reached


class Reached:
    """A walk over the definitions of a tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.seen: dict[Definition, Parts] = {}
        self.strings: set[str] = set()
        self.pending: dict[str, list[Definition]] = {}
        self.whole: set[Definition] = set()
        self.called: set[Definition] = set()
        self.waiting: list[Definition] = []

    def follow(self, definition: Definition) -> None:
        if definition not in self.seen:
            self.seen[definition] = self.tree.at(definition)
            self.waiting.append(definition)

    def name(self, text: str) -> None:
        """A string that the stage has: it may name an entry of a table, or a definition."""
        if text in self.strings:
            return
        self.strings.add(text)
        for entry in self.pending.pop(text, ()):
            self.follow(entry)
        if DOTTED.fullmatch(text):
            found = self.tree.resolve(text.replace(":", "."))[0]
            if found is not None:
                self.follow(found)

    def _call(self, definition: Definition) -> None:
        """A class of which a value is made has the defaults of its fields, and of those of its bases."""
        if definition not in self.called:
            self.called.add(definition)
            for text in self.tree.at(definition).defaults:
                self.name(text)
            for base in self.tree.at(definition).bases:
                self._call(base)

    def run(self) -> None:
        while self.waiting:
            definition = self.waiting.pop()
            parts = self.seen[definition]
            for text in parts.strings:
                self.name(text)
            for called in parts.called:
                self._call(called)
            for table in parts.iterated - self.whole:
                self.whole.add(table)
                whole = self.tree.at(table)
                for entry in whole.entries.values():
                    self.follow(entry)
                for text in whole.listed:
                    self.name(text)
            for key, entry in parts.entries.items():
                if key in self.strings:
                    self.follow(entry)
                else:
                    self.pending.setdefault(key, []).append(entry)
            for found in parts.leads:
                self.follow(found)

    def source(self) -> Source:
        """The fingerprint: of every definition's hash, and of which leads to which."""
        found: dict[str, list[str]] = {}
        texts: dict[str, tuple[str, int, str]] = {}
        mine: dict[Definition, str] = {}
        for definition in sorted(self.seen):
            parts = self.seen[definition]
            hashes = parts.hashes | self._data(definition, parts)
            mine[definition] = digest(sorted(hashes.items()))
            for label, value in hashes.items():
                found.setdefault(label, []).append(value)
            texts |= parts.texts
        edges = sorted(
            {(mine[one], mine[other]) for one, parts in self.seen.items() for other in parts.leads if other in mine}
        )
        functions = {  # several definitions may have one name
            label: values[0] if len(values) == 1 else digest(sorted(values)) for label, values in sorted(found.items())
        }
        return Source(digest([sorted(functions.items()), edges], 64), functions, texts)

    def _data(self, definition: Definition, parts: Parts) -> dict[str, str]:
        """Hashes of the data files beside a module that a definition opens; of a folder, those that the stage names."""
        module = self.tree.module(definition.module)
        found = {}
        for name in parts.files:
            assert module is not None and module.file.folder is not None
            path = module.file.folder / name
            files = [path] if path.is_file() else [each for each in path.glob("*") if each.stem in self.strings]
            for file in files:
                found[file.relative_to(module.file.folder).as_posix()] = digest(_content(file))
        return found


def _content(file: Path) -> Any:
    content = file.read_bytes()
    try:
        return json.loads(content) if file.suffix == ".json" else hashlib.sha256(content).hexdigest()
    except ValueError:
        return hashlib.sha256(content).hexdigest()


def _table(statements: list[ast.stmt]) -> ast.Dict | None:
    """The value of a constant that is a table by name, written out and never changed; else None."""
    if len(statements) != 1 or not isinstance(statements[0], ast.Assign | ast.AnnAssign):
        return None
    value = statements[0].value
    if not isinstance(value, ast.Dict) or not value.keys:
        return None
    return value if all(isinstance(k, ast.Constant) and isinstance(k.value, str) for k in value.keys) else None


def _items(table: ast.Dict) -> Iterator[tuple[Any, ast.expr]]:
    return zip(table.keys, table.values, strict=True)


def _is_text(statements: Iterable[ast.stmt]) -> bool:
    """Whether a constant is one string."""
    return all(isinstance(getattr(statement, "value", None), ast.Constant) for statement in statements)


def _first_line(node: Any) -> int:
    return int(min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]))
