"""The ledger's layout as Markdown, read from the comments in a ledger made in memory.

``docs/generate.py`` writes it between the page's two marks; a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from routewright.ledger.connection import STORAGE_VERSION
from routewright.ledger.migrate import apply_migrations, latest_version

MARKS = ("<!-- layout: made by `docs/generate.py` -->", "<!-- end of layout -->")
"""The lines before and after the generated part of a page."""

_TABLES = """
SELECT table_name, comment FROM duckdb_tables() WHERE NOT internal ORDER BY table_oid
"""
_VIEWS = """
SELECT view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY view_oid
"""
_COLUMNS = """
SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index
"""


@contextmanager
def ledger_in_memory() -> Iterator[duckdb.DuckDBPyConnection]:
    """The layout of a ledger, without a file."""
    with duckdb.connect(":memory:", config={"storage_compatibility_version": STORAGE_VERSION}) as connection:
        apply_migrations(connection, Path(":memory:"))
        yield connection


def describe_layout() -> str:
    """Every table with its columns, then every view, as Markdown that ends with a newline."""
    lines = [f"The layout has version {latest_version()}.", ""]
    with ledger_in_memory() as connection:
        for table, comment in connection.execute(_TABLES).fetchall():
            lines += [f"### `{table}`", "", comment, "", "| column | type | meaning |", "| --- | --- | --- |"]
            for column, kind, meaning in connection.execute(_COLUMNS, [table]).fetchall():
                lines.append(f"| `{column}` | `{_short(kind)}` | {meaning} |")
            lines.append("")
        lines += ["### Views", "", "| view | rows | columns |", "| --- | --- | --- |"]
        for view, comment in connection.execute(_VIEWS).fetchall():
            if view.startswith("all_"):
                continue  # said of all of them at once
            columns = ", ".join(f"`{row[0]}`" for row in connection.execute(_COLUMNS, [view]).fetchall())
            lines.append(f"| `{view}` | {comment} | {columns} |")
    return "\n".join(lines) + "\n"


def with_layout(page: str) -> str:
    """``page`` with the part between the marks made anew; raises ValueError when a mark is missing."""
    start, end = MARKS
    before, found_start, rest = page.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise ValueError(f"the page needs the lines `{start}` and `{end}`")
    return f"{before}{start}\n\n{describe_layout()}\n{end}{after}"


def _short(kind: str) -> str:
    """A struct's fields are listed by name: their types are seldom what a reader looks for."""
    if not kind.startswith("STRUCT("):
        return kind
    inner, _, brackets = kind.removeprefix("STRUCT(").rpartition(")")
    names = ", ".join(field.split(" ")[0] for field in inner.split(", "))
    return f"STRUCT({names}){brackets}"
