"""Commands that are shown to be copied start this program, however it was started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from routewright.cli.invocation import command_line, started_as

BIN = Path(sys.executable).parent


def test_by_its_name_where_the_shell_would_find_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(BIN))
    assert started_as() == "routewright"


def test_by_its_path_where_the_shell_would_find_none_or_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "routewright"
    other.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(BIN / "routewright"), "demo"])
    assert started_as() == str(BIN / "routewright")


def test_by_the_interpreter_where_it_was_started_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", ["/somewhere/routewright/__main__.py"])
    assert started_as() == f"{sys.executable} -m routewright"


def test_words_are_quoted_for_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(BIN))
    assert command_line("a b", "c", "$d") == "routewright \"a b\" c '$d'"
