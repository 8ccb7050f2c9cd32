"""Ctrl-C ends a command that only reads at once, whatever it is doing: status 130, one word, nothing left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from support.command_line import CommandLine, hear_ctrl_c
from support.sizes import THOROUGH

ENDLESS = "SELECT count(*) FROM range(1000000000000)"
ONE_VALUE = "SELECT length(repeat('x', 500000000))"
SPILLING = "SELECT count(*) FROM (SELECT DISTINCT hash(range) FROM range(10000000000))"

_RANDOM = random.Random(36)
CASES = [
    (0.9, ONE_VALUE),
    (1.2, SPILLING),
    # Before Python has started, it is the kernel that ends the process.
    *((_RANDOM.uniform(0.05, 1.5), ENDLESS) for _ in range(36 if THOROUGH else 0)),
]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    command = CommandLine(tmp_path_factory.mktemp("stopping"))
    command("run", "policy.yaml", "hello", "--simulate")
    return command


@pytest.mark.parametrize(("after_s", "statement"), CASES)
def test_130_ctrl_c_ends_a_question_at_once(command: CommandLine, after_s: float, statement: str) -> None:
    limits = ("--timeout", "86400", "--max-memory", "2000" if statement == ONE_VALUE else "100")
    started = command.start("ledger", "sql", statement, *limits, "-o", "out.csv")
    time.sleep(after_s)
    started.send_signal(signal.SIGINT)
    at = time.monotonic()
    out, err = started.communicate(timeout=30)
    assert (started.returncode, out, err) == (130, b"", b"stopped\n")
    assert time.monotonic() - at < 2
    assert [path.name for path in command.ledger.parent.iterdir() if ".tmp" in path.name] == []
    assert [path.name for path in command.folder.iterdir() if "out.csv" in path.name] == []


def test_130_ctrl_c_ends_a_question_while_modules_are_loaded(command: CommandLine) -> None:
    script = (
        "import os, signal, sys\n"
        "def stop(event, arguments):\n"
        "    if event == 'import' and arguments[0] == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.addaudithook(stop)\n"
        "from routewright.cli import main; main()"
    )
    assert run(command, script, "ledger", "sql", "SELECT 1") == (130, b"", b"stopped\n")


def test_130_ctrl_c_is_heard_while_the_main_thread_is_in_a_library(command: CommandLine) -> None:
    script = (
        "import hashlib, os, signal, threading; from routewright.cli.stopping import stop_at_once\n"
        "stop_at_once(); threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 1_000_000_000)"
    )
    assert run(command, script) == (130, b"", b"stopped\n")


def run(command: CommandLine, script: str, *arguments: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        cwd=command.folder,
        env=command.environment(),
        preexec_fn=hear_ctrl_c,
        timeout=30,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_process_that_is_deaf_to_ctrl_c_stays_so(command: CommandLine) -> None:
    script = (
        "import signal; from routewright.cli.stopping import stop_at_once\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); stop_at_once(); signal.raise_signal(signal.SIGINT)"
    )
    assert run(command, script) == (0, b"", b"")


def test_a_command_ends_although_duckdb_does_not_stop(command: CommandLine) -> None:
    before = os.times()
    done = command.process("ledger", "sql", "SELECT length(repeat('x', 4000000000))", "--max-memory", "60")
    after = os.times()
    # Of the processor: on a busy machine a second may last several.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 8
    assert (done.code, done.out) == (6, "")
    assert done.err.startswith("error: the statement needed more than 60 MB of memory and was stopped\n")
