"""``ledger prune`` says what it would drop, drops it when told so, and verify and show say that it was pruned."""

from __future__ import annotations

import re
from pathlib import Path

from support.command_line import CommandLine
from support.ledger_rows import attempt, decision, decision_id, policy
from support.new_ledgers import new_ledger


def test_it_prunes_only_when_told_so_and_verify_and_show_say_so(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    at_us = 1_769_904_000_000_000  # the beginning of February
    rows = [decision(1), decision(2), decision(3, at_us=at_us)]
    new_ledger(tmp_path / "l.duckdb").append(rows, [attempt(1), attempt(3)], [policy()])
    of = ("--ledger", "l.duckdb")
    asked = command("ledger", "prune", "--before", "2026-02", "--dry-run", *of)
    assert (asked.code, asked.err, asked.out.splitlines()) == (
        0,
        "",
        [
            "would prune 2 decisions with 1 call and 0 outcomes: all from before 2026-02-01 (UTC)",
            "month    decisions  calls  outcomes  imported",
            "-------  ---------  -----  --------  --------",
            "2026-01          2      1         0         0",
            asked.out.splitlines()[4],
            "no question, report, replay or `ledger show` can tell of the time before 2026-02-01 then; texts of "
            "policies and the log stay",
            "nothing was pruned: with --yes it is, and nobody can bring it back",
        ],
    )
    done = command("ledger", "prune", "--before", "2026-02-01", "--yes", "--reason", "old", *of)
    assert (done.code, done.out.splitlines()[0]) == (
        0,
        asked.out.splitlines()[0].replace("would prune", "pruned"),
    )
    assert "\nbefore, a checkpoint of 9 leaves was signed" in done.out
    assert "copies that were made before" in done.err
    verified = command("ledger", "verify", *of)
    assert verified.out.splitlines()[2].startswith("pruning 1, on 20")
    assert verified.out.splitlines()[2].endswith(
        ": 2 decisions with 1 call and 0 outcomes from before 2026-02-01, the oldest of 2026-01-01"
    )
    assert verified.out.splitlines()[3] == "every row is as it was recorded, but for what was pruned"
    since = command("ledger", "verify", "--since", "9", *of)
    assert since.out.endswith("\nrows of the 9 leaves before were not read\n")
    assert "there is no checkpoint of 8 leaves" in command("ledger", "verify", "--since", "8", *of).err
    shown = command("ledger", "show", decision_id(1), *of)
    assert shown.code == 2
    assert re.match(
        rf"error: decision `{decision_id(1)}` was pruned on 20..-..-.. \(`old`\), with", shown.err
    )
    assert command("ledger", "show", decision_id(3), *of).code == 0
    nothing = "nothing to prune: the ledger has nothing from before 2026-02-01 (UTC)\n"
    for flags in ((), ("--yes",)):
        again = command("ledger", "prune", "--before", "2026-02", *flags, *of)
        assert (again.code, again.out, again.err) == (0, nothing, "")
    assert command("ledger", "prune", "--keep", "1", *of).out.startswith("would prune 1 decision ")
    assert "either --before or --keep" in command("ledger", "prune", *of).err
    assert "is not a month" in command("ledger", "prune", "--before", "soon", *of).err
