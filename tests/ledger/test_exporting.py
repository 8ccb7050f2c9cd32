"""Answers as files and as tables of other libraries: every type survives, and no file is ever half a file."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import polars
import pyarrow.feather
import pyarrow.parquet
import pytest
from support.new_ledgers import new_ledger

from routewright.ledger import Ledger, LedgerError, NotWrittenError, to_csv, to_json, to_jsonl
from routewright.ledger.stoppable import resident_bytes

EVERYTHING = """
SELECT * FROM (VALUES (1), (2)) AS t(n), (SELECT NULL AS nothing, true AS flag, 9007199254740993 AS whole,
       1.50::DECIMAL(4, 2) AS money, 12345678901234567890.123456789::DECIMAL(38, 9) AS fine,
       'nan'::DOUBLE AS nan, '-inf'::DOUBLE AS infinite, 0.1::DOUBLE AS number, 'é, "x"' AS text,
       TIMESTAMPTZ '2026-01-02 03:04:05.000006+02' AS moment, TIMESTAMP '2026-01-02 03:04:05' AS naive,
       DATE '2026-01-02' AS day, TIME '01:02:03.5' AS clock, INTERVAL '1 month 90 seconds' AS span, [1, NULL] AS list,
       {'a': 'x', 'b': [1.5::DECIMAL(4, 1)], 'h': 5::HUGEINT} AS struct, MAP {'k': DATE '2026-01-02'} AS map,
       '\\x00\\xff'::BLOB AS bytes, '019b76da-a801-7000-8000-000000000001'::UUID AS id, 'up'::ENUM('up', 'down') AS way,
       {'f': [true, NULL], 'big': 9007199254740993}::VARIANT AS variant, '{"a": 1}'::JSON AS json,
       99999999999999999999999999999999999999::HUGEINT AS huge, [1, 2]::INTEGER[2] AS pair,
       '01:02:03+02'::TIMETZ AS zoned,
       '101'::BIT AS bits)
