"""Counts the states of the automaton that searches for a pattern, for the common part of RE2's syntax.

The states are sets of positions of the pattern (Glushkov, "The abstract theory of automata", 1961), over the bytes of
UTF-8, as in RE2. Sets of positions, and of bytes, are the bits of an integer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_MOST_POSITIONS = 400
_MOST_STATES = 2_000
"""The largest automaton that is built: about 10 ms."""

_Conditioned = tuple[int, int, int]
"""Positions that are reached anywhere, at the boundary of a word only, and anywhere but there."""
_ANYWHERE, _AT_BOUNDARY, _ELSEWHERE, _NEVER = range(4)
_NONE: _Conditioned = (0, 0, 0)


class TooMany(Exception):
    """The pattern has too many states, or something in it that is not counted here."""


class _Part(NamedTuple):
    """A part of a pattern: under which conditions it takes no byte, and its first and last positions."""

    empty: frozenset[int]
    first: _Conditioned = _NONE
    last: _Conditioned = _NONE


_NOTHING = _Part(frozenset((_ANYWHERE,)))


def automaton_of(pattern: str) -> tuple[int, int, int]:
    """Return the number of states that a search can reach, of classes of bytes, and of positions in one state."""
    reader = _Reader(pattern)
    part = reader.alternatives()
    if reader.at < len(reader.text):
        raise TooMany
    return _explored(part.first, reader.follow, reader.accepted)


def _explored(first: _Conditioned, follow: list[list[int]], accepted: list[int]) -> tuple[int, int, int]:
    positions_by_bytes: dict[int, int] = {}
    for position, taken in enumerate(accepted):
        positions_by_bytes[taken] = positions_by_bytes.get(taken, 0) | 1 << position
    taking = [
        sum([positions for taken, positions in positions_by_bytes.items() if taken >> byte & 1])
        for byte in range(_BEGIN + 1)
    ]
    # Whether the last byte is one of a word matters only where the pattern asks for it.
    word = _WORD if any(any(reached[_AT_BOUNDARY:]) for reached in (first, *follow)) else 0
    classes = set(zip(taking[:_BEGIN], [word >> byte & 1 for byte in range(_BEGIN)], strict=True))
    start = (first[_ANYWHERE] & taking[_BEGIN], 0)
    seen, waiting, longest = {start}, [start], 1
    while waiting:
        positions, after_word = waiting.pop()
        steps = first
        for position in _bits(positions):
            steps = _or(steps, follow[position])
        for takes, is_word in classes:
            conditioned = steps[_AT_BOUNDARY if is_word != after_word else _ELSEWHERE]
            state = ((steps[_ANYWHERE] | conditioned) & takes, is_word)
            if state not in seen:
                seen.add(state)
                waiting.append(state)
                longest = max(longest, state[0].bit_count())
        if len(seen) > _MOST_STATES:
            raise TooMany
    return len(seen), len(classes), longest


class _Reader:
    """Reads a pattern; raises TooMany for what it does not know."""

    def __init__(self, pattern: str) -> None:
        self.folded = pattern.startswith("(?i)")
        self.text = pattern.removeprefix("(?i)")
        self.at = 0
        self.accepted: list[int] = []
        self.follow: list[list[int]] = []

    def sees(self, sign: str) -> bool:
        found = self.text.startswith(sign, self.at)
        self.at += len(sign) * found
        return found

    def next(self) -> str:
        if self.at >= len(self.text):
            raise TooMany
        self.at += 1
        return self.text[self.at - 1]

    def alternatives(self) -> _Part:
        parts = [self.sequence()]
        while self.sees("|"):
            parts.append(self.sequence())
        return _either(parts)

    def sequence(self) -> _Part:
        part = _NOTHING
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            part = self.joined(part, self.repeated())
        return part

    def joined(self, left: _Part, right: _Part) -> _Part:
        self.connect(left.last, right.first)
        first, last = left.first, right.last
        for condition in left.empty:
            first = _or(first, _under(condition, right.first))
        for condition in right.empty:
            last = _or(last, _under(condition, left.last))
        empty = {_both(a, b) for a in left.empty for b in right.empty}
        return _Part(frozenset(empty - {_NEVER}), first, last)

    def connect(self, last: _Conditioned, first: _Conditioned) -> None:
        for before, sources in enumerate(last):
            for after, targets in enumerate(first):
                condition = _both(before, after)
                if condition != _NEVER and targets:
                    for position in _bits(sources):
                        self.follow[position][condition] |= targets

    def repeated(self) -> _Part:
        start = self.at
        part = self.single()
        if found := _REPEAT.match(self.text, self.at):
            least = int(found[1])
            most = int(found[3] or 0) if found[2] else least
            if max(least, most) * (found.end() - start) > _MOST_POSITIONS:
                raise TooMany
            part = self.copies(start, part, least, most)
            self.at = found.end()
        elif self.sees("*") or self.sees("+"):
            self.connect(part.last, part.first)
            part = _optional(part) if self.text[self.at - 1] == "*" else part
        # A second `?` asks for the shortest match, which makes no difference to whether there is one.
        return _optional(part) if self.sees("?") else part

    def copies(self, start: int, part: _Part, least: int, most: int) -> _Part:
        """`part{least,most}`; a `most` of 0 is no bound."""
        whole = _NOTHING
        count = max(least, most, 1)
        for copy in range(count):
            if copy:
                self.at = start
                part = self.single()
            if not most and copy == count - 1:
                self.connect(part.last, part.first)
            whole = self.joined(whole, part if copy < least else _optional(part))
        return whole

    def single(self) -> _Part:
        if self.sees("("):
            if self.sees("?") and not self.sees(":"):
                raise TooMany
            part = self.alternatives()
            if not self.sees(")"):
                raise TooMany
            return part
        if self.sees(r"\b") or self.sees(r"\B"):
            return _Part(frozenset((_AT_BOUNDARY if self.text[self.at - 1] == "b" else _ELSEWHERE,)))
        if self.sees("^") or self.sees("$"):
            return self.position(1 << _BEGIN if self.text[self.at - 1] == "^" else 0)
        if self.sees("["):
            return self.bracket()
        if self.sees("."):
            return self.taking("\n", negated=True)
        if self.text[self.at] in "*+?{":
            raise TooMany
        return self.taking(*self.characters())

    def characters(self) -> tuple[Iterable[str], bool]:
        """The characters that the next sign stands for; True if it stands for all but them."""
        char = self.next()
        if char != "\\":
            return char, False
        char = self.next()
        if char.lower() in _CLASSES:
            return _CLASSES[char.lower()], char.isupper()
        if char.isalnum() and char not in _CONTROLS:
            raise TooMany
        return _CONTROLS.get(char, char), False

    def bracket(self) -> _Part:
        negated = self.sees("^")
        named: set[str] = set()
        while not named or not self.sees("]"):
            if self.text.startswith("[:", self.at):
                raise TooMany
            low, all_but = self.characters()
            if all_but:
                raise TooMany
            named.update(low)
            if self.text.startswith("-", self.at) and not self.text.startswith("-]", self.at):
                self.at += 1
                high, _ = self.characters()
                if len([*low]) != 1 or len([*high]) != 1 or max(high) > _LAST_IN_RANGES:
                    raise TooMany
                named.update(map(chr, range(ord(max(low)), ord(max(high)) + 1)))
        return self.taking(named, negated)

    def taking(self, named: Iterable[str], negated: bool) -> _Part:
        """One character: of those that are `named`, or any but them."""
        chars = {case for char in named for case in (_cases(char) if self.folded else char)}
        ascii = sum(1 << ord(char) for char in chars if char.isascii())
        if negated:
            # Characters outside ASCII that are excluded count as taken: there are only more positions.
            parts = [self.position(_ASCII & ~ascii), *[self.spelt(taken) for taken in _LONGER]]
        else:
            parts = [self.position(ascii)] if ascii else []
            longer = [char for char in sorted(chars) if not char.isascii()]
            parts += [self.spelt([1 << byte for byte in char.encode()]) for char in longer]
        return _either(parts)

    def spelt(self, bytes_taken: Iterable[int]) -> _Part:
        part = _NOTHING
        for taken in bytes_taken:
            part = self.joined(part, self.position(taken))
        return part

    def position(self, taken: int) -> _Part:
        if len(self.accepted) >= _MOST_POSITIONS:
            raise TooMany
        bit = 1 << len(self.accepted)
        self.accepted.append(taken)
        self.follow.append([0, 0, 0])
        return _Part(frozenset(), (bit, 0, 0), (bit, 0, 0))


_REPEAT = re.compile(r"\{(\d+)(,?)(\d*)\}")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CLASSES = {"d": "0123456789", "s": "\t\n\f\r ", "w": _LETTERS + "0123456789_"}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_LAST_IN_RANGES = "\u024f"
_ODD_CASES = {"k": "\u212a", "s": "\u017f"}
"""Letters outside ASCII that are other cases of these."""

_BEGIN = 256
"""The bit of the byte before the first, which `^` takes. No byte is taken by `$`."""
_ASCII = (1 << 128) - 1
_WORD = sum(1 << ord(char) for char in _CLASSES["w"])
_NEXT = sum(1 << byte for byte in range(0x80, 0xC0))
_LONGER = [
    [sum(1 << byte for byte in range(first, after)), *[_NEXT] * more]
    for first, after, more in ((0xC2, 0xE0, 1), (0xE0, 0xF0, 2), (0xF0, 0xF5, 3))
]
"""The bytes of characters outside ASCII."""


def _cases(char: str) -> set[str]:
    cases = {char, char.lower(), char.upper(), *_ODD_CASES.get(char.lower(), "")}
    return {case for case in cases if len(case) == 1}


def _either(parts: Iterable[_Part]) -> _Part:
    whole = _Part(frozenset())
    for part in parts:
        whole = _Part(whole.empty | part.empty, _or(whole.first, part.first), _or(whole.last, part.last))
    return whole


def _optional(part: _Part) -> _Part:
    return part._replace(empty=part.empty | {_ANYWHERE})


def _or(a: Iterable[int], b: Iterable[int]) -> _Conditioned:
    (a0, a1, a2), (b0, b1, b2) = a, b
    return a0 | b0, a1 | b1, a2 | b2


def _both(a: int, b: int) -> int:
    """The condition under which two conditions hold at one place."""
    return a | b if a == b or not a or not b else _NEVER


def _under(condition: int, positions: _Conditioned) -> _Conditioned:
    """`positions` as they are reached where `condition` has to hold too."""
    anywhere, at_boundary, elsewhere = positions
    if condition == _AT_BOUNDARY:
        return 0, anywhere | at_boundary, 0
    return positions if condition == _ANYWHERE else (0, 0, anywhere | elsewhere)


def _bits(positions: int) -> Iterator[int]:
    while positions:
        lowest = positions & -positions
        yield lowest.bit_length() - 1
        positions ^= lowest
