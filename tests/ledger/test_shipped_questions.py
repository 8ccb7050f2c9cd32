"""Every shipped question, on a small ledger whose answers were worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.ledger_rows import DAY_US, START_US, attempt, begun, decision, decision_id, failed, given, policy
from support.new_ledgers import new_ledger

from routewright.ledger import (
    LedgerEntry,
    Outcome,
    PolicyRow,
    QueryResult,
    ToErase,
    now_in,
    shipped_questions,
)
from routewright.ledger.asking import ask
from routewright.ledger.connection import open_for_reading
from routewright.ledger.limits import Limits

Answer = Callable[..., QueryResult]

OLD = """\
routewright: 1
name: hybrid
catalog: catalog.yaml
features:
  private: { type: boolean }
  customer: { type: string }
controls:
  - { name: of_customer, max_requests: 10, per: day, for_each: customer }
  - { name: kimi_daily, on: kimi, max_requests: 10, per: day }
  - { name: coder_daily, on: coder, max_requests: 10, per: day }
rules:
  - { name: mixture_of_experts, when: private, use: [kimi] }
  - { name: otherwise, use: [kimi] }
"""
POLICIES = [
    PolicyRow("sha256:hybrid", "policy", "hybrid", OLD, START_US),
    PolicyRow(
        "sha256:newer567", "policy", "hybrid", OLD.replace("use: [kimi] }\n", "use: [coder] }\n"), START_US
    ),
]
NEWER: dict[str, Any] = {
    "policy": {"name": "hybrid", "digest": "sha256:newer567"},
    "at_us": START_US + DAY_US,
}
PRIVATE = given(private=True)
STATE = {"models": {}, "quota_used": {"kimi_daily": 9, "coder_daily": 2, "of_customer": 8}}
LATER = {"models": {}, "quota_used": {"of_customer": 1}}
LOCAL: dict[str, Any] = {"backend_id": "mlx", "location": "local", "host": None}
CLOUD: dict[str, Any] = {"location": "cloud", "host": "ollama.com"}
UNKNOWN: dict[str, Any] = dict.fromkeys(("cost_nano", "currency", "cost_source"))
DAY_1, DAY_2 = date(2026, 1, 1), date(2026, 1, 2)


IMPORTED = [
    {"id": "a", "model": "big", "cost": 0.5, "currency": "USD", "outcomes": {"score": 1}},
    {"id": "a", "model": "small", "outcomes": {"score": 0.25}},
    {"id": "b", "model": "big", "cost": 0.25, "currency": "USD", "outcomes": {"score": 0}},
    {"id": "b", "model": "small", "outcomes": {"score": 0.25, "right": False}},
    {"id": "c", "model": "tiny"},
]


def at(second: int, day: int = 0) -> datetime:
    return datetime(2026, 1, 1 + day, 0, 0, second, tzinfo=UTC)


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answer]:
    """Two days: an answer, a private one that fell back, one unanswered; under a newer policy an answer after loading,
    a dead end, and beside them a simulated run, a shadow and a call that has not ended."""
    ledger = new_ledger(tmp_path_factory.mktemp("questions") / "ledger.duckdb")
    real: dict[str, Any] = {"simulated": False, **CLOUD}
    late: dict[str, Any] = {"simulated": False, "started_at_us": START_US + DAY_US + 1}
    ledger.append(
        [
            decision(0, features=PRIVATE | given(team=None, customer="a"), state=STATE),
            decision(1, features=PRIVATE | given(customer="b"), answered=2, state=LATER),
            decision(2, features=given(private=False), answered=None)._replace(tags={}),
            decision(3, features=given(private=False), target="coder", **NEWER),
            decision(
                4, features=given(private=None), outcome="no_target", target=None, answered=None, **NEWER
            ),
            decision(5),
            decision(6, mode="shadow", shadow_of=3, answered=None),
        ],
        [
            attempt(0, **real),
            failed(1, 1, **real, currency="USD"),
            attempt(1, 2, **(real | LOCAL), **UNKNOWN, total_us=3_000_000),
            failed(2, 1, **real, currency="USD"),
            failed(
                2, 2, **real, currency="USD", error_class="not_found", cost_nano=500, cost_source="billed"
            ),
            attempt(
                3,
                **(late | LOCAL),
                model_id="coder",
                load_us=2_000_000,
                first_token_us=2_100_000,
                total_us=5_000_000,
                cost_nano=1_000_000,
                currency="EUR",
            ),
            attempt(5, simulated=True),
        ],
        POLICIES,
    )
    ledger.record_outcomes(
        [
            Outcome(decision_id(number), metric, value)
            for number, metric, value in (
                (0, "score", 1),
                (1, "score", 0.25),
                (1, "right", True),
                (3, "score", 0.5),
            )
        ]
    )
    path = ledger.path.with_name("results.jsonl")
    path.write_text("".join(f"{json.dumps(one)}\n" for one in IMPORTED))
    ledger.import_file("calls", path, name="results")
    writer = ledger.writer()
    try:
        # The first of its calls has ended.
        assert writer.add_all([[begun(7, 1, 2)], [LedgerEntry(None, [failed(7)])]]) == [None, None]
        ledger.ingest()
        with open_for_reading(ledger.path, lock_timeout_s=10) as connection:

            def answer(name: str, **given: str) -> QueryResult:
                question = shipped_questions()[name]
                taken = {"since": "2026-01-01"} if "since" in question.shape.parameters else {}
                values = question.values(taken | given, now=now_in("UTC"))
                return ask(connection, question.sql, values, Limits())

            yield answer
    finally:
        writer.close()


EXPECTED: dict[tuple[str, ...], list[tuple[Any, ...]]] = {
    ("routing",): [
        ("hybrid", "mixture_of_experts", "kimi", 2, 1),
        ("hybrid", "mixture_of_experts", "(no_target)", 1, 0),
        ("hybrid", "otherwise", "coder", 1, 1),
        ("hybrid", "otherwise", "kimi", 1, 1),
    ],
    ("latency", "by=model"): [
        ("coder", 2, 3000.0, 3000.0, 3000.0, 2, 100.0),
        ("kimi", 1, 1000.0, 1000.0, 1000.0, 1, 100.0),
    ],
    ("latency", "by=day"): [
        ("2026-01-01", 2, 2000.0, 2900.0, 2980.0, 2, 100.0),
        ("2026-01-02", 1, 3000.0, 3000.0, 3000.0, 1, 100.0),
    ],
    ("success", "by=model"): [("kimi", 3, 1, 0, 2, 0, 1 / 3), ("coder", 3, 2, 0, 1, 0, 2 / 3)],
    ("success", "by=team"): [("(no team)", 2, 0, 0, 2, 0, 0.0), ("search", 4, 3, 0, 1, 0, 0.75)],
    ("fallbacks", "by=rule"): [("mixture_of_experts", 2, 1, 1, 0.5), ("otherwise", 2, 1, 0, 0.5)],
    ("fallbacks", "by=day"): [("2026-01-01", 3, 2, 1, 2 / 3), ("2026-01-02", 1, 0, 0, 0.0)],
    ("cost", "by=team"): [
        ("search", 4, 1, Decimal("0.000725"), Decimal("0.001"), 2, 0),
        ("(no team)", 2, 2, Decimal("0.0000005"), None, 1, 0),
    ],
    ("cost", "by=model"): [
        ("kimi", 3, 2, Decimal("0.000725"), None, 2, 0),
        ("coder", 3, 1, Decimal("0.0000005"), Decimal("0.001"), 1, 0),
    ],
    ("outcomes", "by=model"): [
        ("coder", "right", 1, 1.0, 1.0, 1.0),
        ("kimi", "score", 1, 1.0, 1.0, 1.0),
        ("coder", "score", 2, 0.375, 0.25, 0.5),
    ],
    ("imported-models",): [
        ("results", "big", 2, 2, 0.5, Decimal("0.75"), None, 0),
        ("results", "small", 2, 2, 0.25, None, None, 2),
        ("results", "tiny", 1, 0, None, None, None, 1),
        ("results", "(the best for each request)", None, 2, 0.625, None, None, None),
    ],
    ("imported-models", "of=results", "metric=right"): [
        ("results", "small", 2, 1, 0.0, None, None, 2),
        ("results", "big", 2, 0, None, Decimal("0.75"), None, 0),
        ("results", "tiny", 1, 0, None, None, None, 1),
        ("results", "(the best for each request)", None, 1, 0.0, None, None, None),
    ],
    ("imported-models", "of=other"): [],
    ("slow", "most=2"): [
        (at(0, 1), "otherwise", "coder", 1, "search", 5000.0, 2000.0, decision_id(3)),
        (at(1), "otherwise", "coder", 2, "search", 3000.001, None, decision_id(1)),
    ],
    ("fell-back",): [
        ("mixture_of_experts", "kimi", "overloaded", "(nobody)", 1, decision_id(2)),
        ("otherwise", "kimi", "overloaded", "coder", 1, decision_id(1)),
    ],
    ("errors",): [
        ("overloaded", "kimi", "ollama_cloud", "ollama.com", 2, at(2), decision_id(2)),
        ("not_found", "coder", "ollama_cloud", "ollama.com", 1, at(2), decision_id(2)),
    ],
    ("private",): [
        ("private", "cloud", "kimi", "ollama_cloud", "ollama.com", 2, 2, at(1)),
        ("private", "local", "coder", "mlx", None, 1, 1, at(1)),
    ],
    ("policy-change", "before=2026-01-02"): [
        ("hybrid", "mixture_of_experts", "kimi", 2 / 3, 0.0, -2 / 3, 3, 2, "hybrid", "newer567"),
        ("hybrid", "mixture_of_experts", "(no_target)", 0.0, 0.5, 0.5, 3, 2, "hybrid", "newer567"),
        ("hybrid", "otherwise", "coder", 0.0, 0.5, 0.5, 3, 2, "hybrid", "newer567"),
        ("hybrid", "otherwise", "kimi", 1 / 3, 0.0, -1 / 3, 3, 2, "hybrid", "newer567"),
    ],
    ("policy-change", "before=2026-01-01"): [],
    ("unused-rules",): [("hybrid", "by_team", 2, 0, 2)],
    ("unknown-features",): [("hybrid", "team", 1, 0, 1, 1.0), ("hybrid", "private", 5, 0, 1, 0.2)],
    ("quotas", "from=0.5"): [
        ("hybrid", "kimi_daily", "day", None, "requests", 9, 10, 0.9, at(0)),
        ("hybrid", "of_customer", "day", "a", "requests", 8, 10, 0.8, at(0)),
    ],
    ("quotas", "from=0.95"): [],
}
"""By question and parameters: its rows. Times are cut to whole seconds."""


def plain(value: Any) -> Any:
    return value.replace(microsecond=0) if isinstance(value, datetime) else value


@pytest.mark.parametrize("asked", EXPECTED, ids=" ".join)
def test_a_shipped_question_gives_what_was_worked_out(answer: Answer, asked: tuple[str, ...]) -> None:
    name, *parameters = asked
    result = answer(name, **dict(one.split("=") for one in parameters))
    rows = [tuple(map(plain, row)) for row in result.rows]
    assert rows == [
        tuple(pytest.approx(one, rel=1e-9) if isinstance(one, float) else one for one in row)
        for row in EXPECTED[asked]
    ]


def test_what_failed_for_nothing_costs_0_and_what_nobody_knows_is_no_sum(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    ledger.append(
        [
            decision(one)._replace(tags={"team": team})
            for one, team in enumerate(("failed", "unknown", "both"))
        ],
        [
            failed(0, cost_nano=0, currency="USD"),
            attempt(1, **UNKNOWN),
            failed(2, cost_nano=0, currency="USD"),
            attempt(2, 2, **UNKNOWN),
        ],
        [policy()],
    )
    question = shipped_questions()["cost"]
    found = ledger.query(question.sql, question.values({"since": "2026-01-01"}, now=now_in("UTC")))
    assert sorted(found.rows) == [
        ("both", 2, 1, None, 1, 0),
        ("failed", 1, 1, 0, 0, 0),
        ("unknown", 1, 0, None, 1, 0),
    ]


def test_days_without_work_are_counted_too(answer: Answer) -> None:
    rows = answer("daily").rows
    assert rows[:3] == ((DAY_1, 3, 2, 2, 0), (DAY_2, 2, 1, 0, 1), (date(2026, 1, 3), 0, 0, 0, 0))
    assert len(rows) > 300 and not any(any(row[1:]) for row in rows[2:])


def test_a_day_is_counted_from_its_beginning(answer: Answer) -> None:
    late = {"since": "2026-01-01T12:00"}
    assert answer("daily", **late).rows[:2] == answer("daily").rows[:2]
    assert answer("daily", **late, first_day="part").rows[0][:2] == (DAY_2, 2)
    for name in ("latency", "success", "fallbacks", "cost", "outcomes"):
        assert answer(name, by="day", **late).rows == answer(name, by="day").rows
        assert answer(name, by="team", **late).rows != answer(name, by="team").rows


def test_calls_that_have_not_ended_are_seen(answer: Answer) -> None:
    [[since, model, backend, _, role, for_ms, decision]] = answer("in-flight").rows
    assert (plain(since), model, backend, role, decision) == (
        at(7),
        "coder",
        "ollama_cloud",
        "fallback",
        decision_id(7),
    )
    assert for_ms > 1e9


def test_every_shipped_question_is_tried_with_each_grouping(answer: Answer) -> None:
    tried = {name for name, *_ in EXPECTED} | {"daily", "in-flight"}
    assert tried == shipped_questions().keys()
    for name, question in shipped_questions().items():
        by = question.shape.parameters.get("by")
        for one in [] if by is None else by.one_of or []:
            result = answer(name, by=one)
            assert result.rows and result.columns[0] == "by"
        if question.shape.chart is not None:
            columns = answer(name).columns
            assert set(question.shape.chart.labels) <= set(columns) and question.shape.chart.columns(columns)
            assert all(any(c.startswith(u.rstrip("*")) for c in columns) for u in question.shape.units), name


def test_private_work_is_what_constraints_keep_local_whatever_its_name_and_what_was_erased(
    tmp_path: Path,
) -> None:
    declared = """\
