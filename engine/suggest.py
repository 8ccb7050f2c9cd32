"""A misspelt name and the known ones in, a hint out: "did you mean …? declared: …"."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from heapq import nsmallest

__all__ = ["closest", "suggest"]

_SHOWN = 5

_MOST_COMPARED = 500
"""Comparing takes about 10 µs a name; of more names, those are compared that begin alike."""


def suggest(
    name: str, known: Iterable[str], *, label: str = "declared", listed: Iterable[str] | None = None
) -> str:
    """Return ``did you mean `x`?`` if something is close, then at most five known names and how many more.

    ``listed`` are the names to show where there are many ways to say the same thing.

    >>> suggest("context_lenght", ["complexity", "context_length"])
    'did you mean `context_length`? declared: complexity, context_length'
    """
    names = set(known)
    if not names:
        return f"nothing is {label}"
    close = closest(name, names)
    listing = names if listed is None else set(listed)
    more = f" ({len(listing) - _SHOWN} more)" if len(listing) > _SHOWN else ""
    hint = f"did you mean `{close}`? " if close else ""
    return f"{hint}{label}: {', '.join(nsmallest(_SHOWN, listing))}{more}"


def closest(name: str, known: Collection[str]) -> str | None:
    """The known name that looks most like ``name``, or None where none is close.

    >>> closest("chepest", ["cheapest", "fastest"])
    'cheapest'
    """
    name = name[:100]
    compared = known
    if len(known) > _MOST_COMPARED:
        alike = (other for other in known if other[:2] == name[:2] and abs(len(other) - len(name)) <= 3)
        compared = nsmallest(_MOST_COMPARED, alike)
    same = [other for other in sorted(compared) if other.lower() == name.lower()]
    close = same or get_close_matches(name, sorted(compared), n=1, cutoff=0.6)
    return close[0] if close else None
