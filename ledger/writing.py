"""Encodes rows as entries, and has DuckDB parse entries into the ledger's tables, many at a time.

Measured: ``executemany`` is fifty times slower, and filling the columns of decisions in Python five times slower.
Nothing here opens a file or ends a transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic_core import to_json

from .errors import LedgerError
from .rows import AttemptRow, DecisionRow, PolicyRow

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_BATCH_CHARACTERS: Final = 16 * 1024 * 1024
"""About so much text is handed to DuckDB at once; it takes several times that in memory."""

_DECISION_TYPES: Final[Mapping[str, Any]] = {
    "decision_id": "UUID",
    "mode": "VARCHAR",
    "tags": "MAP(VARCHAR, VARCHAR)",
    "session_id": "VARCHAR",
    "trace_id": "VARCHAR",
    "deciding_ns": "BIGINT",
    "shadow_of": "UUID",
    "answered_attempt": "INTEGER",
}

_POLICY_TYPES: Final[Mapping[str, Any]] = {
    "digest": "VARCHAR",
    "kind": "VARCHAR",
    "name": "VARCHAR",
    "text": "VARCHAR",
    "first_seen_us": "BIGINT",
}

_ATTEMPT_TYPES: Final[Mapping[str, Any]] = {
    "decision_id": "UUID",
    "number": "INTEGER",
    "role": "VARCHAR",
    "model_id": "VARCHAR",
    "backend_id": "VARCHAR",
    "model_said": "VARCHAR",
    "started_at_us": "BIGINT",
    "load_us": "BIGINT",
    "first_token_us": "BIGINT",
    "total_us": "BIGINT",
    "status": "VARCHAR",
    "error_class": "VARCHAR",
    "finish_reason": "VARCHAR",
    "streamed": "BOOLEAN",
    "input_tokens": "BIGINT",
    "cached_input_tokens": "BIGINT",
    "cache_write_tokens": "BIGINT",
    "output_tokens": "BIGINT",
    "reasoning_tokens": "BIGINT",
    "tokens_source": "VARCHAR",
    "cost_nano": "BIGINT",
    "currency": "VARCHAR",
    "cost_source": "VARCHAR",
    "price_since": "VARCHAR",
    "cached_answer": "BOOLEAN",
    "simulated": "BOOLEAN",
    "reason": "VARCHAR",
    "saved_nano": "BIGINT",
}

_ENTRY_TYPES: Final = {"decision": _DECISION_TYPES, "attempts": [_ATTEMPT_TYPES], "policies": [_POLICY_TYPES]}

# What the columns of `decisions` need of a record; its other parts stay in the record.
_RECORD_TYPES: Final[Mapping[str, Any]] = {
    "at_us": "BIGINT",
    "operation": "VARCHAR",
    "outcome": "VARCHAR",
    "engine": "VARCHAR",
    "policy": {"name": "VARCHAR", "digest": "VARCHAR"},
    "catalog": {"digest": "VARCHAR"},
    "rule": "VARCHAR",
    "reason": "VARCHAR",
    "target": "VARCHAR",
    "features": "MAP(VARCHAR, STRUCT(source VARCHAR, value JSON))",
    "ignored": "MAP(VARCHAR, JSON)",
    "rules": [{"name": "VARCHAR", "verdict": "BOOLEAN"}],
    "candidates": [
        {
            "model": "VARCHAR",
            "origin": "VARCHAR",
            "eligible": "BOOLEAN",
            "gate": "VARCHAR",
            "detail": "VARCHAR",
            "probability": "DOUBLE",
            "estimated_cost_nano": "BIGINT",
            "currency": "VARCHAR",
            "estimated_latency_ms": "DOUBLE",
        }
    ],
    "plan": "JSON",
    "state": "JSON",
    "arm": {
        "arm": "VARCHAR",
        "probability": "DOUBLE",
        "control": {"digest": "VARCHAR"},
        "candidate": {"digest": "VARCHAR"},
    },
}

# Strict, since a number that does not fit its column would otherwise silently become NULL. Each entry is parsed alone:
# in one joined array, a text with more than one value would give later entries the records of others.
_TAKE_APART: Final = f"""
CREATE OR REPLACE TEMP TABLE entries AS
SELECT from_json_strict(beside, '{json.dumps(_ENTRY_TYPES)}') AS e, record
FROM (SELECT unnest(?::VARCHAR[]) AS beside, unnest(?::VARCHAR[]) AS record)
"""

_EMPTY: Final = """
SELECT count(*) FROM entries
WHERE record IS NULL
    AND (e.decision IS NOT NULL OR (coalesce(len(e.attempts), 0) = 0 AND coalesce(len(e.policies), 0) = 0))
"""

# VARIANT can be cast from JSON alone; a map of JSON values becomes one object of JSON.
_DECISIONS: Final = f"""
INSERT INTO decisions BY NAME
SELECT
    d.decision_id,
    r.at_us,
    r.operation,
    r.outcome,
    d.mode,
    r.policy.name AS policy_name,
    r.policy.digest AS policy_digest,
    r.catalog.digest AS catalog_digest,
    r.engine AS engine_version,
    r.rule AS matched_rule,
    r.reason,
    r.target,
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
    list_transform(r.candidates, lambda c: {{
        'model': c.model,
        'origin': c.origin,
        'eligible': c.eligible,
        'failed_gate': c.gate,
        'detail': c.detail,
        'probability': c.probability,
        'estimated_cost_nano': c.estimated_cost_nano,
        'currency': c.currency,
        'estimated_latency_ms': c.estimated_latency_ms
    }}) AS candidates,
    r.plan::VARIANT AS plan,
    r.state::VARIANT AS state,
    coalesce(d.tags, MAP {{}}) AS tags,
    d.session_id,
    d.trace_id,
    record,
    'sha256:' || sha256(record) AS record_digest,
    d.deciding_ns,
    r.arm.arm AS arm,
    r.arm.probability AS arm_probability,
    r.arm.control.digest AS control_digest,
    r.arm.candidate.digest AS candidate_digest,
    d.shadow_of,
    d.answered_attempt