catalog: { routewright: 1, backends: { ollama: { kind: ollama } }, models: { kimi: { backend: ollama } } }
features:
  personal_data: { type: boolean }
  releasable: { type: boolean }
  secret: { type: boolean }
  off: { type: boolean }
  priva_note: { type: string }
constraints:
  - { name: stays, when: personal_data && !releasable, require: model.location == 'local' }
  - { name: secrets, require: "secret == false || model.location == 'local'" }
  - { name: never, disabled: true, when: off, require: model.location == 'local' }
rules:
  - { name: otherwise, use: [kimi] }
"""
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    features = [
        given(personal_data=True),
        given(releasable=True),
        given(secret=True),
        given(off=True),
        given(personal_data=False, priva_note="x"),
    ]
    ledger.append(
        [decision(at, features=one) for at, one in enumerate(features)],
        [attempt(at, simulated=False, **CLOUD) for at in range(len(features))],
        [policy(declared=declared)],
    )
    question = shipped_questions()["private"]
    values = question.values({"since": "2026-01-01"}, now=now_in("UTC"))

    def counted() -> list[tuple[Any, ...]]:
        return sorted((row[0], row[5]) for row in ledger.query(question.sql, values).rows)

    assert counted() == [("personal_data", 1), ("secret", 1)]
    ledger.erase(ToErase(("personal_data", "priva_note")))
    assert counted() == [("personal_data (erased)", 2), ("secret", 1)]