"""

EXPECTED: dict[str, Any] = {
    "n": 1,
    "nothing": None,
    "flag": True,
    "whole": 9007199254740993,
    "money": Decimal("1.50"),
    "fine": Decimal("12345678901234567890.123456789"),
    "infinite": float("-inf"),
    "number": 0.1,
    "text": 'é, "x"',
    "moment": datetime(2026, 1, 2, 1, 4, 5, 6, tzinfo=UTC),
    "naive": datetime(2026, 1, 2, 3, 4, 5),
    "day": date(2026, 1, 2),
    "list": [1, None],
    "struct": {"a": "x", "b": [Decimal("1.5")], "h": Decimal(5)},
    "bytes": b"\x00\xff",
    "way": "up",
    "json": '{"a": 1}',
    "huge": Decimal("99999999999999999999999999999999999999"),
    "pair": [1, 2],
    "bits": "101",
}
TEXTS = {
    "span": "1 month 00:01:30",
    "zoned": "01:02:03+02",
    "variant": '{"big":9007199254740993,"f":[true,null]}',
}
ID = "019b76da-a801-7000-8000-000000000001"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return new_ledger(tmp_path_factory.mktemp("exporting") / "ledger.duckdb")


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    nan, day = found.pop("nan"), found.pop("map")
    assert nan != nan
    assert dict(day)["k"] == date(2026, 1, 2)
    assert str(found.pop("clock")) == "01:02:03.500000"
    assert found == expected


def test_every_type_survives_in_parquet(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "all.parquet"
    assert ledger.export(EVERYTHING, file).rows == 2
    read = duckdb.read_parquet(str(file))
    kinds = dict(zip(read.columns, map(str, read.types), strict=True))
    assert (kinds["id"], kinds["moment"], kinds["huge"]) == (
        "UUID",
        "TIMESTAMP WITH TIME ZONE",
        "DECIMAL(38,0)",
    )
    expected = EXPECTED | TEXTS
    same(dict(zip(read.columns, read.fetchall()[0], strict=True)), expected | {"id": UUID(ID)})
    same(pyarrow.parquet.read_table(file).to_pylist()[0], expected | {"id": UUID(ID)})
    same(polars.read_parquet(file).to_dicts()[0], expected | {"id": UUID(ID).bytes})


def test_every_type_survives_in_arrow(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "all.arrow"
    assert ledger.export(EVERYTHING, file).rows == 2
    same(pyarrow.feather.read_table(file).to_pylist()[0], EXPECTED | TEXTS | {"id": ID})
    same(polars.read_ipc(file).to_dicts()[0], EXPECTED | TEXTS | {"id": ID})


def test_every_type_survives_in_data_frames(ledger: Ledger) -> None:
    result = ledger.query(EVERYTHING)
    expected = (
        EXPECTED | TEXTS | {"id": ID, "span": timedelta(days=30, seconds=90), "zoned": "01:02:03+02:00"}
    )
    expected["variant"] = '{"big": 9007199254740993, "f": [true, null]}'
    same(result.to_arrow().to_pylist()[0], expected)
    same(result.to_polars().to_dicts()[0], expected)
    frame = result.to_pandas()
    found = {name: frame[name].tolist()[0] for name in frame}
    assert frame["nothing"].isna().all()
    same(found | {"nothing": None}, expected)


def test_data_frames_compute_with_what_they_hold(ledger: Ledger) -> None:
    result = ledger.query(
        "SELECT * FROM (VALUES (1.10::DECIMAL(18, 2), 9007199254740993), (2.20, NULL)) AS t(cost, big)"
    )
    frame = result.to_pandas()
    assert (frame["cost"].sum(), frame["big"].max()) == (Decimal("3.30"), 9007199254740993)
    assert result.to_polars()["cost"].sum() == Decimal("3.30")
    assert ledger.query("SELECT 1 AS a WHERE false").to_polars().schema == {"a": polars.Int32}


def test_data_frames_show_times_where_they_were_asked_for(ledger: Ledger) -> None:
    result = ledger.query("SELECT TIMESTAMPTZ '2026-06-30 22:30:00+00' AS t", timezone="Europe/Berlin")
    assert str(result.to_pandas()["t"][0]) == "2026-07-01 00:30:00+02:00"
    assert result.to_polars()["t"].dt.day().to_list() == [1]


def test_text_files_are_what_is_printed(ledger: Ledger, tmp_path: Path) -> None:
    result = ledger.query(EVERYTHING, interval_text=True)
    assert json.loads(to_json(result))[0]["span"] == "1 month 00:01:30"
    for form, text in ("csv", to_csv(result)), ("json", to_json(result)), ("jsonl", to_jsonl(result)):
        file = tmp_path / f"all.{form}"
        ledger.export(EVERYTHING, file)
        assert file.read_text(encoding="utf-8") == text
    assert [json.loads(line) for line in to_jsonl(result).splitlines()] == json.loads(to_json(result))


def test_equal_column_names_do_not_hide_each_other(ledger: Ledger, tmp_path: Path) -> None:
    sql = "SELECT 1 AS a, 2 AS a"
    ledger.export(sql, tmp_path / "x.parquet")
    expected = [{"a": 1, "a_2": 2}]
    assert polars.read_parquet(tmp_path / "x.parquet").to_dicts() == expected
    assert ledger.query(sql).to_polars().to_dicts() == expected


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet", "arrow"])
def test_a_file_may_have_no_rows_or_the_first_ones(ledger: Ledger, tmp_path: Path, form: Any) -> None:
    file = tmp_path / "rows"
    none = ledger.export("SELECT 1 AS a WHERE false", file, form=form)
    assert (none.rows, none.truncated) == (0, False)
    for most, truncated in ((5_000, True), (5_001, False)):
        some = ledger.export(
            "SELECT range AS a FROM range($n)",
            file,
            {"n": 5_001},
            form=form,
            overwrite=True,
            max_rows=most,
        )
        assert (some.rows, some.truncated) == (most, truncated)


@pytest.mark.parametrize("form", ["jsonl", "parquet", "arrow"])
def test_memory_does_not_grow_with_the_rows(ledger: Ledger, tmp_path: Path, form: Any) -> None:
    sql = "SELECT range AS n, repeat('x', 3000) AS text FROM range($n)"
    ledger.export(sql, tmp_path / "few", {"n": 100}, form=form)
    before = resident_bytes()
    # More text than there is memory for it.
    ledger.export(sql, tmp_path / "many", {"n": 26_000}, form=form, max_memory_mb=70)
    assert resident_bytes() - before < 60e6


def test_a_file_is_whole_or_not_there(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    # The mistake comes after some rows have been written.
    late = "SELECT CASE WHEN range = 9000 THEN error('late') ELSE range END FROM range(10000)"
    for form in ("csv", "parquet", "arrow"):
        with pytest.raises(LedgerError, match="late"):
            ledger.export(late, file, form=form)
        assert list(tmp_path.iterdir()) == []
    file.write_text("mine")
    with pytest.raises(NotWrittenError, match="is there already"):
        ledger.export("SELECT 1", file)
    with pytest.raises(LedgerError, match="late"):
        ledger.export(late, file, overwrite=True)
    assert file.read_text() == "mine"
    ledger.export("SELECT 1 AS one", file, overwrite=True)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("one\n1\n", 0o600)
    with pytest.raises(NotWrittenError, match="is there already"):
        ledger.export("SELECT 1", tmp_path, form="csv", overwrite=True)
    with pytest.raises(NotWrittenError, match="no such file or directory"):
        ledger.export("SELECT 1", tmp_path / "none" / "x.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_file_is_written_where_there_are_no_hard_links(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    ledger.export("SELECT 1 AS one", tmp_path / "x.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize("form", ["parquet", "arrow", "csv"])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "SELECT 1) TO '/tmp/other.csv' (FORMAT csv); --",
        "COPY decisions TO '/tmp/other.csv'",
        "SET allowed_paths = ['/etc/passwd']",
        "DELETE FROM decision_records",
    ],
)
def test_what_is_written_to_a_file_is_as_closed_in(
    ledger: Ledger, tmp_path: Path, form: Any, sql: str
) -> None:
    with pytest.raises(LedgerError):
        ledger.export(sql, tmp_path / "it's.out", form=form)
    assert list(tmp_path.iterdir()) == []


def test_a_statement_may_be_of_any_kind_that_reads(ledger: Ledger, tmp_path: Path) -> None:
    for number, sql in enumerate(
        [
            "DESCRIBE decision_records -- with a comment",
            "SHOW TABLES;",
            "EXPLAIN SELECT 1",
            "VALUES (1)",
            "PIVOT (SELECT 'a' AS x) ON x USING count(*)",
        ]
    ):
        assert ledger.export(sql, tmp_path / f"it's {number}.parquet").rows > 0


def test_a_mistake_has_its_place_and_a_name_without_a_form_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as caught:
        ledger.export("SELECT 1,\n trget", tmp_path / "x.parquet")
    assert caught.value.problem is not None
    assert (caught.value.problem.line, caught.value.problem.column) == (2, 2)
    with pytest.raises(LedgerError) as caught:
        ledger.export("SELECT 1", tmp_path / "x.xlsx")
    assert caught.value.help == "the forms are csv, json, jsonl, parquet, arrow"


def test_a_number_too_large_for_parquet_is_an_error_and_not_another_number(
    ledger: Ledger, tmp_path: Path
) -> None:
    with pytest.raises(LedgerError, match="DECIMAL"):
        ledger.export("SELECT 170141183460469231731687303715884105727::HUGEINT", tmp_path / "x.parquet")


def test_without_pyarrow_only_arrow_is_missing(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.ipc", None)
    assert ledger.export(EVERYTHING, tmp_path / "x.parquet", {}).rows == 2
    for refused in (
        lambda: ledger.export("SELECT 1", tmp_path / "x.arrow"),
        lambda: ledger.query("SELECT 1").to_pandas(),
    ):
        with pytest.raises(LedgerError) as caught:
            refused()
        assert str(caught.value) == "the package `pyarrow` is not installed"
        assert caught.value.help == "pip install '.[arrow]' in the checkout"
