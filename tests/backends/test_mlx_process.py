"""What the mlx backend does to its process: nothing early, nothing to its limits, no network, a clean exit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.mlx_parts import tiny_models
from support.sizes import ROUNDS

CHAT = """
import asyncio, resource, sys
from routewright.backends import ChatRequest, Message
from routewright.backends.mlx import MlxBackend, MlxModel
REQUEST = ChatRequest((Message("user", "hello"),), max_output_tokens=4)
backend = MlxBackend({"tiny-a": MlxModel(), "tiny-b": MlxModel()}, path=sys.argv[1])
"""


@pytest.fixture(scope="module")
def folder() -> Path:
    return tiny_models()


def run(folder: Path, code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", CHAT + code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_making_a_backend_and_asking_for_its_health_import_no_library(folder: Path) -> None:
    code = """
print(asyncio.run(backend.health()).healthy, len(asyncio.run(backend.models())))
print(sorted(name for name in ("mlx.core", "mlx_lm", "transformers", "numpy") if name in sys.modules))
"""
    assert run(folder, code) == "True 2\n[]\n"


def test_the_limits_of_open_files_are_as_before(folder: Path) -> None:
    code = """
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
before = (min(soft, 3000), hard)
resource.setrlimit(resource.RLIMIT_NOFILE, before)
asyncio.run(backend.chat("tiny-a", REQUEST))
print(resource.getrlimit(resource.RLIMIT_NOFILE) == before)
set_limit = resource.setrlimit
set_limit(resource.RLIMIT_NOFILE, before)
asyncio.run(backend.close())
"""
    assert run(folder, code) == "True\n"


def test_a_low_limit_of_open_files_is_raised_as_the_library_wants_and_a_hard_one_is_no_obstacle(
    folder: Path,
) -> None:
    code = """
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1500))
asyncio.run(backend.chat("tiny-a", REQUEST))
print(resource.getrlimit(resource.RLIMIT_NOFILE))
asyncio.run(backend.close())
"""
    assert run(folder, code) == "(1500, 1500)\n"


def test_no_connection_is_made_and_no_name_is_looked_up(folder: Path) -> None:
    code = """
def no_network(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise AssertionError(f"{event} {args}")
sys.addaudithook(no_network)
print(asyncio.run(backend.chat("tiny-a", REQUEST)).finish_reason)
asyncio.run(backend.close())
"""
    assert run(folder, code) == "length\n"


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_process_that_does_not_close_its_backend_ends_cleanly(folder: Path, round_: int) -> None:
    code = """
async def main():
    await backend.chat("tiny-a", REQUEST)
    async for event in backend.stream("tiny-b", ChatRequest(REQUEST.messages)):
        break
asyncio.run(main())
"""
    assert run(folder, code) == ""


def test_without_the_library_the_extra_to_install_is_named(folder: Path) -> None:
    code = """
sys.modules["mlx_lm"] = None  # as if it were not installed
try:
    asyncio.run(backend.chat("tiny-a", REQUEST))
except Exception as error:
    print(type(error).__name__, error.error_class, error, error.help, sep="; ")
asyncio.run(backend.close())
"""
    assert run(folder, code) == (
        "BackendError; not_found; the packages `mlx-lm` and `mlx` are not installed, or not for this machine; "
        "pip install '.[mlx]' in the checkout\n"
    )
