"""Logs of other routers: what they say comes out, what they do not say is unknown, and nothing is doubled or lost."""

from __future__ import annotations

import csv
import gzip
import json
import random
import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from ledger_layout import ledger_in_memory
from support.new_ledgers import new_ledger
from support.pages import ROOT, blocks
from support.sizes import MUTATED_LOGS

from routewright.engine.report import PolicyError
from routewright.ledger import ImportReport, Ledger, LedgerError, check_import, now_in, shipped_questions
from routewright.ledger.columns import sql_type
from routewright.ledger.importing.calls import FIELDS, Call
from routewright.ledger.importing.importer import SOURCES, find_source
from routewright.ledger.importing.run import run_import
from routewright.ledger.importing.shape import OBJECTS, TABLES, columns
from routewright.ledger.importing.storing import Stored
from routewright.ledger.views import view_names

START_US = 1_767_225_600_000_000  # 2026-01-01 00:00 UTC


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.duckdb")


def rows(ledger: Ledger, sql: str) -> list[dict[str, Any]]:
    result = ledger.query(sql)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def calls(ledger: Ledger) -> list[dict[str, Any]]:
    """Every imported call with its request, without what is made and what is unknown."""
    found = rows(
        ledger,
        """SELECT d.*, a.* EXCLUDE ("import", decision_id, call_id, digest)
           FROM imported_decisions AS d JOIN imported_attempts AS a USING (decision_id)
           ORDER BY d.source_id, a.number""",
    )
    made = ("import", "decision_id", "feature_sources")
    return [{k: v for k, v in row.items() if v not in (None, {}) and k not in made} for row in found]


def read(source: str, path: Path, mapping: Path | None = None) -> tuple[ImportReport, list[dict[str, Any]]]:
    """What a source makes of a file without a ledger, as `calls` gives it: requests that have one call each."""
    found: list[dict[str, Any]] = []

    def store(batch: list[Call], report: ImportReport) -> Stored:
        found.extend({**call, "number": 1} for call in batch)
        return Stored(0, len(batch), 0, ())

    report = run_import(path, find_source(source, mapping)[0], source, store)
    made = ("import", "decision_id", "feature_sources", "call_id", "digest", "place", "outcomes")
    shown = [{key: value for key, value in call.items() if key not in made} for call in found]
    return report, shown


def as_csv(path: Path, entries: Sequence[dict[str, Any]]) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(entries[0]))
        writer.writeheader()
        for entry in entries:
            cells = {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in entry.items()}
            writer.writerow(cells)
    return path


def as_lines(path: Path, entries: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    return path


def as_array(path: Path, entries: Sequence[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(entries, indent=2))
    return path


def as_parquet(path: Path, entries: Sequence[dict[str, Any]]) -> Path:
    """With the types of PostgreSQL's table: times without a zone, JSON as text."""
    lines = as_lines(path.with_suffix(".jsonl"), entries)
    with duckdb.connect() as client:
        client.execute(
            f"""COPY (SELECT * REPLACE ("startTime"::TIMESTAMP AS "startTime", to_json(metadata)::VARCHAR AS metadata)
                      FROM read_json('{lines}')) TO '{path}' (FORMAT parquet)"""
        )
    return path


# --- the tables --------------------------------------------------------------------------------------------


def test_columns_have_the_type_and_meaning_of_their_field() -> None:
    with ledger_in_memory() as connection:
        for table, row in TABLES.items():
            sql = "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = ?"
            declared = [
                (name, "VARIANT" if name == "features" else sql_type(kind), meaning)
                for name, (kind, meaning) in columns(row).items()
            ]
            assert connection.execute(sql, [table]).fetchall() == declared


# --- LiteLLM -----------------------------------------------------------------------------------------------

SPENT = {
    "request_id": "chatcmpl-1",
    "call_type": "acompletion",
    "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
    "spend": 0.000123456789,
    "total_tokens": 150,
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "startTime": "2026-01-01 00:00:00.25",
    "endTime": "2026-01-01 00:00:01.75",
    "completionStartTime": "2026-01-01 00:00:00.5",
    "model": "gpt-4o-mini",
    "model_group": "fast",
    "custom_llm_provider": "openai",
    "api_base": "https://api.openai.com/v1",
    "user": "ada",
    "team_id": "search",
    "end_user": "",
    "metadata": {
        "status": "success",
        "additional_usage_values": {
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 32},
        },
    },
    "cache_hit": "False",
    "request_tags": ["prod"],
    "session_id": "s-1",
    "messages": [{"role": "user", "content": "hush"}],
}
UNPRICED = {
    **SPENT,
    "request_id": "chatcmpl-2",
    "spend": 0.0,
    "model": "my-model",
    "completionStartTime": SPENT["endTime"],
}
CACHED = {**SPENT, "request_id": "chatcmpl-3", "spend": 0.0, "cache_hit": "True"}
FAILED = {
    **SPENT,
    **{
        "request_id": "chatcmpl-4",
        "spend": 0.0,
        "total_tokens": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
    },
    "metadata": {
        "status": "failure",
        "error_information": {"error_class": "RateLimitError", "error_message": "hush"},
    },
    "cache_hit": "None",
    "call_type": "aembedding",
}
SPEND_LOGS = [SPENT, UNPRICED, CACHED, FAILED]

KNOWN_OF_ALL = {
    "at_us": START_US + 250_000,
    "started_at_us": START_US + 250_000,
    "operation": "chat",
    "outcome": "routed",
    "requested_model": "fast",
    "target": "gpt-4o-mini",
    "session_id": "s-1",
    "tags": {"prod": "true", "team": "search", "user": "ada"},
    "number": 1,
    "role": "answer",
    "model_id": "gpt-4o-mini",
    "backend_id": "openai",
    "host": "https://api.openai.com/v1",
    "total_us": 1_500_000,
}
TOKENS = {
    "input_tokens": 100,
    "output_tokens": 50,
    "cached_input_tokens": 64,
    "reasoning_tokens": 32,
    "tokens_source": "reported",
}
LITELLM = [
    {
        **KNOWN_OF_ALL,
        **TOKENS,
        **{"source_id": "chatcmpl-1", "status": "ok", "answered_attempt": 1, "first_token_us": 250_000},
        **{"cost_nano": 123_457, "currency": "USD", "cost_source": "imported", "cached_answer": False},
    },
    {
        **KNOWN_OF_ALL,
        **TOKENS,
        **{"source_id": "chatcmpl-2", "status": "ok", "answered_attempt": 1, "cached_answer": False},
        **{"target": "my-model", "model_id": "my-model"},
    },
    {
        **KNOWN_OF_ALL,
        **TOKENS,
        **{"source_id": "chatcmpl-3", "status": "cached", "answered_attempt": 1, "first_token_us": 250_000},
        **{"cost_nano": 0, "currency": "USD", "cost_source": "imported", "cached_answer": True},
    },
    {
        **KNOWN_OF_ALL,
        **{"source_id": "chatcmpl-4", "status": "failed", "operation": "embed", "first_token_us": 250_000},
        "error_class": "RateLimitError",
    },
]


@pytest.mark.parametrize("write", [as_csv, as_lines, as_array, as_parquet], ids=lambda one: one.__name__)
def test_spend_logs_of_litellm_say_the_same_in_every_format(write: Any, tmp_path: Path) -> None:
    report, found = read("litellm", write(tmp_path / "spend", SPEND_LOGS))
    assert found == LITELLM
    assert (report.rows, report.calls, report.bad) == (4, 4, 0)
    assert report.costs_rounded == 1  # 123,456.789 nano-dollars


def test_the_tables_hold_what_a_source_says(ledger: Ledger, tmp_path: Path) -> None:
    report = ledger.import_file("litellm", as_lines(tmp_path / "spend.jsonl", SPEND_LOGS))
    assert calls(ledger) == LITELLM
    assert report.new_calls == 4


def test_answers_of_litellms_api_are_lists_in_an_object(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"data": SPEND_LOGS, "total": 4}, indent=1))
    _, found = read("litellm", path)
    assert found == LITELLM
    assert "hush" not in str(found)


