"""agentgateway's request log: the table `request_logs` of its SQLite database, one row for each request.

Columns are those of `crates/agentgateway/src/telemetry/log_store/sqlite.rs` in
https://github.com/agentgateway/agentgateway. Requests that are none of a model's (MCP, plain HTTP) have no model and
are passed over. Prompts and answers, in a table of their own, are not read. Costs are in USD, and NULL where the
gateway was given no prices (https://github.com/agentgateway/website/issues/633).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..calls import CallPlan, Plan, Several, constant, inside, take
from ..rows import BadRow, Entry, FileRow, PassedOver
from ..source import Source
from ..values import mapping, number

_OPERATIONS = {"chat": "chat", "text_completion": "chat", "generate_content": "chat", "embeddings": "embed"}
_OPERATIONS |= {"rerank": "rerank"}
_READ, _WRITTEN = "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_creation.input_tokens"
_FAILED_FROM = 400


def _operation(row: Mapping[str, Any]) -> str | None:
    return _OPERATIONS.get(str(row.get("gen_ai_operation_name")))


def _status(row: Mapping[str, Any]) -> str | None:
    code = number(row.get("http_status"))
    if row.get("error") or (code is not None and code >= _FAILED_FROM):
        return "failed"
    return None if code is None else "ok"


def _error_class(row: Mapping[str, Any]) -> str | None:
    # The text of an error may repeat the prompt.
    code = number(row.get("http_status"))
    return f"http_{code}" if code is not None and code >= _FAILED_FROM else None


def _attribute(key: str) -> Any:
    return lambda row: inside(row, "attributes_json", key)


def _unfold(row: FileRow) -> Iterator[Entry]:
    if not row.values.get("gen_ai_request_model") and not row.values.get("gen_ai_response_model"):
        yield PassedOver(row.place)
        return
    try:
        attributes = mapping(row.values.get("attributes_json"))
    except ValueError as error:
        yield BadRow(row.place, f"`attributes_json` is no JSON, and {error}")
        return
    yield row._replace(values={**row.values, "attributes_json": attributes})


AGENTGATEWAY = Source(
    "agentgateway",
    Plan(
        (
            take("id", "id"),
            take("time", "started_at"),
            take(
                "operation",
                "gen_ai_operation_name",
                _operation,
            ),
            take("target", "gen_ai_request_model"),
            take("trace", "trace_id"),
            take("answered_attempt", "http_status", lambda row: 1 if _status(row) == "ok" else None),
        ),
        (
            CallPlan(
                (
                    constant("role", "answer"),
                    take("model", "gen_ai_request_model"),
                    take("model_said", "gen_ai_response_model"),
                    take("provider", "gen_ai_provider_name"),
                    take("total_ms", "duration_ms"),
                    take("status", "http_status", _status, also=("error",)),
                    take("error_class", "http_status", _error_class),
                    take("input_tokens", "input_tokens"),
                    take("output_tokens", "output_tokens"),
                    take("cached_input_tokens", "attributes_json", _attribute(_READ)),
                    take("cache_write_tokens", "attributes_json", _attribute(_WRITTEN)),
                    take("cost", "cost"),
                    take("currency", "cost", lambda row: None if row.get("cost") is None else "USD"),
                )
            ),
        ),
        tags=Several(
            lambda row: {"user": row.get("agentgateway_user"), "team": row.get("agentgateway_group")},
            frozenset({"agentgateway_user", "agentgateway_group"}),
        ),
    ),
    frozenset({"sqlite"}),
    unfold=_unfold,
    table="request_logs",
    required=frozenset({"id", "started_at", "gen_ai_request_model"}),
)
