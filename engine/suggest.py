"""A misspelt name and the known ones in, a hint out: "did you mean …? declared: …"."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["suggest"]

_SHOWN = 5


def suggest(
    name: str, known: Iterable[str], *, label: str = "declared", listed: Iterable[str] | None = None
) -> str:
    """Return ``did you mean `x`?`` if something is close, then at most five known names and how many more.

    ``listed`` are the names to show where there are many ways to say the same thing.

    >>> suggest("context_lenght", ["complexity", "context_length"])
    'did you mean `context_length`? declared: complexity, context_length'
    """
    names = sorted(set(known))
    if not names:
        return f"nothing is {label}"
    close = get_close_matches(name[:100], names, n=1, cutoff=0.6)
    shown = names if listed is None else sorted(set(listed))
    more = f" ({len(shown) - _SHOWN} more)" if len(shown) > _SHOWN else ""
    hint = f"did you mean `{close[0]}`? " if close else ""
    return f"{hint}{label}: {', '.join(shown[:_SHOWN])}{more}"
