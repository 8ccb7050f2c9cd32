"""A misspelt name and the known ones in, a hint out: "did you mean …? declared: …"."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["suggest"]

_SHOWN = 5


def suggest(name: str, known: Iterable[str], *, label: str = "declared") -> str:
    """Return ``did you mean `x`?`` if something is close, then at most five known names and how many more.

    >>> suggest("context_lenght", ["complexity", "context_length"])
    'did you mean `context_length`? declared: complexity, context_length'
    """
    names = sorted(set(known))
    if not names:
        return f"nothing is {label}"
    close = get_close_matches(name[:100], names, n=1, cutoff=0.6)
    listed = ", ".join(names[:_SHOWN])
    more = f" ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
    hint = f"did you mean `{close[0]}`? " if close else ""
    return f"{hint}{label}: {listed}{more}"
