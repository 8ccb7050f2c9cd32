"""Bounds the time of searching a string for a pattern.

RE2 makes the states of a deterministic automaton as a string asks for them, and keeps them. A pattern with few states
costs one look-up for each byte; one with more than it keeps may cost all of its instructions for each byte.
"""

from __future__ import annotations

from functools import lru_cache

from .automaton import TooMany, automaton_of
from .patterns import program_size

_SEARCH = 60
"""Passing a string to RE2."""
_KEPT_STATES = 380_000
"""Bytes of states that RE2 keeps for one pattern. Measured: from 400,000 on it may have to rebuild them."""


def search_steps(pattern: str, characters: int) -> int:
    """Return the most steps of a search in a string of so many characters.

    Without enough room for all states, two for each character and instruction, since each may need a new state. Else
    three for each character, and each state is made once.
    """
    size, states = program_size(pattern), _kept_states(pattern)
    if states is None:
        return _SEARCH + 2 * characters * size
    return _SEARCH + 3 * characters + 2 * min(characters, states) * size


@lru_cache(maxsize=1024)
def _kept_states(pattern: str) -> int | None:
    """How many states the pattern has, or None if they are unknown or more than RE2 keeps."""
    try:
        states, letters, longest = automaton_of(pattern)
    except TooMany:
        return None
    # RE2's `re2/dfa.cc`: a pointer for each class of bytes, the instructions, and what stands before them.
    memory = states * (8 * (letters + 1) + 4 * longest + 56)
    return states if memory <= _KEPT_STATES else None
