"""A backend without a model: answers that say they are simulated, with times and counts drawn from a seed.

For planning, load and tests. What is drawn depends on the seed, the model, the operation and the request
alone, so the same call gives the same answer on every machine. Failures are scripted, never drawn. Time is
virtual unless ``sleep`` is set: durations are reported, not waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Final, Literal

from routewright.engine.policy import CompiledModel, kinds

from ..errors import BackendError, ErrorClass
from ..protocol import (
    NO_LIMITS,
    NOTHING_USED,
    Backend,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    Limits,
    RerankAnswer,
    RerankRequest,
    StreamEnd,
    StreamEvent,
    TextDelta,
    Timings,
    Usage,
)
from ..registry import Opening
from ..seeded import SeededRandom, estimated_tokens, unit_vector

DEFAULT_LATENCY_MS: Final = 1_000
"""Expected latency of a model whose catalog entry gives none. A guess, and answers say when it was used."""

DEFAULT_DIMENSIONS: Final = 384

CALLS_KEPT: Final = 1_000
"""How many calls a simulated backend remembers: under load it must not grow."""

Fault = ErrorClass | Literal["ok"]

_MIN_ANSWER_TOKENS, _MAX_ANSWER_TOKENS = 16, 400
_FAILS_MID_STREAM: Final = frozenset({"broken_stream", "timeout.idle", "timeout.total"})


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """A model to simulate: what the catalog says of it, as far as it matters here."""

    operations: frozenset[str] = frozenset({"chat"})
    expected_latency_ms: int | None = None
    dimensions: int | None = None
    context_length: int | None = None


class SimulatedBackend(Backend):
    """Answers for every model of ``models``, whose keys are the backend's tags.

    ``faults`` scripts failures: for each tag, what its calls do in order (an error class, or ``ok``); calls
    after the end of the script succeed.
    """

    simulated = True

    def __init__(
        self,
        models: Mapping[str, SimulatedModel],
        *,
        seed: int,
        faults: Mapping[str, Sequence[Fault]] | None = None,
        sleep: bool = False,
    ) -> None:
        self._models = dict(models)
        self._seed = seed
        self._faults = {tag: iter(tuple(script)) for tag, script in (faults or {}).items()}
        self._sleep = sleep
        self._calls: deque[str] = deque(maxlen=CALLS_KEPT)

    @property
    def calls(self) -> list[str]:
        """The tags called, in order; of very many the last ``CALLS_KEPT``."""
        return list(self._calls)

    async def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncIterator[StreamEvent]:
        """The answer word by word. A scripted ``broken_stream`` breaks after half of the words."""
        known = self._find(model, "chat")
        fault = self._next_fault(model)
        draw = SeededRandom(self._seed, model, "chat", _said(request))
        input_tokens = sum(estimated_tokens(message.content) for message in request.messages)
        timings = _timings(known, draw)
        _check_window(model, known.context_length, input_tokens, timings)
        if fault != "ok" and fault not in _FAILS_MID_STREAM:
            await self._fail(model, fault, timings, input_tokens)

        wanted = draw.integer("output", _MIN_ANSWER_TOKENS, _MAX_ANSWER_TOKENS)
        cap = request.max_output_tokens
        output_tokens = wanted if cap is None else min(wanted, cap)
        usage = Usage(input_tokens, 0, output_tokens, 0, "estimated")
        self._check_limits(model, timings, limits, usage)

        words = _answer_words(model, known, draw)
        pieces = words[: len(words) // 2] if fault in _FAILS_MID_STREAM else words
        first_us = timings.first_token_us or 0
        await self._wait(first_us)
        step_us = (timings.total_us - first_us) // len(words)
        for piece in pieces:
            yield TextDelta(piece)
            await self._wait(step_us)
        if fault != "ok":
            await self._fail(model, fault, timings, input_tokens)
        finish: Literal["stop", "length"] = "stop" if output_tokens == wanted else "length"
        yield StreamEnd(
            ChatAnswer("".join(words), finish, usage, f"{model} (simulated)", timings, simulated=True)
        )

    async def embed(self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS) -> EmbedAnswer:
        """Unit vectors of the model's dimensions; equal texts get equal vectors."""
        known = self._find(model, "embed")
        draw = SeededRandom(self._seed, model, "embed", _said(request))
        timings, usage = await self._call(model, known, draw, request.texts, limits)
        size = known.dimensions or DEFAULT_DIMENSIONS
        # The text alone decides its vector: the same text in another batch must stay where it is.
        vectors = tuple(
            unit_vector(SeededRandom(self._seed, model, "vector", text), size) for text in request.texts
        )
        return EmbedAnswer(vectors, usage, f"{model} (simulated)", timings, simulated=True)

    async def rerank(self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS) -> RerankAnswer:
        """Scores that depend on query and document alone, not on the other documents."""
        known = self._find(model, "rerank")
        draw = SeededRandom(self._seed, model, "rerank", _said(request))
        texts = (request.query, *request.documents)
        timings, usage = await self._call(model, known, draw, texts, limits)
        scores = tuple(
            SeededRandom(self._seed, model, "score", [request.query, document]).fraction("score")
            for document in request.documents
        )
        return RerankAnswer(scores, usage, f"{model} (simulated)", timings, simulated=True)

    async def health(self) -> HealthReport:
        """Always well."""
        return HealthReport(True, "simulated: always well", simulated=True)

    async def models(self) -> Sequence[str]:
        """The models given, by tag."""
        return sorted(self._models)

    async def close(self) -> None:
        """Nothing to let go of."""

    def _find(self, tag: str, operation: str) -> SimulatedModel:
        self._calls.append(tag)
        known = self._models.get(tag)
        if known is None:
            raise _not_found(f"the simulated backend has no model `{tag}`")
        if operation not in known.operations:
            raise _not_found(f"`{tag}` does not offer `{operation}`")
        return known

    def _next_fault(self, tag: str) -> Fault:
        script = self._faults.get(tag)
        return next(script, "ok") if script is not None else "ok"

    async def _call(
        self, tag: str, known: SimulatedModel, draw: SeededRandom, texts: Sequence[str], limits: Limits
    ) -> tuple[Timings, Usage]:
        """Time and counts of a call that answers at once, or its scripted failure."""
        timings = _timings(known, draw)
        input_tokens = sum(estimated_tokens(text) for text in texts)
        usage = Usage(input_tokens, 0, 0, 0, "estimated")
        fault = self._next_fault(tag)
        if fault != "ok":
            await self._fail(tag, fault, timings, input_tokens)
        self._check_limits(tag, timings, limits, usage)
        await self._wait(timings.total_us)
        return Timings(timings.load_us, None, timings.total_us), usage

    async def _fail(self, tag: str, fault: ErrorClass, timings: Timings, input_tokens: int) -> None:
        """Raise the scripted failure; one before the first token costs nothing, later the input is lost."""
        late = fault in _FAILS_MID_STREAM
        spent = timings.total_us // 2 if late else timings.total_us // 20
        if not late:
            await self._wait(spent)
        raise BackendError(
            f"`{tag}` failed as scripted: {fault}",
            error_class=fault,
            retry_after_ms=1_000 if fault == "rate_limited" else None,
            timings=Timings(timings.load_us, timings.first_token_us if late else None, spent),
            usage=Usage(input_tokens if late else 0, 0, 0, 0, "estimated"),
            simulated=True,
            help="the failure was asked for: the simulated backend has none of its own",
        )

    def _check_limits(self, tag: str, timings: Timings, limits: Limits, usage: Usage) -> None:
        """Fail a call whose drawn times are over a limit: with virtual time nothing else would notice."""
        load_us, first_us = timings.load_us or 0, timings.first_token_us or 0
        checks: tuple[tuple[ErrorClass, int, int | None], ...] = (
            ("timeout.load", load_us, limits.load_ms),
            ("timeout.first_token", first_us - load_us, limits.first_token_ms),
            ("timeout.total", timings.total_us, limits.total_ms),
        )
        for error_class, took_us, limit_ms in checks:
            if limit_ms is not None and took_us > limit_ms * 1_000:
                raise BackendError(
                    f"`{tag}` would take {took_us // 1_000} ms, and the limit is {limit_ms} ms",
                    error_class=error_class,
                    timings=Timings(timings.load_us, None, limit_ms * 1_000),
                    usage=Usage(usage.input_tokens, 0, 0, 0, "estimated"),
                    simulated=True,
                )

    async def _wait(self, duration_us: int) -> None:
        if self._sleep:
            await asyncio.sleep(duration_us / 1_000_000)


