"""OpenTelemetry spans of generative AI (`gen_ai.*`), as OTLP JSON: one object, or one on each line.

Attributes are those of https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/, their older names included;
the form is that of https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding, in which 64-bit numbers are
text. Spans of agents and tools, and spans of anything else, are passed over. `input_tokens` should include the cached
ones; where it is less than these, an instrumentation counted otherwise, and the number is unknown here. The
conventions have no attribute for costs, so that they are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..calls import CallPlan, Get, Plan, Several, constant, take
from ..rows import BadRow, Entry, FileRow, PassedOver
from ..source import Source
from ..values import duration_us, number, time_us

_OPERATIONS = {"chat": "chat", "text_completion": "chat", "generate_content": "chat", "embeddings": "embed"}
_SCALARS = ("stringValue", "intValue", "doubleValue", "boolValue")
_ERROR = ("2", "STATUS_CODE_ERROR")
_NAMES: Mapping[str, tuple[str, ...]] = {
    "provider": ("gen_ai.provider.name", "gen_ai.system"),
    "input": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "read": ("gen_ai.usage.cache_read.input_tokens",),
    "written": ("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    "reasoning": ("gen_ai.usage.reasoning.output_tokens",),
    "user": ("user.id", "enduser.id"),
}
"""Under which names an attribute is found; the first that is there counts."""


def _attribute(name: str) -> Get:
    names = _NAMES.get(name, (name,))
    return lambda row: next((row[one] for one in names if row.get(one) is not None), None)


def _input(row: Mapping[str, Any]) -> Any:
    whole = _attribute("input")(row)
    parts = [number(_attribute(name)(row)) or 0 for name in ("read", "written")]
    return None if (number(whole) or 0) < sum(parts) else whole


def _status(row: Mapping[str, Any]) -> str | None:
    if str(row["status"]) in _ERROR or row.get("error.type") is not None:
        return "failed"
    # Instrumentations leave the status of a span that did not fail unset.
    return "ok" if row["end"] else None


def _total(row: Mapping[str, Any]) -> Any:
    start, end = number(row["start"]), number(row["end"])
    return None if not start or not end else end - start


def _value(value: Any) -> Any:
    """The value of OTLP's `AnyValue`."""
    if not isinstance(value, Mapping):
        return None
    if "arrayValue" in value:
        inner = value["arrayValue"].get("values", []) if isinstance(value["arrayValue"], Mapping) else []
        return [_value(one) for one in inner]
    return next(
        (value[kind] for kind in ("stringValue", "intValue", "doubleValue", "boolValue") if kind in value),
        None,
    )


def _attributes(of: Any) -> dict[str, Any]:
    entries = of.get("attributes") if isinstance(of, Mapping) else None
    entries = entries if isinstance(entries, list) else []
    return {str(one.get("key")): _value(one.get("value")) for one in entries if isinstance(one, Mapping)}


def _lists(of: Any, key: str) -> Iterator[Mapping[str, Any]]:
    found = of.get(key) if isinstance(of, Mapping) else None
    yield from (one for one in (found if isinstance(found, list) else ()) if isinstance(one, Mapping))


def _unfold(row: FileRow) -> Iterator[Entry]:
    if not isinstance(row.values.get("resourceSpans"), list):
        yield BadRow(row.place, "it has no `resourceSpans`, as OTLP JSON has")
        return
    for resource in _lists(row.values, "resourceSpans"):
        service = _attributes(resource.get("resource")).get("service.name")
        for scope in _lists(resource, "scopeSpans"):
            for span in _lists(scope, "spans"):
                values = _attributes(span)
                if str(values.get("gen_ai.operation.name")) not in _OPERATIONS:
                    yield PassedOver(row.place)
                    continue
                trace, own = span.get("traceId"), span.get("spanId")
                status = span.get("status")
                values |= {
                    "spanId": f"{trace}/{own}" if trace and own else None,
                    "traceId": trace,
                    "start": span.get("startTimeUnixNano"),
                    "end": span.get("endTimeUnixNano"),
                    "status": status.get("code") if isinstance(status, Mapping) else None,
                    "service.name": service,
                }
                yield FileRow(row.place, values)


OTEL = Source(
    "otel",
    Plan(
        (
            take("id", "spanId"),
            take("time", "start", read=time_us(unit="ns")),
            take(
                "operation",
                "gen_ai.operation.name",
                lambda row: _OPERATIONS.get(row["gen_ai.operation.name"]),
            ),
            take("target", "gen_ai.request.model"),
            take("session", "gen_ai.conversation.id"),
            take("trace", "traceId"),
            take("answered_attempt", "status", lambda row: 1 if _status(row) == "ok" else None),
        ),
        (
            CallPlan(
                (
                    constant("role", "answer"),
                    take("model", "gen_ai.request.model"),
                    take("model_said", "gen_ai.response.model"),
                    take("provider", "gen_ai.provider.name", _attribute("provider")),
                    take("host", "server.address"),
                    take("total_ms", "end", _total, read=duration_us("ns")),
                    take("first_token_ms", "gen_ai.response.time_to_first_chunk", read=duration_us("s")),
                    take("status", "status", _status),
                    take("error_class", "error.type"),
                    take("finish_reason", "gen_ai.response.finish_reasons"),
                    take("streamed", "gen_ai.request.stream"),
                    take("input_tokens", "gen_ai.usage.input_tokens", _input),
                    take("output_tokens", "gen_ai.usage.output_tokens", _attribute("output")),
                    take("cached_input_tokens", "gen_ai.usage.cache_read.input_tokens", _attribute("read")),
                    take(
                        "cache_write_tokens", "gen_ai.usage.cache_write.input_tokens", _attribute("written")
                    ),
                    take("reasoning_tokens", "gen_ai.usage.reasoning.output_tokens", _attribute("reasoning")),
                )
            ),
        ),
        tags=Several(
            lambda row: {"user": _attribute("user")(row), "service": row["service.name"]}, frozenset()
        ),
    ),
    frozenset({"json"}),
    unfold=_unfold,
)
