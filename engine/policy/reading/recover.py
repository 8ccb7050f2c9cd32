"""Sets aside the parts of a tree that do not fit its shape.

What is set aside has been reported; the rest can then be checked in the same run, and each mapping remembers
in ``lost`` what it is without, so that nobody is told that it is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import ValidationError

from ..source.document import Node
from .shape_problems import by_place

STAND_IN_NAME = "unnamed"
"""The name of a part whose own name could not be read."""


def _stand_in(value: Any, children: dict[str | int, Node] | None = None, lost: Iterable[str] = ()) -> Node:
    return Node(value, start=0, end=0, children=children or {}, lost=frozenset(lost))


_UNNAMED_RULE: Final = _stand_in({}, {"name": _stand_in(STAND_IN_NAME)}, ("name", "use"))

_STAND_INS: Final[Mapping[str, Node]] = {
    "name": _stand_in(STAND_IN_NAME),
    "routewright": _stand_in(1),
    "catalog": _stand_in("unread"),
    "rules": _stand_in([], {0: _UNNAMED_RULE}),
}
"""What takes the place of keys whose absence need not keep the rest of their mapping from being checked."""


@dataclass(slots=True)
class _Change:
    """What becomes of a node: it goes, it gets stand-ins, or something below it changes."""

    goes: bool = False
    missing: set[str] = field(default_factory=set)
    below: dict[str | int, _Change] = field(default_factory=dict)


def set_aside(error: ValidationError, root: Node) -> Node | None:
    """Return ``root`` without what ``error`` complains of, or None where nothing would be left to read."""
    changes = _Change()
    for path, details in by_place(error, root).items():
        here = changes
        missing = details[0]["type"] == "missing"
        for step in path[:-1] if missing else path:
            here = here.below.setdefault(step, _Change())
        if missing and path[-1] in _STAND_INS:
            here.missing.add(str(path[-1]))
        else:
            here.goes = True
    return None if changes.goes else _changed(root, changes)


def _changed(node: Node, change: _Change) -> Node:
    """The changed tree; a list is numbered anew, and each node keeps its place in the text."""
    children = {}
    lost = set(node.lost) | change.missing
    for step, child in node.children.items():
        below = change.below.get(step)
        if below is None:
            children[step] = child
        elif below.goes:
            lost.add(step)
        else:
            children[step] = _changed(child, below)
    children |= {name: _STAND_INS[name] for name in sorted(change.missing)}
    if isinstance(node.value, list):
        children = dict(enumerate(children.values()))
    return replace(node, children=children, lost=frozenset(lost))
