"""Names parts and values of a file in the words of messages."""

from __future__ import annotations

from collections.abc import Sequence

from .source.document import Document, Path

_SECTIONS = frozenset(
    "assertions backends cases chains constraints controls features models rules samples steps".split()
)
"""The keys whose entries messages call by one of the same word: ``rules`` has a rule."""


def owner(path: Path, document: Document) -> str:
    """What stands at ``path``: ``rule `otherwise```, ``entry 2 of `use```, `` `timeouts` ``, ``the file``."""
    if not path:
        return "the file"
    step = path[-1]
    section = path[-2] if len(path) > 1 else None
    kind = str(section).removesuffix("s") if section in _SECTIONS else None
    if isinstance(step, str):
        return f"{kind} {quoted(step)}" if kind else quoted(step)
    name = document.node_at((*path, "name"))
    if kind and "name" not in document.node_at(path).lost and isinstance(name.value, str):
        return f"{kind} {quoted(name.value)}"
    return f"{kind} {step + 1}" if kind else f"entry {step + 1} of {quoted(section)}"


def value_name(path: Path) -> str:
    """What a message calls the value at ``path``: its key, or its place in a list, counted from 1."""
    if not path:
        return "the file"
    step = path[-1]
    if isinstance(step, str):
        return quoted(step)
    return f"entry {step + 1} of {quoted(path[-2])}" if len(path) > 1 else f"entry {step + 1}"


def quoted(value: object) -> str:
    """A value as the author wrote it, in backticks; a long one is cut."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value)
    return f"`{text[:57]}…`" if len(text) > 60 else f"`{text}`"


def joined(words: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(number: int, what: str) -> str:
    """``1 entry``, ``20 entries``."""
    one = "entry" if what == "entries" else what.removesuffix("s")
    return f"1 {one}" if number == 1 else f"{number:,} {what}"


def chain_help(name: str) -> str:
    """Help for a chain's name in the place of a model."""
    return f"`{name}` is a chain: write `fallback: {name}`, and the models to try first in `use`"
