"""The views on a small ledger whose answers are known, and the page that describes them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ledger_layout import describe_layout, with_layout
from support.ledger_rows import (
    DAY_US,
    NEXT,
    START_US,
    arm,
    attempt,
    begun,
    candidate,
    decision,
    decision_id,
    ended,
    failed,
    intent,
    policy,
)
from support.new_ledgers import new_ledger

from routewright.gateway.costs import Cost, total_cost
from routewright.ledger import Ledger, LedgerEntry, LedgerError

PAGE = Path(__file__).parents[2] / "docs" / "ledger.md"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Four executed decisions on two days, one that fell back, one unanswered, one dry run, one dead end."""
    ledger = new_ledger(tmp_path_factory.mktemp("views") / "ledger.duckdb")
    later = START_US + DAY_US
    ledger.append(
        [
            decision(0),
            decision(1, answered=2),
            decision(2, answered=None),
            decision(3, at_us=later),
            decision(4, at_us=later, mode="dry_run", answered=None),
            decision(5, at_us=later, outcome="no_target", target=None, answered=None),
        ],
        [
            attempt(0, load_us=4_000_000, first_token_us=4_100_000, total_us=5_000_000),
            failed(1, 1),
            attempt(1, 2, cost_nano=None, currency=None, cost_source=None),
            failed(2, 1, currency=None),
            failed(2, 2, currency=None),
            attempt(3, total_us=2_000_000, started_at_us=START_US + DAY_US),
        ],
        [policy()],
    )
    return ledger


def view(ledger: Ledger, sql: str) -> list[dict[str, Any]]:
    result = ledger.query(sql)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def test_decisions_flat_says_what_came_of_each_decision(ledger: Ledger) -> None:
    columns = """decided_at, target, answered_by, status, calls, latency_ms, failed_after_ms, known_cost_usd,
                 unknown_cost_calls, fell_back"""
    rows = ledger.query(f"SELECT {columns} FROM all_decisions_flat ORDER BY decision_id").rows
    start, day = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    cost = Decimal("0.000725")
    assert rows == (
        (start, "kimi", "kimi", "ok", 1, 5_000.0, None, cost, 0, False),
        (start.replace(second=1), "kimi", "coder", "ok", 2, 1_000.001, None, None, 2, True),
        (start.replace(second=2), "kimi", None, "failed", 2, None, 1_000.001, None, 2, True),
        (day, "kimi", "kimi", "ok", 1, 2_000.0, None, cost, 0, False),
        (day, "kimi", None, None, 0, None, None, None, 0, False),
        (day, None, None, None, 0, None, None, None, 0, False),
    )
    assert ledger.query(f"SELECT {columns} FROM decisions_flat ORDER BY decision_id").rows == (
        *rows[:4],
        rows[5],
    )


def test_routing_daily_leaves_dry_runs_out(ledger: Ledger) -> None:
    rows = ledger.query(
        """SELECT day, mode, outcome, matched_rule, decisions, executed FROM routing_daily
           ORDER BY day, mode, outcome, matched_rule"""
    ).rows
    assert rows == (
        (date(2026, 1, 1), "exploit", "routed", "mixture_of_experts", 2, 2),
        (date(2026, 1, 1), "exploit", "routed", "otherwise", 1, 1),
        (date(2026, 1, 2), "exploit", "no_target", "otherwise", 1, 0),
        (date(2026, 1, 2), "exploit", "routed", "otherwise", 1, 1),
    )


def test_model_latency_takes_loading_out(ledger: Ledger) -> None:
    asked = (
        "SELECT latency_ms, first_token_ms, load_ms FROM model_latency WHERE model_id = 'kimi' ORDER BY day"
    )
    assert ledger.query(asked).rows == ((1_000.0, 100.0, 4_000.0), (2_000.0, 100.0, 0.0))


def test_success_rate_counts_failures_by_class(ledger: Ledger) -> None:
    asked = "SELECT calls, ok, failed, partial, error_classes FROM success_rate WHERE model_id = 'kimi' ORDER BY day"
    assert ledger.query(asked).rows == ((3, 1, 2, 0, {"overloaded": 2}), (1, 1, 0, 0, None))


def test_fallback_frequency_says_who_answered_instead(ledger: Ledger) -> None:
    asked = """SELECT matched_rule, executed, fell_back, unanswered, answered_instead FROM fallback_frequency
               WHERE day = '2026-01-01' ORDER BY matched_rule"""
    assert ledger.query(asked).rows == (
        ("mixture_of_experts", 2, 1, 1, None),
        ("otherwise", 1, 1, 0, {"coder": 1}),
    )


