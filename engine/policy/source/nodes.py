"""Parses YAML into a tree of nodes with positions, or reports problems. Reads no files.

The tree is built from ruamel.yaml's event stream, without recursion, so that depth and size are limited here
and a hostile file costs no more than its length.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from ...report import MAX_PROBLEMS, PolicyError, Problem, limit_problems
from .document import Document, Node, SourceText, properties_start
from .scalars import resolve
from .yaml_syntax import syntax_problem

if TYPE_CHECKING:
    from ruamel.yaml.events import Event


MAX_FILE_BYTES = 1024 * 1024
"""A larger policy, catalog or test file is refused: 1 MiB."""

MAX_YAML_DEPTH = 40
"""Mappings and lists inside one another."""

MAX_NODES = 100_000
"""Keys, values, lists and mappings of one file, counted after aliases are followed."""

_MAX_TAG_LENGTH = 1_000

_LINE_END = re.compile(r"\r\n?")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def parse_yaml(text: str, source: str) -> Document:
    """Return the document in ``text``, reported as ``source``.

    Raises PolicyError when the text is not YAML or breaks a limit: that is reported alone. Lesser problems are
    in ``Document.problems``, so that the mistakes behind them can be reported in the same run.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if len(text.encode("utf-8", "surrogatepass")) > MAX_FILE_BYTES:
        message = f"the file is larger than {MAX_FILE_BYTES // 1024} KiB"
        raise PolicyError([Problem("file-too-large", message, source=source, line=1, column=1)])
    # Windows line ends and byte-order marks change offsets, not meaning.
    written = SourceText(_LINE_END.sub("\n", text.removeprefix("\ufeff")), source)
    builder = _TreeBuilder(written)
    stopped = False
    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.Scanner = _scanner()
        for event in yaml.parse(written.text):
            if not builder.feed(event):
                stopped = True
                break
    except (YAMLError, ValueError) as error:
        raise PolicyError([syntax_problem(error, written)]) from None
    if builder.root is None and not builder.problems:
        builder.problems.append(written.place(Problem("empty-file", "the file is empty"), 0, 1))
    if stopped or builder.root is None:
        raise PolicyError(limit_problems(builder.problems))
    return Document(written, builder.root, tuple(builder.problems))


@cache
def _scanner() -> type[Any]:
    """ruamel.yaml's scanner, which stops at a very long tag: building one takes time quadratic in its length."""
    from ruamel.yaml.scanner import Scanner, ScannerError

    class BoundedScanner(Scanner):
        def scan_tag(self) -> Any:
            token = super().scan_tag()
            if len(token.value[1] or "") > _MAX_TAG_LENGTH:
                raise ScannerError("while scanning a tag", token.start_mark, "too long", token.start_mark)
            return token

    return BoundedScanner


