"""Hierarchies of instruments: which nodes lie above a leaf, and what a data set calls them.

A hierarchy is a file ``hierarchies/<name>.json``: a tree of named nodes below the mixture. A leaf is a list: names of a
data set's sources, or General MIDI programs. ``leaves_are`` says which names the data set can deliver itself:
``"nodes"`` (it sums files to any node) or ``"sources"`` (its stems only; nodes are summed when packing).
A path is written from the leaf upward: ``("clean_guitars", "guitars", "strings_guitars_keyboards")``.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mss_core.errors import choose

FOLDER = Path(__file__).with_name("hierarchies")
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


@dataclass(frozen=True)
class Hierarchy:
    """A tree, flattened.

    Attributes:
        paths: every leaf's path, leaf first.
        contents: what each node is made of: sources or programs of all leaves below it.
        summed: whether nodes are sums that the data set does not know.
        labels: annotation labels of each leaf, where the set has such.
    """

    name: str
    paths: dict[str, tuple[str, ...]]
    contents: dict[str, tuple[Any, ...]]
    summed: bool
    labels: dict[str, tuple[str, ...]]

    def path(self, leaf: str, levels: int) -> tuple[str, ...]:
        """The lowest ``levels`` nodes of a leaf's path; ValueError where it is shorter."""
        choose(f"leaf of the hierarchy {self.name!r}", leaf, self.paths)
        path = self.paths[leaf]
        if not 1 <= levels <= len(path):
            raise ValueError(
                f"{leaf!r} has {len(path)} levels in the hierarchy {self.name!r} ({' < '.join(path)}); "
                f"{levels} are asked for"
            )
        return path[:levels]

    def siblings(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """The other leaves below the highest node of a path; all other leaves, where that is the leaf itself."""
        below = [leaf for leaf, above in self.paths.items() if path[-1] in above and leaf != path[0]]
        return tuple(below or (leaf for leaf in self.paths if leaf != path[0]))

    def rows(self, nodes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """The sources of the data set that sum to each node."""
        return {node: self.contents[node] if self.summed else (node,) for node in nodes}

    def everything(self) -> tuple[str, ...]:
        """Names of the data set's sources that together hold all of its music."""
        nodes = tuple(dict.fromkeys(path[-1] for path in self.paths.values()))
        return tuple(dict.fromkeys(source for names in self.rows(nodes).values() for source in names))


@functools.cache
def load(name: str) -> Hierarchy:
    """A hierarchy by name; ValueError where there is none, or where a node stands in it twice."""
    choose("hierarchy", name, NAMES)
    content = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    paths: dict[str, tuple[str, ...]] = {}
    contents: dict[str, tuple[Any, ...]] = {}

    def visit(tree: dict[str, Any], above: tuple[str, ...]) -> tuple[Any, ...]:
        below: tuple[Any, ...] = ()
        for node, value in tree.items():
            if node in contents:
                raise ValueError(f"hierarchy {name!r}: the node {node!r} stands in it twice")
            contents[node] = ()
            here = (node, *above)
            contents[node] = visit(value, here) if isinstance(value, dict) else tuple(value)
            if not isinstance(value, dict):
                paths[node] = here
            below += contents[node]
        return below

    visit(content["tree"], ())
    labels = {leaf: tuple(names) for leaf, names in content.get("labels", {}).items()}
    return Hierarchy(name, paths, contents, content["leaves_are"] == "sources", labels)