def test_cost_daily_shows_the_share_of_unknown_cost_beside_the_sum(ledger: Ledger) -> None:
    rows = ledger.query(
        "SELECT day, model_id, known_cost_usd, calls, unknown_cost_calls FROM cost_daily ORDER BY day, model_id"
    ).rows
    known = Decimal("0.000725")
    assert rows == (
        (date(2026, 1, 1), "coder", None, 2, 2),
        (date(2026, 1, 1), "kimi", known, 3, 2),
        (date(2026, 1, 2), "kimi", known, 1, 0),
    )


EUROS: dict[str, Any] = {"currency": "EUR", "cost_nano": 400_000}
NOTHING: dict[str, Any] = {"cost_nano": 0}
NO_PRICE: dict[str, Any] = {"cost_nano": None, "currency": None, "cost_source": None}


@pytest.mark.parametrize(
    ("calls", "usd", "eur", "total"),
    [
        ([{}, {}], 1_450_000, None, (1_450_000, "USD")),
        ([{}, EUROS], 725_000, 400_000, (None, None)),
        ([NOTHING, EUROS], 0, 400_000, (400_000, "EUR")),
        ([{}, EUROS | NOTHING], 725_000, 0, (725_000, "USD")),
        ([NOTHING, NOTHING], 0, None, (0, "USD")),
        ([NOTHING, EUROS | NOTHING], 0, 0, (0, None)),
        ([NOTHING | {"status": "failed", "currency": None}], None, None, (0, None)),
        ([NOTHING | {"status": "failed"}, EUROS], None, 400_000, (400_000, "EUR")),
        ([{"cost_nano": None}, EUROS], None, 400_000, (400_000, "EUR")),
        ([NO_PRICE, NO_PRICE], None, None, (None, None)),
        ([NO_PRICE, EUROS], None, 400_000, (400_000, "EUR")),
    ],
)
def test_each_currency_has_a_column_of_its_own(
    tmp_path: Path,
    calls: list[dict[str, Any]],
    usd: int | None,
    eur: int | None,
    total: tuple[int | None, str | None],
) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    attempts = [attempt(1, at, **changes) for at, changes in enumerate(calls, 1)]
    one = decision(1, arm=arm("control", "canary", 0.5), mode="canary")
    other = decision(2)
    ledger.append([one, other], [*attempts, attempt(2, **EUROS | {"cost_nano": 1})], [policy()])
    unknown = sum(one.get("cost_nano", 0) is None for one in calls)
    whole = tuple(None if nano is None else Decimal(nano) / 10**9 for nano in (usd, eur))
    columns = "known_cost_usd, known_cost_eur, unknown_cost_calls"
    flat = f"SELECT {columns} FROM decisions_flat WHERE decision_id = '{decision_id(1)}'"
    assert ledger.query(flat).rows == ((*whole, unknown),)
    assert ledger.query(f"SELECT {columns} FROM rollout_arms").rows == ((*whole, unknown),)
    summed = "sum(known_cost_usd), sum(known_cost_eur), sum(unknown_cost_calls)"
    of_calls = f"SELECT {summed} FROM attempts_flat WHERE decision_id = '{decision_id(1)}'"
    assert ledger.query(of_calls).rows == ((*whole, unknown),)
    cost = total_cost([one.attempt for one in attempts])
    nano, currency = total
    assert cost == (None if unknown or nano is None else Cost(Decimal(nano) / 10**9, currency, "estimated"))
    shown = ledger.tail(2)[0]
    known = {code: cost for code, cost in zip(("USD", "EUR"), whole, strict=True) if cost is not None}
    assert (shown.known_cost, shown.unknown_cost_calls) == (known, unknown)


