"""Warnings of the logger ``routewright`` on standard error."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_line import POLICY, CommandLine

from routewright.backends.control import Breakers, StateError


def test_a_command_prints_warnings_on_standard_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", POLICY.replace("kind: ollama", "kind: simulated"))
    decided = Breakers.all
    reads: list[object] = []

    def once(breakers: Breakers, *, at_us: int) -> object:
        # Deciding reads the breakers first; it may not go on without them.
        reads.append(at_us)
        if len(reads) > 1:
            raise StateError("the disk\nis full")
        return decided(breakers, at_us=at_us)

    monkeypatch.setattr(Breakers, "all", once)
    for _ in range(2):
        reads.clear()
        ended = command("run", "policy.yaml", "hello", "--quiet")
        assert ended.code == 0
        assert ended.err.splitlines() == [
            r"warning: the breaker of `small` could not be read and counts as closed: the disk\nis full"
        ], "each once, also when a process runs several commands"
