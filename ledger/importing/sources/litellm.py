"""LiteLLM's table `LiteLLM_SpendLogs`: one row for each request, as CSV, JSON, JSON lines or Parquet.

Names and types are those of `schema.prisma` in https://github.com/BerriAI/litellm; what they hold, those of
`litellm/proxy/spend_tracking/spend_tracking_utils.py` there. Times are UTC; those of PostgreSQL have no zone. `spend`
is in USD. LiteLLM writes a spend of 0 also for models without a price, and for calls that failed
(https://github.com/BerriAI/litellm/issues/35691), and counts of 0 where it knows none: both are unknown here. An
answer from its cache did cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from ..calls import CallPlan, Get, Plan, Several, constant, inside, take
from ..rows import BadRow, Entry, FileRow
from ..source import Source, listed
from ..values import duration_us, elapsed_us, listing, mapping, number, text, time_us

_OPERATIONS = {
    "completion": "chat",
    "text_completion": "chat",
    "responses": "chat",
    "anthropic_messages": "chat",
}
_OPERATIONS |= {"generate_content": "chat", "embedding": "embed", "rerank": "rerank"}
_STATUSES = {"success": "ok", "failure": "failed"}
_TAGS = {"team": "team_id", "user": "user", "end_user": "end_user", "organization": "organization_id"}

_time = time_us(zone=UTC)


def _operation(row: Mapping[str, Any]) -> str | None:
    kind = str(row.get("call_type") or "").removesuffix("_stream")
    # `acompletion` is `completion`, called asynchronously.
    return _OPERATIONS.get(kind) or _OPERATIONS.get(kind.removeprefix("a"))


def _is_cached(row: Mapping[str, Any]) -> bool | None:
    said = str(row.get("cache_hit") or "").lower()
    return {"true": True, "false": False}.get(said)


def _status(row: Mapping[str, Any]) -> str | None:
    said = _STATUSES.get(str(row.get("status") or inside(row, "metadata", "status") or ""))
    return "cached" if said != "failed" and _is_cached(row) else said


def _spend(row: Mapping[str, Any]) -> Any:
    return None if not number(row.get("spend")) and not _is_cached(row) else row.get("spend")


def _tokens(column: str) -> Get:
    return lambda row: row.get(column) if number(row.get("total_tokens")) else None


def _inside(*path: str) -> Get:
    return lambda row: inside(row, "metadata", *path)


def _usage(*path: str) -> Get:
    return _inside("additional_usage_values", *path)


def _since_start(column: str) -> Get:
    """Microseconds from the start to another time."""

    def get(row: Mapping[str, Any]) -> Any:
        return elapsed_us(_time(row.get("startTime")), _time(row.get(column)))

    return get


def _first_token(row: Mapping[str, Any]) -> Any:
    # It is the end where nothing was streamed.
    same = _time(row.get("completionStartTime")) == _time(row.get("endTime"))
    return None if same else _since_start("completionStartTime")(row)


def _total(row: Mapping[str, Any]) -> Any:
    own = duration_us("ms")(row.get("request_duration_ms"))
    return _since_start("endTime")(row) if own is None else own


def _tags(row: Mapping[str, Any]) -> dict[str, Any]:
    tags: dict[str, Any] = {str(one): "true" for one in listing(row.get("request_tags")) if text(one)}
    return tags | {name: row.get(column) for name, column in _TAGS.items()}


def _unfold(row: FileRow) -> Iterator[Entry]:
    for one in listed(row):
        if isinstance(one, FileRow):
            try:
                one = one._replace(values={**one.values, "metadata": mapping(one.values.get("metadata"))})
            except ValueError as error:
                one = BadRow(one.place, f"`metadata` is no JSON, and {error}")
        yield one


LITELLM = Source(
    "litellm",
    Plan(
        (
            take("id", "request_id"),
            take("time", "startTime", read=_time),
            take("operation", "call_type", _operation),
            take("requested_model", "model_group"),
            take("target", "model"),
            take("session", "session_id"),
            take("answered_attempt", "status", lambda row: 1 if _status(row) in ("ok", "cached") else None),
        ),
        (
            CallPlan(
                (
                    constant("role", "answer"),
                    take("model", "model"),
                    take("provider", "custom_llm_provider"),
                    take("host", "api_base"),
                    take(
                        "first_token_ms",
                        "completionStartTime",
                        _first_token,
                        duration_us("us"),
                        ("startTime", "endTime"),
                    ),
                    take(
                        "total_ms", "endTime", _total, duration_us("us"), ("startTime", "request_duration_ms")
                    ),
                    take("status", "status", _status, also=("metadata", "cache_hit")),
                    take(
                        "error_class",
                        "metadata",
                        _inside("error_information", "error_class"),
                    ),
                    take("input_tokens", "prompt_tokens", _tokens("prompt_tokens"), also=("total_tokens",)),
                    take("output_tokens", "completion_tokens", _tokens("completion_tokens")),
                    take("cached_input_tokens", "metadata", _usage("prompt_tokens_details", "cached_tokens")),
                    take(
                        "cache_write_tokens",
                        "metadata",
                        _usage("prompt_tokens_details", "cache_creation_tokens"),
                    ),
                    take(
                        "reasoning_tokens",
                        "metadata",
                        _usage("completion_tokens_details", "reasoning_tokens"),
                    ),
                    take("cost", "spend", _spend),
                    take("currency", "spend", lambda row: None if _spend(row) is None else "USD"),
                    take("cached_answer", "cache_hit", _is_cached),
                )
            ),
        ),
        tags=Several(_tags, frozenset({"request_tags", *_TAGS.values()})),
    ),
    frozenset({"csv", "json", "parquet"}),
    unfold=_unfold,
    required=frozenset({"request_id", "startTime", "model", "spend"}),
)
