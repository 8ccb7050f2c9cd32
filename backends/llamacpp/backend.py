"""The embedded backend: models in GGUF files, run by llama.cpp (package ``xllamacpp``) without a server to set up.

Each model runs in a process of its own that starts with the first call (``llamacpp_process`` says why), and is
spoken to like any OpenAI-compatible server. A model that chats and makes vectors runs once for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from routewright.engine.policy import judge, kinds

from ..errors import BackendError, install_command
from ..openai import OpenAIBackend, without_tokens
from ..phases import CallClock, shared
from ..protocol import (
    NO_LIMITS,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    Limits,
    ModelListing,
    RerankAnswer,
    RerankRequest,
    StreamEvent,
)
from .process import GgufModel, ModelProcess, Operation, embedded_model

EMBEDDED_MODEL: Final = kinds.EMBEDDED_NAMES[0]


@dataclass(slots=True)
class _Running:
    process: ModelProcess
    server: OpenAIBackend | None = None


class LlamaCppBackend:
    """Runs ``models``, whose keys are tags; by default the embedded one.

    Loading is its own phase, and its time is measured. A caller that gives up does not stop it: the next finds
    the model ready. A cancelled generation ends with the batch of tokens it is at.
    """

    def __init__(self, models: Mapping[str, GgufModel] | None = None) -> None:
        self._models = dict(models) if models is not None else {EMBEDDED_MODEL: GgufModel()}
        self._running: dict[tuple[str, Operation], _Running] = {}

    async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
        """The whole answer."""
        clock = CallClock(limits, who=model)
        async with self._loaded(clock, model, "chat") as server:
            return await server.chat(model, request, clock=clock)

    async def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[StreamEvent, None]:
        """Text and thinking as they come, then one ``StreamEnd``."""
        clock = CallClock(limits, who=model)
        async with (
            self._loaded(clock, model, "chat") as server,
            aclosing(server.stream(model, request, clock=clock)) as events,
        ):
            async for event in events:
                yield event

    async def embed(self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS) -> EmbedAnswer:
        """One vector for each text. A model made for chatting needs a ``pooling`` for it."""
        clock = CallClock(without_tokens(limits), who=model)
        async with self._loaded(clock, model, "embed") as server:
            return await server.embed(model, request, clock=clock)

    async def rerank(self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS) -> RerankAnswer:
        """One score for each document: the model's logits, through the logistic function."""
        clock = CallClock(without_tokens(limits), who=model)
        async with self._loaded(clock, model, "rerank") as server:
            return await server.rerank(model, request, clock=clock)

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
            if running.server is not None and running.process.alive:
                report = await running.server.health()
                if not report.healthy:
                    return HealthReport(False, f"`{tag}`: {report.detail}", library)
                loaded.append(tag)
        return HealthReport(
            True, f"loaded: {_names(loaded)}" if loaded else "no model is loaded yet", library
        )

    async def models(self) -> Sequence[ModelListing]:
        """The models given whose files are there, by tag, with the sizes of these files."""
        sizes = {tag: _size(model) for tag, model in self._models.items()}
        return tuple(
            ModelListing(tag, self._is_loaded(tag), size)
            for tag, size in sorted(sizes.items())
            if size is not None
        )

    async def close(self) -> None:
        """End the processes of all models, also of those that still load."""
        running, self._running = list(self._running.values()), {}
        for one in running:
            if one.server is not None:
                await one.server.close()
            one.process.kill()

    @asynccontextmanager
    async def _loaded(self, clock: CallClock, tag: str, operation: Operation) -> AsyncIterator[OpenAIBackend]:
        """The server of a model, in memory; the clock is past ``load`` then."""
        model = self._models.get(tag)
        if model is None:
            raise clock.error(
                f"there is no model `{tag}` here",
                "not_found",
                help=f"there are: {_names(sorted(self._models))}" if self._models else None,
            )
        running = self._running.get((tag, operation))
        if running is None or not running.process.alive:
            running = await self._start(clock, tag, model, operation, running)
        server = running.server or await self._wait_for(clock, running, model)
        if clock.load_us is None:
            clock.loaded(0)
        try:
            yield server
        except BackendError as error:
            if error.error_class in ("broken_stream", "timeout.connect"):
                await _see_it_end(running.process)
            raise

    async def _wait_for(self, clock: CallClock, running: _Running, model: GgufModel) -> OpenAIBackend:
        clock.enter("load")
        try:
            loaded = await clock.wait(shared(running.process.loaded))
        except BackendError as error:
            if error.timings is not None:
                raise
            raise clock.error(str(error), error.error_class, help=error.help) from error
        clock.loaded()
        if running.server is None:
            running.server = OpenAIBackend(
                judge("in_process", loaded.url),
                api_key=loaded.key,
                concurrency=model.slots,
                logits=True,
                extra="llamacpp",
            )
        return running.server

    async def _start(
        self, clock: CallClock, tag: str, model: GgufModel, operation: Operation, dead: _Running | None
    ) -> _Running:
        try:
            running = _Running(ModelProcess(tag, model, operation))
        except BackendError as error:
            raise clock.error(str(error), error.error_class, help=error.help) from error
        # INVARIANT: nothing is awaited before this line, or two callers would start two processes.
        self._running[tag, operation] = running
        if dead is not None:
            dead.process.kill()
            if dead.server is not None:
                await dead.server.close()
        return running

    def _is_loaded(self, tag: str) -> bool:
        return any(
            tag == name and running.process.alive and running.process.loaded.done()
            for (name, _), running in self._running.items()
        )


async def _see_it_end(process: ModelProcess) -> None:
    """A connection that broke means a process that is ending, as a rule: the next call must not find it."""
    for _ in range(25):
        if not process.alive:
            return
        await asyncio.sleep(0.02)


def _is_there(model: GgufModel) -> bool:
    return _size(model) is not None


def _size(model: GgufModel) -> int | None:
    try:
        path = model.path if model.path is not None else embedded_model()
        return path.stat().st_size
    except (BackendError, OSError):
        return None


def _names(tags: Sequence[str]) -> str:
    return ", ".join(f"`{tag}`" for tag in dict.fromkeys(tags))
