"""An answer piece by piece, with the same facts at its end as any other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any

from routewright.engine.report import TaskError

from .own_loop import OwnLoop
from .results import ChatResult, RunResult, chat_result

StartChat = Callable[[Callable[[str], None]], Coroutine[Any, Any, RunResult]]
"""Runs a chat that gives its text piece by piece to the function."""


class _Ending:
    """How a stream ended; the stream's generator does not refer to the stream, so that a forgotten one ends."""

    ran: RunResult | None = None

    @property
    def answer(self) -> ChatResult:
        """The whole answer. Raises what the call raises without an answer, and TaskError before the end."""
        if self.ran is None:
            raise TaskError("the stream has not ended", help="read it to its end, then ask for its answer")
        return chat_result(self.ran)


class ChatStream(AsyncIterator[str]):
    """The texts of an answer as they come. Read it to its end, or close it: ``aclose()``, or ``async with``.

    A failure is raised where the text ends; what was told until then is no whole answer.
    """

    def __init__(self, start: StartChat) -> None:
        self._ending = _Ending()
        self._pieces = _pieces(start, self._ending)

    @property
    def answer(self) -> ChatResult:
        """The whole answer, after the last piece. Raises what the stream raised; TaskError before its end."""
        return self._ending.answer

    async def __anext__(self) -> str:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Stop the work, unless it has ended."""
        await self._pieces.aclose()

    async def __aenter__(self) -> ChatStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class ChatStreamSync(Iterator[str]):
    """``ChatStream`` for callers without an event loop: close it by ``close()``, or ``with``."""

    def __init__(self, loop: OwnLoop, start: StartChat) -> None:
        self._ending = _Ending()
        self._pieces = _noted(loop.pieces(start), self._ending)

    @property
    def answer(self) -> ChatResult:
        """The whole answer, after the last piece. Raises what the stream raised; TaskError before its end."""
        return self._ending.answer

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Stop the work, unless it has ended."""
        self._pieces.close()

    def __enter__(self) -> ChatStreamSync:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _pieces(start: StartChat, ending: _Ending) -> AsyncGenerator[str, None]:
    given: asyncio.Queue[str | None] = asyncio.Queue()
    running = asyncio.ensure_future(start(given.put_nowait))
    running.add_done_callback(lambda _: given.put_nowait(None))
    try:
        while (piece := await given.get()) is not None:
            yield piece
        ending.ran = await running
        chat_result(ending.ran)
    finally:
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _noted(pieces: Generator[str, None, RunResult], ending: _Ending) -> Generator[str, None, None]:
    ending.ran = yield from pieces
    chat_result(ending.ran)
