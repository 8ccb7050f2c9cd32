"""Bounds the time of searching a string for a pattern.

RE2 makes the states of its automata as a string asks for them, and keeps them. A pattern with few states costs one
look-up for each byte; one with more than are kept may cost all of its instructions for each byte.
"""

from __future__ import annotations

from functools import lru_cache

from .automaton import automaton_of
from .patterns import program_size
from .positions import TooMany

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
