"""The embedded backend: models in GGUF files, run by llama.cpp (package ``xllamacpp``) without a server to set up.

Each model runs in a process of its own that starts with the first call (``process`` says why), and is
spoken to like any OpenAI-compatible server. A model that chats and makes vectors runs once for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from routewright.engine.policy import CompiledModel, judge, kinds
from routewright.engine.report import install_command

from ..errors import BackendError
from ..openai import OpenAIBackend, Operation, ServedBackend
from ..phases import CallClock, shared
from ..protocol import NO_LIMITS, BackendMemory, HealthReport, InMemory, Limits, Timings
from ..registry import Opening
from .process import GgufModel, ModelProcess, embedded_model

EMBEDDED_MODEL: Final = kinds.EMBEDDED_NAMES[0]


class LlamaCppBackend(ServedBackend):
    """Runs ``models``, whose keys are tags; by default the embedded one.

    Loading is its own phase, and its time is measured. A caller that gives up does not stop it: the next finds
    the model ready. A cancelled generation ends with the batch of tokens it is at.
    """

    def __init__(self, models: Mapping[str, GgufModel] | None = None) -> None:
        self._models = dict(models) if models is not None else {EMBEDDED_MODEL: GgufModel()}
        self._running: dict[tuple[str, Operation], ModelProcess] = {}

    async def health(self) -> HealthReport:
        """Whether the library and the files are there, and loaded models answer; loads none."""
        try:
            library = version("xllamacpp")
        except PackageNotFoundError:
            return HealthReport(
                False, f"the package `xllamacpp` is not installed: {install_command('llamacpp')}"
            )
        missing = [tag for tag, model in self._models.items() if not _is_there(model)]
        if missing:
            return HealthReport(False, f"the files of {_names(missing)} are not there", library)
        loaded = []
        for (tag, _), running in self._running.items():
            if running.server is not None and running.alive:
                report = await running.server.health()
                if not report.healthy:
                    return HealthReport(False, f"`{tag}`: {report.detail}", library)
                loaded.append(tag)
        return HealthReport(
            True, f"loaded: {_names(loaded)}" if loaded else "no model is loaded yet", library
        )

    async def models(self) -> Sequence[str]:
        """The tags of the models whose files are there."""
        return sorted(tag for tag, model in self._models.items() if _is_there(model))

    async def memory(self) -> BackendMemory:
        """The models that are loaded, each as large as its file. Each has memory of its own, and none makes room."""
        sizes = {tag: size for tag, model in self._models.items() if (size := _file_bytes(model)) is not None}
        loaded = dict.fromkeys(
            tag for (tag, _), running in self._running.items() if running.alive and running.is_loaded
        )
        return BackendMemory(tuple(InMemory(tag, sizes.get(tag)) for tag in loaded), None, sizes)

    async def load(self, model: str, operation: Operation, *, limits: Limits = NO_LIMITS) -> Timings:
        """Start the process of the model for this operation, and wait until it is loaded."""
        clock = CallClock(limits, who=model)
        async with self.server_for(clock, operation):
            return clock.timings()

    async def close(self) -> None:
        """End the processes of all models, also of those that still load."""
        processes, self._running = list(self._running.values()), {}
        for process in processes:
            await process.close()

    @asynccontextmanager
    async def server_for(self, clock: CallClock, operation: Operation) -> AsyncIterator[OpenAIBackend]:
        """The server of the model, in memory; the clock is past ``load`` then."""
        tag = clock.who
        model = self._models.get(tag)
        if model is None:
            raise clock.error(
                f"there is no model `{tag}` here",
                "not_found",
                help=f"there are: {_names(sorted(self._models))}" if self._models else None,
            )
        running = self._running.get((tag, operation))
        if running is None or not running.alive:
            running = await self._start(clock, tag, model, operation, running)
        server = running.server or await self._wait_for(clock, running, model)
        if clock.load_us is None:
            clock.loaded(0)
        try:
            yield server
        except BackendError as error:
            if error.error_class in ("broken_stream", "timeout.connect"):
                await _see_it_end(running)
            raise

    async def _wait_for(self, clock: CallClock, running: ModelProcess, model: GgufModel) -> OpenAIBackend:
        clock.enter("load")
        try:
            url = await clock.wait(shared(running.loaded))
        except BackendError as error:
            if error.timings is not None:
                raise
            raise clock.again(error) from error
        clock.loaded()
        if running.server is None:
            running.server = OpenAIBackend(
                judge("in_process", url),
                api_key=running.key,
                concurrency=model.slots,
                logits=True,
                extra="llamacpp",
            )
        return running.server

    async def _start(
        self, clock: CallClock, tag: str, model: GgufModel, operation: Operation, dead: ModelProcess | None
    ) -> ModelProcess:
        try:
            running = ModelProcess(tag, model, operation)
        except BackendError as error:
            raise clock.again(error) from error
        # INVARIANT: nothing is awaited before this line, or two callers would start two processes.
        self._running[tag, operation] = running
        if dead is not None:
            await dead.close()
        return running


async def _see_it_end(process: ModelProcess) -> None:
    """A connection that broke means a process that is ending, as a rule: the next call must not find it."""
    for _ in range(25):
        if not process.alive:
            return
        await asyncio.sleep(0.02)


def _is_there(model: GgufModel) -> bool:
    return _file_bytes(model) is not None


def _file_bytes(model: GgufModel) -> int | None:
    """The size of a model's file; None where it is not there."""
    try:
        path = embedded_model() if model.path is None else model.path
        return path.stat().st_size if path.is_file() else None
    except (BackendError, OSError):
        return None


def _names(tags: Sequence[str]) -> str:
    return ", ".join(f"`{tag}`" for tag in dict.fromkeys(tags))


def open_backend(
    shape: kinds.LlamaCppShape, models: Sequence[CompiledModel], opening: Opening
) -> LlamaCppBackend:
    """The backend for ``models``; one without a path is the embedded model. Raises BackendError."""

    def file(written: str | None) -> Path | None:
        return None if written is None else Path(opening.path(written)).expanduser()

    return LlamaCppBackend(
        {
            model.tag: GgufModel(
                path=file(model.shape.path),
                written=model.shape.path,
                context_tokens=model.context_length or 8192,
                slots=shape.concurrency or 1,
                threads=shape.threads,
                pooling=model.shape.pooling,
            )
            for model in models
        }
    )