def test_what_the_cache_saved_is_in_units_of_its_currency(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    kept = attempt(2, status="cached", cached_answer=True, saved_nano=725_000, **NOTHING)
    ledger.append([decision(1), decision(2)], [attempt(1), kept], [policy()])
    asked = "SELECT status, known_cost_usd, known_saved_usd FROM all_attempts_flat ORDER BY started_at"
    saved = Decimal("0.000725")
    assert ledger.query(asked).rows == (("ok", saved, None), ("cached", None, saved))
    assert ledger.query("SELECT status FROM attempts_flat").rows == (("ok",),)
    assert ledger.query("SELECT known_saved_usd FROM cache_hits").rows == ((saved,),)


def test_unknown_features_counts_what_was_missing(ledger: Ledger) -> None:
    asked = """SELECT feature, sum(decisions), sum(unknown), sum(defaulted) FROM unknown_features
               GROUP BY feature ORDER BY feature"""
    assert [row for row in ledger.query(asked).rows if row[0].startswith("t")] == [
        ("task_type", 5, 0, 5),
        ("team", 5, 5, 0),
    ]


def test_unknown_features_counts_nulls_beside_what_was_not_given(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    features = [
        {"private": {"value": None, "source": "given"}},
        {"private": {"value": None, "source": "unknown"}},
        {"private": {"value": False, "source": "default"}},
        {"private": {"value": True, "source": "given"}},
        {"private": {"value": None, "source": "given"}},
    ]
    rows = [decision(n, features=one, answered=None) for n, one in enumerate(features[:-1])]
    # Ignored under the name of a feature that another policy declares: as many values as if none were null.
    rows.append(decision(4, features=features[-1], ignored={"team": "a"}, answered=None))
    ledger.append(rows, [], [policy()])
    (row,) = view(ledger, "SELECT * EXCLUDE (day, policy_name, team, user, mode) FROM unknown_features")
    assert row == {
        "feature": "private",
        "decisions": 5,
        "unknown": 1,
        "given_as_null": 2,
        "defaulted": 1,
    }
    sources = "SELECT feature_sources['private'] AS source, features.private IS NULL AS no_value FROM decision_records"
    assert ledger.query(f"{sources} ORDER BY decision_id").rows == (
        ("given", True),
        ("unknown", True),
        ("default", False),
        ("given", False),
        ("given", True),
    )


def test_rule_hits_tells_winning_from_holding(ledger: Ledger) -> None:
    asked = "SELECT rule, sum(won) AS won, sum(held) AS held, sum(unknown) AS unknown FROM rule_hits GROUP BY rule"
    rows = {row["rule"]: row for row in view(ledger, asked)}
    assert [(rows[name]["won"], rows[name]["held"], rows[name]["unknown"]) for name in sorted(rows)] == [
        (0, 0, 5),
        (2, 2, 0),
        (3, 5, 0),
    ]
    assert sorted(rows) == ["by_team", "mixture_of_experts", "otherwise"]


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A rollout on one day: two tasks beside a shadow, one that the candidate could not decide, then a canary."""
    ledger = new_ledger(tmp_path_factory.mktemp("rollouts") / "ledger.duckdb")
    control, shadow = arm("control", "shadow", 1.0), arm("candidate", "shadow", 0.0)
    cheap = [candidate("coder", "use", None, None, 1.0, 1_000_000, None)]
    rows = [
        decision(0, arm=control),
        decision(1, arm=shadow, mode="shadow", shadow_of=0, answered=None, **NEXT),
        decision(2, arm=control),
        decision(
            3,
            arm=shadow,
            mode="shadow",
            shadow_of=2,
            answered=None,
            target="coder",
            rule="cheap",
            rules=[{"name": "cheap", "verdict": True}],
            candidates=cheap,
            **NEXT,
        ),
        decision(4, arm=control),
    ]
    attempts = [attempt(0), attempt(2), attempt(4)]
    for number in range(10, 20):
        candidates = number % 5 == 0
        one = arm("candidate" if candidates else "control", "canary", 0.2 if candidates else 0.8)
        rows.append(decision(number, arm=one, mode="canary", **(NEXT if candidates else {})))
        attempts.append(attempt(number, total_us=number * 100_000))
    lost = arm("candidate", "canary", 0.2)
    rows.append(
        decision(20, arm=lost, mode="canary", outcome="no_target", target=None, answered=None, **NEXT)
    )
    rows.append(decision(21, arm=lost, mode="canary", answered=2, **NEXT))
    attempts += [failed(21, 1), attempt(21, 2, cost_nano=None, currency=None, cost_source=None)]
    ledger.append(rows, attempts, [policy(), policy("next")])
    return ledger


def test_rollout_differences_sets_each_shadow_beside_its_control(tried: Ledger) -> None:
    rows = tried.query(
        """SELECT control_rule, candidate_rule, control_target, candidate_target, differs,
                  control_estimated_cost_usd, candidate_estimated_cost_usd
           FROM rollout_differences ORDER BY decision_id"""
    ).rows
    moe, cost = "mixture_of_experts", Decimal("0.005")
    assert rows == (
        (moe, "otherwise", "kimi", "kimi", False, cost, cost),
        (moe, "cheap", "kimi", "coder", True, cost, Decimal("0.001")),
        (moe, None, "kimi", None, None, cost, None),
    )


def test_a_plan_differs_by_its_steps_ensemble_and_fallbacks_too(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    control, shadow = arm("control", "shadow", 1.0), arm("candidate", "shadow", 0.0)
    plan = {"target": "kimi", "fallbacks": ["coder"], "steps": [], "ensemble": None, "deadline_ms": 1}
    others: list[tuple[dict[str, Any], bool]] = [
        ({"deadline_ms": 2}, False),
        ({"steps": [{"role": "verify", "with": "coder"}]}, True),
        ({"ensemble": {"members": ["kimi", "coder"]}}, True),
        ({"fallbacks": []}, True),
    ]
    rows = []
    for number, (changes, _) in enumerate(others):
        rows.append(decision(2 * number, arm=control, plan=plan))
        metadata = decision(
            2 * number + 1, arm=shadow, mode="shadow", shadow_of=2 * number, plan=plan | changes, **NEXT
        )
        rows.append(metadata)
    lost: dict[str, Any] = {"outcome": "no_target", "target": None, "plan": None}
    rows += [decision(20, arm=control, **lost), decision(21, arm=shadow, mode="shadow", shadow_of=20, **lost)]
    rows.append(decision(22, arm=control, plan=plan))
    ledger.append(rows, [], [policy()])
    found = ledger.query("SELECT differs, plan_differs FROM rollout_differences ORDER BY decision_id").rows
    assert found == (*((False, differs) for _, differs in others), (False, False), (None, None))


def test_rollout_arms_sets_both_arms_side_by_side(tried: Ledger) -> None:
    rows = {(row["mode"], row["arm"]): row for row in view(tried, "SELECT * FROM rollout_arms")}
    assert sorted(rows) == [("canary", "candidate"), ("canary", "control"), ("exploit", "control")]
    control, candidate = rows["canary", "control"], rows["canary", "candidate"]
    assert {row["control_digest"] for row in rows.values()} == {"sha256:hybrid"}
    assert {row["candidate_digest"] for row in rows.values()} == {"sha256:next"}
    names = ("decisions", "dead_ends", "answered", "success_share", "answered_by_fallback")
    assert [control[name] for name in names] == [8, 0, 8, 1.0, 0]
    assert [candidate[name] for name in names] == [4, 1, 3, 0.75, 1]
    assert (control["p50_ms"], control["known_cost_usd"]) == (1_500, Decimal("0.0058"))
    assert (candidate["known_cost_usd"], candidate["unknown_cost_calls"]) == (Decimal("0.00145"), 2)
    assert candidate["unknown_cost_share"] == 0.5
    assert rows["exploit", "control"]["decisions"] == 3, "beside a shadow, which is no arm that executes"


def test_an_answer_of_several_models_counts_and_one_that_was_withheld_does_not(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    canary = arm("candidate", "canary", 0.5)
    members = [attempt(1, 1, role="member"), attempt(1, 2, role="member", model_id="coder")]
    # A model answered and a screen refused to show it.
    withheld = [attempt(2, 1), attempt(2, 2, role="screen")]
    rows = [
        decision(1, arm=canary, mode="canary", answered=2),
        decision(2, arm=canary, mode="canary", answered=None),
    ]
    ledger.append(rows, [*members, *withheld], [policy()])
    flat = "SELECT answered, answered_by, status FROM decisions_flat ORDER BY decision_id"
    assert ledger.query(flat).rows == ((True, None, "ok"), (False, None, "failed"))
    [one] = view(ledger, "SELECT * FROM rollout_arms")
    assert (one["decisions"], one["answered"], one["success_share"], one["p50_ms"]) == (2, 1, 0.5, 1_000.001)
    assert ledger.query("SELECT sum(executed), sum(unanswered) FROM fallback_frequency").rows == ((2, 1),)


def test_dead_ends_stand_beside_what_is_real(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    lost: dict[str, Any] = {"outcome": "no_target", "target": None, "answered": None}
    control, canary = arm("control", "canary", 0.5), arm("candidate", "canary", 0.5)
    rows = [decision(number, arm=canary, mode="canary") for number in (1, 2)]
    rows += [decision(number, arm=canary, mode="canary", **lost) for number in (3, 4)]
    rows.append(decision(5, arm=control, mode="canary", **lost))
    ledger.append(rows, [attempt(1, simulated=True), attempt(2)], [policy()])
    asked = "SELECT arm, simulated, decisions, dead_ends FROM all_rollout_arms ORDER BY ALL"
    assert ledger.query(asked).rows == (
        ("candidate", False, 3, 2),
        ("candidate", True, 1, 0),
        ("control", False, 1, 1),
    )
    plain = "SELECT arm, decisions FROM rollout_arms ORDER BY ALL"
    assert ledger.query(plain).rows == (("candidate", 3), ("control", 1))


def test_shadows_count_nowhere_else(tried: Ledger) -> None:
    """Each view that counts has as many as without the two shadows."""
    [daily] = tried.query("SELECT sum(decisions), sum(executed) FROM routing_daily").rows
    assert daily == (15, 14)
    assert tried.query("SELECT sum(decisions) FROM routing_daily WHERE mode = 'shadow'").rows == ((None,),)
    [[executed]] = tried.query("SELECT sum(executed) FROM fallback_frequency").rows
    assert executed == 14
    rules = view(tried, "SELECT rule, sum(decisions) AS n FROM rule_hits GROUP BY rule")
    assert {row["rule"]: row["n"] for row in rules} == {
        "mixture_of_experts": 15,
        "by_team": 15,
        "otherwise": 15,
    }
    features = view(tried, "SELECT feature, sum(decisions) AS n FROM unknown_features GROUP BY feature")
    assert {row["n"] for row in features} == {15}
    shadows = "SELECT decision_id FROM decision_records WHERE mode = 'shadow'"
    assert not tried.query(f"SELECT 1 FROM attempt_rows WHERE decision_id IN ({shadows})").rows
    assert (
        len(
            tried.query(
                "SELECT 1 FROM all_decisions_flat WHERE mode = 'shadow' AND shadow_of IS NOT NULL"
            ).rows
        )
        == 2
    )


def test_a_join_that_would_multiply_a_decision_s_facts_says_what_to_write(ledger: Ledger) -> None:
    joined = "SELECT sum(latency_ms) FROM decisions_flat AS d JOIN attempts_flat AS a ON {} = {}"
    with pytest.raises(LedgerError, match="cannot combine types with different collation") as caught:
        ledger.query(joined.format("a.decision_id", "d.decision_id"))
    assert "`decision_id::UUID`" in str(caught.value.help)
    asked = "SELECT sum(d.latency_ms) FROM decisions_flat AS d JOIN attempts_flat AS a ON {} = {}"
    assert ledger.query(asked.format("a.decision_id::UUID", "d.decision_id::UUID")).rows


def test_the_page_describes_the_layout_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_layout(page) == page, "run `make generate`"


def test_every_table_column_and_view_is_described() -> None:
    assert "None" not in describe_layout()


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="the page needs the lines"):
        with_layout("# The ledger\n")


def test_a_call_is_in_flight_until_it_has_ended_or_was_lost(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    writer = ledger.writer()
    simulated = LedgerEntry(decision(3, answered=None), (), [policy()], [intent(3, simulated=True)])
    writer.add_all([[begun(1, 1, 2)], [begun(2)], [simulated]])
    asked = (
        "SELECT decision_id, number, model_id, location, host, team, day FROM in_flight_calls ORDER BY ALL"
    )
    first, second = decision_id(1), decision_id(2)
    day = date(2026, 1, 1)
    under_way = [
        (first, 1, "kimi", "cloud", "ollama.com", "search", day),
        (first, 2, "coder", "cloud", "ollama.com", "search", day),
        (second, 1, "kimi", "cloud", "ollama.com", "search", day),
    ]
    assert ledger.query(asked).rows == tuple(under_way)
    assert ledger.query(
        "SELECT simulated, count(*) FROM all_in_flight_calls GROUP BY ALL ORDER BY ALL"
    ).rows == (
        (False, 3),
        (True, 1),
    )
    writer.add_all([[LedgerEntry(None, [attempt(1)])]])
    assert ledger.query(asked).rows == tuple(under_way[1:])
    writer.add_all([[ended(1, attempt(1, 2))]])
    assert ledger.query(asked).rows == tuple(under_way[2:])
    writer.close()
    assert ledger.query(asked).rows == ()
    assert ledger.query("SELECT decision_id FROM attempts_flat WHERE status = 'lost'").rows == ((second,),)
