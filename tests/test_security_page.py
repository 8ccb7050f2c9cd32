"""The security page: every promise in its table names a test, and that test exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "security.md"


def promises() -> list[tuple[str, str]]:
    """Each row of the table of threats: its first cell, and one test that it names."""
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if "`tests/" in line]
    return [
        (cells[0].removeprefix("| "), test)
        for cells in rows
        for test in re.findall(r"`(tests/[^`]+)`", cells[-1])
    ]


def test_the_table_has_rows_and_each_names_a_test() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.split("| threat |", 1)[1].split("\n\n", 1)[0]
    rows = [line for line in table.splitlines()[2:] if not line.startswith("| **")]
    assert rows and all("`tests/" in row for row in rows)


@pytest.mark.parametrize(("threat", "test"), promises())
def test_the_test_that_holds_a_promise_exists(threat: str, test: str) -> None:
    path, _, name = test.partition("::")
    file = ROOT / path
    assert file.is_file(), f"{threat}: {path} does not exist"
    if name:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        functions = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in functions, f"{threat}: {path} has no test {name}"
