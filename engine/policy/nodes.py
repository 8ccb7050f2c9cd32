"""YAML text in, a tree of nodes with positions out; or problems. Reads no files.

The tree is built from ruamel.yaml's event stream, without recursion, so that depth and size are limited here
and a hostile file costs no more than its length. Scalars follow YAML 1.2's core schema (``yes`` is text,
``true`` is a boolean), but a plain scalar that *looks* like an old boolean stays text and is never converted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import PolicyError, Problem
from ..problems import sort_problems

if TYPE_CHECKING:
    from ruamel.yaml.events import Event

__all__ = ["MAX_FILE_BYTES", "MAX_NODES", "MAX_YAML_DEPTH", "Document", "Node", "parse_yaml"]

MAX_FILE_BYTES = 1024 * 1024
"""A larger policy, catalog or test file is refused: 1 MiB."""

MAX_YAML_DEPTH = 40
"""Mappings and lists inside one another."""

MAX_NODES = 200_000
"""Nodes of one file, counted after aliases are followed."""

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Node:
    """One YAML node: its plain value, where it is written, and how.

    ``start`` and ``end`` are offsets into the text. ``key_start`` is the offset of a mapping entry's key.
    ``style`` is None for plain scalars, else ``'``, ``"``, ``|`` or ``>``. ``height`` counts the levels below,
    those behind aliases included.
    """

    value: Any
    start: int
    end: int
    style: str | None = None
    tag: str | None = None
    anchor: str | None = None
    alias: bool = False
    key_start: int | None = None
    key_end: int | None = None
    height: int = 0
    children: dict[str | int, Node] = field(default_factory=dict)

    def plain(self) -> Any:
        """The value without positions: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.children.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.children.values()]
        return self.value


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its text, the name it is reported under, and its tree."""

    text: str
    source: str
    root: Node
    problems: tuple[Problem, ...] = ()
    """What was wrong but could be read past: duplicate keys, unfit keys, tags, numbers that are not finite."""

    def node_at(self, path: Path) -> Node:
        """The node at ``path``; where the path leads on into nothing, the last node that exists."""
        node = self.root
        for step in path:
            child = node.children.get(step)
            if child is None:
                return node
            node = child
        return node

    def place(self, problem: Problem, start: int, end: int) -> Problem:
        """The problem with its line, column and source line for ``text[start:end]``."""
        return _placed(problem, self.source, self.text, start, end)


def parse_yaml(text: str, source: str) -> Document:
    """Return the document in ``text``, reported as ``source``.

    Raises PolicyError when the text is not YAML or breaks a limit: that is reported alone. Lesser problems are
    in ``Document.problems``, so that the mistakes behind them can be reported in the same run.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(text.encode("utf-8", "surrogatepass")) > MAX_FILE_BYTES:
        raise PolicyError(
            [
                Problem(
                    "file-too-large", f"the file is larger than {MAX_FILE_BYTES // 1024} KiB", source=source
                )
            ]
        )
    # Windows line ends and byte-order marks change offsets, not meaning.
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    builder = _TreeBuilder(text, source)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            if not builder.feed(event):
                builder.stopped = True
                break
    except MarkedYAMLError as error:
        raise PolicyError([_syntax_problem(error, text, source)]) from None
    except (YAMLError, ValueError) as error:
        message = str(error).splitlines()[0] if str(error) else "not YAML"
        raise PolicyError([Problem("yaml-syntax", message.lower().rstrip("."), source=source)]) from None
    if builder.root is None and not builder.problems:
        builder.problems.append(Problem("empty-file", "the file is empty", source=source, line=1, column=1))
    if builder.stopped or builder.root is None:
        raise PolicyError(sort_problems(builder.problems))
    return Document(text, source, builder.root, tuple(builder.problems))


