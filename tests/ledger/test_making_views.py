"""Views follow from what a ledger holds: its policies, its currencies, the file's name."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest
from support.ledger_rows import DECLARED, attempt, decision, policy
from support.new_ledgers import new_ledger

from routewright.ledger import Ledger, LedgerError, PolicyRow
from routewright.ledger.connection import open_for_creation, open_for_writing
from routewright.ledger.migrate import migrations
from routewright.ledger.views import Holding, _digested, make_views, selected, view_names, views


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.duckdb")


def of_policies(ledger: Ledger) -> list[str]:
    sql = "SELECT view_name FROM duckdb_views() WHERE NOT internal AND comment LIKE '%of the policy `%' ORDER BY 1"
    return [name for (name,) in ledger.query(sql).rows]


def named(*names: str) -> list[PolicyRow]:
    return [policy(name, first_seen_us=at) for at, name in enumerate(names)]


def test_a_policy_s_views_are_there_as_soon_as_a_decision_of_it(ledger: Ledger) -> None:
    assert of_policies(ledger) == []
    writer = ledger.writer()
    writer.add(decision(1), [attempt(1)], [policy()])
    writer.close()
    assert of_policies(ledger) == ["attempts_hybrid", "decisions_hybrid"]
    asked = "SELECT features.requires_moe, features.context_length, features.task_type FROM decisions_hybrid"
    assert ledger.query(asked).rows == ((False, 1_000, "chat"),)


def test_names_of_policies_become_plain_names_that_no_other_view_has(ledger: Ledger) -> None:
    ledger.append([], [], named("a.Model-1", "a_model_1", "flat", "Hybrid"))
    assert of_policies(ledger) == sorted(
        f"{kind}_{name}"
        for kind in ("attempts", "decisions")
        for name in ("a_model_1", "a_model_1_policy", "flat_policy", "hybrid")
    )


def test_a_policy_that_cannot_be_read_has_views_without_features(ledger: Ledger) -> None:
    ledger.append([decision(1)], [], [policy()._replace(text="{")])
    [[error]] = ledger.query("SELECT error FROM declarations").rows
    assert error
    assert "features" not in ledger.query("SELECT * FROM decisions_hybrid").columns


def test_an_older_ledger_gets_views_of_the_policies_that_it_has(tmp_path: Path) -> None:
    path, older = tmp_path / "ledger.duckdb", migrations()[:8]
    with open_for_creation(path) as connection:
        connection.execute(
            "CREATE TABLE migrations (version INTEGER, name VARCHAR, digest VARCHAR, applied_at_us BIGINT)"
        )
        for one in older:
            connection.execute(one.sql)
            connection.execute(
                "INSERT INTO migrations VALUES (?, ?, ?, 0)", [one.version, one.name, one.digest]
            )
        connection.execute("INSERT INTO policies VALUES (?, ?, ?, ?, ?)", list(policy()))
    ledger = Ledger.open(path)
    assert of_policies(ledger) == ["attempts_hybrid", "decisions_hybrid"]
    assert ledger.query("SELECT * FROM rollout_arms").rows == ()


def test_a_currency_has_a_column_from_its_first_price_or_cost_on(ledger: Ledger) -> None:
    def currencies() -> list[str]:
        columns = ledger.query("SELECT * FROM cost_daily").columns
        return [name.removeprefix("known_cost_") for name in columns if name.startswith("known_cost_")]

    assert currencies() == ["usd"]
    priced = DECLARED.replace(
        "{ backend: ollama }", "{ backend: ollama, price: { input: 1, output: 1, currency: CHF } }"
    )
    ledger.append([decision(1)], [attempt(1)], [policy("priced", priced)])
    assert currencies() == ["usd", "chf"]
    writer = ledger.writer()
    writer.add(decision(2), [attempt(2, currency="EUR")])
    writer.close()
    assert currencies() == ["usd", "chf", "eur"]


def test_views_are_made_anew_where_something_of_them_changes_and_only_there(ledger: Ledger) -> None:
    def comments() -> dict[str, str]:
        return dict(ledger.query("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").rows)

    def columns() -> tuple[tuple[object, ...], ...]:
        sql = (
            "SELECT table_name, list((column_name, data_type) ORDER BY column_index) FROM duckdb_columns() "
            "WHERE table_name IN (SELECT view_name FROM duckdb_views()) AND NOT internal GROUP BY ALL ORDER BY 1"
        )
        return ledger.query(sql).rows

    ledger.append([decision(1)], [attempt(1)], [policy()])
    names = list(comments())
    with duckdb.connect(str(ledger.path)) as client:
        for name in names:
            client.execute(f"COMMENT ON VIEW \"{name}\" IS 'as before'")
    declared = DECLARED.replace("team:", "tier: { type: string }\n  team:")
    ledger.append([], [], [policy("other", declared)])
    made = {name for name, comment in comments().items() if comment != "as before"}
    of_policy = {f"{view}_other" for view in ("all_attempts", "all_decisions", "attempts", "decisions")}
    of_features = {"all_decision_features", "decision_features", "all_unknown_features", "unknown_features"}
    assert made == of_features | of_policy

    writer = ledger.writer()
    writer.add(decision(2), [attempt(2, currency="EUR")])
    writer.close()
    for name in comments():
        ledger.query(f'SELECT * FROM "{name}" LIMIT 0')
    step_by_step = columns()
    with open_for_writing(ledger.path, lock_timeout_s=10) as connection:
        connection.execute("DELETE FROM views_made")
        make_views(connection)
    assert step_by_step == columns()


def test_a_change_of_the_layout_makes_all_views_anew() -> None:
    wanted = tuple(views(Holding()))
    assert _digested(wanted, 8).keys() & _digested(wanted, 9).keys() == set()


def test_a_table_of_the_user_with_the_name_of_a_view_is_named_and_left_alone(ledger: Ledger) -> None:
    with duckdb.connect(str(ledger.path)) as client:
        client.execute("CREATE TABLE decisions_hybrid AS SELECT 1 AS mine")
    with pytest.raises(LedgerError, match='ALTER TABLE main."decisions_hybrid" RENAME TO') as caught:
        ledger.append([decision(1)], [], [policy()])
    renamed = re.findall(r"`(ALTER TABLE .*?)`", str(caught.value))
    with duckdb.connect(str(ledger.path)) as client:
        client.execute(renamed[0])
    ledger.append([decision(1)], [], [policy()])
    assert ledger.query("SELECT * FROM decisions_hybrid_of_mine").rows == ((1,),)
    assert len(ledger.query("SELECT * FROM decisions_hybrid").rows) == 1


def qualifiers() -> dict[str, set[str]]:
    """What stands before a point in the statements of views, with the views."""
    found: dict[str, set[str]] = {}
    for name in view_names():
        for word in re.findall(r"\b([a-z]\w*)\.", selected(name, Holding())):
            found.setdefault(word, set()).add(f"all_{name}")
    return found


def test_a_ledger_s_file_may_have_any_name(ledger: Ledger, tmp_path: Path) -> None:
    """A client calls the database by the file's name, which may be an alias of ours, or a column."""
    ledger.append([decision(1)], [attempt(1)], [policy()])
    assert {"d", "e", "given", "beside"} <= qualifiers().keys()
    with duckdb.connect() as client:
        for name, using in (
            qualifiers() | {"decisions": {"decisions_flat"}, "attempts": {"attempts_flat"}}
        ).items():
            client.execute(f"ATTACH '{ledger.path}' AS \"{name}\" (READ_ONLY)")
            client.execute(f'USE "{name}"')
            for view in using:
                client.execute(f'SELECT * FROM "{view}" LIMIT 0')
            client.execute("USE memory")
            client.execute(f'DETACH "{name}"')
    for name in ("d", "decisions_flat"):
        other = new_ledger(tmp_path / f"{name}.duckdb")
        other.append([decision(1)], [attempt(1, currency="EUR")], [policy()])
        assert other.query("SELECT decisions_hybrid.known_cost_eur > 0 FROM decisions_hybrid").rows == (
            (True,),
        )
