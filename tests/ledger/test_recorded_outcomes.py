"""Outcomes: only added, corrected by others, and refused where what they are of is unknown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from ledger_layout import ledger_in_memory
from support.ledger_rows import START_US, attempt, begun, decision, decision_id, failed
from support.new_ledgers import new_ledger

from routewright.engine.record import columns_of
from routewright.ledger import Ledger, LedgerError, Outcome, read_outcomes
from routewright.ledger.columns import sql_type
from routewright.ledger.rows import OutcomeRow

COLUMNS = "decision_id::VARCHAR, attempt, model_id, metric, value, label, source"


def two_decisions(folder: Path) -> Ledger:
    """A ledger with two decisions, one of which a fallback answered."""
    ledger = new_ledger(folder / "ledger.duckdb")
    ledger.append([decision(1, answered=2), decision(2)], [failed(1, 1), attempt(1, 2), attempt(2)])
    return ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return two_decisions(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger in which a third decision is still under way, for what is refused."""
    ledger = two_decisions(tmp_path_factory.mktemp("untouched"))
    writer = ledger.writer()
    writer.add_all([[begun(5)]])
    yield ledger
    writer.close()


def stored(ledger: Ledger) -> list[tuple[Any, ...]]:
    return list(ledger.query(f"SELECT {COLUMNS} FROM outcomes ORDER BY at_us, metric").rows)


def test_the_table_has_the_columns_that_its_rows_declare() -> None:
    sql = "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = 'outcomes'"
    declared = [(one.name, sql_type(one.kind), one.meaning) for one in columns_of(OutcomeRow)]
    with ledger_in_memory() as connection:
        assert connection.execute(sql).fetchall() == declared


def test_outcomes_are_of_a_decision_an_attempt_or_a_model(ledger: Ledger) -> None:
    done = ledger.record_outcomes(
        [
            Outcome(decision_id(1).upper(), "score", 0.1, at_us=1),
            Outcome(decision_id(1), "helpful", True, attempt=2, at_us=2),
            Outcome(decision_id(1), "grade", "b", model_id="kimi", source="judge", at_us=3),
            Outcome(decision_id(2), "tokens", 2**53, at_us=4),
        ]
    )
    assert done == (4, 0, 0)
    assert stored(ledger) == [
        (decision_id(1), None, None, "score", 0.1, None, "manual"),
        (decision_id(1), 2, "coder", "helpful", 1.0, None, "manual"),
        (decision_id(1), None, "kimi", "grade", None, "b", "judge"),
        (decision_id(2), None, None, "tokens", 2.0**53, None, "manual"),
    ]


def test_a_correction_supersedes_and_keeps_what_it_corrects(ledger: Ledger) -> None:
    def say(value: float | str, source: str = "manual") -> tuple[int, int, int]:
        return tuple(ledger.record_outcomes([Outcome(decision_id(1), "score", value, source=source)]))  # type: ignore[return-value]

    assert say(0.1) == (1, 0, 0)
    assert say(0.1) == (0, 0, 1)
    assert say(0.2) == (1, 1, 0)
    assert say("good") == (1, 1, 0)
    assert say(0.9, "judge") == (1, 0, 0)
    assert say(0.2) == (1, 1, 0), "what was corrected may come back"
    chain = """SELECT n.value, o.value FROM outcomes AS n JOIN outcomes AS o ON (o.outcome_id = n.supersedes)
               ORDER BY n.at_us"""
    assert ledger.query(chain).rows == ((0.2, 0.1), (None, 0.2), (0.2, None))
    current = """SELECT value, source FROM outcomes
                 WHERE outcome_id NOT IN (SELECT supersedes FROM outcomes WHERE supersedes IS NOT NULL)
                 ORDER BY source"""
    assert ledger.query(current).rows == ((0.9, "judge"), (0.2, "manual"))


def test_corrections_within_one_file_supersede_each_other(ledger: Ledger) -> None:
    outcomes = [Outcome(decision_id(1), "score", value) for value in (1, 2, 2, 3)]
    assert ledger.record_outcomes(outcomes) == (3, 2, 1)


def test_the_view_shows_what_holds_with_the_model_that_answered(ledger: Ledger) -> None:
    ledger.append([decision(3)], [attempt(3, simulated=True)])
    ledger.record_outcomes(
        [
            Outcome(decision_id(3), "score", 0.1),
            Outcome(decision_id(3), "score", 0.7),
            Outcome(decision_id(3), "grade", "b"),
            Outcome(decision_id(3), "score", 0.9, source="judge"),
            Outcome(decision_id(1), "score", 0.4),
            Outcome(decision_id(1), "score", 0.2, model_id="kimi"),
            Outcome(decision_id(1), "score", 0.3, attempt=1),
        ]
    )
    shown = "model_id, attempt, scores, labels, source"
    assert ledger.query(f"SELECT {shown} FROM outcomes_flat ORDER BY scores['score']").rows == (
        ("kimi", None, {"score": 0.2}, {}, "manual"),
        ("kimi", 1, {"score": 0.3}, {}, "manual"),
        ("coder", None, {"score": 0.4}, {}, "manual"),
    )
    assert ledger.query(f"SELECT {shown} FROM all_outcomes_flat WHERE simulated ORDER BY source").rows == (
        ("kimi", None, {"score": 0.9}, {}, "judge"),
        ("kimi", None, {"score": 0.7}, {"grade": "b"}, "manual"),
    )
    # A score that an answer lacks is unknown, and an outcome multiplies no cost.
    averages = "SELECT round(avg(scores['score']), 9), avg(scores['grade']) FROM outcomes_flat"
    assert ledger.query(averages).rows == ((0.3, None),)
    for other in ("decisions_flat", "attempts_flat", "decision_features"):
        with pytest.raises(LedgerError, match="collation"):
            ledger.query(f"SELECT count(*) FROM outcomes_flat JOIN {other} USING (decision_id)")


