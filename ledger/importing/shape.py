"""What an imported call may say: each field once, with the column that holds it and how its values are read.

Rows in our own shape have columns of these names; a mapping says which column of a foreign table is which; the
readers of other routers' logs fill the same fields. What a source does not say is None, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from routewright.engine.record import Ordinal, Uuid, columns_of

from .values import Read, duration_us, mapping, text, time_us, truth, whole

STATUSES: Final = ("ok", "failed", "partial", "skipped", "cached", "lost")
OPERATIONS: Final = ("chat", "embed", "rerank")
LOCATIONS: Final = ("local", "cloud", "unknown")

MOST_CHARACTERS: Final = 4_000
"""A longer text is no name, id or tag."""


class ImportedDecision(NamedTuple):
    """A request that another router served, as far as its log says; columns as in ``decision_records``."""

    import_: Annotated[str, "the import that it came with"]
    decision_id: Annotated[
        Uuid, "made of the import's name and the source's own id, or else of the whole row"
    ]
    source_id: Annotated[
        str | None, "the source's own id of the request; rows with one id are calls of one request"
    ]
    at_us: Annotated[int | None, "when the request began"]
    operation: Annotated[str | None, f"{', '.join(f'`{one}`' for one in OPERATIONS)}"]
    outcome: Annotated[str | None, "`routed` where a target is known"]
    requested_model: Annotated[str | None, "the model, group or route that was asked for"]
    target: Annotated[str | None, "the model that the router chose, in the source's words"]
    features: Annotated[str | None, "what was known of the task"]
    feature_sources: Annotated[Mapping[str, str], "for each feature `given`"]
    tags: Annotated[Mapping[str, str], "labels; `team` and `user` among them"]
    session_id: Annotated[str | None, "the conversation"]
    trace_id: Annotated[str | None, "the trace"]
    answered_attempt: Annotated[Ordinal | None, "the number of the call whose answer was given"]


class ImportedAttempt(NamedTuple):
    """A call that another router made, as far as its log says; columns as in ``attempt_rows``."""

    import_: Annotated[str, "the import that it came with"]
    decision_id: Annotated[Uuid, "the request that it was made for, as in `imported_decisions`"]
    number: Annotated[Ordinal, "its place among the calls of the request, from 1, in the order of the file"]
    call_id: Annotated[Uuid, "made of the source's own id of the call, or else of its model"]
    digest: Annotated[Uuid, "of all that was imported of it: a row that has changed is noticed"]
    role: Annotated[str | None, "`answer`, `fallback`, `retry` and so on"]
    model_id: Annotated[str | None, "the model that was called, in the source's words"]
    backend_id: Annotated[str | None, "who served it, in the source's words"]
    location: Annotated[str | None, f"{', '.join(f'`{one}`' for one in LOCATIONS)}"]
    host: Annotated[str | None, "the address that was called"]
    model_said: Annotated[str | None, "the model's name in the server's own words"]
    started_at_us: Annotated[int | None, "when the call began"]
    first_token_us: Annotated[int | None, "from the call's beginning to the first token"]
    total_us: Annotated[int | None, "from the call's beginning to its end"]
    status: Annotated[str | None, f"{', '.join(f'`{one}`' for one in STATUSES)}"]
    error_class: Annotated[str | None, "the kind of failure, in the source's words"]
    finish_reason: Annotated[str | None, "why the answer ended, such as `stop` or `length`"]
    streamed: Annotated[bool | None, "whether text was passed on as it came"]
    input_tokens: Annotated[int | None, "all tokens of the input, the cached ones included"]
    cached_input_tokens: Annotated[int | None, "input tokens that the server read from its cache"]
    cache_write_tokens: Annotated[int | None, "input tokens that the server wrote to its cache"]
    output_tokens: Annotated[int | None, "all tokens of the output, reasoning included"]
    reasoning_tokens: Annotated[int | None, "output tokens spent on reasoning"]
    tokens_source: Annotated[str | None, "`reported` where the source says token counts"]
    cost_nano: Annotated[int | None, "cost in nano-units (10⁻⁹) of the currency; NULL is unknown, never free"]
    currency: Annotated[str | None, "the currency of the cost, such as `USD`"]
    cost_source: Annotated[str | None, "`imported` where the source says a cost"]
    cached_answer: Annotated[bool | None, "whether the answer came from the router's cache"]


class ImportedOutcome(NamedTuple):
    """What was found out about an imported call."""

    import_: Annotated[str, "the import that it came with"]
    decision_id: Annotated[Uuid, "the request, as in `imported_decisions`"]
    attempt: Annotated[Ordinal, "the number of the call that it is of"]
    metric: Annotated[str, "what was measured, such as `score`"]
    value: Annotated[float | None, "what was found, as a number; true and false are 1 and 0"]
    label: Annotated[str | None, "what was found, where it is no number"]


TABLES: Final = {
    "imported_decisions": ImportedDecision,
    "imported_attempts": ImportedAttempt,
    "imported_outcomes": ImportedOutcome,
}


def columns(row: type[NamedTuple]) -> dict[str, tuple[Any, str]]:
    """The columns of a table with type and meaning; a field ``import_`` stands for a word of Python's."""
    return {column.name.rstrip("_"): (column.kind, column.meaning) for column in columns_of(row)}


