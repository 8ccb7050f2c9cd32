"""``demo``: the whole job, in order, from anywhere, and again into the same ledger."""

from __future__ import annotations

import re
from pathlib import Path

from command_line import CommandLine

from routewright.loading import load_samples, shipped


def test_it_shows_the_whole_job_in_order_in_an_empty_folder(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    (tmp_path / "policy.yaml").unlink()
    ended = command.process("demo", "--simulate")
    assert (ended.code, ended.err) == (0, "")
    path = command.ledger.with_name("demo.duckdb")
    first, second, third, fourth = re.split(r"^\d\. ", ended.out, flags=re.MULTILINE)[1:]
    assert first.startswith("Where each task goes, under hybrid (")
    for sample in load_samples(shipped("samples.yaml")).tasks:
        assert f"\n{sample.name} " in first
    assert second.startswith(
        "Why: a hard design\nchat: routed to kimi-k2-cloud by rule mixture_of_experts_tasks\n"
    )
    assert "what would have led elsewhere" in second
    assert third.startswith("What executing gave (simulated: no model was asked)\n")
    assert third.count("[simulated] ") == 10
    assert "stood in" not in third
    assert fourth.startswith("A question to the ledger, in SQL")
    assert "\nSELECT model_id, " in fourth
    assert f"\nThe ledger is {path}\n" in fourth
    assert path.exists()


def test_a_second_run_asks_about_itself_and_keeps_the_first(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)

    def answer() -> list[list[str]]:
        out = command("demo", "--simulate", "--ledger", "demo.duckdb").out
        return [
            line.split()[:2] for line in out.split("unknown_costs\n")[2].split("\n\n")[0].splitlines()[1:]
        ]

    first = answer()
    # More calls than tasks: drafts, checks and refinements are calls too. What was kept is not asked again.
    assert sum(int(calls) for _, calls in first) >= 10
    assert {model for model, _ in answer()} == {model for model, _ in first}
    counted = command("ledger", "sql", "SELECT count(*) AS n FROM decisions", "--ledger", "demo.duckdb")
    assert counted.out.split() == ["n", "--", "20"]


def test_the_commands_that_it_names_work(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    lines = command("demo", "--simulate").out.splitlines()
    named = [line.strip() for line in lines if line.startswith("  routewright ")]
    assert len(named) == 2
    for line in named:
        words = [part.strip('"') for part in re.findall(r'"[^"]*"|\S+', line)][1:]
        assert command(*words).code == 0
