"""A tree that does not fit its shape in, a smaller one out that may: the unfit parts are set aside.

What is set aside has been reported; the rest can then be checked in the same run.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from .nodes import Node, Path
from .shape_problems import node_path

__all__ = ["set_aside"]

# Keys whose absence need not keep the rest of their mapping from being checked.
_STAND_INS = {"name": "unnamed", "routewright": 1, "catalog": ""}


def set_aside(error: ValidationError, root: Node, aside: set[Path]) -> Node | None:
    """Return ``root`` without what ``error`` complains of, or None where nothing would be left to read.

    Adds to ``aside`` the paths of what is gone; steps into lists are numbered as they were at that moment.
    """
    gone: set[Path] = set()
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        path = node_path(detail, root)
        if detail["type"] == "missing" and path[-1] in _STAND_INS:
            root = _with(root, path, Node(_STAND_INS[str(path[-1])], 0, 0))
            continue
        if detail["type"] == "missing":
            path = path[:-1]
        if not path:
            return None
        gone.add(path)
    aside |= gone
    # Deepest first, and last first within a list, so that no path is out of date when its turn comes.
    for path in sorted(gone, key=lambda p: (len(p), [str(step).zfill(9) for step in p]), reverse=True):
        root = _without(root, path)
    return root


def _with(node: Node, path: Path, value: Node) -> Node:
    head, *rest = path
    child = node.children.get(head)
    new = value if not rest or child is None else _with(child, tuple(rest), value)
    return replace(node, children={**node.children, head: new})


def _without(node: Node, path: Path) -> Node:
    """The tree without the node at ``path``; a list is numbered anew, each node keeps its place in the text."""
    head, *rest = path
    children = dict(node.children)
    if head in children:
        if rest:
            children[head] = _without(children[head], tuple(rest))
        else:
            del children[head]
    if isinstance(node.value, list):
        children = dict(enumerate(children.values()))
    return replace(node, children=children)
