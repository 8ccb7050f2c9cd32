"""Langfuse's observations, as JSON or JSON lines: exported to blob storage or from the UI, or as its API answers.

Names are those of https://langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields, which writes
`usage_details`, and of the API, which writes `usageDetails`. Of all types only generations and embeddings are calls
of a model; the others are passed over. Times are UTC, costs USD. `usage_details` has a count for each kind of token,
and no token in two: `input` are those that were not cached, so that all tokens of the input are the sum of the kinds
with `input` in their name (https://langfuse.com/docs/observability/features/token-and-cost-tracking). A cost of 0
that no kind accounts for stands where Langfuse knew no price: it is unknown here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from ..calls import CallPlan, Get, Plan, Several, constant, take
from ..rows import BadRow, Entry, FileRow, PassedOver
from ..source import Source, listed
from ..values import duration_us, elapsed_us, listing, mapping, number, text, time_us, whole

_OPERATIONS = {"GENERATION": "chat", "EMBEDDING": "embed"}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("id",),
    "trace": ("trace_id", "traceId"),
    "type": ("type",),
    "name": ("name",),
    "environment": ("environment",),
    "start": ("start_time", "startTime"),
    "end": ("end_time", "endTime"),
    "first": ("completion_start_time", "completionStartTime"),
    "model": ("provided_model_name", "providedModelName", "model"),
    "usage": ("usage_details", "usageDetails"),
    "costs": ("cost_details", "costDetails"),
    "cost": ("total_cost", "totalCost", "calculatedTotalCost"),
    "level": ("level",),
    "session": ("session_id", "sessionId"),
    "user": ("user_id", "userId"),
    "tags": ("tags",),
}
"""Under which names each value is found; the first that is there counts."""

_time = time_us(zone=UTC)


def _tokens(which: str, *markers: str) -> Get:
    """The sum of the kinds of tokens that have ``which`` in their name, and one of the markers if there are any."""

    def get(row: Mapping[str, Any]) -> int | None:
        counts = [
            whole(count) or 0
            for kind, count in row["usage"].items()
            if count is not None and which in kind and (not markers or any(one in kind for one in markers))
        ]
        return sum(counts) if counts else None

    return get


def _cost(row: Mapping[str, Any]) -> Any:
    total = row["cost"] if row["cost"] not in (None, "") else row["costs"].get("total")
    return None if not number(total) and not row["costs"] else total


def _status(row: Mapping[str, Any]) -> str | None:
    if row["level"] == "ERROR":
        return "failed"
    return "ok" if row["level"] and row["end"] else None


def _since_start(name: str) -> Get:
    def get(row: Mapping[str, Any]) -> Any:
        return elapsed_us(_time(row["start"]), _time(row[name]))

    return get


def _tags(row: Mapping[str, Any]) -> dict[str, Any]:
    tags: dict[str, Any] = {str(one): "true" for one in listing(row["tags"]) if text(one)}
    return tags | {"user": row["user"], "name": row["name"], "environment": row["environment"]}


def _unfold(row: FileRow) -> Iterator[Entry]:
    for one in listed(row):
        if isinstance(one, BadRow):
            yield one
            continue
        values = {
            name: next((one.values[key] for key in keys if one.values.get(key) is not None), None)
            for name, keys in _NAMES.items()
        }
        if values["type"] is None:
            yield BadRow(one.place, "it has no `type`, as an observation has")
        elif str(values["type"]) not in _OPERATIONS:
            yield PassedOver(one.place)
        else:
            try:
                values |= {name: mapping(values[name]) for name in ("usage", "costs")}
            except ValueError:
                yield BadRow(one.place, "`usage_details` or `cost_details` is no object")
            else:
                yield one._replace(values=values)


LANGFUSE = Source(
    "langfuse",
    Plan(
        (
            take("id", "id"),
            take("time", "start", read=_time),
            take("operation", "type", lambda row: _OPERATIONS.get(row["type"])),
            take("target", "model"),
            take("session", "session"),
            take("trace", "trace"),
            take("answered_attempt", "level", lambda row: 1 if _status(row) == "ok" else None),
        ),
        (
            CallPlan(
                (
                    constant("role", "answer"),
                    take("model", "model"),
                    take("first_token_ms", "first", _since_start("first"), duration_us("us")),
                    take("total_ms", "end", _since_start("end"), duration_us("us")),
                    take("status", "level", _status),
                    take("input_tokens", "usage", _tokens("input")),
                    take("output_tokens", "usage", _tokens("output")),
                    take("cached_input_tokens", "usage", _tokens("input", "cached", "cache_read")),
                    take("cache_write_tokens", "usage", _tokens("input", "cache_creation", "cache_write")),
                    take("reasoning_tokens", "usage", _tokens("reasoning")),
                    take("cost", "cost", _cost),
                    take("currency", "cost", lambda row: None if _cost(row) is None else "USD"),
                )
            ),
        ),
        tags=Several(_tags, frozenset({"tags", "user", "name", "environment"})),
    ),
    frozenset({"json"}),
    unfold=_unfold,
)
