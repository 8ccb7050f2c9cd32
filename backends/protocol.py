"""The seam between deciding and doing: what a backend is asked, and what it answers.

A backend is any object with the methods of ``Backend``. Requests and answers are plain frozen values.
Times are integer microseconds, limits are integer milliseconds (as catalogs write them), and ``None`` means
that nobody said. Backends never retry: whether a call is repeated is the executor's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol

from routewright.engine.policy import Operation

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
TokenSource = Literal["reported", "estimated", "lower_bound"]
CostSource = TokenSource | Literal["billed"]


class Limits(NamedTuple):
    """How long each phase of a call may take, in milliseconds; ``None`` is no limit.

    ``queue`` is the wait for a turn in our own queue. ``first_token`` starts when the model is loaded: a cold start is
    not slowness.
    """

    queue_ms: int | None = None
    connect_ms: int | None = None
    load_ms: int | None = None
    first_token_ms: int | None = None
    idle_ms: int | None = None
    total_ms: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Timings:
    """How long a call took, in microseconds from its start; ``first_token_us`` includes ``load_us``."""

    load_us: int | None
    first_token_us: int | None
    total_us: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one call.

    ``input_tokens`` includes ``cached_input_tokens``, and ``output_tokens`` includes ``reasoning_tokens``, so
    that nothing is counted twice. ``source`` says whether the server counted them (``reported``) or we did
    (``estimated``); ``lower_bound`` is the least that the call can have used, because the server reported less than
    that.

    ``billed_usd_nano`` is what the server says that the call costs, in 10⁻⁹ US dollars. It is never 0: free models
    have a price of 0 in the catalog.
    """

    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    source: TokenSource
    billed_usd_nano: int | None = None


NOTHING_USED: Final = Usage(0, 0, 0, 0, "estimated")
"""The usage of a call that failed before any model had its prompt."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that the model asks for; ``arguments`` is a JSON object."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    ``images`` are the bytes of image files, of types that ``image_type`` knows. ``tool_call_id`` says which call a
    ``tool`` turn answers.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    images: tuple[bytes, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation to continue.

    ``tools`` are function declarations in the shape of OpenAI's API, ``json_schema`` is the shape that the
    answer must have. ``context_tokens`` is the window that a local server should hold for it, ``think`` and
    ``keep_alive`` go to backends that know them. ``options`` are passed to the backend as they are. With ``top_p``
    only the likeliest tokens are drawn from, those that have this probability together.
    """

    messages: tuple[Message, ...]
    max_output_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    json_schema: Mapping[str, Any] | None = None
    context_tokens: int | None = None
    think: bool | Literal["low", "medium", "high"] | None = None
    keep_alive: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    top_p: float | None = None


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What the model said. ``model_said`` is the model's name in the server's own words.

    ``thinking`` is what it said to itself; ``truncated`` is true when the server is known to have left out
    part of the prompt.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    model_said: str | None
    timings: Timings
    simulated: bool = False
    thinking: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    truncated: bool = False

    @property
    def content(self) -> str:
        """The text, under the name that messages have for it."""
        return self.text

    @property
    def message(self) -> Message:
        """The answer as a turn of the conversation, to go on with: text and calls of tools, without its thinking."""
        return Message("assistant", self.text, tool_calls=self.tool_calls)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, in order; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of what the model says to itself; never empty. It is no content: falling back is still free."""

    text: str


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The last event of a whole stream: the answer with its full text."""

    answer: ChatAnswer


StreamEvent = TextDelta | ThinkingDelta | StreamEnd


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to turn into vectors."""

    texts: tuple[str, ...]
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmbedAnswer:
    """One vector for each text, in the same order, all of one length."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage
    model_said: str | None
    timings: Timings
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """Documents to score against a query."""

    query: str
    documents: tuple[str, ...]
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RerankAnswer:
    """One score from 0 to 1 for each document, in the request's order; higher is more relevant."""

    scores: tuple[float, ...]
    usage: Usage
    model_said: str | None
    timings: Timings
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Whether a backend can take work. ``healthy`` is ``None`` when it could not be found out."""

    healthy: bool | None
    detail: str
    version: str | None = None
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class InMemory:
    """A model in memory, by the backend's own tag; ``size_bytes`` is what it takes, None where nobody says."""

    tag: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class BackendMemory:
    """What a backend has in memory, in the order in which it unloads for others.

    All its models together take ``limit_bytes`` at most; None where nobody says. ``sizes`` are what others of its
    models would take, by tag, as far as it knows.
    """

    loaded: tuple[InMemory, ...]
    limit_bytes: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


class Backend(Protocol):
    """Something that runs models.

    ``model`` is the backend's own tag. Every method raises BackendError and nothing else on failure; an
    operation that the backend does not offer is ``not_found``. ``health`` never loads a model, and reports
    instead of raising. ``simulated`` says that no model is called.
    """

    simulated: bool = False

    async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
        """The whole answer; unless a backend has another way, the one that its stream ends with."""
        answer: ChatAnswer | None = None
        async for event in self.stream(model, request, limits=limits):
            if isinstance(event, StreamEnd):
                answer = event.answer
        # INVARIANT: a stream that does not raise ends with a StreamEnd.
        assert answer is not None
        return answer

    def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncIterator[StreamEvent]:
        """Text and thinking as they come, then one ``StreamEnd``; a stream that ends otherwise is ``broken_stream``.

        Closing the iterator early stops the work at the server as far as the server can.
        """
        ...

    async def embed(
        self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS
    ) -> EmbedAnswer: ...

    async def rerank(
        self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS
    ) -> RerankAnswer: ...

    async def health(self) -> HealthReport: ...

    async def models(self) -> Sequence[str]:
        """The models that it has, by its own tags."""
        ...

    async def memory(self) -> BackendMemory | None:
        """What it has in memory now; None where it does not know. Loads nothing, and takes a moment."""
        return None

    async def load(self, model: str, operation: Operation, *, limits: Limits = NO_LIMITS) -> Timings | None:
        """Load a model as a call of ``operation`` would, and ask it nothing; None where models are not loaded."""
        return None

    async def close(self) -> None:
        """Let go of connections and models. No other method may be called afterwards."""
        ...
