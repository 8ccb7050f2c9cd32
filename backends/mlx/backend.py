"""Runs MLX models in this process, through mlx-lm, each in a thread of its own.

Loads models when they are called for and unloads others to stay within its memory (``pool``). A call that
times out, is cancelled or is no longer listened to stops its work within a token, or within a part of the
prompt; the caller does not wait for that. A load cannot be stopped: it goes on, and the next call profits.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from routewright.engine.policy import CompiledModel, kinds
from routewright.engine.report import BYTES_PER_GB, install_command, suggest

from ..blocking import run_blocking
from ..errors import BackendError
from ..keep_alive import kept_ms
from ..phases import CallClock, shared
from ..protocol import (
    NO_LIMITS,
    Backend,
    BackendMemory,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    InMemory,
    Limits,
    RerankAnswer,
    RerankRequest,
    StreamEnd,
    StreamEvent,
    Timings,
    Usage,
)
from ..registry import Opening
from .chat import chat_steps
from .failures import first_line, is_out_of_memory
from .load import end_thread, free_memory, library_version, load_folder, machine_bytes
from .models import Folders, Found, MlxModel
from .pool import Claim, ModelPool, closed
from .runtime import LoadedModel
from .scoring import Operation, check_family, score_steps, vector_steps
from .threads import ModelThread
from .work import Work, forget_locals

T = TypeVar("T")
Make = Callable[..., Generator[T, None, None]]
"""Makes the steps of some work, given the loaded model, its `window`, and `stopped`, which says when to end."""

_NOTHING: Final = Usage(0, 0, 0, 0, "reported")


class MlxBackend(Backend):
    """Runs the models of ``models``, whose keys are the backend's tags.

    ``path`` is the folder that holds their folders and may start with ``${NAME}``, as a model's own may; names
    are looked up in ``env`` (default: the process's environment) at each model's first call. ``memory_gb``
    bounds what all loaded models take together (``None``: the memory of this machine). Making one reads nothing and
    loads nothing.
    """

    def __init__(
        self,
        models: Mapping[str, MlxModel],
        *,
        path: str | None = None,
        memory_gb: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._models = dict(models)
        self._folders = Folders(self._models, path, os.environ if env is None else env)
        self._limit_bytes = machine_bytes() if memory_gb is None else round(memory_gb * BYTES_PER_GB)
        self._pool: ModelPool[LoadedModel] = ModelPool(
            partial(_load, self._folders),
            memory_bytes=self._limit_bytes,
            thread_ended=end_thread,
            let_go=free_memory,
        )
        self._running: set[Work[Any]] = set()
        self._closed = False

    async def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[StreamEvent, None]:
        """Text and thinking token by token, then the answer.

        Waiting for other calls, for their memory or the model's thread, is waiting for a turn. ``context_tokens``
        changes nothing: memory grows with the conversation. A ``keep_alive`` that is none is ``invalid_request``.
        """
        clock = CallClock(limits, who=model)
        make = partial(chat_steps, request=request, tag=model)
        async with aclosing(self._run(model, "chat", clock, make, request.keep_alive)) as steps:
            async for step in steps:
                if isinstance(step, ChatAnswer):
                    yield StreamEnd(replace(step, timings=clock.timings()))
                    return
                if step.usage.output_tokens:
                    clock.token()
                clock.usage = step.usage
                for delta in step.deltas:
                    yield delta
        raise clock.error(f"the answer of `{model}` ended without a finish reason", "broken_stream")

    async def embed(self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS) -> EmbedAnswer:
        """Unit vectors of a Qwen3-Embedding model. The option ``instruction`` makes the texts queries."""
        clock = CallClock(limits, who=model)
        known = self._models.get(model)
        make = partial(
            vector_steps, request=request, tag=model, dimensions=None if known is None else known.dimensions
        )
        vectors = await self._all(model, "embed", clock, make)
        return EmbedAnswer(vectors, clock.usage or _NOTHING, model, _whole(clock))

    async def rerank(self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS) -> RerankAnswer:
        """Scores of a Qwen3-Reranker model. The option ``instruction`` says what makes a document relevant."""
        clock = CallClock(limits, who=model)
        make = partial(score_steps, request=request, tag=model)
        scores = await self._all(model, "rerank", clock, make)
        return RerankAnswer(scores, clock.usage or _NOTHING, model, _whole(clock))

    async def health(self) -> HealthReport:
        """Whether mlx-lm is installed and a model's folder is there. Imports and loads nothing."""
        version = library_version()
        if version is None:
            return HealthReport(False, f"mlx-lm is not installed: {install_command('mlx')}")
        missing = {tag: problem for tag in sorted(self._models) if (problem := self._folders.problem(tag))}
        there = len(self._models) - len(missing)
        detail = f"{there} of {len(self._models)} models are on this disk"
        if missing:
            tag, problem = next(iter(missing.items()))
            detail += f"; {problem}" + (f" ({len(missing) - 1} more)" if len(missing) > 1 else "")
        return HealthReport(there > 0, detail, version)

    async def models(self) -> Sequence[str]:
        """The tags of the configured models whose folders are on this disk."""
        return [tag for tag in sorted(self._models) if self._folders.problem(tag) is None]

    async def memory(self) -> BackendMemory:
        """What the pool holds, and the sizes on disk of models that do not say what they take."""
        unsaid = [tag for tag, model in self._models.items() if model.memory_gb is None]
        sizes = await asyncio.to_thread(self._folders.sizes, unsaid) if unsaid else {}
        loaded = tuple(InMemory(tag, size) for tag, size in self._pool.loaded().items())
        return BackendMemory(loaded, self._limit_bytes, sizes)

    async def load(self, model: str, operation: Operation, *, limits: Limits = NO_LIMITS) -> Timings:
        """Load the model, and unload others for it as a call would."""
        clock = CallClock(limits, who=model)
        claim: Claim[LoadedModel] | None = None
        try:
            _, claim = self._claim(model, operation, clock, None)
            await self._loaded(claim, clock)
        except BackendError as error:
            raise clock.again(error) from error
        finally:
            if claim is not None:
                claim.leave()
        return clock.timings()

    async def close(self) -> None:
        """Stop all work, wait until it has stopped, unload all models."""
        self._closed = True
        for work in list(self._running):
            work.stop()
        await run_blocking(self._pool.close)
        await run_blocking(free_memory)

    async def _all(
        self, tag: str, operation: Operation, clock: CallClock, make: Make[tuple[int, T]]
    ) -> tuple[T, ...]:
        """What ``make`` yields beside the tokens that each took, which are counted as they are spent."""
        tokens, values = 0, []
        async with aclosing(self._run(tag, operation, clock, make)) as steps:
            async for spent, value in steps:
                tokens += spent
                clock.usage = Usage(tokens, 0, 0, 0, "reported")
                clock.token()
                values.append(value)
        return tuple(values)

    async def _run(
        self,
        tag: str,
        operation: Operation,
        clock: CallClock,
        make: Make[T],
        keep_alive: str | None = None,
    ) -> AsyncGenerator[T, None]:
        """What ``make`` yields in the model's thread, once the model is loaded and its turn has come.

        INVARIANT: nothing but BackendError leaves, with the times and the usage so far, besides what cancels.
        """
        clock.usage = _NOTHING
        try:
            async with aclosing(self._items(tag, operation, clock, make, keep_alive)) as items:
                async for item in items:
                    yield item
            if self._closed:
                raise closed()
        except Exception as error:
            forget_locals(error)
            # A load that failed is one error for all who waited for it, so each call gets its own.
            ours = error if isinstance(error, BackendError) else self._failure(error, clock)
            raise clock.again(ours) from error

    async def _items(
        self, tag: str, operation: Operation, clock: CallClock, make: Make[T], keep_alive: str | None
    ) -> AsyncGenerator[T, None]:
        found, claim = self._claim(tag, operation, clock, keep_alive)
        work: Work[T] | None = None
        try:
            thread, loaded = await self._loaded(claim, clock)
            work = Work(partial(make, loaded, window=found.window))
            self._running.add(work)
            async with aclosing(work.items(thread, clock, claim.leave)) as items:
                async for item in items:
                    yield item
        finally:
            if work is None:
                claim.leave()
            else:
                self._running.discard(work)

    def _claim(
        self, tag: str, operation: Operation, clock: CallClock, keep_alive: str | None
    ) -> tuple[Found, Claim[LoadedModel]]:
        found = self._offered(tag, operation)
        written = self._models[tag].keep_alive if keep_alive is None else keep_alive
        try:
            kept = None if written is None else kept_ms(written)
        except ValueError as error:
            raise clock.error(f"`keep_alive`: {error}", "invalid_request") from error
        return found, self._pool.claim(tag, self._memory_bytes(tag, found), kept)

    async def _loaded(self, claim: Claim[LoadedModel], clock: CallClock) -> tuple[ModelThread, LoadedModel]:
        """The claimed model once it is loaded, and its thread."""
        if not claim.granted.done():
            clock.enter("turn")
        resident = await clock.wait(asyncio.wrap_future(claim.granted))
        clock.enter("load")
        warm = resident.loading.done()
        loaded = await clock.wait(shared(resident.loading))
        clock.loaded(0 if warm else None)
        return resident.thread, loaded

    def _offered(self, tag: str, operation: Operation) -> Found:
        model = self._models.get(tag)
        if model is None:
            raise BackendError(
                f"the mlx backend has no model `{tag}`",
                error_class="not_found",
                help=suggest(tag, self._models, label="configured"),
            )
        if operation not in model.operations:
            raise BackendError(f"`{tag}` does not offer `{operation}`", error_class="not_found")
        found = self._folders.find(tag)
        if operation != "chat":
            check_family(operation, tag, model, found.config, found.folder)
        return found

    def _memory_bytes(self, tag: str, found: Found) -> int:
        said = self._models[tag].memory_gb
        return found.size_bytes if said is None else round(said * BYTES_PER_GB)

    def _failure(self, error: Exception, clock: CallClock) -> BackendError:
        if self._closed:
            return closed()
        if is_out_of_memory(error):
            return clock.error(
                f"there was not enough memory to run `{clock.who}`",
                "overloaded",
                help="a shorter conversation needs less",
            )
        begun = clock.first_token_us is not None
        return clock.error(
            f"`{clock.who}` failed while it ran: {first_line(error)}",
            "broken_stream" if begun else "bad_response",
        )


def _whole(clock: CallClock) -> Timings:
    """The times of a call whose answer comes in one piece."""
    return Timings(clock.load_us, None, clock.total_us())


def _load(folders: Folders, tag: str) -> LoadedModel:
    """In the model's thread. The folder is looked up anew: it may have come, gone or moved."""
    found = folders.find(tag, anew=True)
    return load_folder(found.folder, tag, str(found.config.get("model_type")))


def open_backend(shape: kinds.MlxShape, models: Sequence[CompiledModel], opening: Opening) -> MlxBackend:
    """The backend for ``models``; the variables of paths are read at each model's first call."""
    return MlxBackend(
        {
            model.tag: MlxModel(
                path=model.shape.path,
                source=model.shape.source,
                operations=frozenset(model.operations),
                memory_gb=None if model.shape.memory_gb is None else float(model.shape.memory_gb),
                context_length=model.context_length,
                dimensions=model.shape.dimensions,
                keep_alive=model.shape.keep_alive,
            )
            for model in models
        },
        path=shape.path,
        memory_gb=None if shape.memory_gb is None else float(shape.memory_gb),
        env=opening.environment,
    )