class CallField(NamedTuple):
    """A field of our shape: the column that it fills, how it is read, and how it has to be written.

    ``meaning`` is that of the column, where it is not given.
    """

    name: str
    column: str
    read: Read
    written: str = ""
    meaning: str = ""


def name(value: Any) -> str | None:
    """A text short enough for a name, an id or a tag."""
    found = value if type(value) is str and value.isascii() and value.strip() else text(value)
    if found is not None and (len(found) > MOST_CHARACTERS or "\0" in found):
        raise ValueError(
            f"a text of at most {MOST_CHARACTERS:,} characters was expected, without the character 0"
        )
    return found


def first_name(value: Any) -> str | None:
    """A name, or the first of a list of them."""
    if isinstance(value, list | tuple):
        return name(value[0]) if value else None
    return name(value)


def currency(value: Any) -> str | None:
    """The code of a currency (ISO 4217), in upper case."""
    found = text(value)
    if found is None:
        return None
    code = found.strip().upper()
    if re.fullmatch("[A-Z]{3}", code) is None:
        raise ValueError("the code of a currency was expected, such as `USD`")
    return code


def one_of(*known: str) -> Read:
    """Reads one of some words."""

    def read(value: Any) -> str | None:
        found = text(value)
        if found is not None and found not in known:
            raise ValueError(f"one of {', '.join(known)} was expected")
        return found

    return read


def ordinal(value: Any) -> int | None:
    """A number that counts from 1."""
    found = whole(value)
    if found is not None and not 1 <= found < 2**31:
        raise ValueError("a whole number from 1 on was expected")
    return found


def labels(value: Any) -> dict[str, str]:
    """Tags: an object of texts, or the JSON of one; what has no value is left out."""
    found = {key: name(one) for key, one in mapping(value).items() if name(key) is not None}
    return {key: one for key, one in found.items() if one is not None}


def unread(value: Any) -> Any:
    """Any value; money is read by the run that counts what it rounds."""
    return value


_time, _ms = time_us(), duration_us("ms")
_ISO, _MS = "ISO 8601 with a zone", "in milliseconds"

DECISION_FIELDS: Final = (
    CallField("id", "source_id", name),
    CallField("time", "at_us", _time, _ISO),
    CallField("operation", "operation", one_of(*OPERATIONS)),
    CallField("requested_model", "requested_model", name),
    CallField("target", "target", name),
    CallField("session", "session_id", name),
    CallField("trace", "trace_id", name),
    CallField("answered_attempt", "answered_attempt", ordinal),
)
CALL_FIELDS: Final = (
    CallField(
        "call_id",
        "call_id",
        name,
        meaning="the source's own id of the call, where a request has several of one model",
    ),
    CallField("role", "role", name),
    CallField("model", "model_id", name),
    CallField("provider", "backend_id", name),
    CallField("location", "location", one_of(*LOCATIONS)),
    CallField("host", "host", name),
    CallField("model_said", "model_said", name),
    CallField("started", "started_at_us", _time, f"{_ISO}; `time`, where it is left out"),
    CallField("first_token_ms", "first_token_us", _ms, _MS),
    CallField("total_ms", "total_us", _ms, _MS),
    CallField("status", "status", one_of(*STATUSES)),
    CallField("error_class", "error_class", name),
    CallField("finish_reason", "finish_reason", first_name),
    CallField("streamed", "streamed", truth),
    CallField("input_tokens", "input_tokens", whole),
    CallField("cached_input_tokens", "cached_input_tokens", whole),
    CallField("cache_write_tokens", "cache_write_tokens", whole),
    CallField("output_tokens", "output_tokens", whole),
    CallField("reasoning_tokens", "reasoning_tokens", whole),
    CallField(
        "cost",
        "cost_nano",
        unread,
        meaning="what it cost, in whole units of the currency; never 0 for unknown",
    ),
    CallField("currency", "currency", currency),
    CallField("cached_answer", "cached_answer", truth),
)
TOKENS: Final = tuple(field.column for field in CALL_FIELDS if field.column.endswith("_tokens"))
OBJECTS: Final = {
    "tags": "an object of texts: labels such as `team` and `user`",
    "features": "an object: what was known of the task, by feature",
    "outcomes": "an object: what was found out about the call, by metric; numbers, booleans or texts",
}
"""Fields that hold several values by name, and how they are written."""
