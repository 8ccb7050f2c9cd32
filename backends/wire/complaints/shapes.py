"""The complaint in a body or an event, whatever its shape. Pure; never raises.

Servers agree on little: ``{"error": {"message", "type", "code"}}``, ``{"error": "text"}``, the same in a list (Gemini)
or as JSON in a text (proxies, Ollama), FastAPI's ``{"detail": …}``, vLLM's ``{"message", "type", "code"}`` without a
wrapper, Azure's ``innererror``, OpenRouter's ``metadata.raw``, a Go struct with a ``StatusCode`` (Ollama).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from ..values import words

_MOST_LEVELS: Final = 8
"""How deep a complaint is looked into, JSON inside of texts included."""

_MOST_FIELDS: Final = 400

_ANSWERS: Final = frozenset({"choices", "data", "done", "embeddings", "results"})
"""Fields that only answers have: beside them, words outside of ``error`` are no complaint."""

_BARE: Final = ("message", "detail", "msg", "error_description")
"""Where the words of a complaint without ``error`` are."""

_MESSAGES: Final = (*_BARE, "error", "errors", "description", "title")
_INSIDE: Final = ("metadata", "raw", "innererror")
"""Where the words of the server behind a server are."""

_CODES: Final = frozenset(
    {"code", "type", "error_type", "status", "reason", "quotaId", "limit_source", "error_code"}
)
_STATUSES: Final = frozenset(
    {
        "code",
        "status",
        "status_code",
        "statusCode",
        "StatusCode",
        "http_status",
        "http_status_code",
        "raw_status_code",
    }
)
_ECHOES: Final = frozenset(
    {"input", "inputs", "body", "request", "messages", "prompt", "flagged_input", "ctx", "choices"}
)
"""Fields in which servers repeat what they were sent: nothing in them is the server's own."""

_SAYS_NOTHING: Final = frozenset({"provider returned error", "error from provider: provider returned error"})

FLAGGED: Final = "metadata.reasons"
"""The code of a complaint that gives the reasons of a moderation (OpenRouter)."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """The error that a server reports.

    ``codes`` are its codes, types and reasons in lower case, and ``fields`` are all its single values by name, the
    outer before the inner: some say when to ask again. ``status`` is one that the body names. ``headers`` are those
    of a server behind this one, by lower case names. ``signin_url`` is where to sign in.
    """

    message: str
    status: int | None = None
    codes: frozenset[str] = frozenset()
    signin_url: str | None = None
    fields: tuple[tuple[str, Any], ...] = ()
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def complaint_in(body: Any) -> Complaint | None:
    """The error that ``body`` holds, parsed JSON of any shape; ``None`` when it holds none."""
    if isinstance(body, list):
        body = body[0] if body else None
    # Asked of every piece of every answer: most have neither.
    if not isinstance(body, dict) or not (_accuses(body) or _is_bare(body)):
        return None
    body = _opened(body, _MOST_LEVELS)
    error = body.get("error") or body.get("errors")
    said = tuple(_walked(body))
    url = body.get("signin_url")
    headers = next((value for name, value in said if name == "headers" and isinstance(value, Mapping)), {})
    single = tuple(
        (name, value)
        for name, value in said
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    )
    codes = {value.lower()[:200] for name, value in single if name in _CODES and isinstance(value, str)}
    if any(
        name == "metadata" and isinstance(value, Mapping) and value.get("reasons") for name, value in said
    ):
        codes.add(FLAGGED)
    bare = {name: body.get(name) for name in _BARE}
    if isinstance(error, str) and " " not in error.strip():  # a code, with the words beside it
        codes.add(error.lower()[:200])
        error = _message(bare, _MOST_LEVELS) or error
    return Complaint(
        words(_message(error or bare, _MOST_LEVELS)),
        next((status for name, value in single if name in _STATUSES and (status := status_in(value))), None),
        frozenset(codes),
        url if isinstance(url, str) else None,
        single,
        {name.lower(): words(value) for name, value in headers.items()},
    )


def _accuses(body: Mapping[str, Any]) -> bool:
    return bool(body.get("error") or body.get("errors"))


def _is_bare(body: Mapping[str, Any]) -> bool:
    """Whether words that stand alone are a complaint."""
    if not _ANSWERS.isdisjoint(body) or isinstance(body.get("message"), dict):
        return False
    return body.get("error") is not None or any(body.get(name) for name in _BARE)


def plain(text: str) -> str:
    """The text of a body for a message; a page of HTML says nothing that is worth quoting."""
    return "" if text.lstrip().startswith("<") else text


def status_in(code: object) -> int | None:
    """The status of a failure that a field holds."""
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600 else None


def _opened(value: Any, levels: int) -> Any:
    """``value`` with the JSON in place of texts that are JSON: some servers pass on what another said as a text."""
    if levels == 0:
        return value
    match value:
        case str() if value.lstrip().startswith(("{", "[")):
            try:
                return _opened(json.loads(value), levels - 1)
            except (ValueError, RecursionError):
                return value
        case list():
            return [_opened(part, levels - 1) for part in value[:20]]
        case Mapping():
            return {name: _opened(part, levels - 1) for name, part in list(value.items())[:_MOST_FIELDS]}
        case _:
            return value


def _message(said: Any, levels: int) -> str:
    """The words of a complaint: its own, or those of the server behind it where its own say nothing."""
    if levels == 0:
        return ""
    match said:
        case list():
            return _message(said[0], levels - 1) if said else ""
        case Mapping():
            own = next((text for name in _MESSAGES if (text := _message(said.get(name), levels - 1))), "")
            if own and own.strip().lower().rstrip(".") not in _SAYS_NOTHING:
                return own
            return next((text for name in _INSIDE if (text := _message(said.get(name), levels - 1))), own)
        case _:
            return words(said)


def _walked(said: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a complaint, level by level, without what it only repeats."""
    level, seen = [said], 0
    while level:
        below: list[Any] = []
        for part in level:
            if isinstance(part, list):
                below += part
                continue
            for name, value in part.items() if isinstance(part, Mapping) else ():
                seen += 1
                if seen > _MOST_FIELDS:
                    return
                if name not in _ECHOES:
                    yield name, value
                    below.append(value)
        level = below