# --- agentgateway ------------------------------------------------------------------------------------------


def test_the_request_log_of_agentgateway_is_read_from_its_database(tmp_path: Path) -> None:
    path = tmp_path / "logs #1?.db"
    with sqlite3.connect(path) as store:
        store.execute(
            """CREATE TABLE request_logs (
                id TEXT PRIMARY KEY, started_at TEXT NOT NULL, completed_at TEXT NOT NULL, duration_ms INTEGER NOT NULL,
                trace_id TEXT, span_id TEXT, http_status INTEGER, error TEXT, gen_ai_operation_name TEXT,
                gen_ai_provider_name TEXT, gen_ai_request_model TEXT, gen_ai_response_model TEXT,
                input_tokens INTEGER, output_tokens INTEGER, total_tokens INTEGER, cost REAL, agentgateway_user TEXT,
                agentgateway_group TEXT, user_agent_name TEXT, has_payload INTEGER NOT NULL,
                attributes_json TEXT NOT NULL)"""
        )
        time = "2026-01-01T00:00:00.123456789+00:00"
        cache = json.dumps({"gen_ai.usage.cache_read.input_tokens": 40})
        model = ("chat", "anthropic", "claude-haiku", "claude-haiku-4-5")
        store.executemany(
            f"INSERT INTO request_logs VALUES ({', '.join('?' * 21)})",
            [
                (
                    "a",
                    time,
                    time,
                    900,
                    "t1",
                    "s1",
                    200,
                    None,
                    *model,
                    100,
                    20,
                    120,
                    0.0003,
                    "ada",
                    "search",
                    None,
                    0,
                    cache,
                ),
                ("b", time, time, 12, None, None, 429, "slow down", *model, *[None] * 7, 0, "{}"),
                ("c", time, time, 3, None, None, 200, None, *[None] * 11, 0, "{}"),
            ],
        )
    store.close()
    report, found = read("agentgateway", path)
    shared = {
        **{
            "at_us": START_US + 123_456,
            "started_at_us": START_US + 123_456,
            "operation": "chat",
            "outcome": "routed",
        },
        **{"target": "claude-haiku", "model_id": "claude-haiku", "model_said": "claude-haiku-4-5"},
        **{"backend_id": "anthropic", "number": 1, "role": "answer"},
    }
    assert found == [
        {
            **shared,
            **{
                "source_id": "a",
                "trace_id": "t1",
                "answered_attempt": 1,
                "status": "ok",
                "total_us": 900_000,
            },
            **{
                "input_tokens": 100,
                "cached_input_tokens": 40,
                "output_tokens": 20,
                "tokens_source": "reported",
            },
            **{"cost_nano": 300_000, "currency": "USD", "cost_source": "imported"},
            "tags": {"user": "ada", "team": "search"},
        },
        {**shared, **{"source_id": "b", "status": "failed", "error_class": "http_429", "total_us": 12_000}},
    ]
    assert (report.rows, report.passed_over) == (3, 1)


def test_a_database_without_the_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as store:
        store.execute("CREATE VIEW request_logs AS SELECT 1 AS id")
        store.execute("CREATE TABLE mine (a INTEGER)")
    store.close()
    with pytest.raises(LedgerError, match="has no table `request_logs`") as caught:
        check_import("agentgateway", path)
    assert caught.value.help == "it has: mine"


# --- Langfuse ----------------------------------------------------------------------------------------------

