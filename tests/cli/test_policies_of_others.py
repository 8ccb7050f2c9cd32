"""A policy from somebody else: no command shows other files of this machine, or what is in its environment."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.command_line import CommandLine, Ended

COMMANDS = {
    "check": ("check", "policy.yaml"),
    "decide": ("decide", "policy.yaml"),
    "run": ("run", "policy.yaml", "hello", "--verbose"),
    "health": ("health", "policy.yaml"),
    "models": ("models", "policy.yaml"),
    "quota": ("quota", "policy.yaml"),
}

SECRET = "hunter2"

# --- files -------------------------------------------------------------------------------------------------

POLICY = """\
routewright: 1
name: theirs
catalog: CATALOG
rules: [{ name: all, use: [small] }]
"""

ATTACKS = {
    "relative": "../../secrets.yaml",
    "absolute": "ABSOLUTE",
    "link": "link.yaml",
    "folder link": "up/secrets.yaml",
    "environment": "/proc/self/environ",
    "fifo": "fifo.yaml",
    "another file of theirs": "inner.yaml",
}


@pytest.fixture
def command(tmp_path: Path) -> CommandLine:
    """The command line in a folder two below that of the secrets."""
    folder = tmp_path / "home" / "work"
    folder.mkdir(parents=True)
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text(f"backends: {{ {SECRET}: 1 }}\nmodels: [ {SECRET}\n")
    (folder / "inner.yaml").write_text(f"database:\n  password: {SECRET}\n")
    (folder / "link.yaml").symlink_to(secrets)
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "fifo.yaml")
    return CommandLine(folder)


def attacked(command: CommandLine, attack: str) -> CommandLine:
    catalog = ATTACKS[attack].replace("ABSOLUTE", str(command.folder.parents[1] / "secrets.yaml"))
    command.write("policy.yaml", POLICY.replace("CATALOG", catalog))
    return command


def assert_refused(ended: Ended) -> None:
    """Refused at the place where the file is named, and nothing of it is shown."""
    assert ended.code == 3
    assert "policy.yaml:3:10: error[" in ended.out + ended.err
    assert SECRET not in ended.out + ended.err


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("attack", ["relative", "environment", "fifo"])
def test_no_command_shows_what_a_policy_names(command: CommandLine, name: str, attack: str) -> None:
    attacked(command, attack)
    # What /proc has is the environment that a process was started with.
    started = command.process if attack == "environment" else command
    assert_refused(started(*COMMANDS[name], environment={"PASSWORD": SECRET}))


@pytest.mark.parametrize("attack", ATTACKS)
def test_check_refuses_every_such_file(command: CommandLine, attack: str) -> None:
    assert_refused(attacked(command, attack)("check", "policy.yaml"))
    ended = attacked(command, attack)("check", "policy.yaml", "--format", "json")
    (problem,) = json.loads(ended.out)[0]["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("policy.yaml", 3, 10)
    assert SECRET not in ended.out


def test_the_root_is_an_option_and_a_variable(command: CommandLine) -> None:
    outer = command.folder.parent
    (outer / "catalog.yaml").write_text(
        "routewright: 1\nbackends: { near: { kind: simulated } }\nmodels: { small: { backend: near } }\n"
    )
    command.write("policy.yaml", POLICY.replace("CATALOG", "../catalog.yaml"))
    refused = command("check", "policy.yaml")
    assert (
        refused.code == 3
        and "choose a folder that holds both files with --root, ROUTEWRIGHT_ROOT, or `root=`" in refused.out
    )
    for name, arguments in COMMANDS.items():
        ended = command(*arguments, "--root", "..")
        assert ended.code == 0, (name, ended)
    assert command("eval", "true", "--policy", "policy.yaml", "--root", "..").code == 0
    assert command("check", "policy.yaml", environment={"ROUTEWRIGHT_ROOT": str(outer)}).code == 0
    nowhere = command("check", "policy.yaml", "--root", "nowhere")
    assert (nowhere.code, nowhere.err.splitlines()[0]) == (2, "error: the root `nowhere` is not a folder")


# --- variables ---------------------------------------------------------------------------------------------

VARIABLES = """\
routewright: 1
name: theirs
catalog:
  routewright: 1
  backends:
    listening: { kind: openai, host: "http://127.0.0.1:PORT/v1", api_key: "${AWS_SECRET_ACCESS_KEY}" }
    weights: { kind: llamacpp }
    folder: { kind: mlx, path: "${STRIPE_KEY}" }
    near: { kind: simulated }
  models:
    big: { backend: listening }
    file: { backend: weights, path: "${STRIPE_KEY}/model.gguf" }
    mlx: { backend: folder }
    small: { backend: near }
rules: [{ name: all, use: [big], fallback: [file, mlx, small] }]
"""

VALUES = {"AWS_SECRET_ACCESS_KEY": SECRET, "STRIPE_KEY": f"sk-{SECRET}"}


@pytest.fixture
def heard() -> Iterator[tuple[int, list[str]]]:
    """A server's port, and the headers of what it was sent."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(str(self.headers))
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1], requests
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_sends_or_shows_what_a_policy_may_not_read(
    tmp_path: Path, heard: tuple[int, list[str]], name: str
) -> None:
    command, (port, requests) = CommandLine(tmp_path), heard
    command.write("policy.yaml", VARIABLES.replace("PORT", str(port)))
    ended = command(*COMMANDS[name], environment=VALUES)
    assert requests == []
    assert SECRET not in ended.out + ended.err
    told = ended.out + ended.err
    if name in ("check", "decide", "health", "run"):
        assert "`${AWS_SECRET_ACCESS_KEY}` may not be sent to `127.0.0.1:" in told
        assert "`path` may not read the variable `STRIPE_KEY`" in told
        assert str(command.configuration) in told, "help says where to allow it"
    # One is not usable; the work goes to another all the same.
    assert ended.code == (1 if name == "health" else 0)
    if name == "run":
        assert ended.out.startswith("[simulated] `small` would answer here")
    if name in ("check", "decide"):
        assert "policy.yaml:6:" in told and "policy.yaml:8:" in told and "policy.yaml:12:" in told
        assert (
            '\n  |     folder: { kind: mlx, path: "${STRIPE_KEY}" }\n  |                                ^^^^'
            in told
        )


def test_what_the_user_s_file_allows_is_sent(tmp_path: Path, heard: tuple[int, list[str]]) -> None:
    command, (port, requests) = CommandLine(tmp_path), heard
    command.write("policy.yaml", VARIABLES.replace("PORT", str(port)))
    command.configure(
        f'[keys]\nAWS_SECRET_ACCESS_KEY = "127.0.0.1:{port}"\n[paths]\nvariables = ["STRIPE_KEY"]\n'
    )
    ended = command("health", "policy.yaml", environment=VALUES)
    assert requests and all(f"Bearer {SECRET}" in one for one in requests)
    assert SECRET not in ended.out + ended.err, "messages name the variable, never its value"
    ended = command("run", "policy.yaml", "hello", "--pin", "file", environment=VALUES)
    assert ended.code == 5 and "does not exist: `${STRIPE_KEY}/model.gguf`" in ended.err
    assert SECRET not in ended.err
    assert "note[" not in command("check", "policy.yaml").out


def test_a_file_that_cannot_be_used_stops_what_would_go_by_it(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.configure("[kyes]\n")
    for name in ("check", "decide", "health", "run"):
        ended = command(*COMMANDS[name])
        assert ended.code == 2, name
        assert (
            f"error: {command.configuration}: unknown table `[kyes]`; known: hosts, keys, ledger, paths, questions\n"
            in ended.err
        )
