"""The page says what the table of actions says, row by row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from routewright.backends import ERROR_CLASSES, ErrorClass
from routewright.backends.executing import ACTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "executing.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([a-z_.]+)` (\| (?:retry|next|stop) \|.*)$", PAGE, re.MULTILINE))


def test_the_page_has_a_row_for_each_class_and_no_other() -> None:
    assert tuple(ROWS) == ERROR_CLASSES == tuple(ACTIONS)


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_each_row_of_the_page_is_what_is_done(error_class: ErrorClass) -> None:
    _, then, breaker, billed, why, _ = (cell.strip() for cell in ROWS[error_class].split("|"))
    row = ACTIONS[error_class]
    cooling = "" if row.cool_ms is None else f", {row.cool_ms // 60_000} min"
    assert (then, breaker, billed) == (row.then, row.breaker + cooling, "yes" if row.billed else "no")
    assert why
