"""Quota keys: who a use is counted for, as a tuple and as the text in the state store.

``()`` is everyone, ``("team", "research")`` one value of a feature, and ``("team",)`` everyone whose value is unknown.
No two keys have the same text, whatever a team is called.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Final

from routewright.engine.canonical import canonical_text

QuotaKey = tuple[str, ...]

_NOT_KNOWN: Final = "?"
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@lru_cache(maxsize=4096)
def stored_key(key: QuotaKey) -> str:
    """The text of a key: ``team=research``, ``team=?`` for an unknown value, and JSON for every other key.

    Stores of earlier versions hold the plain forms, so their counts and leases stay valid.

    >>> [stored_key(key) for key in ((), ("team", "research"), ("team",), ("team", "?"))]
    ['', 'team=research', 'team=?', '["team","?"]']
    """
    match key:
        case ():
            return ""
        case (name,) if _PLAIN_NAME.fullmatch(name):
            return f"{name}={_NOT_KNOWN}"
        case (name, value) if value != _NOT_KNOWN and _PLAIN_NAME.fullmatch(name):
            return f"{name}={value}"
    # JSON begins with a bracket, which no plain form does.
    return canonical_text(list(key))


def key_of(stored: str) -> QuotaKey:
    """The key whose text is ``stored``."""
    if not stored:
        return ()
    if stored.startswith("["):
        return tuple(json.loads(stored))
    name, _, value = stored.partition("=")
    return (name,) if value == _NOT_KNOWN else (name, value)


def key_words(key: QuotaKey) -> str:
    """The key for people: ``team=research``, ``team not known``."""
    return f"{key[0]} not known" if len(key) == 1 else "=".join(key)