GENERATION = {
    "id": "obs-1",
    "trace_id": "trace-1",
    "type": "GENERATION",
    "name": "answer",
    "environment": "production",
    "start_time": "2026-01-01 00:00:00.000000",
    "end_time": "2026-01-01 00:00:02.000000",
    "completion_start_time": "2026-01-01 00:00:00.400000",
    "level": "DEFAULT",
    "input": "hush",
    "provided_model_name": "claude-haiku",
    "usage_details": {
        "input": 3,
        "cache_read_input_tokens": 57,
        "cache_creation_input_tokens": 40,
        "output": 20,
        "total": 120,
    },
    "cost_details": {"input": 0.1, "output": 0.2, "total": 0.3},
    "total_cost": 0.3,
    "user_id": "ada",
    "session_id": "s-1",
    "tags": ["beta"],
}
API_GENERATION = {
    **{"id": "obs-2", "traceId": "trace-1", "type": "GENERATION", "name": "answer", "level": "ERROR"},
    **{
        "startTime": "2026-01-01T00:00:00.000Z",
        "endTime": "2026-01-01T00:00:01.000Z",
        "model": "claude-haiku",
    },
    **{"usageDetails": {}, "costDetails": {}, "calculatedTotalCost": 0, "statusMessage": "hush"},
}
SPAN = {"id": "obs-3", "traceId": "trace-1", "type": "SPAN", "startTime": "2026-01-01T00:00:00.000Z"}


def test_observations_of_langfuse_are_read_under_both_their_names(tmp_path: Path) -> None:
    report, found = read("langfuse", as_lines(tmp_path / "obs.jsonl", [GENERATION, API_GENERATION, SPAN]))
    shared = {
        **{
            "at_us": START_US,
            "started_at_us": START_US,
            "operation": "chat",
            "outcome": "routed",
            "number": 1,
        },
        **{"target": "claude-haiku", "model_id": "claude-haiku", "role": "answer", "trace_id": "trace-1"},
    }
    assert found == [
        {
            **shared,
            **{"source_id": "obs-1", "session_id": "s-1", "answered_attempt": 1, "status": "ok"},
            **{"total_us": 2_000_000, "first_token_us": 400_000, "tokens_source": "reported"},
            **{"input_tokens": 100, "cached_input_tokens": 57, "cache_write_tokens": 40, "output_tokens": 20},
            **{"cost_nano": 300_000_000, "currency": "USD", "cost_source": "imported"},
            "tags": {"beta": "true", "user": "ada", "name": "answer", "environment": "production"},
        },
        {
            **shared,
            **{"source_id": "obs-2", "status": "failed", "total_us": 1_000_000, "tags": {"name": "answer"}},
        },
    ]
    assert (report.rows, report.passed_over) == (3, 1)


# --- OpenTelemetry -----------------------------------------------------------------------------------------


def span(own: str, *, status: Any = None, **attributes: Any) -> dict[str, Any]:
    kinds = {str: "stringValue", int: "intValue", float: "doubleValue", bool: "boolValue"}

    def value(one: Any) -> dict[str, Any]:
        if isinstance(one, list):
            return {"arrayValue": {"values": [value(inner) for inner in one]}}
        return {kinds[type(one)]: str(one) if type(one) is int else one}

    return {
        **{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": own, "name": "chat", "kind": 3},
        **{"startTimeUnixNano": f"{START_US}000", "endTimeUnixNano": f"{START_US + 1_500_000}999"},
        "attributes": [
            {"key": key.replace("__", "."), "value": value(one)} for key, one in attributes.items()
        ],
        **({} if status is None else {"status": status}),
    }


def test_spans_of_opentelemetry_are_read_from_otlp_json(tmp_path: Path) -> None:
    ours = {"gen_ai__operation__name": "chat", "gen_ai__request__model": "gpt-4o"}
    spans = [
        span(
            "a1",
            **ours,
            gen_ai__provider__name="openai",
            gen_ai__response__model="gpt-4o-2024-08-06",
            gen_ai__usage__input_tokens=100,
            gen_ai__usage__cache_read__input_tokens=64,
            gen_ai__usage__output_tokens=20,
            gen_ai__response__finish_reasons=["stop"],
            gen_ai__response__time_to_first_chunk=0.25,
            gen_ai__request__stream=True,
            gen_ai__conversation__id="c-1",
            server__address="api.openai.com",
        ),
        # An instrumentation that counts the cached tokens apart from the others.
        span(
            "a2",
            status={"code": 2},
            **ours,
            gen_ai__usage__input_tokens=3,
            gen_ai__usage__cache_read__input_tokens=64,
        ),
        span("a3", gen_ai__operation__name="execute_tool"),
        span("a4", http__request__method="GET"),
    ]
    service = [{"key": "service.name", "value": {"stringValue": "shop"}}]
    line = {"resourceSpans": [{"resource": {"attributes": service}, "scopeSpans": [{"spans": spans}]}]}
    report, found = read("otel", as_lines(tmp_path / "spans.json", [line]))
    shared = {
        **{
            "trace_id": "5b8efff798038103d269b633813fc60c",
            "at_us": START_US,
            "started_at_us": START_US,
            "number": 1,
        },
        **{
            "operation": "chat",
            "outcome": "routed",
            "target": "gpt-4o",
            "model_id": "gpt-4o",
            "role": "answer",
        },
        **{
            "total_us": 1_500_001,
            "tokens_source": "reported",
            "cached_input_tokens": 64,
            "tags": {"service": "shop"},
        },
    }
    assert found == [
        {
            **shared,
            **{
                "source_id": "5b8efff798038103d269b633813fc60c/a1",
                "session_id": "c-1",
                "answered_attempt": 1,
            },
            **{
                "backend_id": "openai",
                "model_said": "gpt-4o-2024-08-06",
                "host": "api.openai.com",
                "status": "ok",
            },
            **{"input_tokens": 100, "output_tokens": 20, "finish_reason": "stop", "streamed": True},
            "first_token_us": 250_000,
        },
        {**shared, **{"source_id": "5b8efff798038103d269b633813fc60c/a2", "status": "failed"}},
    ]
    assert (report.rows, report.passed_over) == (4, 2)


# --- our own shape -----------------------------------------------------------------------------------------

OWN = [
    {
        **{
            "id": "r1",
            "time": "2026-01-01T01:00:00+01:00",
            "model": "small",
            "status": "failed",
            "total_ms": 12.5,
        },
        **{"tags": {"team": "search"}, "features": {"complexity": 0.5, "langs": ["de"], "private": True}},
    },
    {
        **{
            "id": "r1",
            "time": "2026-01-01T01:00:00+01:00",
            "call_id": "again",
            "model": "small",
            "status": "ok",
        },
        **{
            "cost": "0.000000001",
            "currency": "USD",
            "input_tokens": 7,
            "outcomes": {"score": 0.25, "grade": "b"},
        },
    },
]


def test_our_own_shape_groups_the_calls_of_a_request(ledger: Ledger, tmp_path: Path) -> None:
    ledger.import_file("calls", as_array(tmp_path / "calls.json", OWN))
    shared = {"source_id": "r1", "at_us": START_US, "started_at_us": START_US, "model_id": "small"}
    shared |= {"features": {"complexity": 0.5, "langs": ["de"], "private": True}, "tags": {"team": "search"}}
    assert calls(ledger) == [
        {**shared, "number": 1, "status": "failed", "total_us": 12_500},
        {
            **shared,
            **{"number": 2, "status": "ok", "cost_nano": 1, "currency": "USD", "cost_source": "imported"},
            **{"input_tokens": 7, "tokens_source": "reported"},
        },
    ]
    assert rows(ledger, "SELECT attempt, metric, value, label FROM imported_outcomes ORDER BY metric") == [
        {"attempt": 2, "metric": "grade", "value": None, "label": "b"},
        {"attempt": 2, "metric": "score", "value": 0.25, "label": None},
    ]


def test_a_column_that_is_no_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="has a column `modle`, which is no field of a call"):
        check_import("calls", as_lines(tmp_path / "calls.jsonl", [{"id": "1", "modle": "small"}]))


