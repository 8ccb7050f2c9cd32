"""What rows of decisions need of the part that follows from their policy."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Any

from pydantic_core import to_json

from routewright.engine.record import (
    NOTHING_KNOWN_TEXT,
    RecordRow,
    RecordTexts,
    by_key,
    member_of,
    read_json,
)

_MAX_REMEMBERED = 4_096


class PolicyPart:
    """A policy's part, read. ``places`` says of each model at which place it stands in the digest of the state."""

    def __init__(self, digest: str, text: str) -> None:
        values = read_json(text)
        self.digest = digest
        self.places = {id: place for place, id in enumerate(sorted(values["models"], key=by_key))}
        self.nothing_known = {id: member_of(id, NOTHING_KNOWN_TEXT) for id in self.places}
        self.digests = RecordTexts(values)
        self._features = [(one["name"], one["default"]) for one in values["features"]]
        self._with_sources = lru_cache(_MAX_REMEMBERED)(self._around_values)
        self.defaults = lru_cache(_MAX_REMEMBERED)(self._defaults)
        self.own_names = lru_cache(_MAX_REMEMBERED)(self._own_names)

    def features(self, row: RecordRow) -> str:
        """The features that have a value or were given as null, by name, as JSON; ignored ones too.

        Raises ValueError where the row does not fit the policy.
        """
        around = self._with_sources(row.sources)
        if len(row.values) != len(around) - 1:
            raise ValueError(f"{len(row.values)} values for {len(around) - 1} features")
        found = [*chain.from_iterable(zip(around, map(_text, row.values), strict=False)), around[-1]]
        if row.ignored:
            found.append("," if len(found) > 1 or found[0] else "")
            found.append(_text(dict(row.ignored))[1:-1])
        return f"{{{''.join(found)}}}"

    def _around_values(self, sources: str) -> tuple[str, ...]:
        """The text of the features that have these sources: what stands around the values of a row."""
        pieces = [""]
        for (name, default), letter in zip(self._features, sources, strict=True):
            if letter in "grd":
                pieces[-1] += f"{',' if len(pieces) > 1 or pieces[0] else ''}{_text(name)}:"
            if letter in "gr":
                pieces.append("")
            elif letter == "d":
                pieces[-1] += _text(default)
        return tuple(pieces)

    def _defaults(self, sources: str) -> dict[str, Any]:
        """The defaults of the features that have one by these sources."""
        named = zip(self._features, sources, strict=True)
        return {name: default for (name, default), letter in named if letter == "d"}

    def _own_names(self, sources: str) -> frozenset[str]:
        """The features whose values are the row's own."""
        named = zip(self._features, sources, strict=True)
        return frozenset(name for (name, _), letter in named if letter in "gr")


def _text(value: object) -> str:
    return to_json(value).decode()