class _TreeBuilder:
    """Feeds on events, keeps a stack of open mappings and lists, collects problems."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.stopped = False
        self._open: list[Node] = []
        self._keys: list[Node | None] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0
        self._documents = 0

    def feed(self, event: Event) -> bool:
        """Take one event; False when reading on makes no sense."""
        from ruamel.yaml import events

        if isinstance(event, events.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._problem("second-document", "a file holds one document", event.start_mark.index)
                return False
        elif isinstance(event, events.AliasEvent):
            target = self._anchors.get(event.anchor)
            if target is None or target in self._open:
                self._problem(
                    "unknown-anchor", f"no anchor `{event.anchor}` before this", event.start_mark.index
                )
                return True
            if len(self._open) + target.height > MAX_YAML_DEPTH:
                self._problem(
                    "too-deep", f"nested deeper than {MAX_YAML_DEPTH} levels", event.start_mark.index
                )
                return False
            return self._attach(_copied(target, event.start_mark.index, event.end_mark.index))
        elif isinstance(event, events.ScalarEvent):
            return self._attach(self._scalar(event))
        elif isinstance(event, (events.MappingStartEvent, events.SequenceStartEvent)):
            if len(self._open) >= MAX_YAML_DEPTH:
                self._problem(
                    "too-deep", f"nested deeper than {MAX_YAML_DEPTH} levels", event.start_mark.index
                )
                return False
            value: Any = {} if isinstance(event, events.MappingStartEvent) else []
            node = Node(
                value, event.start_mark.index, event.end_mark.index, tag=_tag(event), anchor=event.anchor
            )
            if not self._attach(node, opens=True):
                return False
            self._open.append(node)
            self._keys.append(None)
        elif isinstance(event, (events.MappingEndEvent, events.SequenceEndEvent)):
            node = self._open.pop()
            self._keys.pop()
            node.end = event.end_mark.index
            node.height = 1 + max((child.height for child in node.children.values()), default=0)
        return True

    def _scalar(self, event: Any) -> Node:
        start, end = event.start_mark.index, event.end_mark.index
        node = Node(event.value, start, end, style=event.style, tag=_tag(event), anchor=event.anchor)
        if event.style is None and node.tag is None:
            if _NOT_FINITE.fullmatch(event.value):
                self._problem("not-finite", f"`{event.value}` is not a finite number", start, end)
            node.value = _resolve(event.value)
            if isinstance(node.value, float) and not math.isfinite(node.value):
                self._problem("not-finite", f"`{event.value[:40]}` is not a finite number", start, end)
        return node

    def _attach(self, node: Node, *, opens: bool = False) -> bool:
        """Put a node into the open mapping or list; False when the file has grown too large."""
        self._count += 1 if opens or not node.children else sum(1 for _ in _walk(node))
        if self._count > MAX_NODES:
            self._problem("too-many-nodes", f"more than {MAX_NODES} values, aliases included", node.start)
            return False
        if node.anchor is not None:
            self._anchors[node.anchor] = node
        if not self._open:
            self.root = node
            return True
        parent = self._open[-1]
        if isinstance(parent.value, list):
            self._refuse_tag("-", node)
            parent.children[len(parent.children)] = node
            return True
        key = self._keys[-1]
        if key is None:
            self._keys[-1] = node
            return True
        self._keys[-1] = None
        self._enter(parent, key, node)
        return True

    def _enter(self, parent: Node, key: Node, node: Node) -> None:
        name = key.value
        if isinstance(name, (dict, list)):
            self._problem("unfit-key", "a key is a word, not a list or mapping", key.start, key.end)
            return
        if not isinstance(name, str):
            name = self.text[key.start : key.end].strip()
        if name == "<<":
            self._problem("merge-key", "merge keys are not supported", key.start, key.end, "repeat the keys")
            return
        self._refuse_tag(name, node)
        if name in parent.children:
            first = self.text.count("\n", 0, parent.children[name].key_start or 0) + 1
            self._problem(
                "duplicate-key",
                f"`{name}` is given twice",
                key.start,
                key.end,
                f"first given in line {first}",
            )
            return
        node.key_start, node.key_end = key.start, key.end
        parent.children[name] = node

    def _refuse_tag(self, name: str, node: Node) -> None:
        """``when: !local_only`` is a tag with an empty value, ``when: !x && y`` loads as ``y``: never silently."""
        if node.tag is None or node.alias:
            return
        said = self.text[node.start : node.end].strip() or node.tag
        help = (
            f"put the whole text in quotes: {name}: '{said}'" if len(said) < 80 else "put the text in quotes"
        )
        self._problem(
            "yaml-tag", f"`{node.tag}` is read as a YAML tag, not as text", node.start, node.end, help
        )

    def _problem(
        self, code: str, message: str, start: int, end: int | None = None, help: str | None = None
    ) -> None:
        problem = Problem(code, message, help)
        self.problems.append(_placed(problem, self.source, self.text, start, end or start + 1))


def _resolve(text: str) -> bool | int | float | str | None:
    """The value of a plain scalar by YAML 1.2's core schema."""
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _NULL.fullmatch(text):
        return None
    if _INTEGER.fullmatch(text):
        # Python refuses to convert very long digit strings; nobody means a number of that size.
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text) if len(text) < 400 else text
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _tag(event: Any) -> str | None:
    tag = getattr(event, "tag", None)
    return str(tag) if tag is not None else None


def _copied(node: Node, start: int, end: int) -> Node:
    """A node that an alias stands for, reported at the alias."""
    return Node(
        node.value, start, end, node.style, node.tag, alias=True, height=node.height, children=node.children
    )


def _walk(node: Node) -> Iterator[Node]:
    todo = [node]
    count = 0
    while todo and count <= MAX_NODES:
        count += 1
        here = todo.pop()
        yield here
        todo.extend(here.children.values())


def _placed(problem: Problem, source: str, text: str, start: int, end: int) -> Problem:
    start = min(start, len(text))
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    return replace(
        problem,
        source=source,
        line=text.count("\n", 0, start) + 1,
        column=start - line_start + 1,
        source_line=text[line_start:line_end],
        width=max(1, min(end, line_end) - start),
    )


def _syntax_problem(error: Any, text: str, source: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = (error.problem or error.context or "not YAML").strip().rstrip(".")
    help = _SYNTAX_HELP.get(message) or (error.context.strip() if error.context and error.problem else None)
    problem = Problem("yaml-syntax", message, help)
    return _placed(problem, source, text, mark.index, mark.index + 1) if mark else problem


_SYNTAX_HELP = {
    "mapping values are not allowed here": "a `: ` inside plain text ends it; put the text in quotes",
    "found character '\\t' that cannot start any token": "indent with blanks, not tabs",
}
