"""Commands that open the ledger say what is wrong with it, on standard error, until somebody has seen to it."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from support.command_line import CommandLine, Ended
from support.ledger_clients import client_on
from support.ledger_rows import policy

from routewright.ledger import Ledger, LedgerEntry
from routewright.ledger.paths import spool_folder
from routewright.ledger.spool import Spool

COMMANDS = {
    "run": ("run", "policy.yaml", "hello", "--simulate", "--quiet"),
    "sql": ("ledger", "sql", "SELECT 1 AS one"),
    "sql as JSON": ("ledger", "sql", "SELECT 1 AS one", "--format", "json"),
    "tail": ("ledger", "tail"),
    "tail as JSON": ("ledger", "tail", "--format", "json"),
    "demo": ("demo", "--simulate", "--ledger", "data/routewright/ledger.duckdb"),
}


@pytest.fixture
def command(tmp_path: Path) -> CommandLine:
    command = CommandLine(tmp_path)
    assert command(*COMMANDS["run"]).code == 0
    return command


def damaged_spool(command: CommandLine) -> Path:
    """Where the file will be kept that a dead writer has left, cut in its second entry."""
    spool = Spool(spool_folder(Ledger.open(command.ledger).path))
    for _ in range(2):
        spool.add(LedgerEntry(None, (), [policy()]))
    path = spool.path
    spool.abandon()
    path.write_bytes(path.read_bytes()[:-9])
    return path.with_suffix(".damaged")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_of_damage_until_the_file_is_gone(command: CommandLine, name: str) -> None:
    kept = damaged_spool(command)
    for _ in range(2):  # when it is found, and when it was found before
        ended = command(*COMMANDS[name])
        assert ended.code == 0
        assert ended.err.count("entries of the spool were damaged or are missing") == 1
        assert f"`{kept}`; delete or move them" in ended.err
        if "JSON" in name:
            json.loads(ended.out)
    kept.unlink()
    assert "damaged" not in command(*COMMANDS[name]).err


@pytest.mark.parametrize("name", ["run", "sql", "tail"])
def test_what_stands_in_for_a_name_of_ours_stops_no_command_and_is_named(
    command: CommandLine, name: str
) -> None:
    def waiting(ended: Ended) -> bool:
        return (
            ended.code == 0
            and ended.err.count("the newest decisions may be missing: ") == 1
            and 'until they are dropped: `DROP MACRO main."sha256"` in a DuckDB client, as `ledger sql` only reads\n'
            in ended.err
        )

    with duckdb.connect(str(command.ledger)) as client:
        client.execute("CREATE MACRO sha256(x) AS 'stand-in'")
    assert waiting(command(*COMMANDS["run"])), "an answer is given, and what was recorded waits"
    assert waiting(command(*COMMANDS[name]))
    with duckdb.connect(str(command.ledger)) as client:
        client.execute('DROP MACRO main."sha256"')
    assert command(*COMMANDS[name]).err == ""
    assert len(json.loads(command(*COMMANDS["tail as JSON"]).out)) >= 2


@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_sits_on_the_ledger_fails_no_run_and_is_named(
    command: CommandLine, reads: bool
) -> None:
    with client_on(command.ledger, reads=reads) as client:
        ended = command(*COMMANDS["run"])
        assert (ended.code, ended.out != "") == (0, True)
        assert ended.err.count("the newest decisions wait in ") == 1
        assert f" while process {client.pid} (`" in ended.err
    assert command(*COMMANDS["tail"]).err == ""
    assert len(json.loads(command(*COMMANDS["tail as JSON"]).out)) == 2
