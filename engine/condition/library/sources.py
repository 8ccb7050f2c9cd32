"""What a declared feature may be derived from, and its type; the list is closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..types import BOOLEAN, INTEGER, Type

SOURCES: Final[Mapping[str, Type]] = {
    "request.prompt_tokens": INTEGER,
    "request.messages": INTEGER,
    "request.images": INTEGER,
    "request.tools": INTEGER,
    "request.json_schema": BOOLEAN,
    "time.hour": INTEGER,
    "time.weekday": INTEGER,
}
"""Beside these, ``request.metadata.NAME`` is a string."""
