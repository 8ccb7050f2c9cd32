"""Commands in processes of their own that load nothing anew: forks of the test's process.

How a process starts is tested elsewhere, with Python started too; what a command does in one, with real signals,
streams and an exit code, takes a tenth of the time here.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from routewright import cli
from routewright.cli import main

from .new_ledgers import new_ledger

__all__ = ["Forked"]


class Forked:
    """A command that runs with ``streams`` as its standard input, output and error; files where none are given.

    Python's and the system's handlers of signals are as at the start of a process.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        stdin: str = "",
        streams: tuple[int, int, int] | None = None,
    ) -> None:
        _load()
        self._files = [tempfile.TemporaryFile() for _ in range(3)]
        self._files[0].write(stdin.encode())
        self._files[0].seek(0)
        streams = streams or (self._files[0].fileno(), self._files[1].fileno(), self._files[2].fileno())
        with warnings.catch_warnings():
            # Of a fork beside threads, from Python 3.12 on: a command needs none of those.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            _run(arguments, folder, environment, streams)

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> tuple[int, str, str]:
        """Wait for its end: its exit code, negative for a signal, and what it wrote to files."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        written = []
        for file in self._files[1:]:
            file.seek(0)
            written.append(file.read().decode())
        for file in self._files:
            file.close()
        return code, written[0], written[1]


@cache
def _load() -> None:
    """Load what commands load when they are called."""
    for module in pkgutil.iter_modules(cli.__path__, f"{cli.__name__}."):
        importlib.import_module(module.name)
    for name in ("duckdb", "routewright.gateway", "routewright.loading"):
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        new_ledger(Path(folder) / "ledger.duckdb")  # which others are copied from


def _run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], streams: tuple[int, int, int]
) -> None:
    """Be the process of a command, and end with it."""
    code: object = 1
    try:
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        os.closerange(3, 1_024)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for name, stream in (
            ("stdin", open(0, encoding="utf-8", errors="surrogateescape", closefd=False)),
            ("stdout", open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)),
            ("stderr", open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)),
        ):
            vars(sys).update({name: stream, f"__{name}__": stream})
        sys.argv = ["routewright", *arguments]
        main()
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
