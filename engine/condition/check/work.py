"""Bounds the work of one evaluation of a condition, from its typed expression and the sizes of values.

Work is counted in steps: one step is the time in which the compiled function compares two small numbers, about 5 ns.
The weights below are measured against that and rounded up, so that the sum over many conditions bounds all of them
together; `cost` bounds each one alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from ..library import COMPARISONS
from ..limits import MAX_FEATURE_STRING_LENGTH, MAX_LIST_LENGTH, MAX_STRING_LENGTH
from ..patterns import program_size
from ..types import STRING, ListType, Type
from .typed import (
    Apply,
    Choice,
    Constant,
    Elements,
    Feature,
    Local,
    Presence,
    Quantifier,
    Typed,
    parts_of,
    walk_typed,
)


class Sizes(NamedTuple):
    """The largest number of `elements` of a list, and of `characters` of a string or of all strings of a list."""

    elements: int
    characters: int


LARGEST: Final = Sizes(MAX_LIST_LENGTH, MAX_FEATURE_STRING_LENGTH)
"""The sizes that no value can exceed."""

_CALL = 15
"""A call of a Python function."""
_LOOP = 60
"""Setting up `exists` or `all`, once, and `_TURN` for each element."""
_TURN = 4
_SEARCH = 60
"""Passing a string to RE2."""

_CALLED_INLINE = COMPARISONS | {"startsWith", "endsWith"}
_SHORT_TEXT = 32
"""Characters of a number or a boolean as text."""

_WORD = r"(?:\\b)?(?:[\w :/@-]|\\[.+*?()-])+(?:\\b)?"
_WORDS = re.compile(
    rf"(?:\(\?i\))?(?:\^|\\b)?(?:{_WORD}(?:\|{_WORD})*|\((?:\?:)?{_WORD}(?:\|{_WORD})*\))(?:\$|\\b)?"
)
_MOST_WORDS = 300
"""Instructions up to which a pattern of ASCII words only is searched in one pass, whatever the words."""
_KEPT_STATES = 380_000
"""Bytes of states that RE2 keeps for one pattern. Measured: from 400,000 on it may have to rebuild them."""


def work_of(expr: Typed, sizes: Sizes = LARGEST, known: Mapping[str, Sizes] | None = None) -> int:
    """Return the most steps that evaluating `expr` takes.

    `sizes` bounds every name, `known` some names more closely. A macro's body counts once for each element;
    the strings of all elements together have the characters of their list.
    """
    return _Measure(sizes, known or {}).measure(expr)[0]


def patterns_of(expr: Typed) -> dict[str, int]:
    """Return the patterns of `matches` in `expr`, each with the number of instructions that it compiles to."""
    found = {}
    for node in walk_typed(expr):
        if isinstance(node, Apply) and node.operation.startswith("matches"):
            pattern = node.operands[1]
            assert isinstance(pattern, Constant) and isinstance(pattern.value, str)
            found[pattern.value] = program_size(pattern.value)
    return found


_Measured = tuple[int, int, int]
"""The steps to compute a value, and the number of its elements and characters."""


class _Measure:
    def __init__(self, sizes: Sizes, known: Mapping[str, Sizes]) -> None:
        self.sizes = sizes
        self.known = known
        self.locals: dict[int, Sizes] = {}

    def measure(self, node: Typed) -> _Measured:
        if isinstance(node, Constant):
            return (1, *_sizes_of(node.value))
        if isinstance(node, Feature):
            elements, characters = self.known.get(node.name, self.sizes)
            is_text = STRING in (node.type, _element(node))
            return 1, elements if isinstance(node.type, ListType) else 0, characters if is_text else 0
        if isinstance(node, Local):
            return (1, 0, 0) if node.is_index else (1, *self.locals[node.slot])
        if isinstance(node, Presence):
            return 1, 0, 0
        if isinstance(node, Quantifier):
            return self.quantifier(node)
        measured = [self.measure(part) for part in parts_of(node)]
        steps = 1 + sum([one[0] for one in measured])
        if isinstance(node, Apply):
            return self.operation(node, steps, measured)
        if isinstance(node, Choice):
            return steps, max(one[1] for one in measured), max(one[2] for one in measured)
        if isinstance(node, Elements):
            if _is_constant(node):
                steps = 1
            else:
                steps *= 2
            inner = sum([one[1] for one in measured]) if isinstance(_element(node), ListType) else 0
            return steps, len(measured) + inner, sum([one[2] for one in measured])
        return steps, 0, 0

    def quantifier(self, node: Quantifier) -> _Measured:
        steps, elements, characters = self.measure(node.items)
        turns = max(1, min(elements, node.limit))
        # Nested elements and characters are spread over the elements: only their sum is bounded.
        nested = -(-elements // turns) if isinstance(_element(node.items), ListType) else 0
        self.locals[node.slot] = Sizes(nested, -(-characters // turns))
        body, _, _ = self.measure(node.body)
        return steps + _LOOP + turns * (body + _TURN), 0, 0

    def operation(self, node: Apply, steps: int, measured: list[_Measured]) -> _Measured:
        name = node.operation
        if name not in _CALLED_INLINE:
            steps += _CALL
        _, elements, characters = measured[0]
        match name:
            case "in":
                if not _is_constant(node.operands[1]):  # a constant list is a set
                    steps += measured[1][1] + (characters + measured[1][2]) // 64
                return steps, 0, 0
            case "matches" | "matches_bounded":
                return steps + _SEARCH + _match_steps(node, characters), 0, 0
            case "contains":
                return steps + _find_steps(characters, measured[1][2]), 0, 0
            case "lowerAscii" | "upperAscii":
                return steps + characters, 0, characters
            case "integer_of_string" | "number_of_string":
                return steps + characters // 2, 0, 0
            case "add_string":
                characters = min(MAX_STRING_LENGTH, characters + measured[1][2])
                return steps + characters // 8, 0, characters
            case "add_list":
                elements = min(MAX_LIST_LENGTH, elements + measured[1][1])
                return steps + elements, elements, characters + measured[1][2]
            case "widen" | "min_list" | "max_list":
                return steps + 5 * elements, elements, characters
            case "index":
                return steps, elements, characters
            case "size" | "boolean_of_string":
                return steps, 0, 0
        if node.type == STRING:
            return steps, 0, _SHORT_TEXT
        # A comparison ends with the shorter side.
        elements = min(one[1] for one in measured)
        return steps + 2 * elements + min(one[2] for one in measured) // 64, 0, 0


def _element(node: Typed) -> Type | None:
    return node.type.element if isinstance(node.type, ListType) else None


def _is_constant(node: Typed) -> bool:
    if isinstance(node, Elements):
        return all(isinstance(item, Constant) for item in node.items)
    return isinstance(node, Constant)


def _sizes_of(value: object) -> Sizes:
    if isinstance(value, str):
        return Sizes(0, len(value))
    if isinstance(value, tuple):
        inner = [_sizes_of(one) for one in value]
        return Sizes(len(value) + sum(one.elements for one in inner), sum(one.characters for one in inner))
    return Sizes(0, 0)


def _match_steps(node: Apply, characters: int) -> int:
    """Two steps for each character and instruction: the cost in RE2 of a pattern with too many states to keep.

    A pattern of words only has about as many states as letters, so one pass over the string is enough: three steps for
    each character, whatever the number of words (Aho and Corasick, 1975).
    """
    pattern = node.operands[1]
    assert isinstance(pattern, Constant) and isinstance(pattern.value, str)
    if len(node.operands) == 3:
        longest = node.operands[2]
        assert isinstance(longest, Constant) and isinstance(longest.value, int)
        characters = min(characters, longest.value)
    size = program_size(pattern.value)
    if _WORDS.fullmatch(pattern.value) and (
        (size <= _MOST_WORDS and pattern.value.isascii())
        or _states_of_words(pattern.value, size) <= _KEPT_STATES
    ):
        return 3 * characters
    return 2 * characters * size


def _states_of_words(pattern: str, size: int) -> int:
    """The bytes of the states of a pattern of words only, with one state for each instruction.

    Each has a pointer for every distinct byte, and the possible positions in words (RE2's `re2/dfa.cc`). In
    other scripts capitals have bytes of their own.
    """
    capitals = "".join(char.swapcase() for char in pattern if not char.isascii())
    longest = max(len(word.encode()) for word in pattern.split("|"))
    return size * (8 * len(set((pattern + capitals).encode())) + 4 * longest + 56)


def _find_steps(characters: int, wanted: int) -> int:
    """The steps of `contains` in CPython (`Objects/stringlib/fastsearch.h`), which depend on both lengths.

    Searching for a long text in a short string, or for a short one in a string of medium length, is quadratic.
    """
    steps = 3 * characters
    if wanted > 5:
        steps += min(characters, 30_000) * min(wanted, 100) // 10
        steps += min(characters, 2_500) * min(wanted, 1_250) // 16
    return steps
