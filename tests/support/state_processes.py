"""Real processes that share a state store with the test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["Worker", "workers"]

_SCRIPT = Path(__file__).with_name("quota_worker.py")


class Worker:
    """One process; it waits until it is told to begin."""

    def __init__(self, path: Path, kind: str, *arguments: object) -> None:
        command = [sys.executable, str(_SCRIPT), str(path), kind, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> object:
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return json.loads(out)

    def kill(self) -> None:
        """Kill it with SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.communicate(timeout=60)


@contextmanager
def workers(number: int, path: Path, kind: str, *arguments: object) -> Iterator[list[Worker]]:
    """So many processes, all ready; killed in the end where they still run."""
    with ExitStack() as stack:
        made = []
        for _ in range(number):
            worker = Worker(path, kind, *arguments)
            stack.callback(worker.kill)
            made.append(worker)
        for worker in made:
            worker.wait_until_ready()
        yield made
