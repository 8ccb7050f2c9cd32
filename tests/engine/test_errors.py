"""Errors as their callers see them."""

from __future__ import annotations

import traceback

from routewright import BackendError, TaskError


def test_a_traceback_shows_the_advice() -> None:
    for error in (
        TaskError("no", help="do\nthis"),
        BackendError("no", error_class="not_found", help="do\nthis"),
    ):
        assert traceback.format_exception_only(error)[-1] == "help: do\\nthis\n"
        assert str(error) == "no"
    assert traceback.format_exception_only(TaskError("no"))[-1].endswith("TaskError: no\n")
