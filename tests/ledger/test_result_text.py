"""Results as text: nothing is lost, nothing is invalid, nothing reaches a terminal as a command."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.new_ledgers import new_ledger

from routewright.engine.report.escapes import escape_csv
from routewright.ledger import QueryResult, to_csv, to_json, to_table

EVERYTHING = """
SELECT NULL AS nothing, true AS flag, 9007199254740993 AS whole, 1.5::DECIMAL(4, 2) AS money,
       0.1::DECIMAL(38, 30) AS fine, 'nan'::DOUBLE AS nan, '-inf'::DOUBLE AS infinite, 0.1::DOUBLE AS number,
       'é, "x"' AS text, TIMESTAMP '2026-01-02 03:04:05.000006' AS moment, DATE '2026-01-02' AS day,
       INTERVAL 90 SECOND AS span, [1, NULL] AS list, {'a': 'x', 'b': [1.5::DECIMAL(4, 1)]} AS struct,
       MAP {'k': DATE '2026-01-02'} AS map, '\\x00\\xff'::BLOB AS bytes,
       '019b76da-a801-7000-8000-000000000001'::UUID AS id, {'f': [true, NULL]}::VARIANT AS variant,
       170141183460469231731687303715884105727::HUGEINT AS huge
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> QueryResult:
    return new_ledger(tmp_path_factory.mktemp("output") / "ledger.duckdb").query(EVERYTHING)


def test_json_holds_every_type(result: QueryResult) -> None:
    [row] = json.loads(to_json(result), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert row == {
        "nothing": None,
        "flag": True,
        "whole": 9007199254740993,
        "money": 1.5,
        "fine": 0.1,
        "nan": "NaN",
        "infinite": "-Infinity",
        "number": 0.1,
        "text": 'é, "x"',
        "moment": "2026-01-02T03:04:05.000006",
        "day": "2026-01-02",
        "span": "0:01:30",
        "list": [1, None],
        "struct": {"a": "x", "b": [1.5]},
        "map": {"k": "2026-01-02"},
        "bytes": "00ff",
        "id": "019b76da-a801-7000-8000-000000000001",
        "variant": {"f": [True, None]},
        "huge": 170141183460469231731687303715884105727,
    }


def test_csv_holds_every_type(result: QueryResult) -> None:
    header, row = csv.reader(io.StringIO(to_csv(result)))
    assert dict(zip(header, row, strict=True)) == {
        "nothing": "",
        "flag": "true",
        "whole": "9007199254740993",
        "money": "1.50",
        "fine": "0.100000000000000000000000000000",
        "nan": "nan",
        "infinite": "-inf",
        "number": "0.1",
        "text": 'é, "x"',
        "moment": "2026-01-02 03:04:05.000006",
        "day": "2026-01-02",
        "span": "0:01:30",
        "list": "[1, null]",
        "struct": '{"a": "x", "b": [1.5]}',
        "map": '{"k": "2026-01-02"}',
        "bytes": "00ff",
        "id": "019b76da-a801-7000-8000-000000000001",
        "variant": '{"f": [true, null]}',
        "huge": "170141183460469231731687303715884105727",
    }


def table(columns: tuple[str, ...], *rows: tuple[object, ...]) -> QueryResult:
    return QueryResult(columns, ("VARCHAR",) * len(columns), rows, False)


def test_decimals_that_a_double_cannot_hold_stay_exact(tmp_path: Path) -> None:
    sql = "SELECT '12345678901234567890.123456789'::DECIMAL(38, 9) AS cost"
    result = new_ledger(tmp_path / "ledger.duckdb").query(sql)
    assert json.loads(to_json(result)) == [{"cost": "12345678901234567890.123456789"}]


def test_equal_column_names_do_not_hide_each_other() -> None:
    result = table(("a", "a", "a_2", "a"), (1, 2, 3, 4))
    assert json.loads(to_json(result)) == [{"a": 1, "a_3": 2, "a_2": 3, "a_4": 4}]


def test_no_rows_are_valid_everywhere() -> None:
    result = table(("a", "b"))
    assert (to_json(result), to_csv(result), to_table(result)) == ("[]\n", "a,b\n", (["a", "b"], []))


def test_a_table_shows_null_and_escapes_what_a_terminal_would_obey() -> None:
    result = table(("a\x1b[2J",), (None,), ("\x1b]0;title\x07 é\n",))
    assert to_table(result) == (["a\\x1b[2J"], [["null"], ["\\x1b]0;title\\x07 é\\n"]])


def test_a_table_shows_times_with_a_short_offset_and_numbers_in_full() -> None:
    moments = [
        datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=zone) for zone in (UTC, timezone(timedelta(hours=5.5)))
    ]
    result = table(("a", "b", "c", "d"), (*moments, moments[0].replace(tzinfo=None), Decimal("0.000725000")))
    assert to_table(result)[1] == [
        [
            "2026-01-02 03:04:05.000060+00",
            "2026-01-02 03:04:05.000060+05:30",
            "2026-01-02 03:04:05.000060",
            "0.000725000",
        ]
    ]


@example(rows=[("\r", 0.0), ("\n", 0.0), ("\r\n", 0.0), ('"', 0.0), ("", 0.0)])
@given(rows=st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.floats()), max_size=5))
def test_any_rows_give_valid_json_and_csv(rows: list[tuple[str, float]]) -> None:
    result = table(("text", "number"), *rows)
    read = json.loads(to_json(result), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert [row["text"] for row in read] == [text for text, _ in rows]
    parsed = list(csv.reader(io.StringIO(to_csv(result), newline="")))
    assert [text for text, _ in parsed[1:]] == [escape_csv(text) for text, _ in rows]


def test_csv_holds_no_formulas_and_numbers_below_zero_stay_numbers() -> None:
    header = ("=1+1", "integer", "double", "decimal", "text", "list")
    result = table(header, ("=HYPERLINK(1)", -5, -0.5, Decimal("-1.50"), "-5", ["=1"]))
    assert to_csv(result) == (
        '\'=1+1,integer,double,decimal,text,list\n\'=HYPERLINK(1),-5,-0.5,-1.50,-5,"[""=1""]"\n'
    )


def test_json_is_exact_and_no_terminal_obeys_it() -> None:
    text = "a\x1b\x7f\x85\u202e\U000e0041é"
    written = to_json(table((text,), (text,)))
    assert json.loads(written) == [{text: text}]
    assert written == '[{"NAME": "NAME"}]\n'.replace("NAME", "a\\u001b\\u007f\\u0085\\u202e\\udb40\\udc41é")
