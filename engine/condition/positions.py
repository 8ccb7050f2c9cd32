"""Reads a pattern as positions and what may follow each: the automaton of Glushkov, over the bytes of UTF-8.

V. M. Glushkov, "The abstract theory of automata", 1961. It knows the common part of RE2's syntax. Sets of bytes are the
bits of an integer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_MOST_POSITIONS = 400

Steps = list[tuple[int, bool]]
"""Positions that may come next, in the order in which RE2 tries them, and whether only at the boundary of a word.

EXIT stands where the part of the pattern that is read may end.
"""
EXIT = -1


class TooMany(Exception):
    """The pattern has too many positions or states, or something in it that is not counted."""


class _Part(NamedTuple):
    """A part of a pattern: what may come first, and the positions after which it may end."""

    first: Steps
    exits: set[int]


class PatternReader:
    """Reads a pattern with `alternatives`; raises TooMany for what it does not know."""

    def __init__(self, pattern: str) -> None:
        self.folded = pattern.startswith("(?i)")
        self.text = pattern.removeprefix("(?i)")
        self.at = 0
        self.accepted: list[int] = []
        self.follow: list[Steps] = []

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
        part = _Part([(EXIT, False)], set())
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            part = self.joined(part, self.repeated())
        return part

    def joined(self, left: _Part, right: _Part) -> _Part:
        self.leave(left.exits, right.first)
        skipped = left.exits if _may_end(right.first) else set()
        return _Part(_put(left.first, right.first), right.exits | skipped)

    def leave(self, exits: Iterable[int], steps: Steps) -> None:
        """Put `steps` where the part that ends after `exits` may end."""
        for position in exits:
            self.follow[position] = _put(self.follow[position], steps)

    def repeated(self) -> _Part:
        start = self.at
        part = self.single()
        if found := _REPEAT.match(self.text, self.at):
            least = int(found[1])
            most = int(found[3] or 0) if found[2] else least
            if max(least, most) * (found.end() - start) > _MOST_POSITIONS:
                raise TooMany
            lazy = self.text.startswith("?", found.end())
            part = self.copies(start, part, least, most, lazy)
            self.at = found.end() + lazy
        elif self.sees("*"):
            lazy = self.sees("?")
            part = _optional(self.looped(part, lazy), lazy)
        elif self.sees("+"):
            part = self.looped(part, self.sees("?"))
        elif self.sees("?"):
            part = _optional(part, self.sees("?"))
        return part

    def looped(self, part: _Part, lazy: bool) -> _Part:
        again = [step for step in part.first if step[0] != EXIT]
        exit = (EXIT, False)
        self.leave(part.exits, [exit, *again] if lazy else [*again, exit])
        return part

    def copies(self, start: int, part: _Part, least: int, most: int, lazy: bool) -> _Part:
        """`part{least,most}`; a `most` of 0 is no bound."""
        parts = [part]
        while len(parts) < max(least, most, 1):
            self.at = start
            parts.append(self.single())
        if not most:
            parts[-1] = self.looped(parts[-1], lazy)
        whole: _Part | None = None
        for copy in range(len(parts) - 1, -1, -1):
            # Each further copy can only follow the one before it: `a{0,2}` is `(a(a)?)?`.
            whole = parts[copy] if whole is None else self.joined(parts[copy], whole)
            whole = whole if copy < least else _optional(whole, lazy)
        assert whole is not None
        return whole

    def single(self) -> _Part:
        if self.sees("("):
            if self.sees("?") and not self.sees(":"):
                raise TooMany
            part = self.alternatives()
            if not self.sees(")"):
                raise TooMany
            return part
        if self.sees(r"\b"):
            return _Part([(EXIT, True)], set())
        if self.sees("^") or self.sees("$"):
            return self.position(1 << BEGIN if self.text[self.at - 1] == "^" else 0)
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
            return _either([self.position(_ASCII & ~ascii), *map(self.spelt, _LONGER)])
        parts = [self.position(ascii)] if ascii else []
        longer = [char for char in sorted(chars) if not char.isascii()]
        return _either([*parts, *[self.spelt([1 << byte for byte in char.encode()]) for char in longer]])

    def spelt(self, bytes_taken: Sequence[int]) -> _Part:
        first, *others = bytes_taken
        part = self.position(first)
        for taken in others:
            part = self.joined(part, self.position(taken))
        return part

    def position(self, taken: int) -> _Part:
        if len(self.accepted) >= _MOST_POSITIONS:
            raise TooMany
        self.accepted.append(taken)
        self.follow.append([(EXIT, False)])
        place = len(self.accepted) - 1
        return _Part([(place, False)], {place})


_REPEAT = re.compile(r"\{(\d+)(,?)(\d*)\}")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CLASSES = {"d": "0123456789", "s": "\t\n\f\r ", "w": _LETTERS + "0123456789_"}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_LAST_IN_RANGES = "\u024f"
_ODD_CASES = {"k": "\u212a", "s": "\u017f"}
"""Letters outside ASCII that are other cases of these."""

BEGIN = 256
"""The bit of the byte before the first, which `^` takes. No byte is taken by `$`."""
_ASCII = (1 << 128) - 1
WORD = sum(1 << ord(char) for char in _CLASSES["w"])
_NEXT = sum(1 << byte for byte in range(0x80, 0xC0))
_LONGER = [
    [sum(1 << byte for byte in range(first, after)), *[_NEXT] * more]
    for first, after, more in ((0xC2, 0xE0, 1), (0xE0, 0xF0, 2), (0xF0, 0xF5, 3))
]
"""The bytes of characters outside ASCII."""


def _cases(char: str) -> set[str]:
    cases = {char, char.lower(), char.upper(), *_ODD_CASES.get(char.lower(), "")}
    return {case for case in cases if len(case) == 1}


def _either(parts: Sequence[_Part]) -> _Part:
    first = [step for part in parts for step in part.first]
    return _Part(list(dict.fromkeys(first)), {place for part in parts for place in part.exits})


def _optional(part: _Part, lazy: bool) -> _Part:
    exit = (EXIT, False)
    others = [step for step in part.first if step != exit]
    return _Part([exit, *others] if lazy else [*others, exit], part.exits)


def _may_end(steps: Steps) -> bool:
    return any(position == EXIT for position, _ in steps)


def _put(steps: Steps, following: Steps) -> Steps:
    """`steps` with those that follow in place of EXIT."""
    found: dict[tuple[int, bool], None] = {}
    for position, at_boundary in steps:
        for after, also in following if position == EXIT else [(position, False)]:
            found[after, at_boundary or also] = None
    return list(found)