def _check_window(model: str, window: int | None, tokens: int, timings: Timings) -> None:
    if window is not None and tokens > window:
        raise BackendError(
            f"the prompt has about {tokens} tokens, and the window of `{model}` is {window}",
            error_class="context_overflow",
            timings=Timings(timings.load_us, None, 0),
            usage=NOTHING_USED,
            simulated=True,
        )


def _said(value: object) -> object:
    """What a request says, without what it leaves open: a later field must not change earlier draws."""
    if is_dataclass(value):
        said = {field.name: _said(getattr(value, field.name)) for field in fields(value)}
        return {name: part for name, part in said.items() if part not in (None, [], {})}
    if isinstance(value, tuple):
        return [_said(part) for part in value]
    return dict(value) if isinstance(value, Mapping) else value


def _timings(known: SimulatedModel, draw: SeededRandom) -> Timings:
    """70 % to 150 % of the expected latency, of which the first token takes a tenth to a third."""
    expected_us = 1_000 * (known.expected_latency_ms or DEFAULT_LATENCY_MS)
    total_us = expected_us * draw.integer("total", 70, 150) // 100
    return Timings(0, total_us * draw.integer("first", 10, 33) // 100, total_us)


def _not_found(message: str) -> BackendError:
    timings = Timings(None, None, 0)
    return BackendError(message, error_class="not_found", timings=timings, usage=NOTHING_USED, simulated=True)


def _answer_words(tag: str, known: SimulatedModel, draw: SeededRandom) -> list[str]:
    if known.expected_latency_ms is None:
        basis = f"a default of {DEFAULT_LATENCY_MS} ms, as the catalog gives no latency"
    else:
        basis = f"the catalog's {known.expected_latency_ms} ms"
    text = f"[simulated] `{tag}` would answer here (draw {draw.name}; times drawn around {basis})."
    return [word if at == 0 else f" {word}" for at, word in enumerate(text.split(" "))]


def simulated_backend(
    models: Sequence[CompiledModel],
    *,
    seed: int = 0,
    faults: Mapping[str, Sequence[Fault]] | None = None,
    sleep: bool = False,
) -> SimulatedBackend:
    """One simulated backend for ``models``, as the catalog describes them. ``faults`` are by model id."""
    return SimulatedBackend(
        {
            model.tag: SimulatedModel(
                operations=frozenset(model.operations),
                expected_latency_ms=model.shape.expected_latency,
                dimensions=model.shape.dimensions,
                context_length=model.context_length,
            )
            for model in models
        },
        seed=seed,
        faults={model.tag: faults[model.id] for model in models if faults and model.id in faults},
        sleep=sleep,
    )


def open_backend(
    shape: kinds.SimulatedShape, models: Sequence[CompiledModel], opening: Opening
) -> SimulatedBackend:
    """The simulated backend for ``models``."""
    return simulated_backend(models)