# --- again, changed, removed -------------------------------------------------------------------------------


def counts(ledger: Ledger) -> list[tuple[str, int]]:
    sql = " UNION ALL ".join(f"SELECT '{table}', count(*)::INTEGER FROM {table}" for table in TABLES)
    return list(ledger.query(sql).rows)


def test_the_same_rows_again_change_nothing_by_id_or_by_content(ledger: Ledger, tmp_path: Path) -> None:
    without = [{"time": "2026-01-01T00:00:00Z", "model": "small", "total_ms": n} for n in range(3)]
    files = [
        as_lines(tmp_path / "own.jsonl", OWN),
        as_lines(tmp_path / "without.jsonl", [*without, without[0]]),
    ]
    first = [ledger.import_file("calls", path) for path in files]
    there = counts(ledger)
    assert dict(there)["imported_attempts"] == 5
    again = [ledger.import_file("calls", path) for path in files]
    assert counts(ledger) == there
    assert [report.new_calls for report in first] == [2, 3]
    assert [(report.calls, report.new_calls, report.changed) for report in again] == [(2, 0, 0), (4, 0, 0)]
    # Another import is another set of rows.
    ledger.import_file("calls", files[0], name="other")
    assert dict(counts(ledger))["imported_attempts"] == 7


def test_a_row_that_has_changed_is_named_and_left_as_it_was(ledger: Ledger, tmp_path: Path) -> None:
    ledger.import_file("calls", as_lines(tmp_path / "a.jsonl", OWN))
    changed = [OWN[0], {**OWN[1], "cost": 5}, {**OWN[1], "call_id": "third"}]
    report = ledger.import_file("calls", as_lines(tmp_path / "b.jsonl", changed))
    assert (report.new_calls, report.changed, report.changed_rows) == (1, 1, [2])
    assert [call.get("cost_nano") for call in calls(ledger)] == [None, 1, 1]


def test_an_import_is_removed_whole_and_no_other_is_touched(ledger: Ledger, tmp_path: Path) -> None:
    path = as_lines(tmp_path / "calls.jsonl", OWN)
    for name in ("first", "second"):
        ledger.import_file("calls", path, name=name)
    assert [(one.name, one.sources, one.files, one.calls) for one in ledger.imports()] == [
        ("first", ("calls",), 1, 2),
        ("second", ("calls",), 1, 2),
    ]
    assert ledger.remove_import("first") == (1, 2)
    assert [one.name for one in ledger.imports()] == ["second"]
    assert counts(ledger) == [("imported_decisions", 1), ("imported_attempts", 2), ("imported_outcomes", 2)]
    with pytest.raises(LedgerError, match="there is no import `first`"):
        ledger.remove_import("first")


