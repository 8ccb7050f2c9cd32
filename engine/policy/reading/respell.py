"""Reads on under the key that a misspelt one must mean, so that it does not hide the mistakes in its value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from pydantic import BaseModel, ValidationError

from ...report import MAX_PROBLEMS, Problem
from ..shapes.keys import keys_at, takers
from ..source.document import Document, Node, Path
from .shape_problems import by_place, misspelt


@dataclass(frozen=True, slots=True)
class Respelled:
    """A tree in which keys stand as they must be meant, and where these are."""

    root: Node
    keys: Collection[Path]

    def is_inside(self, problem: Problem) -> bool:
        """Whether a problem is inside the value of such a key. That the value as a whole does not fit may come of the
        guess."""
        return any(problem.path[: len(key)] == key and len(problem.path) > len(key) for key in self.keys)


def respell(error: ValidationError, document: Document, model: type[BaseModel]) -> Respelled:
    """The document's tree with the unknown keys that ``error`` complains of spelt as they must be meant.

    Each node keeps its place in the text. Where a mapping has the meant key already, nothing is changed.
    """
    meant: dict[Path, str] = {}
    keys: set[Path] = set()
    for path, details in islice(by_place(error, document.root).items(), MAX_PROBLEMS):
        if details[0]["type"] == "extra_forbidden" and document.node_at(path).value is not None:
            known = keys_at(model, details[0]["loc"][:-1])
            key = misspelt(path, known, takers(model, str(path[-1])))
            if key is None or key in document.node_at(path[:-1]).children or (*path[:-1], key) in keys:
                continue
            meant[path] = key
            keys.add((*path[:-1], key))
    above = {path[:length] for path in meant for length in range(len(path))}
    return Respelled(_respelled(document.root, meant, above, ()), keys)


def _respelled(node: Node, meant: Mapping[Path, str], above: Collection[Path], path: Path) -> Node:
    """The node with other keys, where some are below it: ``above`` are the paths to such nodes."""
    if path not in above:
        return node
    children = {
        meant.get((*path, step), step): _respelled(child, meant, above, (*path, step))
        for step, child in node.children.items()
    }
    return replace(node, children=children)
