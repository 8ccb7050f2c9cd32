"""``run``: decide, execute, store; nothing that was answered is lost."""

from __future__ import annotations

import json
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.command_line import POLICY, CommandLine
from support.forked import Forked

from routewright.backends import ERROR_CLASSES
from routewright.ledger import LedgerError, LedgerWriter


def test_it_says_who_answered_when_told(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    ended = command("run", "policy.yaml", "hello", "--simulate", "--verbose", "--fail", "small=overloaded")
    assert ended.code == 0
    assert ended.out.startswith("[simulated] `kimi-k2:1t-cloud` would answer here")
    first, second, summary, stored, *rest = ended.err.split("\n")
    assert first.startswith("tried small on ollama (answer, simulated): failed, overloaded, ")
    assert second.startswith("tried large on ollama (fallback, simulated): ok, ")
    assert summary.startswith("large | rule otherwise | ")
    assert " | cost unknown | failed: small: overloaded | decision " in summary
    shown = command("ledger", "sql", "SELECT decision_id FROM all_decisions_flat", "--format", "csv")
    assert summary.rpartition("decision ")[2] == shown.out.split()[1]
    assert (stored, rest) == (f"stored in {command.ledger}", [""])


def test_the_last_line_names_the_cap_that_kept_fallbacks_from_being_asked(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", POLICY + "controls: [{ name: tries, max_attempts: 1 }]\n")
    ended = command("run", "policy.yaml", "hello", "--simulate", "--fail", "small=overloaded")
    assert ended.code == 5
    lines = ended.err.splitlines()
    assert lines[1] == "tried large on ollama (fallback): skipped, `max_attempts: 1` is reached, 0 ms"
    assert lines[-1].endswith("; `large` was not called: `max_attempts: 1` is reached")


def test_json_has_all_that_an_answer_knows_in_python(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    flags = ("hello", "--simulate", "--format", "json")
    ended = command("run", "policy.yaml", *flags, "--fail", "small=overloaded")
    told = json.loads(ended.out)
    assert (ended.code, told["model"], told["target"], told["rule"]) == (0, "large", "small", "otherwise")
    assert told["answer"]["text"].startswith("[simulated] `kimi-k2:1t-cloud`")
    assert (told["verified"], told["notes"], told["cost"], told["steps"]) == (None, None, None, [])
    assert [(one["model_id"], one["status"]) for one in told["attempts"]] == [
        ("small", "failed"),
        ("large", "ok"),
    ]
    assert (told["error"], told["stored_in"]) == (None, str(command.ledger))
    shown = command("ledger", "sql", "SELECT decision_id FROM all_decisions_flat", "--format", "json")
    assert told["decision_id"] in shown.out
    failed = command(
        "run", "policy.yaml", *flags, *("--fail", "small=overloaded", "--fail", "large=not_found")
    )
    told = json.loads(failed.out)
    assert (failed.code, told["answer"], told["error"]["class"]) == (5, None, "not_found")


def test_the_prompt_comes_from_standard_input_too(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    given = command("run", "policy.yaml", "hello", "--simulate", "--no-ledger")
    read = command("run", "policy.yaml", "-", "--simulate", "--no-ledger", stdin="hello")
    assert given.code == 0
    assert read == given


def test_standard_input_is_put_before_the_prompt(tmp_path: Path, echo: int) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", ECHO.format(port=echo))
    piped = command.forked("run", "policy.yaml", "Summarise", "--quiet", stdin="a report\n\n")
    assert (piped.code, json.loads(piped.out)["messages"]) == (
        0,
        [{"role": "user", "content": "a report\n\nSummarise"}],
    )
    nothing = command("run", "policy.yaml", "Summarise", "--quiet", stdin=" \n")
    assert json.loads(nothing.out)["messages"] == [{"role": "user", "content": "Summarise"}]
    rerank = command("run", "policy.yaml", "Which?", "--operation", "rerank", "--document", "a", stdin="text")
    assert (rerank.code, rerank.err.splitlines()[0]) == (
        2,
        "error: a rerank has no place for standard input beside its query",
    )


def test_who_waits_for_standard_input_says_so(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    started = command.start("run", "policy.yaml", "hello", "--simulate", "--quiet", stdin=subprocess.PIPE)
    assert started.stdin is not None and started.stderr is not None
    assert started.stderr.readline().startswith(b"waiting for the end of standard input")
    assert started.communicate(b"text")[0].startswith(b"[simulated] ")
    assert started.returncode == 0


def test_what_flags_ask_of_an_answer_reaches_the_server(tmp_path: Path, echo: int) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", ECHO.format(port=echo))
    png = b"\x89PNG\r\n\x1a\n and more"
    command.write("screen.png", png)
    command.write("shape.json", '{"type": "object"}')
    flags = [
        "--system",
        "Be brief.",
        "--temperature",
        "0.5",
        "--max-output-tokens",
        "50",
        "--tag",
        "team=a=b",
    ]
    files = ["--image", "screen.png", "--json-schema", "shape.json"]
    ended = command("run", "policy.yaml", "What is wrong?", "--quiet", *flags, *files)
    assert ended.code == 0
    asked = json.loads(ended.out)
    system, user = asked["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64encode(png).decode()}"}}
    assert user == {"role": "user", "content": [{"type": "text", "text": "What is wrong?"}, image]}
    assert (asked["temperature"], asked["max_tokens"]) == (0.5, 50)
    assert asked["response_format"]["json_schema"]["schema"] == {"type": "object"}
    tags = command("ledger", "sql", "SELECT tags['team'] AS team FROM all_decisions_flat", "--format", "csv")
    assert tags.out == "team\na=b\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "none.png"], "cannot read `none.png`: no such file or directory"),
        (["--image", "policy.yaml"], "`policy.yaml` is no image that can be sent"),
        (["--json-schema", "policy.yaml"], "`policy.yaml` is not JSON: "),
        (["--json-schema", "list.json"], "`list.json` is not a JSON Schema: expected an object"),
        (["--temperature", "-1"], "the temperature is a number from 0 to 100, not -1.0"),
        (["--tag", "team"], "--tag: `team` is not NAME=VALUE"),
        (["--metadata", "a=1", "--metadata", "a=2"], "--metadata gives `a` twice"),
        (["--session", "s", "--metadata", "session=t"], "the session is given twice"),
        (["--system", "caf\udce9"], "--system is not UTF-8 text"),
        (["--pin", ""], "`pin` "),
        (["--operation", "embed", "--system", "x"], "--system needs --operation chat"),
        (["--operation", "embed", "--temperature", "0"], "--temperature needs --operation chat"),
    ],
)
def test_flags_that_cannot_be_used_say_why(tmp_path: Path, arguments: list[str], message: str) -> None:
    command = CommandLine(tmp_path)
    command.write("list.json", "[]")
    for name in ("run", "decide"):
        ended = command(name, "policy.yaml", "hello", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith(f"error: {message}")


def test_without_a_ledger_nothing_is_stored(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    assert command("run", "policy.yaml", "hello", "--simulate", "--no-ledger").code == 0
    assert not command.ledger.exists()


@pytest.mark.parametrize("method", ["add_all", "close"])
@pytest.mark.parametrize("operation", ["chat", "embed"])
def test_an_answer_is_written_also_when_the_ledger_refuses_it(
    tmp_path: Path, operation: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = CommandLine(tmp_path)
    policy = (tmp_path / "policy.yaml").read_text()
    command.write("policy.yaml", policy.replace("capabilities: [tools]", "operations: [chat, embed]"))

    written, add_all = [], LedgerWriter.add_all

    def refuse(writer: LedgerWriter, *given: Any) -> Any:
        written.append(given)
        if method == "add_all" and len(written) == 1:  # the intent of the call
            return add_all(writer, *given)
        raise LedgerError("the disk is full", help="make room")

    monkeypatch.setattr(LedgerWriter, method, refuse)
    ended = command("run", "policy.yaml", "hello", "--simulate", "--quiet", "--operation", operation)
    assert ended.code == 6
    assert ended.out.startswith("[simulated] ")
    assert ended.err == "error: the disk is full\n  = help: make room\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fail", "medium=overloaded"], "--fail names an unknown model `medium`"),
        (["--fail", "small=tired"], "--fail: unknown failure class `tired`"),
        (["--fail", "small"], "--fail: `small` is not a failure"),
        (["--operation", "rerank"], "rerank needs documents to rank"),
        (["--document", "a text"], "--document needs --operation rerank"),
        (
            ["--operation", "embed", "--max-output-tokens", "5"],
            "--max-output-tokens needs --operation chat",
        ),
        (["--ledger", "x", "--no-ledger"], "--ledger and --no-ledger cannot be combined"),
    ],
)
def test_mistakes_end_with_2_and_a_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    ended = CommandLine(tmp_path)("run", "policy.yaml", "hello", "--simulate", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}\n  = help: " if "ledger" not in message else "error: ")


def test_a_failure_that_has_several_kinds_names_all_of_them(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("run", "policy.yaml", "hello", "--simulate", "--fail", "small=timeout")
    kinds = [one for one in ERROR_CLASSES if one.startswith("timeout.")]
    assert len(kinds) == 7
    assert ended.err.endswith(f"`timeout`\n  = help: one of {', '.join(kinds)}\n")


@pytest.mark.parametrize(
    ("prompt", "stdin", "message"),
    [
        ("", "", "the prompt is empty"),
        ("-", " \n", "the prompt is empty"),
        ("caf\udce9", "", "the prompt is not UTF-8 text"),
        ("hello", "\udce9", "standard input is not UTF-8 text"),
    ],
)
def test_a_prompt_without_text_is_refused(tmp_path: Path, prompt: str, stdin: str, message: str) -> None:
    command = CommandLine(tmp_path)
    ended = command("run", "policy.yaml", prompt, "--simulate", stdin=stdin)
    assert (ended.code, ended.out, ended.err) == (2, "", f"error: {message}\n")
    assert not command.ledger.exists()


def test_two_processes_store_into_one_ledger_at_the_same_time(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    started = [
        Forked(
            ["run", "policy.yaml", f"prompt {number}", "--simulate", "--quiet"],
            tmp_path,
            command.environment(),
        )
        for number in range(2)
    ]
    ended = [process.wait() for process in started]
    assert [(code, err) for code, _, err in ended] == [(0, ""), (0, "")]
    counted = command(
        "ledger", "sql", "SELECT count(*) AS n, sum(calls) AS a FROM all_decisions_flat", "--format", "csv"
    )
    assert counted.out == "n,a\n2,2\n"


def test_a_stand_in_is_named_and_fail_needs_simulate(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    ended = command("run", "policy.yaml", "hello", "--simulate", "--map", "small=simulated:other")
    assert ended.code == 0
    assert ended.out.startswith("[simulated] `other` would answer here")
    assert ended.err.startswith("small (stand-in simulated:other) | rule otherwise | ")
    unknown = command("run", "policy.yaml", "hello", "--map", "small=llamacpp:other")
    assert (unknown.code, unknown.out) == (2, "")
    assert unknown.err.startswith("error: `llamacpp:other`: the model `other` has no file\n")
    refused = command("run", "policy.yaml", "hello", "--fail", "small=overloaded")
    assert (refused.code, refused.out) == (2, "")
    assert (
        refused.err
        == "error: --fail needs --simulate, as `small` is a real model\n  = help: real models fail by themselves\n"
    )
    planned = command(
        "run", "policy.yaml", "hello", "--map", "*=simulated:other", "--fail", "small=overloaded"
    )
    assert planned.code == 0
    assert " | failed: small: overloaded" in planned.err


def test_a_run_without_a_server_says_what_was_tried(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    policy = (tmp_path / "policy.yaml").read_text()
    command.write("policy.yaml", policy.replace("kind: ollama", "kind: ollama, host: 'http://127.0.0.1:9'"))
    ended = command("run", "policy.yaml", "hello")
    assert (ended.code, ended.out) == (5, "")
    first, second, summary, error, help, rest = ended.err.split("\n")
    assert first.startswith("tried small on ollama (answer): failed, timeout.connect, ")
    assert first.endswith(" ms: no connection to `127.0.0.1:9`: connection refused")
    assert second.startswith("tried large on ollama (fallback): failed, timeout.connect, ")
    assert summary.startswith("no answer | rule otherwise | ")
    assert error.startswith("error: no connection to `127.0.0.1:9`")
    assert help.startswith("  = help: is the server running?")
    assert rest == ""
    assert command.ledger.with_name("state.sqlite").exists()


def test_what_came_of_a_step_is_told_with_its_reason(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    policy = (tmp_path / "policy.yaml").read_text()
    steps = (
        "use: [small], steps: [{ draft: { with: large } }, { verify: { with: small, on_reject: annotate } }],"
    )
    command.write("policy.yaml", policy.replace("use: [small], fallback: [large],", steps))
    ended = command("run", "policy.yaml", "hello", "--simulate", "--verbose", "--fail", "large=not_found")
    assert ended.code == 0
    draft, verify = ended.err.splitlines()[3:5]
    assert draft == "draft by large: dropped: `kimi-k2:1t-cloud` failed as scripted: not_found"
    assert verify.startswith("verify by small: unreadable: [simulated] ")


KEYS = """\
routewright: 1
name: keys
catalog:
  routewright: 1
  backends:
    far: { kind: openai, host: "http://127.0.0.1:9/v1", api_key: "${NO_SUCH_KEY}" }
    near: { kind: simulated }
  models: { big: { backend: far }, small: { backend: near } }
features: { task_type: { type: string, enum: [easy, hard, alone] } }
rules:
  - { name: alone, when: task_type == 'alone', use: [big] }
  - { name: hard, when: task_type == 'hard', use: [big], fallback: [small] }
  - { name: rest, use: [small] }
"""


@pytest.mark.parametrize(
    ("kind", "code", "answered"), [("easy", 0, True), ("hard", 0, True), ("alone", 4, False)]
)
def test_a_missing_key_stops_only_whose_task_needs_it(
    tmp_path: Path, kind: str, code: int, answered: bool
) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", KEYS)
    command.configure('[keys]\nNO_SUCH_KEY = "127.0.0.1:9"\n')
    ended = command("run", "policy.yaml", "hello", "-f", f"task_type={kind}")
    assert (ended.code, ended.out.startswith("[simulated]")) == (code, answered)
    reason = "backend `far` needs the environment variable `NO_SUCH_KEY`, which is not set"
    assert (reason in ended.err) is (kind != "easy")
    assert ("set NO_SUCH_KEY" in ended.err) is (kind != "easy")


ECHO = """\
routewright: 1
name: echo
catalog:
  routewright: 1
  backends: {{ near: {{ kind: openai, host: "http://127.0.0.1:{port}/v1" }} }}
  models: {{ one: {{ backend: near, capabilities: [vision, json_schema], price: {{ input: 1, output: 2 }} }} }}
rules: [{{ name: only, use: [one] }}]
"""


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that answers with what it was asked."""
    yield from _server(lambda asked: asked)


@pytest.fixture
def counts_nothing() -> Iterator[int]:
    """The port of a server that answers, and says that it took no tokens."""
    yield from _server(lambda _: "an answer of many words " * 100)


@pytest.fixture
def says_nothing() -> Iterator[int]:
    """The port of a server whose answers are empty."""
    yield from _server(lambda _: "")


def _server(answer: Callable[[str], str]) -> Iterator[int]:

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            message = {"role": "assistant", "content": answer(asked)}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            body = json.dumps({"choices": choices, "usage": {"prompt_tokens": 0, "completion_tokens": 0}})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_only_a_lower_bound_is_said_to_be_one(tmp_path: Path, counts_nothing: int) -> None:
    command = CommandLine(tmp_path)
    host = f"http://127.0.0.1:{counts_nothing}/v1"
    policy = KEYS.replace('"http://127.0.0.1:9/v1", api_key: "${NO_SUCH_KEY}"', f'"{host}"')
    command.write(
        "policy.yaml", policy.replace("backend: far", "backend: far, price: { input: 1, output: 2 }")
    )
    ended = command("run", "policy.yaml", "hello", "-f", "task_type=alone")
    assert ended.code == 0
    [tokens, cost] = ended.err.split(" | ")[3:5]
    assert (tokens, cost) == ("at least 1 token in, 300 out", "at least 0.000601 USD")
    assert command("ledger", "tail").out.rstrip().endswith(" at least 0.000601 USD")
    command("run", "policy.yaml", "hello", "--simulate")
    [bounded, simulated] = json.loads(command("ledger", "tail", "--format", "json").out)
    assert (bounded["cost_is_least"], simulated["cost_is_least"]) == (True, False)
    assert bounded["known_cost_usd"] == 0.000601


def test_a_call_that_never_left_cost_nothing_whatever_its_model_costs(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", KEYS.replace(', api_key: "${NO_SUCH_KEY}"', ""))
    ended = command("run", "policy.yaml", "hello", "-f", "task_type=alone")
    assert ended.code == 5 and " | 0 tokens in, 0 out | cost 0 | failed: big: timeout.connect" in ended.err
    command("run", "policy.yaml", "hello", "-f", "task_type=hard")
    refused, answered = command("ledger", "tail").out.splitlines()[2:]
    assert refused.endswith("  0") and answered.endswith("  unknown")


def test_an_empty_answer_is_said_to_be_one(tmp_path: Path, says_nothing: int) -> None:
    command = CommandLine(tmp_path)
    host = f"http://127.0.0.1:{says_nothing}/v1"
    command.write(
        "policy.yaml", KEYS.replace('"http://127.0.0.1:9/v1", api_key: "${NO_SUCH_KEY}"', f'"{host}"')
    )
    ended = command("run", "policy.yaml", "hello", "-f", "task_type=alone")
    assert (ended.code, ended.out.strip()) == (0, "")
    assert " | no fallback | the answer is empty | decision " in ended.err


def test_a_cost_in_two_currencies_is_not_said_to_be_unknown(tmp_path: Path) -> None:
    """A fallback that takes over from a refused call is paid for alone."""
    command = CommandLine(tmp_path)
    command.write(
        "policy.yaml",
        """routewright: 1
name: first
catalog:
  routewright: 1
  backends: { lab: { kind: openai, host: "http://127.0.0.1:9/v1" } }
  models:
    dollars: { backend: lab, tag: a, price: { input: 1, output: 1, currency: USD } }
    euros: { backend: lab, tag: b, price: { input: 1, output: 1, currency: EUR } }
features: { both: { type: boolean, default: false } }
rules:
  - { name: draft, when: both, use: [dollars], steps: [{ draft: { with: euros } }] }
  - { name: otherwise, use: [dollars], fallback: [euros] }
""",
    )
    both = command("run", "policy.yaml", "hello", "--simulate", "-f", "both=true")
    assert "cost in two currencies" in both.err
    taken_over = command("run", "policy.yaml", "hello", "--simulate", "--fail", "dollars=overloaded")
    assert " EUR" in taken_over.err
