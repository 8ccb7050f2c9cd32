"""Parses names and versions as Ollama servers write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping


def full_name(tag: str) -> str:
    """A tag as servers list it: with ``latest`` where nothing else is said, in lower case.

    >>> full_name("Qwen3"), full_name("qwen3:8b")
    ('qwen3:latest', 'qwen3:8b')
    """
    whole = tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"
    return whole.lower()


def full_names(entry: object) -> set[str]:
    """The names of an entry in a server's list of models; none if it is not one."""
    names = (entry.get("name"), entry.get("model")) if isinstance(entry, Mapping) else ()
    return {full_name(name) for name in names if isinstance(name, str)}


def is_older(version: str, wanted: str) -> bool | None:
    """Whether a server of ``version`` is too old; ``None`` when that cannot be told.

    A release candidate counts as its release; ``0.0.0`` is a server built by hand, which says nothing.

    >>> is_older("0.9.5", "0.12.0"), is_older("0.12.3-rc1", "0.12.3"), is_older("0.0.0", "0.12.0")
    (True, False, None)
    """
    has, needs = _numbers(version), _numbers(wanted)
    return None if has is None or needs is None or not any(has) else has < needs


def _numbers(version: str) -> tuple[int, int, int] | None:
    match = re.match(r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", version.strip())
    if match is None:
        return None
    major, minor, patch = (int(number or 0) for number in match.groups())
    return major, minor, patch
