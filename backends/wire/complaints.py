"""What a server says of a failure, read from an error's body; each dialect says what it means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Complaint:
    """The error that a server reports, in whatever shape it came.

    ``codes`` are its ``code`` and ``type``, ``status`` is one that stands beside them, and ``signin_url`` is where to
    sign in.
    """

    message: str
    status: int | None = None
    codes: frozenset[str] = frozenset()
    signin_url: str | None = None


def status_in(code: object) -> int | None:
    """The status of a failure that a field holds."""
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and 400 <= code < 600 else None


def plain(text: str) -> str:
    """The text of a body for a message; a page of HTML says nothing that is worth quoting."""
    return "" if text.lstrip().startswith("<") else text
