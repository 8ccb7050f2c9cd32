"""Bounds the time of searching a string for a pattern, by counting the states that RE2 makes while it searches.

RE2 makes the states of its automata as a string asks for them, and keeps them. A pattern with few states costs one
look-up for each byte; one with more than are kept may cost all of its instructions for each byte.

A search goes forward to the end of the first match, and then back to its beginning. Forward, a state is an ordered
list of positions of the pattern, those tried first in front; backward, it is a set (RE2's `re2/dfa.cc`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from .patterns import program_size
from .positions import BEGIN, EXIT, WORD, PatternReader, Steps, TooMany

_SEARCH = 60
"""Passing a string to RE2."""
_KEPT_STATES = 350_000
"""Bytes of states that RE2 keeps of each automaton of a pattern, with MAX_PATTERN_MEMORY of 1 MiB."""


def search_steps(pattern: str, characters: int) -> int:
    """Return the most steps of a search in a string of so many characters.

    Without enough room for all states, two for each character and instruction, since each may need a new state. Else
    three for each character, forward and, for a match of any length, backward, and each state is made once.
    """
    size, kept = program_size(pattern), _kept_states(pattern)
    if kept is None:
        return _SEARCH + 2 * characters * size
    states, passes = kept
    return _SEARCH + 3 * passes * characters + 2 * passes * min(characters, states) * size


@lru_cache(maxsize=8192)
def _kept_states(pattern: str) -> tuple[int, int] | None:
    """How many states the pattern has, and how often a search passes over a string.

    None if the states are unknown, too many to count quickly, or more than RE2 keeps.
    """
    try:
        states, letters, longest, loops = automaton_of(pattern, 1_000 + 150 * program_size(pattern))
    except TooMany:
        return None
    # RE2's `re2/dfa.cc`: a pointer for each class of bytes, the instructions, and what stands before them.
    memory = states * (8 * (letters + 1) + 4 * longest + 56)
    return (states, 1 + loops) if memory <= _KEPT_STATES else None


class Automaton(NamedTuple):
    """The sizes of the automata that search for a pattern; `longest` is the most positions of one state."""

    states: int
    letters: int
    longest: int
    loops: bool


def automaton_of(pattern: str, most: int) -> Automaton:
    """Return the sizes of the larger automaton, forward or backward; TooMany if `most` steps do not make them."""
    reader = PatternReader(pattern)
    first, exits = reader.alternatives()
    if reader.at < len(reader.text):
        raise TooMany
    back: list[Steps] = [[] for _ in reader.follow]
    for position, steps in enumerate(reader.follow):
        for after, at_boundary in steps:
            if after != EXIT:
                back[after].append((position, at_boundary))
    # Whether the last byte is one of a word matters only where the pattern asks for it.
    asks = any(at_boundary for steps in (first, *reader.follow) for _, at_boundary in steps)
    word = WORD if asks else 0
    classes = [(1 << BEGIN) - 1]
    for kind in {word, *reader.accepted}:
        classes = [part for one in classes for part in (one & kind, one & ~kind) if part]
    classes.append(1 << BEGIN)
    taken = [[letter for letter, one in enumerate(classes) if one & kind] for kind in reader.accepted]
    is_word = [bool(word & one) for one in classes]
    forward = _Search([*reader.follow, first], taken, is_word, most, False).explored()
    ends = [(position, False) for position in exits]
    backward = _Search([*back, ends], taken, is_word, most, True).explored()
    longest = max(len(positions) for positions, _ in forward | backward)
    loops = any(0 <= after <= place for place, steps in enumerate(reader.follow) for after, _ in steps)
    return Automaton(max(len(forward), len(backward)), len(classes) - 1, longest, loops)


_State = tuple[tuple[int, ...], bool]
"""Positions, and whether the last byte was one of a word."""


@dataclass(slots=True)
class _Search:
    """A search backward starts once, where a match ends; one forward starts at each byte.

    `taken` has the classes of bytes that each position takes; the last class is for the place before the first byte.
    The last of `follow` is for the place before all positions. `left` counts the steps that counting may still take.
    """

    follow: list[Steps]
    taken: list[list[int]]
    is_word: list[bool]
    left: int
    is_backward: bool

    def explored(self) -> set[_State]:
        """The states that a search can reach."""
        begin = len(self.is_word) - 1
        starts = self.after((-1,), False)
        waiting = list(starts.values()) if self.is_backward else [starts.get(begin, ((), False))]
        seen = set(waiting)
        while waiting:
            positions, after_word = waiting.pop()
            reached = self.after(positions if self.is_backward else (*positions, -1), after_word)
            reached.pop(begin, None)
            for state in {*reached.values(), *[((), word) for word in self.is_word[:begin]]} - seen:
                seen.add(state)
                waiting.append(state)
        return seen

    def after(self, positions: tuple[int, ...], after_word: bool) -> dict[int, _State]:
        """The state after each class of bytes, without those that no position takes."""
        reached: dict[int, dict[int, None]] = {}
        boundaries = {letter for letter, word in enumerate(self.is_word) if word != after_word}
        closed: set[int] = set()
        for step, at_boundary in chain.from_iterable([self.follow[position] for position in positions]):
            if step == EXIT:  # a match: what would be tried later is not
                if not at_boundary:
                    break
                closed |= boundaries
                continue
            self.left -= len(self.taken[step])
            if self.left < 0:
                raise TooMany
            for letter in self.taken[step]:
                if letter not in closed and (not at_boundary or letter in boundaries):
                    reached.setdefault(letter, {})[step] = None
        ordered = sorted if self.is_backward else tuple
        return {letter: (tuple(ordered(found)), self.is_word[letter]) for letter, found in reached.items()}
