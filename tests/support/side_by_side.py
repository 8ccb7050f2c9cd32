"""Runs the tests in several processes at once: ``--processes 3`` are this one and two forks of it.

The tests are collected once, and what collecting has loaded is there in each fork. Each process takes the next file
when it is free. Files with snapshots stay in the first process, which says in the end which of these are unused.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import pytest

LONGEST: Final = (
    "tests/cli/test_pages.py",
    "tests/cli/test_hostile_texts.py",
    "tests/test_faults.py",
    "tests/backends/test_untrusted.py",
    "tests/ledger/test_shadows.py",
    "tests/ledger/test_writer.py",
    "tests/ledger/test_in_flight.py",
    "tests/backends/control/test_processes.py",
    "tests/engine/decision/test_decision_properties.py",
    "tests/ledger/test_pruning.py",
    "tests/backends/test_llamacpp.py",
    "tests/backends/test_mlx_smollm2.py",
)
"""Files that take long come first, so that no process is left alone with one in the end."""

_LENGTH: Final = 4
"""Bytes before a message, which say how long it is."""

_PAUSE_S: Final = 0.02


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--processes", type=int, default=1, help="in how many processes the tests are run")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run all tests, if it is to be in several processes."""
    processes = session.config.option.processes
    if processes < 2 or session.config.option.collectonly or session.testsfailed:
        return None
    files = [list(items) for _, items in groupby(session.items, _file)]
    files.sort(
        key=lambda items: LONGEST.index(_file(items[0])) if _file(items[0]) in LONGEST else len(LONGEST)
    )
    here = [
        items for items in files if any("snapshot" in getattr(item, "fixturenames", ()) for item in items)
    ]
    queue = _Queue([items for items in files if items not in here])
    forks = [_Fork(session, queue, number) for number in range(1, processes)]
    ran = 0
    try:
        for _ in _run(session, chain(chain.from_iterable(here), queue)):
            ran += 1
            _hear(forks)
        while any(fork.is_running for fork in forks):
            _hear(forks)
            time.sleep(_PAUSE_S)
    finally:
        for fork in forks:
            fork.stop()
    missing = len(session.items) - ran - sum(fork.ended for fork in forks)
    if missing:
        session.shouldfail = f"{missing} tests were not run: the process that had taken them is gone"
        raise session.Failed(session.shouldfail)
    return True


def _hear(forks: Sequence[_Fork]) -> None:
    for fork in forks:
        if fork.is_running:
            fork.hear()


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _run(session: pytest.Session, items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Run tests as pytest itself does, and give each when it has ended."""
    for item, following in pairwise(chain(items, [None])):
        assert item is not None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        yield item
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)


class _Queue:
    """Tests, by file, from which several processes take: the numbers of the files are in a pipe."""

    def __init__(self, files: Sequence[Sequence[pytest.Item]]) -> None:
        self._files = files
        self._numbers, into = os.pipe()
        with os.fdopen(into, "wb") as pipe:
            pipe.write(b"".join(number.to_bytes(2) for number in range(len(files))))

    def __iter__(self) -> Iterator[pytest.Item]:
        while number := os.read(self._numbers, 2):
            yield from self._files[int.from_bytes(number)]


class _Fork:
    """A process that runs tests of a queue, as the one that reports sees it; what it says is in a file."""

    def __init__(self, session: pytest.Session, queue: _Queue, number: int) -> None:
        self._config, self._in, self._unread = session.config, "", b""
        self.ended = 0
        self.is_running = True
        folder = session.config._tmp_path_factory.mktemp(f"fork-{number}", numbered=False)  # type: ignore[attr-defined]
        said = folder / "said"
        said.touch()
        self._said = said.open("rb")
        self._pid = os.fork()
        if self._pid == 0:
            _be_fork(session, queue, said, folder / "temporary")

    def hear(self) -> None:
        """Report what it has said, and the test in which it has ended too early."""
        ended, status = os.waitpid(self._pid, os.WNOHANG)
        self._unread += self._said.read()
        while len(self._unread) >= _LENGTH:
            length = _LENGTH + int.from_bytes(self._unread[:_LENGTH])
            if len(self._unread) < length:
                break
            self._take(*pickle.loads(self._unread[_LENGTH:length]))
            self._unread = self._unread[length:]
        if ended:
            self.is_running = False
            if self._in:
                self.ended += 1
                text = f"the process that ran it ended with status {os.waitstatus_to_exitcode(status)}"
                report = pytest.TestReport(self._in, (self._in, None, ""), {}, "failed", text, "call")
                self._config.hook.pytest_runtest_logreport(report=report)

    def _take(self, kind: str, said: Any) -> None:
        hook = self._config.hook
        if kind == "report":
            report = hook.pytest_report_from_serializable(config=self._config, data=said)
            hook.pytest_runtest_logreport(report=report)
        elif kind == "start":
            self._in = said[0]
            hook.pytest_runtest_logstart(nodeid=said[0], location=said[1])
        else:
            self._in = ""
            self.ended += 1
            hook.pytest_runtest_logfinish(nodeid=said[0], location=said[1])

    def stop(self) -> None:
        """End it, if it runs still, as Ctrl-C would."""
        if self.is_running:
            os.kill(self._pid, signal.SIGINT)
            os.waitpid(self._pid, 0)
        self._said.close()


# --- in the fork -------------------------------------------------------------------------------------------------


class _Reporter:
    """Says what comes of tests to another process."""

    def __init__(self, config: pytest.Config, into: BinaryIO) -> None:
        self._config, self._into = config, into

    def _send(self, kind: str, said: object) -> None:
        message = pickle.dumps((kind, said))
        self._into.write(len(message).to_bytes(_LENGTH) + message)

    def pytest_runtest_logstart(self, nodeid: str, location: object) -> None:
        self._send("start", (nodeid, location))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # What is set up and cleared away well is told to nobody, except how long it took.
        if report.when == "call" or not report.passed or self._config.option.durations is not None:
            data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
            self._send("report", data)

    def pytest_runtest_logfinish(self, nodeid: str, location: object) -> None:
        self._send("end", (nodeid, location))


def _be_fork(session: pytest.Session, queue: _Queue, said: Path, temporary: Path) -> NoReturn:
    """Run tests of the queue until there are none, and end this process."""
    status, plugins = 1, session.config.pluginmanager
    try:
        # The files that output is captured in, and where temporary ones go, are the other process's.
        captured = plugins.getplugin("capturemanager")
        captured.stop_global_capturing()
        captured.start_global_capturing()
        temporary.mkdir(mode=0o700)
        session.config._tmp_path_factory._basetemp = temporary  # type: ignore[attr-defined]
        plugins.unregister(name="terminalreporter")
        plugins.register(_Reporter(session.config, said.open("ab", buffering=0)))
        for _ in _run(session, queue):
            pass
        captured.stop_global_capturing()
        status = 0
    except (session.Failed, session.Interrupted, KeyboardInterrupt):
        pass  # the other process says so
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        atexit._run_exitfuncs()
        os._exit(status)
