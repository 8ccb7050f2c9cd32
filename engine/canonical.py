"""Writes plain values as canonical JSON (RFC 8785): the bytes that digests are made of.

Python's own encoder writes nearly that form and is many times faster than one that follows the RFC step by
step, so it is used where it is right; the package ``rfc8785`` writes the rest.
"""

from __future__ import annotations

import hashlib
import json
from json.encoder import encode_basestring
from typing import Any

_ENCODE = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode

_LARGEST = 2**53 - 1


def canonical_bytes(value: Any) -> bytes:
    """Canonical JSON of dicts with text keys, lists, tuples, text, booleans, None, finite numbers.

    Integers must lie within ±(2^53 - 1). Raises ValueError for what JSON cannot say.
    """
    return canonical_text(value).encode("utf-8")


def canonical_text(value: Any) -> str:
    """Canonical JSON as text, errors as for ``canonical_bytes``; half of a surrogate pair may be let through."""
    if type(value) is str:
        return encode_basestring(value)
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is int and -_LARGEST <= value <= _LARGEST:
        return str(value)
    if type(value) is float and 1e-4 <= abs(value) < 1e15:
        return str(whole) if value == (whole := int(value)) else repr(value)
    try:
        return _ENCODE(_plain(value))
    except _Unusual:
        import rfc8785

        return rfc8785.dumps(value).decode("utf-8")
    except RecursionError:
        raise ValueError("nested too deeply") from None


def digest_of(value: Any) -> str:
    """``sha256:`` and the SHA-256 of the value's canonical JSON."""
    return "sha256:" + hashlib.sha256(canonical_bytes(value)).hexdigest()


class _Unusual(Exception):
    """Python's encoder would write this value otherwise than the RFC does."""


def _plain(value: Any) -> Any:
    """The value with its numbers as Python's encoder writes them like the RFC does."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is int:
        if not -_LARGEST <= value <= _LARGEST:
            raise ValueError(f"{value} is larger than JSON's exact integers")
        return value
    if kind is float:
        # ECMAScript writes 1.0 as 1 and has other limits for exponents than Python.
        size = abs(value)
        if size < 1e15 and value == (whole := int(value)):
            return whole
        if 1e-4 <= size < 1e15:
            return value
        raise _Unusual
    if kind is dict:
        for key in value:
            # Keys are sorted by UTF-16 code units, which differs from Python's order past ASCII.
            if type(key) is not str or not key.isascii():
                raise _Unusual
        return {key: _plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    raise ValueError(f"{kind.__name__} has no canonical form")
