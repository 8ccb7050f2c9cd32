"""The examples of docs/ledger.md give what the page shows of a small ledger; ``PAGES_UPDATE=1`` writes it anew."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from support.ledger_rows import decision, intent
from support.pages import ROOT

from routewright.cli.table import column_lines
from routewright.ledger import Ledger, LedgerEntry, QueryResult, to_table
from routewright.ledger.views import view_names

from .world import make_world

PAGE = ROOT / "docs" / "ledger.md"
_EXAMPLE = re.compile(
    r"^```sql\n(?P<sql>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?", re.DOTALL | re.MULTILINE
)
_NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)


def test_the_page_shows_what_its_examples_give(tmp_path: Path) -> None:
    ledger = Ledger.open(make_world(tmp_path / "ledger.duckdb", _NOON, hybrid="first").path)

    def with_output(found: re.Match[str]) -> str:
        client.execute(found["sql"])
        columns = tuple(column[0] for column in client.description or [])
        header, rows = to_table(QueryResult(columns, (), tuple(client.fetchall()), False))
        assert rows, found["sql"]
        lines = "".join(f"{line.rstrip()}\n" for line in column_lines(header, rows))
        return f"```sql\n{found['sql']}```\n\n```text\n{lines}```\n"

    text = PAGE.read_text(encoding="utf-8")
    writer = ledger.writer()
    try:
        # While its writer is there, the call is under way.
        assert writer.add_all([[LedgerEntry(decision(1, answered=None), (), (), [intent(1)])]]) == [None]
        ledger.ingest()
        with duckdb.connect(str(ledger.path), read_only=True) as client:
            client.execute("SET TimeZone = 'UTC'")
            fresh = _EXAMPLE.sub(with_output, text)
    finally:
        writer.close()
    if os.environ.get("PAGES_UPDATE"):
        PAGE.write_text(fresh, encoding="utf-8")
    assert fresh == text


def test_every_view_has_an_example() -> None:
    examples = [found["sql"] for found in _EXAMPLE.finditer(PAGE.read_text(encoding="utf-8"))]
    for name in view_names():
        assert any(f"FROM {name}\n" in example for example in examples), name
