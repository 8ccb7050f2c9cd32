"""Values of plain YAML scalars, by YAML 1.2's core schema.

``yes`` and ``on`` are text there, ``true`` is a boolean: what *looks* like an old boolean is never converted.
"""

from __future__ import annotations

import re

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

# Python refuses to convert very long digit strings; nobody means a number of that size.
_MAX_DIGITS = 300


def resolve(text: str) -> bool | int | float | str | None:
    """The value of a plain scalar; an infinity and ``.nan`` are floats, to be refused by who reads them.

    >>> [resolve(text) for text in ("true", "yes", "12", "0x1F", "1e3", "~", "5s")]
    [True, 'yes', 12, 31, 1000.0, None, '5s']
    """
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _NULL.fullmatch(text):
        return None
    if len(text) > _MAX_DIGITS:
        return text
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
