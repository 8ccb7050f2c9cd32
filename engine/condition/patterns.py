"""Compiles patterns of `matches`: RE2, searched anywhere in the string.

RE2 takes time linear in the string whatever the pattern, and DuckDB uses it too.  The only module that
imports it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from .limits import MAX_PATTERN_LENGTH, MAX_PATTERN_MEMORY

_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")


class PatternError(ValueError):
    """A pattern that RE2 does not take, or that is too large."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Return the function that tells whether `pattern` occurs in a string; raises PatternError."""
    return _compile(pattern)[0]


def program_size(pattern: str) -> int:
    """Return how many instructions `pattern` compiles to; raises PatternError."""
    return _compile(pattern)[1]


def compile_search(pattern: str) -> Callable[[str], Iterator[tuple[int, str]]]:
    """Return a function that finds the matches of `pattern` in a string: the first group of each, else the whole match.

    Matches come in order, without overlap; those whose group did not match are left out. Raises PatternError.
    """
    finditer = _compiled(pattern, captures=True).finditer

    def find(value: str) -> Iterator[tuple[int, str]]:
        for found in finditer(value):
            text: str | None = found.group(1 if found.re.groups else 0)
            if text is not None:
                yield found.start(), text

    return find


@lru_cache(maxsize=256)
def _compile(pattern: str) -> tuple[Callable[[str], bool], int]:
    compiled = _compiled(pattern, captures=False)
    search = compiled.search

    def occurs(value: str) -> bool:
        return search(value) is not None

    return occurs, compiled.programsize


def _compiled(pattern: str, *, captures: bool) -> Any:
    import re2

    if len(pattern) > MAX_PATTERN_LENGTH:
        raise PatternError(
            f"the pattern has {len(pattern)} characters; at most {MAX_PATTERN_LENGTH} are allowed"
        )
    if _BYTE.search(pattern):
        raise PatternError(r"the pattern is not valid: `\C` matches half a character")
    options = re2.Options()
    options.log_errors = False
    options.never_capture = not captures
    options.max_mem = MAX_PATTERN_MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "refused"
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise PatternError(f"the pattern is not valid: {text}") from None
