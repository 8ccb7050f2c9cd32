"""Entries and records of version 1, as earlier versions wrote them: read, and inserted with the record's text.

Nothing writes them any more, and the statement below does not change.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from .entries import Entry
from .errors import LedgerError

BEGINNING: Final = b'{"decision":'
"""How every entry began."""


def decode(metadata: str, record: str | None) -> Entry:
    """What an entry says. Raises LedgerError for a text that is none."""
    try:
        values = json.loads(metadata)
        decision = values["decision"]
        if (decision is None) is not (record is None):
            raise ValueError("a decision without its record")
        end = values.get("ended")
        return Entry(
            {},
            None,
            None if decision is None else {**decision, "id": decision["decision_id"], "record": record},
            [_call(one) for one in values["attempts"]],
            [_call(one) for one in values.get("intents", ())],
            None if end is None else (end["decision_id"], end["answered_attempt"]),
            values["policies"],
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LedgerError(f"an entry cannot be read: {error}") from error


def record_digest(record: str) -> str:
    """The SHA-256 of a record's text in UTF-8, in hexadecimal."""
    return hashlib.sha256(record.encode()).hexdigest()


def _call(values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return str(values["decision_id"]), values


BESIDE_TYPES: Final = {
    "decision_id": "UUID",
    "mode": "VARCHAR",
    "tags": "MAP(VARCHAR, VARCHAR)",
    "session_id": "VARCHAR",
    "trace_id": "VARCHAR",
    "deciding_ns": "BIGINT",
    "shadow_of": "UUID",
    "answered_attempt": "INTEGER",
}

_RECORD_TYPES: Final = json.dumps(
    {
        "at_us": "BIGINT",
        "engine": "VARCHAR",
        "policy": {"name": "VARCHAR", "digest": "VARCHAR"},
        "catalog": {"digest": "VARCHAR"},
        "arm": {
            "arm": "VARCHAR",
            "probability": "DOUBLE",
            "control": {"digest": "VARCHAR"},
            "candidate": {"digest": "VARCHAR"},
        },
        "operation": "VARCHAR",
        "features": "MAP(VARCHAR, STRUCT(value JSON, source VARCHAR))",
        "ignored": "MAP(VARCHAR, JSON)",
        "rules": "STRUCT(name VARCHAR, verdict BOOLEAN)[]",
        "rule": "VARCHAR",
        "reason": "VARCHAR",
        "outcome": "VARCHAR",
        "target": "VARCHAR",
        "candidates": "STRUCT(model VARCHAR, origin VARCHAR, eligible BOOLEAN, gate VARCHAR, detail VARCHAR, "
        "probability DOUBLE, estimated_cost_nano BIGINT, currency VARCHAR, estimated_latency_ms DOUBLE)[]",
        "plan": "JSON",
        "state": "JSON",
    }
)

_GIVEN: Final = "SELECT unnest(?::VARCHAR[]) AS beside, unnest(?::VARCHAR[]) AS record"

INSERT: Final = f"""
INSERT INTO decisions_1 BY NAME
SELECT
    map_from_entries(list_concat(
        list_transform(
            list_filter(map_entries(r.features), lambda f: f.value.source <> 'unknown'),
            lambda f: {{'key': f.key, 'value': f.value.value}}
        ),
        map_entries(r.ignored)
    ))::JSON::VARIANT AS features,
    map_from_entries(list_concat(
        list_transform(map_entries(r.features), lambda f: {{'key': f.key, 'value': f.value.source}}),
        list_transform(map_keys(r.ignored), lambda name: {{'key': name, 'value': 'ignored'}})
    )) AS feature_sources,
    map_from_entries(
        list_transform(r.rules, lambda rule: {{'key': rule.name, 'value': rule.verdict}})
    ) AS verdicts,
    record,
    'sha256:' || sha256(record) AS record_digest,
    d.decision_id,
    d.mode,
    coalesce(d.tags, MAP {{}}) AS tags,
    d.session_id,
    d.trace_id,
    d.deciding_ns,
    d.shadow_of,
    d.answered_attempt,
    r.at_us,
    r.engine AS engine_version,
    r.policy.name AS policy_name,
    r.policy.digest AS policy_digest,
    r.catalog.digest AS catalog_digest,
    r.arm.arm AS arm,
    r.arm.probability AS arm_probability,
    r.arm.control.digest AS control_digest,
    r.arm.candidate.digest AS candidate_digest,
    r.operation,
    r.rule AS matched_rule,
    r.reason,
    r.outcome,
    r.target,
    list_transform(r.candidates, lambda one: {{
        'model': one.model, 'origin': one.origin, 'eligible': one.eligible, 'failed_gate': one.gate,
        'detail': one.detail, 'probability': one.probability, 'estimated_cost_nano': one.estimated_cost_nano,
        'currency': one.currency, 'estimated_latency_ms': one.estimated_latency_ms
    }}) AS candidates,
    r.plan::VARIANT AS plan,
    r.state::VARIANT AS state
FROM (
    SELECT
        record,
        from_json_strict(beside, '{json.dumps(BESIDE_TYPES)}') AS d,
        from_json_strict(record, '{_RECORD_TYPES}') AS r
    FROM ({_GIVEN})
)
"""
"""Inserts decisions of version 1, given what stands beside each record and the records' texts."""

_OF_RECORD: Final = (
    "at_us operation outcome policy_name policy_digest catalog_digest engine_version matched_rule reason target "
    "features feature_sources verdicts candidates plan state arm arm_probability control_digest candidate_digest"
).split()

_RECORDED: Final = f"""
SELECT json_object({", ".join(f"'{name}', {name}" for name in BESIDE_TYPES)})::VARCHAR AS beside, record
FROM decisions_1
WHERE (record_digest = 'sha256:' || sha256(record)) AND json_valid(record)
"""

_MADE: Final = INSERT.removeprefix("\nINSERT INTO decisions_1 BY NAME").replace(_GIVEN, _RECORDED)

UNLIKE_RECORD: Final = f"""
SELECT decision_id
FROM decisions_1 AS row
JOIN ({_MADE}) AS made USING (decision_id)
WHERE {" OR ".join(f"(row.{name}::VARCHAR IS DISTINCT FROM made.{name}::VARCHAR)" for name in _OF_RECORD)}
"""
"""The ids of decisions of version 1 of which a column is not what the record says."""
