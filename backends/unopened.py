"""Stands for a backend that cannot be opened, so that only what needs it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NoReturn, final

from .errors import BackendError
from .protocol import (
    NO_LIMITS,
    NOTHING_USED,
    Backend,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    Limits,
    RerankAnswer,
    RerankRequest,
    StreamEvent,
)


@final
class UnopenedBackend(Backend):
    """A backend that failed to open with ``error``: it is not healthy, and every call of it fails so."""

    def __init__(self, error: BackendError) -> None:
        self.error = error

    @property
    def report(self) -> HealthReport:
        """Why it is not healthy, and what to do."""
        help = f"; {self.error.help}" if self.error.help else ""
        return HealthReport(False, f"{self.error}{help}")

    async def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncIterator[StreamEvent]:
        self._fail()
        yield  # which makes it the generator that the protocol has

    async def embed(self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS) -> EmbedAnswer:
        self._fail()

    async def rerank(self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS) -> RerankAnswer:
        self._fail()

    async def health(self) -> HealthReport:
        return self.report

    async def models(self) -> Sequence[str]:
        self._fail()

    async def close(self) -> None:
        """There is nothing to close."""

    def failure(self) -> BackendError:
        """Why a call of it fails; a new error for each call, as one that is raised again grows by its traceback."""
        error = self.error
        return BackendError(str(error), error_class=error.error_class, usage=NOTHING_USED, help=error.help)

    def _fail(self) -> NoReturn:
        raise self.failure()
