"""``demo``: the whole job, in order, from anywhere, and again into the same ledger."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import duckdb
import pytest
from support.command_line import CommandLine
from support.ollama_process import start_ollama

from routewright.loading import load_samples, shipped

NO_CHATS = {"qwen3-embed", "qwen3-reranker"}


def test_it_shows_the_whole_job_in_order_in_an_empty_folder(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    (tmp_path / "policy.yaml").unlink()
    ended = command.forked("demo", "--simulate")
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
            line.split()[:3:2] for line in out.split("unknown_costs\n")[2].split("\n\n")[0].splitlines()[1:]
        ]

    first = answer()
    # More calls than tasks: drafts, checks and refinements are calls too. What was kept is not asked again.
    assert sum(int(calls) for _, calls in first) >= 10
    assert {model for model, _ in answer()} == {model for model, _ in first}
    counted = command(
        "ledger", "sql", "SELECT count(*) AS n FROM decision_records", "--ledger", "demo.duckdb"
    )
    assert counted.out.split() == ["n", "--", "20"]


def test_the_commands_that_it_names_work(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    lines = command("demo", "--simulate").out.splitlines()
    named = [line.strip() for line in lines[lines.index("Next, for instance:") + 1 :]]
    assert len(named) == 2
    for line in named:
        # As it is typed, by a shell: whichever way this program was started.
        done = subprocess.run(line, shell=True, cwd=tmp_path, env=command.environment(), capture_output=True)
        assert (done.returncode, done.stderr) == (0, b""), line


def test_with_an_ollama_server_its_model_answers_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the server takes longer over its first answer than anybody at a terminal would wait.
    monkeypatch.setattr("routewright.cli.standins._PATIENCE_S", 60.0)
    command = CommandLine(tmp_path)
    with start_ollama() as server:
        host = server.url.removeprefix("http://")
        ended = command.forked("demo", environment={"OLLAMA_HOST": host})
        asked = [request["json"]["model"] for request in server.seen("/api/chat")]
    assert (ended.code, ended.err) == (0, "")
    before, first, _, third, fourth = re.split(r"^\d\. ", ended.out, flags=re.MULTILINE)
    # Before the first decision: windows and places, and so what is eligible, are those of the stand-in.
    assert before.splitlines() == [
        f"The Ollama server at {server.url} has 7 models, none of the catalog's.",
        "Its `smollm2:135m` stands in for the chat models that this machine lacks.",
        "",
    ]
    said = third.splitlines()
    assert said[0] == "What executing gave (real answers)"
    cells = [re.split(r"  +", line) for line in said[3:13]]
    answers = {name: (first, rest[-1] if rest else "") for name, first, *rest in cells}
    assert answers["a plain question"][0] == "smollm2:135m for glm-4.5"
    assert answers["a hard design"][0] == "smollm2:135m for kimi-k2-cloud"
    assert answers["a hard design that is private"][0] == "smollm2:135m for glm-4.5"
    reason = "privacy_mode_enforcement: privacy mode disables every provider but MLX"
    assert f"\nkimi-k2-cloud would be refused a hard design that is private: {reason}\n" in first
    assert {name for name, (model, _) in answers.items() if model == "no eligible target"} == {
        "a search index",
        "a ranking",
        "a whole repository",
    }
    assert third.endswith(
        "No model on this machine can do these tasks. They need:\n"
        "  a search index: ollama pull qwen3-embedding:latest\n"
        "  a ranking: hf download Qwen/Qwen3-Reranker-4B\n\n"
    )
    assert "A small model, smollm2:135m, stood in for " in third
    assert set(asked) == {"smollm2:135m:local"}, "the name that the server never forwards"
    rows = [line.split() for line in fourth.split("unknown_costs\n")[2].split("\n\n")[0].splitlines()[1:]]
    # What it asked and what the ledger has of it are the same calls.
    assert sum(int(calls) for model, backend, calls, *_ in rows if model not in NO_CHATS) == len(asked)
    assert {backend for model, backend, *_ in rows} == {"ollama", "mlx"}


def test_a_ledger_of_another_layout_is_put_aside(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    path = command.ledger.with_name("demo.duckdb")
    path.parent.mkdir(parents=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE migrations (version INTEGER, name VARCHAR, applied_at_us BIGINT)")
        connection.execute("INSERT INTO migrations VALUES (2, 'views', 0)")
    ended = command("demo", "--simulate")
    assert ended.code == 0
    [aside] = path.parent.glob("demo-*.duckdb")
    assert ended.err == f"the ledger of earlier demos has another layout; it was moved to {aside}\n"
