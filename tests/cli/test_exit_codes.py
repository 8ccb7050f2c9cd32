"""Each exit code, as a process gives it; results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from pydantic_core import SchemaError
from support.command_line import POLICY, CommandLine
from support.forked import Forked

from routewright.cli.exit_codes import ExitCode
from routewright.cli.invoking import run_app

REFUSED = """\
error: the plan asks for what is not supported yet:
  feature hour: sensitive, but `time.hour` stays in the record and cannot be erased
  = help: allow it with `unenforced` (`--unenforced`): what is listed is then left out
"""


def test_0_it_did_what_was_asked_and_says_nothing_else(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path).process("run", "policy.yaml", "hello", "--simulate", "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("[simulated] `qwen3-coder:30b` would answer here")


def test_1_a_check_ran_and_did_not_pass(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path).forked("models", "policy.yaml", "--capability", "tool")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "no model has the capability `tool`\n  = help: did you mean `tools`? in the catalog: tools\n"
    )


def test_2_the_command_was_not_right(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path).forked("decide", "policy.yaml", "-f", "complex_resoning=true")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "error: unknown feature `complex_resoning`\n"
        "  = help: did you mean `complex_reasoning`? declared: complex_reasoning, context_length, private\n"
    )


def test_3_the_policy_has_problems(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    broken = command.write("broken.yaml", POLICY.replace("use: [large]", "use: [lagre]"))
    decided = command.forked("decide", broken)
    assert (decided.code, decided.out) == (3, "")
    assert "broken.yaml:16:76: error[unknown-model]: unknown model `lagre`" in decided.err
    checked = command.forked("check", broken)
    assert (checked.code, checked.err) == (3, "")
    assert "broken.yaml:16:76: error[unknown-model]: unknown model `lagre`" in checked.out


def test_4_there_is_no_eligible_target(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    arguments = ("-f", "private=true", "--pin", "large")
    decided = command.forked("decide", "policy.yaml", *arguments)
    assert (decided.code, decided.err) == (4, "")
    assert decided.out.startswith("chat: no eligible target: the pinned model is excluded\n")
    ran = command.forked("run", "policy.yaml", "hello", "--simulate", *arguments)
    # What the prompt says of itself is known to the decision: its length, and how anybody knows it.
    length = "private = true, context_length = 10 (derived)\n├── prompt: 10 tokens, estimated\n"
    shown = decided.out.replace("private = true\n", length)
    # Why there is no answer is none: who reads the answer from standard output gets nothing.
    told, _, id = ran.err.rpartition("decision ")
    assert (ran.code, ran.out, told) == (4, "", shown)
    assert command("ledger", "show", id.strip()).out.startswith(f"decision  {id}")


def test_5_every_model_of_the_plan_failed(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    faults = ("--fail", "small=overloaded", "--fail", "large=rate_limited")
    ended = command.forked("run", "policy.yaml", "hello", "--simulate", "--quiet", *faults)
    assert (ended.code, ended.out) == (5, "")
    *tried, error, rest = ended.err.split("\n", 3)
    assert [line.rpartition(",")[0] for line in tried] == [
        "tried small on ollama (answer, simulated): failed, overloaded",
        "tried large on ollama (fallback, simulated): failed, rate_limited",
    ]
    assert error == "error: `kimi-k2:1t-cloud` failed as scripted: rate_limited"
    stored = command("ledger", "sql", "SELECT model_id, error_class FROM attempt_rows", "--format", "csv")
    assert stored.out == "model_id,error_class\nsmall,overloaded\nlarge,rate_limited\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("replay policy.yaml --where nme=1", "where:1:1: error[sql]: referenced column `nme` not found"),
        ("replay policy.yaml --import none", "error: the ledger has no import `none`"),
        ("ledger erase --yes --where nme=1", "where:1:1: error[sql]: referenced column `nme` not found"),
        ("ledger erase --yes --where true)OR(true", "where:1:5: error[sql]: syntax error at or near `)`"),
        ("ledger erase --yes --user nobody", "error: no decision has the user `nobody`"),
        ("ledger sql nothing", "error: syntax error at or near `nothing`"),
        ("ledger sql SELECT/**/$x", "error: there is no value for the parameter `$x`"),
        ("ledger sql SELECT/**/'x'::INT", "error: could not convert string"),
        ("ledger sql SELECT/**/1 --timezone Mars", "error: there is no time zone `Mars`"),
        ("ledger import --remove none", "error: there is no import `none`"),
        ("ledger import litellm policy.yaml", "error: `policy.yaml`"),
        ("ledger outcome --file none.csv", "error: `none.csv` cannot be read"),
        ("ledger prune --before soon", "error: `soon` is not a month"),
        (
            "ledger outcome 01928f3e-7c00-7000-8000-00000000002a score=1",
            "error: there is no decision `01928f3e",
        ),
        ("ledger show 0", "error: `0` is not the id of a decision"),
    ],
)
def test_2_what_the_ledger_was_asked_is_at_fault(asked: CommandLine, words: str, message: str) -> None:
    ended = asked(*words.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(message)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    command = CommandLine(tmp_path_factory.mktemp("asked"))
    command("run", "policy.yaml", "hello", "--simulate", "--quiet")
    return command


def test_6_the_ledger_refused(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path).forked(
        "run", "policy.yaml", "hello", "--simulate", "--ledger", "policy.yaml"
    )
    assert (ended.code, ended.out) == (6, "")
    assert ended.err == (
        f"error: `{tmp_path}/policy.yaml` is not a ledger: it is no DuckDB file; left it as it is\n"
        "  = help: name another file; a new ledger is made where there is none\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("arguments", [("check", "policy.yaml"), ("--help",)])
def test_74_the_result_could_not_be_written(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    command = CommandLine(tmp_path)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command.words(*arguments),
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=command.environment(),
        )
    assert (done.returncode, done.stderr) == (74, b"error: no space left on device\n")


def test_130_ctrl_c_ends_a_long_decide_without_a_traceback(tmp_path: Path) -> None:
    arguments = ("decide", "policy.yaml", "--tasks", "-", "--format", "jsonl")
    started = CommandLine(tmp_path).start(*arguments, stdin=subprocess.PIPE)
    assert started.stdin is not None and started.stdout is not None
    started.stdin.write(b"{}\n")
    started.stdin.flush()
    started.stdout.readline()
    started.send_signal(signal.SIGINT)
    _, err = started.communicate()
    assert (started.returncode, err) == (130, b"stopped\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_stopped_is_stored(tmp_path: Path, number: signal.Signals) -> None:
    command = CommandLine(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        policy = (tmp_path / "policy.yaml").read_text(encoding="utf-8")
        kind = f"{{ kind: openai, host: '{host}' }}"
        (tmp_path / "policy.yaml").write_text(policy.replace("{ kind: ollama }", kind), encoding="utf-8")
        started = Forked(["run", "policy.yaml", "hello"], tmp_path, command.environment())
        connection, _ = silent.accept()
        connection.recv(1)
        started.send_signal(number)
        code, _, err = started.wait()
        connection.close()
    assert (code, err) == (128 + number, "stopped\n")
    rows = command("ledger", "sql", "SELECT model_id, error_class FROM attempt_rows", "--format", "csv").out
    assert rows == "model_id,error_class\nsmall,cancelled\n"


def test_130_ctrl_c_while_a_shape_is_built_is_no_error_of_pydantic(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> NoReturn:
        raise SchemaError('Error building "model" validator:\n  KeyboardInterrupt: ')

    monkeypatch.setattr(sys.modules["routewright.cli.invoking"], "_command", interrupted)
    assert (run_app(["check"]), capsys.readouterr().err) == (130, "stopped\n")

    def mistaken() -> NoReturn:
        raise SchemaError('Error building "model" validator')

    monkeypatch.setattr(sys.modules["routewright.cli.invoking"], "_command", mistaken)
    with pytest.raises(SchemaError):
        run_app(["check"])


def test_141_whoever_read_the_output_stopped_reading(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("tasks.jsonl", "{}\n" * 500)
    started = command.start("decide", "policy.yaml", "--tasks", "tasks.jsonl", "--format", "jsonl")
    assert started.stdout is not None and started.stderr is not None
    assert started.stdout.read(10) == b'{"task":{"'
    started.stdout.close()
    assert (started.wait(), started.stderr.read()) == (141, b"")
    started.communicate()


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_standard_streams_are_no_crash(tmp_path: Path, closed: int) -> None:
    command = CommandLine(tmp_path)
    script = f"import os, sys; os.close({closed}); os.execv(sys.executable, sys.argv[1:])"
    words = [sys.executable, "-c", script, *command.words("decide", "policy.yaml", "--tasks", "-")]
    done = subprocess.run(words, input=b"", capture_output=True, cwd=tmp_path, env=command.environment())
    assert done.returncode == (ExitCode.USAGE if closed == 0 else ExitCode.OK)
    assert b"Traceback" not in done.stderr


def test_run_refuses_what_is_not_carried_out_unless_told(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    policy = (tmp_path / "policy.yaml").read_text()
    command.write(
        "policy.yaml",
        policy.replace(
            "features:\n",
            "features:\n  hour: { type: integer, from: time.hour, timezone: UTC, sensitive: true }\n",
        ),
    )
    refused = command("run", "policy.yaml", "hello", "--simulate")
    assert (refused.code, refused.out, refused.err) == (2, "", REFUSED)
    assert (
        command("ledger", "sql", "SELECT count(*) AS n FROM decision_records", "--format", "csv").out
        == "n\n0\n"
    )
    assert command("run", "policy.yaml", "hello", "--simulate", "--unenforced").code == 0


def test_every_exit_code_is_told_in_the_help(tmp_path: Path) -> None:
    text = " ".join(CommandLine(tmp_path)("--help").out.split())
    told = [ExitCode.OK, ExitCode.CHECK_FAILED, ExitCode.USAGE, ExitCode.INVALID_POLICY, ExitCode.NO_TARGET]
    told += [ExitCode.BACKEND_FAILED, ExitCode.LEDGER_REFUSED, ExitCode.STOPPED]
    assert [code for code in told if f" {code.value} " not in text] == []
    assert os.EX_IOERR == ExitCode.OUTPUT_FAILED
