"""Finds the labels that the answers of an ensemble's members vote with."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import islice

from routewright.engine.condition import compile_search

LABEL_TEXT = 20_000
"""How much of an answer is searched for a label."""

MAX_LABELS = 1_000
"""Matches in one answer; an answer with more has no label, since finding them would block other calls."""


@lru_cache(maxsize=64)
def label_finder(pattern: str) -> Callable[[str], str | None]:
    """The label of an answer: the text of the pattern's group, or of the whole pattern if it has none.

    A label that begins the text counts, unless its line holds a different one or a later line begins with one.
    Otherwise all matches must be the same label, or there is none: an answer that quotes another label must not vote
    for it.
    """
    search = compile_search(pattern)

    def label_of(text: str) -> str | None:
        text = text.strip()[:LABEL_TEXT]
        found = list(islice(search(text), MAX_LABELS + 1))
        if not found or len(found) > MAX_LABELS:
            return None
        start, label = found[0]
        if _begins_line(text, start) and "\n" not in text[:start]:
            end = len(text.partition("\n")[0])
            found = [one for one in found if one[0] < end or _begins_line(text, one[0])]
        same = {" ".join(other.split()).casefold() for _, other in found}
        return label if len(same) == 1 else None

    return label_of


def _begins_line(text: str, start: int) -> bool:
    """Whether only emphasis marks precede a position in its line; after a quotation mark it would be a quotation."""
    return not text[text.rfind("\n", 0, start) + 1 : start].strip(" \t*_#")