def test_batches_give_what_one_batch_gives(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.ledger.importing.run.AT_ONCE", 2)
    entries = [
        {"id": str(n % 3), "call_id": str(n), "model": "small", "cost": 1, "currency": "USD"}
        for n in range(7)
    ]
    report = ledger.import_file("calls", as_lines(tmp_path / "calls.jsonl", entries))
    assert (report.new_decisions, report.new_calls) == (3, 7)
    assert [(call["source_id"], call["number"]) for call in calls(ledger)] == [
        *(("0", n) for n in (1, 2, 3)),
        *(("1", n) for n in (1, 2)),
        *(("2", n) for n in (1, 2)),
    ]
    [noted] = rows(ledger, "SELECT * EXCLUDE (import_id, at_us, engine_version) FROM imports")
    assert (noted["new_calls"], noted["rows"], noted["complete"]) == (7, 7, True)


# --- the views ---------------------------------------------------------------------------------------------


def test_imported_rows_are_in_the_views_of_everything_and_in_no_other(ledger: Ledger, tmp_path: Path) -> None:
    in_euros = [OWN[0], {**OWN[1], "currency": "EUR"}]
    plain, all_ = (
        [f"{prefix}{name}" for name in ("decisions_flat", "attempts_flat", "outcomes_flat", "cost_daily")]
        for prefix in ("", "all_")
    )
    ledger.import_file("calls", as_lines(tmp_path / "own.jsonl", in_euros), name="ours")
    ledger.import_file("litellm", as_lines(tmp_path / "spend.jsonl", SPEND_LOGS))
    assert [ledger.query(f"SELECT count(*) FROM {name}").rows for name in plain] == [((0,),)] * 4
    assert all(ledger.query(f"SELECT import FROM {name}").rows for name in all_)
    what = "target, answered_by, answered, status, calls, latency_ms, failed_after_ms"
    sql = f"SELECT {what} FROM all_decisions_flat WHERE import = 'litellm' ORDER BY target, status"
    assert ledger.query(sql).rows == (
        ("gpt-4o-mini", "gpt-4o-mini", True, "cached", 0, None, None),
        ("gpt-4o-mini", None, False, "failed", 1, None, 1500.0),
        ("gpt-4o-mini", "gpt-4o-mini", True, "ok", 1, 1500.0, None),
        ("my-model", "my-model", True, "ok", 1, 1500.0, None),
    )
    whose = "SELECT DISTINCT mode, outcome, team, \"user\" FROM all_decisions_flat WHERE import = 'litellm'"
    assert ledger.query(whose).rows == (("imported", "routed", "search", "ada"),)
    # Nobody said which call of this request was its answer.
    columns = "answered, status, latency_ms, failed_after_ms"
    [ours] = ledger.query(f"SELECT {columns} FROM all_decisions_flat WHERE import = 'ours'").rows
    assert set(ours) == {None}
    costs = """SELECT import, sum(known_cost_usd), sum(known_cost_eur), sum(unknown_cost_calls)
               FROM all_attempts_flat GROUP BY ALL ORDER BY ALL"""
    assert ledger.query(costs).rows == (
        ("litellm", Decimal("0.000123457"), None, 2),
        ("ours", None, Decimal("0.000000001"), 1),
    )
    # A call of which nobody said what became of it is a call, and neither a success nor a failure.
    ledger.import_file(
        "calls", as_lines(tmp_path / "x.jsonl", [{"model": "x", "cost": 1, "currency": "USD"}]), name="x"
    )
    assert ledger.query("SELECT calls FROM all_decisions_flat WHERE import = 'x'").rows == ((1,),)
    assert ledger.query("SELECT known_cost_usd FROM all_cost_daily WHERE import = 'x'").rows == ((1,),)
    assert ledger.query("SELECT * FROM all_success_rate WHERE import = 'x'").rows == ()
    features = "SELECT feature, boolean, number, list FROM all_decision_features ORDER BY feature"
    assert ledger.query(features).rows == (
        ("complexity", None, 0.5, None),
        ("langs", None, None, ["de"]),
        ("private", True, None, None),
    )
    ledger.remove_import("ours")
    assert "known_cost_eur" not in ledger.query("SELECT * FROM all_attempts_flat").columns


# --- bad input ---------------------------------------------------------------------------------------------


def test_bad_rows_are_counted_and_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "spend.csv"
    as_csv(
        path,
        [{k: v for k, v in SPENT.items() if k != "messages"} | {"request_id": f"r{n}"} for n in range(5)],
    )
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace(",100,", ",a hundred,")
    lines[3] = lines[3].replace("2026-01-01 00:00:00.25", "yesterday")
    lines[4] += ",more"
    lines[5] = lines[5].replace("r4", "")
    lines.append('r9,"a line\nin a field",' + lines[1].split(",", 2)[2].replace("0.000123456789", "-1"))
    lines.append(lines[5])  # after two lines that are one row
    path.write_text("\n".join(lines) + "\n")
    report = check_import("litellm", path)
    assert [(row.place, row.why) for row in report.bad_rows] == [
        (3, "`prompt_tokens` is `a hundred`, and a number was expected"),
        (4, "`startTime` is `yesterday`, and a time was expected, such as `2026-01-31T12:00:00Z`"),
        (5, "it has 22 fields, and the first line names 21"),
        (6, "`request_id` has no value, and it is the id"),
        (7, "`spend` is `-1`, and an amount from 0 to 9,223,372,036 was expected"),
        (9, "`request_id` has no value, and it is the id"),
    ]
    assert (report.rows, report.bad, report.calls) == (7, 6, 1)


VALUES: list[tuple[str, Any, str]] = [
    ("input_tokens", 1.5, "a whole number from 0 to 9,223,372,036,854,775,807 was expected"),
    ("input_tokens", True, "a number was expected"),
    ("input_tokens", 10**30, "a whole number from 0 to 9,223,372,036,854,775,807 was expected"),
    ("cost", "1e999999999", "a number was expected"),
    ("cost", "0x10", "a number was expected"),
    ("cost", 10**12, "an amount from 0 to 9,223,372,036 was expected"),
    ("total_ms", -1, "a duration from 0 to ten years was expected"),
    ("total_ms", 10**15, "a duration from 0 to ten years was expected"),
    ("currency", "dollars", "the code of a currency was expected, such as `USD`"),
    ("cost", 1, "nothing says in which currency"),
    ("features", {"x": {"y": 1}}, "a boolean, a number, a text or a list of them was expected"),
    ("features", {"x": 10**30}, "a boolean, a number, a text or a list of them was expected"),
    ("time", "2026-01-01T00:00:00", "a time with its zone was expected, such as `2026-01-31T12:00:00Z`"),
    ("time", 1767225600, "a time was expected, such as `2026-01-31T12:00:00Z`"),
    ("status", "fine", "one of ok, failed, partial, skipped, cached, lost was expected"),
    ("model", "\ud800", "it is not UTF-8 text"),
    ("model", "a\0b", "a text of at most 4,000 characters was expected, without the character 0"),
    ("model", ["a"], "a text was expected"),
    ("tags", [1], "an object was expected"),
    ("tags", {"team": {"a": 1}}, "a text was expected"),
    ("outcomes", {"score": [1]}, "a number was expected"),
]


@pytest.mark.parametrize(("field", "value", "why"), VALUES)
def test_a_value_that_does_not_fit_makes_its_row_bad(
    field: str, value: Any, why: str, tmp_path: Path
) -> None:
    path = as_lines(
        tmp_path / "calls.jsonl", [{"id": "1", "model": "small", field: value}, {"id": "2", "model": "big"}]
    )
    report = check_import("calls", path)
    [bad] = report.bad_rows
    assert bad.place == 1
    assert bad.why.endswith(f", and {why}")
    assert report.calls == 1


@pytest.mark.parametrize(
    ("source", "row"),
    [
        ("litellm", {"request_id": "a", "model": "m", "spend": 0, "endTime": "2026-01-01T00:00:01Z"}),
        ("langfuse", {"id": "a", "type": "GENERATION", "endTime": "2026-01-01T00:00:01Z"}),
    ],
)
def test_what_ended_before_it_began_is_named_by_its_time(
    source: str, row: dict[str, Any], tmp_path: Path
) -> None:
    path = as_lines(tmp_path / "log.jsonl", [row | {"startTime": "2026-01-01T00:00:02Z"}])
    [bad] = check_import(source, path).bad_rows
    assert bad.why.endswith("is `2026-01-01T00:00:01Z`, and a time not before the start was expected")


def test_lines_that_are_no_json_are_bad_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_bytes(
        b'{"id": "1", "model": "a"}\n\n{"id": \n[1]\n{"id": "2", "model": "\xff"}\n'
        b'{"id": "3", "total_ms": NaN}\n' + b"[" * 100_000 + b'\n{"id": "4", "model": "b"}'
    )
    report = check_import("calls", path)
    assert [row.place for row in report.bad_rows] == [3, 4, 5, 6, 7]
    assert report.calls == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'[{"id": "1"}, {"id": ]', "is no JSON from line 1 on: expecting value"),
        (b'[{"id": "1"},\n {"id": "2"', "is no JSON from line 2 on: expecting ',' delimiter"),
        (b'[{"id": "1"}', "ends within its array"),
        (b'id,model\n1,"a', "is no CSV from line 2 on: unexpected end of data"),
        (b"id;model\n1;a\n", "is separated by `;`, and commas were expected"),
        (b"id\tmodel\n1\ta\n", "is separated by tabs, and commas were expected"),
        (b"id,id\n1,2\n", "two columns have the name `id`"),
        (b"", "it has no line with the names of its columns"),
        (b"PAR1 and no more", "cannot be read: "),
        (
            b"SQLite format 3\0 and no more",
            "is SQLite, and CSV or JSON or Parquet was expected of the source `calls`",
        ),
        (b"\xff\xfei\0d\0", "is UTF-16"),
        (b"\x28\xb5\x2f\xfd", "is packed with Zstandard"),
        (gzip.compress(b"id,model\n1,a\n", mtime=0)[:-9], "cannot be read: "),
    ],
    ids=repr,  # as bytes they would be names of tests that no report can hold
)
def test_a_file_that_cannot_be_read_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "calls"
    path.write_bytes(content)
    with pytest.raises(LedgerError) as caught:
        check_import("calls", path)
    assert why in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_was_stored_before_a_file_broke_off_stays_and_is_told(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.ledger.importing.run.AT_ONCE", 1)
    path = tmp_path / "calls.json"
    whole = json.dumps(OWN)
    path.write_text(whole[:-1])
    with pytest.raises(LedgerError, match="ends within its array; 2 calls from before were stored"):
        ledger.import_file("calls", path)
    assert [one.complete for one in ledger.imports()] == [False]
    path.write_text(whole)
    assert ledger.import_file("calls", path).new_calls == 0
    assert [(one.complete, one.calls) for one in ledger.imports()] == [(True, 2)]


def test_text_in_files_is_never_sql_and_names_no_file(ledger: Ledger, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    texts = ["'; DROP TABLE imports; --", f"read_csv('{secret}')", '"', "\\", "%s {x} $1 ?", "\u202e\x1b[31m"]
    entries = [{"id": text, "model": text, "tags": {text: text}, "outcomes": {text: text}} for text in texts]
    folder = tmp_path / "team=search"
    folder.mkdir()
    parquet = folder / "it's [1] *.parquet"
    (folder / "it's [1] and another.parquet").write_bytes(
        b"no Parquet: as a pattern, the name would mean it too"
    )
    with duckdb.connect() as client:
        client.execute(
            f"""COPY (SELECT id, model, tags::JSON::VARCHAR AS tags, outcomes::JSON::VARCHAR AS outcomes FROM
                read_json('{as_lines(tmp_path / "calls.jsonl", entries)}', columns = {{id: 'VARCHAR', model: 'VARCHAR',
                tags: 'JSON', outcomes: 'JSON'}})) TO '{str(parquet).replace("'", "''")}' (FORMAT parquet)"""
        )
    assert ledger.import_file("calls", parquet, name="';--").new_calls == len(texts)
    assert sorted(call["model_id"] for call in calls(ledger)) == sorted(texts)
    assert sorted(row["label"] for row in rows(ledger, "SELECT label FROM imported_outcomes")) == sorted(
        texts
    )
    assert ledger.remove_import("';--") == (len(texts), len(texts))


NASTY: list[Any] = [
    *(
        None,
        "",
        " ",
        True,
        False,
        0,
        -1,
        1,
        0.5,
        -0.0,
        2**63,
        -(2**63),
        10**40,
        1e308,
        5e-324,
        "1e5",
        "-0",
        "NaN",
    ),
    *(
        "2026-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999999-14:00",
        "24:00",
        "USD",
        "ok",
    ),
    *(
        "chat",
        "\0",
        "\ud800",
        "\u202e",
        "x" * 5_000,
        "'",
        '"',
        "\\",
        "{",
        [],
        [1],
        [[1]],
        ["a"],
        {},
        {"a": 1},
        {"": 1},
    ),
    *(
        {"a": None},
        {"a": {"b": []}},
        {"\0": "x"},
        {"a": "\ud800"},
        {"a": 1, "A": 2},
        {"a": 10**400},
        {"a": [True, "x"]},
    ),
]


def test_whatever_rows_hold_each_is_stored_or_named_and_the_views_can_be_asked(
    ledger: Ledger, tmp_path: Path
) -> None:
    rng = random.Random(7)
    names = [name for name in (*FIELDS, *OBJECTS) if name not in ("id", "call_id")]
    entries = [
        {"id": str(n), **{name: rng.choice(NASTY) for name in rng.sample(names, rng.randint(1, 2))}}
        for n in range(600)
    ]
    report = ledger.import_file("calls", as_lines(tmp_path / "nasty.jsonl", entries))
    assert report.rows == report.bad + report.empty + report.calls == 600
    assert (report.new_calls, report.changed) == (report.calls, 0)
    assert report.bad > 300 and report.new_calls > 50
    for name in view_names():
        ledger.query(f"SELECT * FROM all_{name}")


def mutated(value: Any, rng: random.Random) -> Any:
    if rng.random() < 0.08:
        return rng.choice(NASTY)
    if isinstance(value, dict):
        return {key: mutated(inner, rng) for key, inner in value.items()}
    return [mutated(inner, rng) for inner in value] if isinstance(value, list) else value


OTLP = {
    "resourceSpans": [
        {"resource": {}, "scopeSpans": [{"spans": [span("a", gen_ai__operation__name="chat")]}]}
    ]
}


@pytest.mark.parametrize(("source", "entry"), [("litellm", SPENT), ("langfuse", GENERATION), ("otel", OTLP)])
def test_whatever_a_log_holds_each_entry_is_read_named_or_passed_over(
    source: str, entry: dict[str, Any], tmp_path: Path
) -> None:
    entries = [mutated(entry, random.Random(seed)) for seed in range(MUTATED_LOGS)]
    report = check_import(source, as_lines(tmp_path / "log.jsonl", entries))
    assert report.rows == report.bad + report.passed_over + report.empty + report.calls
    assert report.bad and report.calls


def test_packed_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl.gz"
    path.write_bytes(gzip.compress(as_lines(tmp_path / "calls.jsonl", OWN).read_bytes()))
    assert check_import("calls", path).calls == 2


def test_long_values_cross_the_pieces_that_an_array_is_read_in(tmp_path: Path) -> None:
    entries = [{"id": str(n), "model": "x", "features": {"text": "y" * 700_000}} for n in range(4)]
    report = check_import("calls", as_array(tmp_path / "calls.json", [*entries, {"id": "5", "cost": 0}]))
    assert (report.rows, report.calls, report.bad) == (5, 5, 0)


# --- mappings ----------------------------------------------------------------------------------------------


def mapped(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    return path


def test_a_mapping_says_which_column_is_what(ledger: Ledger, tmp_path: Path) -> None:
    mapping = mapped(
        tmp_path,
        """\
routewright: 1
name: ours
id: [req, id]
time: {column: at, unit: ms}
session: chat
tags: {team: team}
features: {tokens: {column: n, type: number}}
calls:
  - model: first
    status: {column: first ok, values: {"true": ok, "false": failed}}
    total_ms: {column: first s, unit: s}
    cost: first usd
    currency: {value: USD}
    outcomes: {score: first score}
  - model: second
    outcomes: {score: second score}
""",
    )
    entry = {
        **{
            "req": {"id": "r1"},
            "at": START_US // 1_000,
            "chat": "c",
            "team": "search",
            "n": "12",
            "first": "small",
        },
        **{
            "first ok": True,
            "first s": 1.5,
            "first usd": 0.1,
            "first score": 1,
            "second": "big",
            "second score": "good",
        },
    }
    alone = {"req": json.dumps({"id": "r2"}), "at": None, "first": "small"}
    report = ledger.import_file("table", as_lines(tmp_path / "t.jsonl", [entry, alone]), mapping=mapping)
    shared = {"source_id": "r1", "at_us": START_US, "started_at_us": START_US, "session_id": "c"}
    shared |= {"tags": {"team": "search"}, "features": {"tokens": 12}}
    assert calls(ledger) == [
        {
            **shared,
            **{"number": 1, "model_id": "small", "status": "ok", "total_us": 1_500_000},
            **{"cost_nano": 100_000_000, "currency": "USD", "cost_source": "imported"},
        },
        {**shared, **{"number": 2, "model_id": "big"}},
        {**{"source_id": "r2", "number": 1, "model_id": "small", "currency": "USD"}},
    ]
    assert report.name == "ours"
    [kept] = rows(ledger, "SELECT mapping FROM imports")
    assert kept["mapping"] == mapping.read_text()


def test_a_value_that_a_mapping_does_not_translate_makes_its_row_bad(tmp_path: Path) -> None:
    mapping = mapped(
        tmp_path, 'routewright: 1\ncalls: [{model: m, status: {column: s, values: {"1": ok}}}]\n'
    )
    report = check_import(
        "table", as_csv(tmp_path / "t.csv", [{"m": "a", "s": 1}, {"m": "a", "s": 2}]), mapping=mapping
    )
    [bad] = report.bad_rows
    assert (bad.place, bad.why) == (3, "`s` is `2`, and `values` of the mapping has no such value: 1")


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("routewright: 1\n", ["the file needs the key `calls`"]),
        ("routewright: 1\ncalls: [{modle: m}]\n", ["unknown key `modle`"]),
        (
            'routewright: 1\ncalls: [{model: m, status: {column: s, values: {"1": okay}}}]\n',
            ["`okay` is no `status`: one of ok, failed, partial, skipped, cached, lost was expected"],
        ),
        (
            "routewright: 1\ncalls: [{model: {}}]\n",
            ["one of `column`, `path` and `value` says where a value comes from"],
        ),
        (
            "routewright: 1\ntime: {column: t, zone: Mars}\n"
            "calls: [{model: {value: a, zone: UTC}, cost: {column: c, unit: s}}]\n",
            [
                "`Mars` is no time zone",
                "a `value` that is the same in every row stands alone",
                "a `cost` needs its `currency`",
                "only a time or a duration has a `unit`",
            ],
        ),
    ],
)
def test_all_that_is_wrong_in_a_mapping_is_told(text: str, messages: list[str], tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        check_import("table", tmp_path / "t.csv", mapping=mapped(tmp_path, text))
    assert [problem.message for problem in caught.value.problems] == messages
    assert all(problem.line is not None for problem in caught.value.problems)


def test_a_column_that_the_mapping_names_and_the_file_lacks_is_refused(tmp_path: Path) -> None:
    mapping = mapped(tmp_path, "routewright: 1\ncalls: [{model: modell}]\n")
    with pytest.raises(LedgerError, match="has no column `modell`") as caught:
        check_import("table", as_csv(tmp_path / "t.csv", [{"model": "a"}]), mapping=mapping)
    assert caught.value.help == "its columns: model"


@pytest.mark.parametrize(
    ("source", "mapping", "why"),
    [
        ("table", False, "needs a mapping"),
        ("litellm", True, "takes no mapping"),
        ("nobody", False, "unknown source"),
    ],
)
def test_a_source_and_a_mapping_have_to_fit(source: str, mapping: bool, why: str, tmp_path: Path) -> None:
    given = mapped(tmp_path, "routewright: 1\n") if mapping else None
    with pytest.raises(LedgerError, match=why):
        check_import(source, tmp_path / "t.csv", mapping=given)


# --- data that others published -----------------------------------------------------------------------------

DATA = ROOT.parent / "shared" / "data"
published = pytest.mark.skipif(not DATA.exists(), reason="the published data is not beside this checkout")


def published_import(ledger: Ledger, folder: Path, mapping: str, *files: str) -> list[ImportReport]:
    """Import published files by a mapping that the page shows."""
    [shown] = [block for block in blocks(ROOT / "docs" / "importing.md") if block.file == mapping]
    path = mapped(folder, shown.text)
    return [ledger.import_file("table", DATA / file, mapping=path) for file in files]


def shipped_answer(ledger: Ledger, **given: str) -> list[tuple[Any, ...]]:
    """What the shipped question about imported models says of one import, rounded as the known values are."""
    question = shipped_questions()["imported-models"]
    rows = ledger.query(question.sql, question.values(given, now=now_in("UTC"))).rows
    return [
        (model, calls, judged, round(mean, 4), None if cost is None else round(cost, 6), unknown)
        for _, model, calls, judged, mean, cost, unknown in rows
    ]


@published
def test_what_is_known_of_routerarena_comes_out_to_the_last_digit(ledger: Ledger, tmp_path: Path) -> None:
    files = [f"routerarena/{model}.jsonl" for model in ("claude-3-haiku-20240307", "gemini-2.0-flash-001")]
    reports = published_import(ledger, tmp_path, "routerarena.yaml", *files)
    assert [(one.rows, one.new_decisions, one.new_calls, one.bad) for one in reports] == [
        (809, 809, 809, 0),
        (809, 0, 809, 0),
    ]
    # By the prices of each model in the data's own description, in nano-dollars for a token.
    sql = """SELECT model_id, sum(known_cost_usd), sum(input_tokens * price_in + output_tokens * price_out),
                    sum(unknown_cost_calls)
             FROM all_attempts_flat
             JOIN (VALUES ('claude-3-haiku-20240307', 250, 1250), ('gemini-2.0-flash-001', 100, 400))
                  AS prices(model_id, price_in, price_out) USING (model_id)
             WHERE import = 'routerarena'
             GROUP BY model_id ORDER BY model_id"""
    costs = ledger.query(sql).rows
    assert [
        (model, round(cost, 6), cost * 10**9 - exact, unknown) for model, cost, exact, unknown in costs
    ] == [
        ("claude-3-haiku-20240307", Decimal("0.142377"), 0, 0),
        ("gemini-2.0-flash-001", Decimal("0.038420"), 0, 0),
    ]
    sql = "SELECT round(avg(scores['score']), 4) FROM all_outcomes_flat GROUP BY model_id ORDER BY model_id"
    assert ledger.query(sql).rows == ((0.5234,), (0.6901,))
    sql = """SELECT round(avg(best), 4)
             FROM (SELECT max(scores['score']) AS best FROM all_outcomes_flat GROUP BY decision_id)"""
    assert ledger.query(sql).rows == ((0.7408,),)
    assert shipped_answer(ledger, of="routerarena") == [
        ("gemini-2.0-flash-001", 809, 809, 0.6901, Decimal("0.038420"), 0),
        ("claude-3-haiku-20240307", 809, 809, 0.5234, Decimal("0.142377"), 0),
        ("(the best for each request)", None, 809, 0.7408, None, None),
    ]


@published
def test_what_is_known_of_gsm8k_comes_out_as_the_file_gives_it(ledger: Ledger, tmp_path: Path) -> None:
    [report] = published_import(ledger, tmp_path, "gsm8k.yaml", "routellm/gsm8k_responses.csv")
    assert (report.rows, report.new_decisions, report.new_calls, report.new_outcomes) == (
        1319,
        1319,
        2638,
        2638,
    )
    with open(DATA / "routellm" / "gsm8k_responses.csv", newline="") as file:
        answers = list(csv.DictReader(file))
    models = ["gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"]
    sql = """SELECT model_id, sum(scores['correct']), avg(scores['correct']) FROM all_outcomes_flat
             WHERE import = 'gsm8k' GROUP BY model_id ORDER BY model_id"""
    right = {model: sum(answer[model] == "True" for answer in answers) for model in models}
    assert right == {models[0]: 1130, models[1]: 842}
    assert ledger.query(sql).rows == tuple((model, right[model], right[model] / 1319) for model in models)
    assert shipped_answer(ledger, of="gsm8k", metric="correct") == [
        (models[0], 1319, 1319, 0.8567, None, 1319),
        (models[1], 1319, 1319, 0.6384, None, 1319),
        ("(the best for each request)", None, 1319, 0.9287, None, None),
    ]
    sql = "SELECT count(*), sum(unknown_cost_calls), sum(known_cost_usd) FROM all_attempts_flat"
    assert ledger.query(sql).rows == ((2638, 2638, None),)


def test_the_list_of_sources_is_that_of_the_command() -> None:
    from typing import get_args, get_type_hints

    from routewright.cli.commands import import_
    from routewright.ledger.importing.importer import TABLE

    [literal, _] = get_args(get_type_hints(import_)["source"])
    assert get_args(literal) == (*SOURCES, TABLE)