MISTAKES: list[tuple[Outcome, str, str | None]] = [
    (
        Outcome("x", "score", 1),
        "`x` is no decision id",
        "an id is a UUID, as `ledger tail --format json` shows it",
    ),
    (
        Outcome(decision_id(9), "score", 1, line=7),
        f"line 7: there is no decision `{decision_id(9)}`",
        "`routewright ledger tail --format json` shows ids",
    ),
    (
        Outcome(decision_id(5), "score", 1),
        f"there is no decision `{decision_id(5)}`",
        "it is still under way: record the outcome when it has ended",
    ),
    (
        Outcome(decision_id(1), "score", 1, 3),
        f"decision `{decision_id(1)}` has no attempt 3",
        "its attempts: 1, 2",
    ),
    (
        Outcome(decision_id(1), "score", 1, None, "gpt"),
        f"decision `{decision_id(1)}` asked no model `gpt`",
        "it asked: coder, kimi",
    ),
    (
        Outcome(decision_id(1), "score", 1, 2, "kimi"),
        f"attempt 2 of decision `{decision_id(1)}` asked no model `kimi`",
        "it asked: coder, kimi",
    ),
    (Outcome(decision_id(1), " ", 1), "` ` is no name of a metric", None),
    (
        Outcome(decision_id(1), "score", float("nan")),
        "`nan` is no value of `score`",
        "a value is a number, true, false or a label",
    ),
    (
        Outcome(decision_id(1), "score", 2**53 + 1),
        f"`{2**53 + 1}` is no value of `score`",
        "a value is a number, true, false or a label",
    ),
    (
        Outcome(decision_id(1), "score", "\ud800"),
        "`\\u{d800}` is no value of `score`",
        "a value is a number, true, false or a label",
    ),
]


@pytest.mark.parametrize(("outcome", "why", "help"), MISTAKES, ids=lambda one: None)
def test_what_cannot_be_recorded_is_refused_and_nothing_is_recorded(
    outcome: Outcome, why: str, help: str | None, untouched: Ledger
) -> None:
    with pytest.raises(LedgerError) as caught:
        untouched.record_outcomes([Outcome(decision_id(1), "score", 1), outcome])
    assert (str(caught.value), caught.value.help) == (f"{why}; no outcome was recorded", help)
    assert stored(untouched) == []


LONG = [
    {
        "decision_id": decision_id(1),
        "metric": "score",
        "value": 0.5,
        "attempt": 2,
        "time": "2026-01-01T00:00:00Z",
    },
    {"decision_id": decision_id(1), "metric": "grade", "value": "b", "source": "judge"},
    {"decision_id": decision_id(2), "metric": "score", "value": None},
]


def test_files_are_read_long_and_wide_in_every_format(tmp_path: Path) -> None:
    long = [
        Outcome(decision_id(1), "score", 0.5, 2, at_us=START_US, line=1),
        Outcome(decision_id(1), "grade", "b", source="judge", line=2),
    ]
    lines = tmp_path / "long.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in LONG))
    assert list(read_outcomes(lines)) == long
    assert [one.source for one in read_outcomes(lines, "reviewers")] == ["reviewers", "judge"]
    parquet = tmp_path / "long.parquet"
    with duckdb.connect() as client:
        client.execute(
            f"COPY (SELECT * FROM read_json('{lines}', format = 'nd')) TO '{parquet}' (FORMAT parquet)"
        )
    assert [one.metric for one in read_outcomes(parquet)] == ["score", "grade"]
    wide = tmp_path / "wide.csv"
    wide.write_text(
        f"decision_id,score,right,model\n{decision_id(1)},0.5,True,\n{decision_id(2)},,no idea,kimi\n"
    )
    assert list(read_outcomes(wide)) == [
        Outcome(decision_id(1), "score", 0.5, line=2),
        Outcome(decision_id(1), "right", 1.0, line=2),
        Outcome(decision_id(2), "right", "no idea", model_id="kimi", line=3),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("decision_id,score\n,1\n", ":2: it has no `decision_id`"),
        (f"decision_id,metric,value\n{decision_id(1)},,1\n", ":2: its `metric` is empty"),
        (
            f"decision_id,score,attempt\n{decision_id(1)},1,0\n",
            ":2: `attempt` is `0`, and a whole number from 1 on was expected",
        ),
        (f"decision_id,score\n{decision_id(1)},1,2\n", ":2: it has 3 fields, and the first line names 2"),
    ],
)
def test_a_bad_line_is_named(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.csv"
    path.write_text(text)
    with pytest.raises(LedgerError) as caught:
        list(read_outcomes(path))
    assert str(caught.value) == f"`{path}`{why}; no outcome was recorded"
