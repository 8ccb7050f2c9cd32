"""Runs the command line, in this process or in one of its own, far from the user's files and settings."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from routewright.cli.invoking import run_app
from routewright.loading.loading import shipped

from .forked import Forked

HYBRID = str(shipped("hybrid.yaml"))

POLICY = """\
routewright: 1
name: first
catalog:
  routewright: 1
  backends: { ollama: { kind: ollama } }
  models:
    small: { backend: ollama, tag: "qwen3-coder:30b", context_length: 32768, capabilities: [tools] }
    large: { backend: ollama, tag: "kimi-k2:1t-cloud", context_length: 200000 }
features:
  private: { type: boolean, default: false }
  complex_reasoning: { type: boolean, default: false }
  context_length: { type: integer, from: request.prompt_tokens }
constraints:
  - { name: private_stays_here, when: private, require: model.location == 'local' }
rules:
  - { name: hard, when: complex_reasoning || context_length > 30000, use: [large], fallback: [small] }
  - { name: otherwise, use: [small], fallback: [large], reason: small work }
"""

# What is kept of this process's environment: nothing of a user's settings or terminal.
_KEPT = ("PATH", "PYTHONPATH", "SYSTEMROOT", "COVERAGE_PROCESS_START", "OMP_WAIT_POLICY")


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str


def hear_ctrl_c() -> None:
    """Let a new process hear Ctrl-C: a job in the background, such as a whole test run, is started deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class CommandLine:
    """Commands with ``folder`` as working directory, home and data directory; ``policy.yaml`` is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "data" / "routewright" / "ledger.duckdb"
        self.configuration = folder / "config" / "routewright" / "routewright.toml"
        self.write("policy.yaml", POLICY)

    def write(self, name: str, text: str | bytes) -> str:
        """Write a file and return its name, which is relative to the working directory."""
        (self.folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    def configure(self, text: str) -> None:
        """Write the user's configuration."""
        self.configuration.parent.mkdir(parents=True, exist_ok=True)
        self.configuration.write_text(text, encoding="utf-8")

    def __call__(
        self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> Ended:
        """Run a command in this process, without a terminal."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
        with pytest.MonkeyPatch.context() as patch:
            for name in ("ROUTEWRIGHT_LEDGER", "ROUTEWRIGHT_ROOT", "ROUTEWRIGHT_CONFIG", "NO_COLOR", "TERM"):
                patch.delenv(name, raising=False)
            for name, value in (self._settings() | dict(environment or {})).items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(
                sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode("utf-8", "surrogateescape")), "utf-8")
            )
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = run_app(arguments)
        return Ended(code, _written(out), _written(err))

    def forked(self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Ended:
        """Run a command in a fork of this process, and wait for it: as a process, though Python is not started."""
        settings = self.environment() | dict(environment or {})
        return Ended(*Forked(arguments, self.folder, settings, stdin=stdin).wait())

    def process(
        self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> Ended:
        """Run a command as a process of its own, and wait for it."""
        done = subprocess.run(
            self.words(*arguments),
            input=stdin.encode(),
            capture_output=True,
            cwd=self.folder,
            env=self.environment() | dict(environment or {}),
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a command as a process of its own, with pipes for what it prints."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.words(*arguments),
            stdin=stdin,
            stdout=pipe,
            stderr=pipe,
            cwd=self.folder,
            env=self.environment(),
            preexec_fn=hear_ctrl_c,
        )

    def words(self, *arguments: str) -> Sequence[str]:
        """The command as a shell would be given it."""
        return [sys.executable, "-m", "routewright", *arguments]

    def environment(self) -> dict[str, str]:
        """The environment of a process."""
        return {name: os.environ[name] for name in _KEPT if name in os.environ} | self._settings()

    def _settings(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "ROUTEWRIGHT_LEDGER": str(self.ledger),
        }


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(errors="surrogateescape")
