"""Suggests what a misspelt name may have meant: "did you mean …? declared: …"."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from heapq import nsmallest

_SHOWN = 5

_MOST_COMPARED = 50_000
"""Pairs of characters compared for one name, about 0.15 µs each. With more known names, those that begin and end alike
come first: a single typing error leaves most of a name unchanged."""

_MOST_KNOWN = 20_000
"""Of more names, only those with the same beginning count: sorting all for every mistake would take too long."""

_MOST_NEIGHBOURS = 500
"""Of very many names, how many are compared before and after the unknown one, in alphabetical order and in that of the
reversed names."""


_ADJECTIVES = frozenset({"allowed", "configured", "declared", "in the catalog", "known", "there"})
"""Labels that say what is true of the names; others are words for them."""


def suggest(
    name: str,
    known: Iterable[str],
    *,
    label: str = "declared",
    listed: Iterable[str] | None = None,
    prefix: str = "",
) -> str:
    """Return ``did you mean `x`?`` if something is close, then five known names and how many more, or all six.

    ``listed`` are the names to show where there are many ways to say the same thing. ``prefix`` stands before every
    name that is shown, and does not count when they are compared.

    >>> suggest("context_lenght", ["complexity", "context_length"])
    'did you mean `context_length`? declared: complexity, context_length'
    """
    names = set(known)
    if not names:
        return f"nothing is {label}" if label in _ADJECTIVES else "there are none"
    close = closest(name, names)
    listing = names if listed is None else set(listed)
    shown = (
        len(listing) if len(listing) == _SHOWN + 1 else _SHOWN
    )  # a sixth takes no more room than "(1 more)"
    more = f" ({len(listing) - shown} more)" if len(listing) > shown else ""
    hint = f"did you mean `{prefix}{close}`? " if close else ""
    return f"{hint}{label}: {', '.join(prefix + other for other in nsmallest(shown, listing))}{more}"


def closest(name: str, known: Collection[str]) -> str | None:
    """The known name that looks most like ``name``, or None where none is close.

    >>> closest("chepest", ["cheapest", "fastest"])
    'cheapest'
    """
    name = name[:100]
    if len(known) > _MOST_KNOWN:
        known = [other for other in known if other.startswith(name[:-3])]
    if len(known) > _MOST_KNOWN:
        return None
    same = sorted(other for other in known if other.lower() == name.lower())
    if same:
        return same[0]
    compared = known
    if len(name) * sum(map(len, known)) > _MOST_COMPARED:
        compared = _most_alike(name, known)
    close = get_close_matches(name, sorted(compared), n=1, cutoff=0.6)
    return close[0] if close else None


def _most_alike(name: str, known: Iterable[str]) -> list[str]:
    """The known names with the most letters in common at both ends, as many as may be compared."""
    ends = [other[::-1] for other in known]
    near_begin, near_end = _neighbours(name, known), _neighbours(name[::-1], ends)
    neighbours = {*near_begin, *(other[::-1] for other in near_end)}
    near = [(-_common_ends(name, other), other) for other in neighbours if abs(len(other) - len(name)) <= 3]
    room = _MOST_COMPARED
    chosen = []
    for _, other in nsmallest(_MOST_COMPARED // 100, near):
        room -= len(name) * len(other)
        if room < 0:
            break
        chosen.append(other)
    return chosen


def _neighbours(name: str, known: Iterable[str]) -> list[str]:
    ordered = sorted(known)
    at = bisect_left(ordered, name)
    return ordered[max(0, at - _MOST_NEIGHBOURS) : at + _MOST_NEIGHBOURS]


def _common_ends(name: str, other: str) -> int:
    """The number of letters that two names share at their beginnings and ends."""
    start, end = _common_start(name, other), _common_start(name[::-1], other[::-1])
    return min(start + end, len(name), len(other))


def _common_start(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
