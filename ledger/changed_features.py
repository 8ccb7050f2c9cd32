"""Says where a policy's versions declare a feature as different things, so that its older values may be NULL.

The sentence stands in the comment of the policy's views, where any client can read it, and is told to whoever asks such
a view for such a feature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from .declarations import DeclaredFeatures
from .typed_features import chosen_types

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SENTENCE: Final = re.compile(r"`(?P<feature>[^`]+)` was declared as [^.]*\. [^.]*\.")

_COMMENTS: Final = "SELECT view_name, comment FROM system.main.duckdb_views()"


def changed_text(declared: DeclaredFeatures) -> str:
    """A sentence for each feature that no longer has the type of an earlier version; empty where there is none."""
    found = []
    for name, (chosen, *others) in chosen_types(declared).items():
        if others:
            before = " and ".join(others)
            found.append(
                f" `{name}` was declared as {before} too. What is no {chosen} is NULL here; `decision_features` has it."
            )
    return "".join(found)


def changed_features(connection: DuckDBPyConnection, sql: str) -> Sequence[str]:
    """What is to be said of the features that a statement asks for by name."""
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    return list(_changed(connection, words)) if "features" in words else []


def _changed(connection: DuckDBPyConnection, words: set[str]) -> Iterator[str]:
    # Compared here, as the file may have macros of the names of operators.
    for view, comment in connection.execute(_COMMENTS).fetchall():
        if view.lower() in words:
            for sentence in _SENTENCE.finditer(comment or ""):
                if sentence["feature"].lower() in words:
                    yield f"`{view}`: {sentence[0]}"
