"""Appending: all or nothing, once, and read back as it was given."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as example_of
from hypothesis import strategies as st
from support.ledger_rows import (
    START_US,
    arm,
    attempt,
    decision,
    decision_id,
    failed,
    given,
    policy,
    record,
    record_digest,
)
from support.new_ledgers import new_ledger
from support.sizes import EXAMPLES

from routewright.engine.record.digest import digest_of_values
from routewright.ledger import Appended, Ledger, LedgerError


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.duckdb")


def counts(ledger: Ledger) -> tuple[int, int, int]:
    sql = "SELECT (SELECT count(*) FROM policies), (SELECT count(*) FROM decision_records), count(*) FROM attempt_rows"
    [(policies, decisions, attempts)] = ledger.query(sql).rows
    return policies, decisions, attempts


def one(ledger: Ledger, sql: str) -> dict[str, Any]:
    result = ledger.query(sql)
    [row] = result.rows
    return dict(zip(result.columns, row, strict=True))


def test_a_decision_is_read_back_as_it_was_written(ledger: Ledger) -> None:
    taking_part = arm("candidate", "shadow", 0.25)
    row, said = decision(1, arm=taking_part, shadow_of=7), record(1)
    ledger.append([row], [], [policy()])
    read = one(ledger, "SELECT * FROM decision_records")
    assert read.pop("decision_id") == UUID(row.decision_id)
    assert read.pop("record_digest") == record_digest(row)
    costs = [5_000_000, None]
    for candidate, cost in zip(said["candidates"], costs, strict=True):
        candidate["failed_gate"] = candidate.pop("gate")
        candidate["estimated_cost_nano"] = cost
        candidate["currency"] = candidate.pop("price") and "USD"
        for name in ("marks", "expected_latency_ms", "memory_bytes", "size_bytes"):
            del candidate[name]
    assert read.pop("candidates") == said["candidates"]
    assert list(read["verdicts"]) == ["mixture_of_experts", "by_team", "otherwise"], "in the policy's order"
    assert read == {
        "at_us": said["at_us"],
        "operation": "chat",
        "outcome": "routed",
        "mode": "exploit",
        "policy_name": "hybrid",
        "policy_digest": "sha256:hybrid",
        "catalog_digest": "sha256:catalog",
        "engine_version": "0.1.0",
        "matched_rule": "otherwise",
        "reason": said["reason"],
        "target": "kimi",
        "features": {"requires_moe": False, "context_length": 1_000, "task_type": "chat"},
        "feature_sources": {name: feature["source"] for name, feature in said["features"].items()},
        "verdicts": {"mixture_of_experts": False, "by_team": None, "otherwise": True},
        "plan": said["plan"],
        "quota_used": {},
        "team": "search",
        "user": None,
        "simulated": None,
        "tags": {"team": "search"},
        "session_id": None,
        "trace_id": "trace-1",
        "deciding_ns": 48_000,
        "arm": "candidate",
        "arm_probability": 0.25,
        "control_digest": "sha256:hybrid",
        "candidate_digest": "sha256:next",
        "shadow_of": UUID(decision_id(7)),
        "answered_attempt": 1,
    }
    assert one(ledger, "SELECT * FROM policies") == {
        name: getattr(policy(), name) for name in policy()._fields
    }


def test_ignored_features_are_kept_and_said_to_be(ledger: Ledger) -> None:
    ledger.append([decision(1, features=given(a=1), ignored={"b": ["x"]})])
    assert one(ledger, "SELECT features, feature_sources FROM decision_records") == {
        "features": {"a": 1, "b": ["x"]},
        "feature_sources": {"a": "given", "b": "ignored"},
    }


def test_an_attempt_is_read_back_as_it_was_written(ledger: Ledger) -> None:
    row = attempt(1, cache_write_tokens=5, streamed=True)
    ledger.append([decision(1)], [row])
    read = one(ledger, "SELECT * FROM attempt_rows")
    assert read.pop("decision_id") == UUID(row.decision_id)
    assert read == {name: getattr(row.attempt, name) for name in read}


def test_the_digest_is_that_of_the_record(ledger: Ledger) -> None:
    row = decision(1, reason='é "quoted" \\ \n', features=given(a='é "quoted" \\ \n'))
    ledger.append([row])
    assert one(ledger, "SELECT record_digest FROM decision_records")["record_digest"] == record_digest(row)
    values = json.loads(ledger.find(row.decision_id).text)
    assert digest_of_values(values) == record_digest(row)


def test_features_keep_their_types(ledger: Ledger) -> None:
    features = {
        "flag": True,
        "whole": 2**53 - 1,
        "number": 1.5,
        "text": "true",
        "list": ["a", "b"],
        "empty": [],
        "A b.c'\"": "é\n",
    }
    ledger.append([decision(1, features=given(**features))])
    assert one(ledger, "SELECT features FROM decision_records")["features"] == features
    types = one(
        ledger,
        """SELECT variant_typeof(features.flag) AS flag, variant_typeof(features.whole) AS whole,
                  variant_typeof(features.number) AS number, variant_typeof(features.text) AS text,
                  features.nothing IS NULL AS missing FROM decision_records""",
    )
    assert types["flag"].startswith("BOOL")
    assert "INT" in types["whole"]
    assert types["number"] == "DOUBLE"
    assert types["text"] == "VARCHAR", "a text that looks like a boolean stays a text"
    assert types["missing"]


def test_a_default_beyond_exact_integers_is_kept(ledger: Ledger) -> None:
    ledger.append([decision(1, features={"size": {"value": 1e17, "source": "default"}})])
    assert one(ledger, "SELECT features.size::DOUBLE AS size FROM decision_records") == {"size": 1e17}
    assert json.loads(ledger.find(decision_id(1)).text)["features"]["size"]["value"] == 10**17


def test_no_features_are_no_features(ledger: Ledger) -> None:
    ledger.append([decision(1, features={}, rules=[], candidates=[], plan=None)._replace(tags={})])
    read = one(
        ledger, "SELECT features, feature_sources, verdicts, candidates, tags, plan FROM decision_records"
    )
    assert read == {
        "features": {},
        "feature_sources": {},
        "verdicts": {},
        "candidates": [],
        "tags": {},
        "plan": None,
    }


def test_an_unknown_cost_is_null_and_a_known_zero_is_zero(ledger: Ledger) -> None:
    ledger.append([decision(1)], [failed(1, 1), attempt(1, 2, cost_nano=0)])
    assert ledger.query("SELECT cost_nano FROM attempt_rows ORDER BY number").rows == ((None,), (0,))
    assert ledger.query("SELECT known_cost_usd FROM attempts_flat ORDER BY number").rows == (
        (None,),
        (Decimal(0),),
    )


def test_the_largest_amounts_do_not_overflow(ledger: Ledger) -> None:
    largest = 2**63 - 1
    ledger.append([decision(1), decision(2)], [attempt(n, cost_nano=largest) for n in (1, 2)])
    assert (
        one(ledger, "SELECT known_cost_usd AS cost FROM cost_daily")["cost"] == Decimal(2 * largest) / 10**9
    )


def test_appending_again_changes_nothing_and_is_counted(ledger: Ledger) -> None:
    rows = [decision(n) for n in range(5)], [attempt(n) for n in range(5)], [policy()]
    assert ledger.append(*rows) == Appended(1, 5, 5, 0)
    assert ledger.append(*rows) == Appended(0, 0, 0, 11)
    assert ledger.append([decision(4), decision(5)], [attempt(5)]) == Appended(0, 1, 1, 1)
    assert ledger.append([decision(9), decision(9)]) == Appended(0, 1, 0, 1)
    assert counts(ledger) == (1, 7, 6)


def test_an_id_is_spelt_in_one_way(ledger: Ledger) -> None:
    """Else a record made again from its row would have other bytes."""
    with pytest.raises(LedgerError, match="is not written as a UUID is") as caught:
        ledger.append([decision(1, id=decision_id(1).upper())])
    assert caught.value.help is not None and f"write `{decision_id(1)}`" in caught.value.help
    ledger.append([decision(1)])
    assert ledger.append([], [attempt(1, decision_id=decision_id(1).upper())]).attempts == 1


def test_attempts_may_come_after_their_decision(ledger: Ledger) -> None:
    ledger.append([decision(1)])
    assert ledger.append([], [attempt(1, 1), attempt(1, 2)]) == Appended(0, 0, 2, 0)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda ledger: ledger.append([decision(2), decision(1, reason="another")]),
            f"decision `{decision_id(1)}` is in the ledger with another record; nothing was written",
        ),
        (
            lambda ledger: ledger.append([decision(2), decision(2, reason="another")]),
            f"decision `{decision_id(2)}` is in the ledger with another record; nothing was written",
        ),
        (
            lambda ledger: ledger.append([decision(2)], [attempt(3)]),
            f"attempt 1 of `{decision_id(3)}` has no decision; nothing was written",
        ),
        (
            lambda ledger: ledger.append([decision(2, id="seven")]),
            "`seven` is not a decision id: a UUID was expected; nothing was written",
        ),
        (
            lambda ledger: ledger.append([decision(2)], [attempt(2, total_us=math.nan)]),
            "a row holds what the ledger cannot store: `NaN` is no number in JSON; nothing was written",
        ),
        (
            lambda ledger: ledger.append([decision(2)._replace(tags={"x": cast("str", b"y")})]),
            "a row holds what the ledger cannot store: the tag `'x': b'y'` is not text; nothing was written",
        ),
    ],
)
def test_a_refused_append_writes_nothing(
    ledger: Ledger, write: Callable[[Ledger], Appended], message: str
) -> None:
    ledger.append([decision(1)], [attempt(1)], [policy()])
    with pytest.raises(LedgerError) as caught:
        write(ledger)
    assert str(caught.value) == message
    assert counts(ledger) == (1, 1, 1)


def test_what_duckdb_refuses_is_our_error_and_writes_nothing(ledger: Ledger) -> None:
    with pytest.raises(LedgerError):
        ledger.append([decision(1), decision(2)._replace(deciding_ns=2**70)])
    assert counts(ledger) == (0, 0, 0)


def test_many_batches_are_one_transaction_in_order(ledger: Ledger) -> None:
    rows = [decision(n) for n in range(4_500)]
    ledger.append(rows)
    assert counts(ledger)[1] == 4_500
    first = ledger.query("SELECT at_us FROM decision_records", max_rows=3).rows
    assert first == ((START_US,), (START_US + 1_000_000,), (START_US + 2_000_000,))


SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**53 - 1), 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
)


FEATURES = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True), SCALARS | st.lists(SCALARS, max_size=3)
)
TOGETHER = 6
"""An append takes far longer than a row in it."""


@settings(max_examples=EXAMPLES // TOGETHER, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example_of(many=st.lists(FEATURES, min_size=TOGETHER, max_size=TOGETHER))
def test_any_features_come_back_equal(ledger: Ledger, many: list[dict[str, Any]]) -> None:
    [[before]] = ledger.query("SELECT count(*) FROM decision_records").rows
    rows = [decision(number, features=given(**features)) for number, features in enumerate(many, before)]
    ledger.append(rows)
    sql = "SELECT decision_id::VARCHAR, features FROM decision_records"
    stored = dict(ledger.query(sql).rows)
    for row, features in zip(rows, many, strict=True):
        read = stored[row.decision_id]
        said = {
            name: feature["value"]
            for name, feature in json.loads(ledger.find(row.decision_id).text)["features"].items()
        }
        assert as_doubles(read) == as_doubles(said), "what the record says"
        assert all((type(read[name]) is bool) is (type(value) is bool) for name, value in said.items())
        assert said.keys() == features.keys()


def as_doubles(value: Any) -> Any:
    """JSON has one kind of number; those beyond 64 bits come back as the double that is nearest."""
    match value:
        case dict():
            return {name: as_doubles(item) for name, item in value.items()}
        case list():
            return [as_doubles(item) for item in value]
        case int() if type(value) is int:
            return float(value)
    return value
