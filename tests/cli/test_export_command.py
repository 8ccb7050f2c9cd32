"""``ledger export``: views as files, whole or of a period."""

from __future__ import annotations

import json
from pathlib import Path

import polars
import pytest
from support.command_line import CommandLine
from support.ledger_rows import attempt, decision
from support.new_ledgers import new_ledger

from routewright.ledger import Ledger


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A ledger with decisions of four seconds, and an attempt of each of the first three."""
    command = CommandLine(tmp_path_factory.mktemp("export"))
    command.ledger.parent.mkdir(parents=True)
    new_ledger(command.ledger).append([decision(n) for n in range(4)], [attempt(n) for n in range(3)])
    return command


def moments(command: CommandLine) -> list[str]:
    """When the decisions were made."""
    rows = Ledger.open(command.ledger).query("SELECT decided_at FROM all_decisions_flat ORDER BY 1").rows
    return [row[0].isoformat() for row in rows]


def test_decisions_and_attempts_go_into_a_folder_with_every_row_and_column(
    command: CommandLine, tmp_path: Path
) -> None:
    ended = command("ledger", "export", "-o", str(tmp_path / "all"))
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    ledger = Ledger.open(command.ledger)
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [
        "attempt_rows.parquet",
        "decision_records.parquet",
    ]
    for view, rows in (("decision_records", 4), ("attempt_rows", 3)):
        frame = polars.read_parquet(tmp_path / "all" / f"{view}.parquet")
        assert frame.columns == list(ledger.query(f"SELECT * FROM {view} LIMIT 0").columns)
        assert frame.height == rows


def test_a_period_takes_decisions_and_their_attempts(command: CommandLine, tmp_path: Path) -> None:
    times = moments(command)
    period = ("--since", times[1], "--until", times[3])
    command("ledger", "export", "-o", str(tmp_path), "--format", "jsonl", *period)
    for view, rows in (("decision_records", 2), ("attempt_rows", 2)):
        assert (tmp_path / f"{view}.jsonl").read_text(encoding="utf-8").count("\n") == rows
    for view, rows in (("all_decisions_flat", 2), ("all_attempts_flat", 2)):
        ended = command("ledger", "export", "-o", "-", "--view", view, *period)
        assert ended.out.count("\n") == rows + 1
    # A view by day has the days that the period touches.
    by_day = ("ledger", "export", "-o", "-", "--format", "json", "--view", "ALL_ROUTING_DAILY")
    of_period, of_all = (json.loads(command(*one).out) for one in ((*by_day, *period), by_day))
    assert sorted(map(str, of_period)) == sorted(map(str, of_all)) != []
    assert command(*by_day, "--until", "2001-01-01").out == "[]\n"


def test_one_view_goes_into_a_file_and_several_into_a_folder(command: CommandLine, tmp_path: Path) -> None:
    assert command("ledger", "export", "--view", "attempts_flat", "-o", str(tmp_path / "a.arrow")).code == 0
    assert polars.read_ipc(tmp_path / "a.arrow").height == 3
    views = ("--view", "attempts_flat", "--view", "attempt_rows", "--view", "attempts_flat")
    assert command("ledger", "export", *views, "-o", str(tmp_path / "b"), "--format", "csv").code == 0
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "attempt_rows.csv",
        "attempts_flat.csv",
    ]
    assert command("ledger", "export", "--view", "attempt_rows", "-o", str(tmp_path / "c")).code == 0
    assert (tmp_path / "c" / "attempt_rows.parquet").is_file()
    unknown = command("ledger", "export", "--view", "attempt_rows", "-o", str(tmp_path / "d.xlsx"))
    assert (unknown.code, unknown.err.split("\n")[0]) == (
        2,
        f"error: the name of `{tmp_path / 'd.xlsx'}` does not say what form it has",
    )
    refused = command("ledger", "export", *views, "-o", str(tmp_path / "b"), "--format", "csv")
    assert refused.err.startswith(f"error: `{tmp_path / 'b' / 'attempts_flat.csv'}` is there already\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "it is not said where to\n  = help: name a file or a folder with -o; - is standard output"),
        (["-o", "-"], "only one view goes to standard output\n  = help: name it with --view"),
        (
            ["-o", "x.parquet"],
            "`decision_records` and `attempt_rows` do not go into one file\n"
            "  = help: name a folder with -o, or one view with --view",
        ),
        (
            ["-o", "x", "--since", "soon"],
            "--since `soon` is not a time such as `7d`, `24h`, `today`, `2026-01-31` or `all`",
        ),
        (["-o", "x", "--since", "1d", "--until", "2d"], "--since is not before --until"),
        (
            ["-o", "x", "--view", "policies", "--since", "1d"],
            "`policies` does not say of which time its rows are\n  = help: leave out --since and --until",
        ),
    ],
)
def test_what_cannot_be_exported_is_told_before_anything_is_written(
    command: CommandLine, arguments: list[str], error: str
) -> None:
    ended = command("ledger", "export", *arguments)
    assert (ended.code, ended.out, ended.err) == (2, "", f"error: {error}\n")
    assert not (command.folder / "x").exists()


def test_a_view_that_is_not_there_is_named_with_one_that_is(command: CommandLine) -> None:
    ended = command("ledger", "export", "-o", "-", "--view", 'decision"; DROP TABLE decisions; --')
    assert ended.err.startswith('error: the ledger has no view `decision"; DROP TABLE decisions; --`\n')
    ended = command("ledger", "export", "-o", "-", "--view", "atempts_flat")
    assert "did you mean `attempts_flat`? there: " in ended.err


def test_the_log_goes_into_one_file_of_lines(command: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    ended = command("ledger", "export", "--log", "-o", str(file))
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    leaves = sum(line.startswith('{"digest":') for line in file.read_text(encoding="utf-8").splitlines())
    assert leaves == Ledger.open(command.ledger).verify().size
    for wrong in (("-o", str(file)), ("-o", "-"), ("-o", str(tmp_path / "b"), "--view", "parts")):
        assert command("ledger", "export", "--log", *wrong).code != 0
    assert command("ledger", "export", "--log", "-o", str(file), "--force").code == 0