class _TreeBuilder:
    """Feeds on events, keeps a stack of open mappings and lists, collects problems."""

    def __init__(self, written: SourceText) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._written = written
        self._open: list[Node] = []
        self._keys: list[Node | None] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0
        self._documents = 0

    def feed(self, event: Event) -> bool:
        """Take one event; False when reading on makes no sense."""
        from ruamel.yaml import events

        if len(self.problems) >= MAX_PROBLEMS:
            return False
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, events.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._problem("second-document", "a file holds one document", start, end)
                return False
        elif isinstance(event, events.AliasEvent):
            return self._alias(event.anchor, start, end)
        elif isinstance(event, events.ScalarEvent):
            return self._attach(self._scalar(event, start, end))
        elif isinstance(event, (events.MappingStartEvent, events.SequenceStartEvent)):
            if len(self._open) >= MAX_YAML_DEPTH:
                return self._too_deep(start)
            value: Any = {} if isinstance(event, events.MappingStartEvent) else []
            node = Node(value, start, end, tag=_tag(event), anchor=event.anchor)
            if not self._attach(node):
                return False
            self._open.append(node)
            self._keys.append(None)
        elif isinstance(event, (events.MappingEndEvent, events.SequenceEndEvent)):
            node = self._open.pop()
            self._keys.pop()
            node.end = end
            node.height = 1 + max((child.height for child in node.children.values()), default=0)
        return True

    def _alias(self, anchor: str, start: int, end: int) -> bool:
        target = self._anchors.get(anchor)
        if target is None or target in self._open:
            help = "put text that begins with `*` in quotes"
            self._problem("unknown-anchor", f"no anchor `{anchor}` before this", start, end, help)
            # The key before it, where there is one, must not wait for a value.
            return self._attach(Node(f"*{anchor}", start, end, alias=True))
        if len(self._open) + target.height > MAX_YAML_DEPTH:
            return self._too_deep(start)
        copy = Node(target.value, start, end, target.style, target.tag, alias=True, height=target.height)
        copy.children = target.children
        return self._attach(copy)

    def _scalar(self, event: Any, start: int, end: int) -> Node:
        node = Node(event.value, start, end, style=event.style, tag=_tag(event), anchor=event.anchor)
        if event.style == '"' and _HALF_CHARACTER.search(event.value):
            # JSON writes a character above U+FFFF as two halves (RFC 8259, section 7), which YAML reads one by one.
            node.value = _PAIR.sub(_joined, event.value)
            if _HALF_CHARACTER.search(node.value):
                help = "write the character itself, or as `\\U0001F600`"
                self._problem("bad-text", "half of a surrogate pair is not a character", start, end, help)
                node.value = _HALF_CHARACTER.sub("\ufffd", node.value)
        if event.style is None and node.tag is None:
            node.value = resolve(event.value)
            if isinstance(node.value, float) and not math.isfinite(node.value):
                self._problem("not-finite", f"`{event.value[:40]}` is not a finite number", start, end)
        return node

    def _attach(self, node: Node) -> bool:
        """Put a node into the open mapping or list; False when the file has grown too large."""
        self._count += _size(node, MAX_NODES)
        if self._count > MAX_NODES:
            message = f"the file holds more than {MAX_NODES:,} values, aliases followed"
            self._problem("too-many-nodes", message, node.start)
            return False
        if node.anchor is not None:
            self._anchors[node.anchor] = node
        if not self._open:
            self._refuse_tag("", node)
            self.root = node
            return True
        parent = self._open[-1]
        if isinstance(parent.value, list):
            self._refuse_tag("- ", node)
            parent.children[len(parent.children)] = node
            return True
        key = self._keys[-1]
        if key is None:
            self._refuse_tag("", node)
            self._keys[-1] = node
            return True
        self._keys[-1] = None
        self._enter(parent, key, node)
        return True

    def _enter(self, parent: Node, key: Node, node: Node) -> None:
        name = key.value
        if isinstance(name, (dict, list)):
            help = "put text that holds `{`, `[` or `: ` in quotes"
            self._problem("unfit-key", "a key is a word, not a list or mapping", key.start, key.end, help)
            return
        if not isinstance(name, str):
            name = self._written.text[key.start : key.end].strip()
        if name == "<<":
            self._problem("merge-key", "merge keys are not supported", key.start, key.end, "repeat the keys")
            return
        self._refuse_tag(f"{name}: ", node)
        if name in parent.children:
            first = self._written.line_of(parent.children[name].key_start or 0)
            help = f"first given in line {first}"
            self._problem("duplicate-key", f"`{name}` is given twice", key.start, key.end, help)
            return
        node.key_start, node.key_end = key.start, key.end
        parent.children[name] = node

    def _refuse_tag(self, before: str, node: Node) -> None:
        """``when: !local_only`` is a tag with an empty value, ``when: !x && y`` loads as ``y``: never silently."""
        if node.tag is None or node.alias:
            return
        start = properties_start(self._written.text, node.start)
        said = self._written.text[start : node.end].partition("\n")[0].strip()
        quoted = said.replace("'", "''")
        help = f"put the whole text in quotes: {before}'{quoted}'"
        if len(help) > 120 or "\n" in before or node.children or node.value in ({}, []):
            help = "put text that begins with `!` in quotes"
        tag = said.split()[0] if said.startswith("!") else node.tag
        self._problem("yaml-tag", f"`{tag[:80]}` is read as a YAML tag", start, node.end, help)

    def _too_deep(self, start: int) -> bool:
        self._problem("too-deep", f"nested deeper than {MAX_YAML_DEPTH} levels", start)
        return False

    def _problem(
        self, code: str, message: str, start: int, end: int | None = None, help: str | None = None
    ) -> None:
        self.problems.append(self._written.place(Problem(code, message, help), start, end or start + 1))


def _joined(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def _tag(event: Any) -> str | None:
    tag = getattr(event, "tag", None)
    return str(tag) if tag is not None else None


def _size(node: Node, limit: int) -> int:
    """How many nodes hang below and at ``node``, at most ``limit + 1``."""
    todo, count = [node], 0
    while todo and count <= limit:
        count += 1
        todo.extend(todo.pop().children.values())
    return count