FROM (
    SELECT e.decision AS d, record, from_json_strict(record, '{json.dumps(_RECORD_TYPES)}') AS r
    FROM entries
    WHERE record IS NOT NULL
)
"""

_REPEATED: Final = """
WITH given AS (SELECT e.decision.decision_id AS id FROM entries WHERE record IS NOT NULL)
SELECT id::VARCHAR FROM given GROUP BY id HAVING count(*) > 1
UNION ALL
SELECT decision_id::VARCHAR
FROM decisions
WHERE decision_id BETWEEN (SELECT min(id) FROM given) AND (SELECT max(id) FROM given)
  AND decision_id IN (SELECT id FROM given)
"""

_ATTEMPTS: Final = (
    "INSERT INTO attempts BY NAME SELECT unnest(a) FROM (SELECT unnest(e.attempts) AS a FROM entries)"
)

_POLICIES: Final = """
INSERT INTO policies BY NAME
SELECT DISTINCT ON (kind, digest) * FROM (SELECT unnest(p) FROM (SELECT unnest(e.policies) AS p FROM entries))
ANTI JOIN policies USING (kind, digest)
"""


def record_digest(record: str) -> str:
    """``sha256:`` and the SHA-256 of the text in UTF-8."""
    return "sha256:" + hashlib.sha256(record.encode()).hexdigest()


class Entry(NamedTuple):
    """What is stored together: a decision's record, and as JSON what stands beside it, attempts and policies.

    The record stays apart, as quoting it inside of other JSON would cost more than all else. It is None where an
    entry adds to a decision that is in the ledger.
    """

    metadata: str
    record: str | None


def entry_of(
    decision: DecisionRow | None, attempts: Sequence[AttemptRow] = (), policies: Sequence[PolicyRow] = ()
) -> Entry:
    """The rows as one entry. Raises LedgerError for what JSON cannot hold."""
    try:
        metadata = {
            "decision": None if decision is None else _beside(decision),
            "attempts": [row._asdict() for row in attempts],
            "policies": [row._asdict() for row in policies],
        }
        encoded = to_json(metadata).decode()  # in half the time of Python's own encoder
        if "NaN" in encoded or "Infinity" in encoded:
            json.loads(encoded, parse_constant=_refuse)  # it lets numbers through that are none in JSON
        return Entry(encoded, None if decision is None else decision.record)
    except ValueError as error:  # what it raises, and what Unicode raises, are such
        why = str(error).removeprefix("Error serializing to JSON: ")
        raise LedgerError(f"a row holds what the ledger cannot store: {why}; nothing was written") from error


def insert(connection: DuckDBPyConnection, entries: Sequence[Entry]) -> tuple[int, int, int]:
    """Insert ``entries`` in order; return how many policies, decisions and attempts were inserted.

    Policies that the ledger has are skipped. Raises LedgerError for a decision that it has, and for an entry without a
    row. The caller checks that attempts are new.
    """
    written = [0, 0, 0]
    for batch in _batches(entries):
        connection.execute(
            _TAKE_APART, [[entry.metadata for entry in batch], [entry.record for entry in batch]]
        )
        if connection.execute(_EMPTY).fetchone() != (0,):
            raise LedgerError("an entry holds no row, or a decision without its record")
        repeated = connection.execute(_REPEATED).fetchone()
        if repeated is not None:
            raise LedgerError(f"decision `{repeated[0]}` is in the ledger already")
        for position, statement in enumerate((_POLICIES, _DECISIONS, _ATTEMPTS)):
            found = connection.execute(statement).fetchone()
            assert found is not None
            written[position] += int(found[0])
    connection.execute("DROP TABLE IF EXISTS entries")
    return written[0], written[1], written[2]


def select_ids(
    connection: DuckDBPyConnection, columns: str, table: str, ids: Sequence[str]
) -> list[tuple[Any, ...]]:
    """``columns`` of the rows of ``table`` whose decision id is one of ``ids`` (canonical UUIDs)."""
    if not ids:
        return []
    # The bounds skip most of a large table: ids are sorted by time, and so are the rows.
    return connection.execute(
        f"""
        SELECT {columns} FROM {table}
        WHERE decision_id BETWEEN ?::UUID AND ?::UUID
          AND decision_id IN (SELECT unnest(from_json_strict(?, '["UUID"]')))
        """,
        [min(ids), max(ids), json.dumps(list(ids))],
    ).fetchall()


def _refuse(number: str) -> None:
    raise ValueError(f"`{number}` is no number in JSON")


def _beside(row: DecisionRow) -> dict[str, Any]:
    values = row._asdict()
    del values["record"]
    for name, tag in row.tags.items():
        if type(name) is not str or type(tag) is not str:
            raise ValueError(f"the tag `{name!r}: {tag!r}` is no text")
    values["tags"] = dict(row.tags)
    return values


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.metadata) + len(entry.record or "")
        if size > _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


# A row with another field than its columns would lose it in silence.
for _row, _names in (
    (DecisionRow, {"record", *_DECISION_TYPES}),
    (AttemptRow, set(_ATTEMPT_TYPES)),
    (PolicyRow, set(_POLICY_TYPES)),
):
    assert set(_row._fields) == _names, _row.__name__
