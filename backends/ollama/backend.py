"""An Ollama server: models of this machine, cloud models through it, and ollama.com itself.

Chats and embeddings go over plain HTTP: the package `ollama` loses what decides here (headers, the page to sign
in, remote fields, whether a stream ended well), and sends a key found in the environment to any host. It lists
and pulls models, where its typed answers help.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar

from routewright.engine.policy import Server, judge

from ..errors import BackendError, install_command
from ..phases import CallClock
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
    StreamEnd,
    StreamEvent,
)
from ..wire import MAX_BODY_BYTES, Unreadable, count_of, words
from .calls import embed_texts, stream_chat
from .connection import Connection
from .errors import Complaint, failure
from .health import PROBE_LIMITS, check_health
from .names import full_name
from .preflight import Preflight

if TYPE_CHECKING:
    import httpx
    from ollama import AsyncClient


T = TypeVar("T")


class OllamaBackend:
    """The server at ``host``; by default the one on this machine.

    ``host`` is an address such as ``localhost:11434``, or the judgement on one, which then includes ``location``.

    ``api_key`` is for ``https://ollama.com``, and refused with any other host. There, models go by their names
    without the cloud suffix. ``location="cloud"`` allows a server of this machine to have models without a cloud
    tag run elsewhere; otherwise such a model is refused before it is asked. ``min_versions`` are the oldest
    servers that run a model, by tag. Raises ValueError for an address or key that cannot be one.

    A limit on loading or on the first token makes the backend ask whether the model is in memory, and load it
    in a phase of its own if it is not.
    """

    def __init__(
        self,
        host: str | Server | None = None,
        *,
        api_key: str | None = None,
        location: Literal["cloud"] | None = None,
        min_version: str | None = None,
        min_versions: Mapping[str, str] | None = None,
        requires_signin: bool = False,
        concurrency: int | None = None,
    ) -> None:
        server = host if isinstance(host, Server) else judge("ollama", host, location=location)
        self._link = Connection(server, api_key=api_key, concurrency=concurrency)
        self._key = api_key
        self._min_version, self._needs_signin = min_version, requires_signin
        self._ready = Preflight(self._link, min_version=min_version, min_versions=min_versions or {})

    def __repr__(self) -> str:
        return f"OllamaBackend({self._link.url!r})"

    async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
        """The whole answer. It is streamed inside: nothing else can tell whether the server is at work."""
        answer: ChatAnswer | None = None
        async with aclosing(self.stream(model, request, limits=limits)) as events:
            async for event in events:
                if isinstance(event, StreamEnd):
                    answer = event.answer
        # INVARIANT: a stream that does not raise ends with a StreamEnd.
        assert answer is not None
        return answer

    def stream(
        self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[StreamEvent]:
        """Text and thinking as they come, then one ``StreamEnd``. Closing it early stops the generation."""
        return stream_chat(self._link, self._ready, model, request, limits)

    async def embed(self, model: str, request: EmbedRequest, *, limits: Limits = NO_LIMITS) -> EmbedAnswer:
        """One vector for each text; no texts need no call."""
        return await embed_texts(self._link, self._ready, model, request, limits)

    async def rerank(self, model: str, request: RerankRequest, *, limits: Limits = NO_LIMITS) -> RerankAnswer:
        """Always ``not_found``: Ollama has no rerank call."""
        clock = CallClock(limits, who=model)
        raise clock.error(f"Ollama cannot rerank, so `{model}` was not called", "not_found")

    async def health(self, model: str | None = None) -> HealthReport:
        """Whether the server answers and is new enough; with cloud models, whether it may and can reach them.

        With ``model``, a tag, also whether that model is there. Loads nothing.
        """
        return await check_health(
            self._link, min_version=self._min_version, needs_signin=self._needs_signin, tag=model
        )

    async def models(self) -> Sequence[ModelListing]:
        """The models that the server has, by tag; cloud models that were never pulled are not among them."""
        clock = CallClock(PROBE_LIMITS, who=self._link.url)
        listed = await self._through_package(clock, lambda client: client.list())
        if self._link.direct:
            loaded = None
        else:
            running = await self._through_package(clock, lambda client: client.ps())
            loaded = {full_name(entry.model or "") for entry in running.models}
        return tuple(
            ModelListing(
                self._link.gate.name(entry.model),
                None if loaded is None else full_name(entry.model) in loaded,
                count_of(entry.size),
            )
            for entry in sorted(listed.models, key=lambda entry: entry.model or "")
            if entry.model
        )

    async def pull(
        self,
        model: str,
        *,
        limit_ms: int | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Have the server fetch a model; ``on_progress`` gets how many bytes of a layer are there, and its size.

        Raises BackendError: ``not_found`` where no such model is known, ``timeout.total`` after ``limit_ms``.
        """

        async def fetch(client: AsyncClient) -> str | None:
            status = None
            async for step in await client.pull(model, stream=True):
                status = step.status or status
                if on_progress is not None and step.completed is not None and step.total is not None:
                    on_progress(step.completed, step.total)
            return status

        clock = CallClock(Limits(total_ms=limit_ms), who=model)
        last = await self._through_package(clock, fetch)
        if last != "success":
            said = self._link.gate.message(last or "nothing")
            raise clock.error(f"pulling `{model}` ended early, with: {said}", "broken_stream")

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    async def _through_package(self, clock: CallClock, use: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """What ``use`` gives for a client of the package, whose many kinds of failure become BackendError."""
        try:
            import httpx
            import ollama
        except ImportError as error:
            raise clock.error(
                "the package `ollama` is not installed", "not_found", help=install_command("ollama")
            ) from error
        client = ollama.AsyncClient(
            self._link.url,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=2.0),
            headers={"Accept-Encoding": "identity"},
            # Reading the certificates takes a tenth of a second and is only needed for TLS.
            transport=_bounded_transport()(verify=self._link.url.startswith("https:"), trust_env=False),
        )
        # The package takes OLLAMA_API_KEY from the environment for whatever host: out with it.
        client._client.headers.pop("authorization", None)
        if self._key is not None:
            client._client.headers["authorization"] = f"Bearer {self._key}"
        # Raised below and not chained: the package's errors hold bytes of the server and our headers.
        failure: BackendError
        try:
            async with client:
                return await clock.wait(use(client))
        except ollama.ResponseError as error:
            failure = self._refused(clock, words(error.error), error.status_code)
        except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout):
            failure = clock.error(
                f"no connection to the Ollama server at {self._link.url}", "timeout.connect"
            )
        except httpx.HTTPError:
            failure = clock.error(
                f"the Ollama server at {self._link.url} broke the connection off", "broken_stream"
            )
        except (ValueError, TypeError, RecursionError):  # not JSON, JSON of another shape, or nested too deep
            failure = clock.error(
                f"what answers at {self._link.url} is no Ollama server, or a very different one",
                "bad_response",
            )
        raise failure

    def _refused(self, clock: CallClock, said: str, status: int) -> BackendError:
        # In mid-stream the package knows no status. The one thing that pulling says there often is this.
        known = 404 if status < 0 and "does not exist" in said else status if status > 0 else None
        return failure(
            clock,
            self._link.gate.message,
            status=known,
            headers={},
            complaint=Complaint(said),
            direct=self._link.direct,
        )


@cache
def _bounded_transport() -> type[httpx.AsyncHTTPTransport]:
    """The package's transport, which refuses compressed responses and lines that are too long.

    A list of models is one line. Pulling a model sends a short line for each step, for hours.
    """
    import httpx

    class Bounded(httpx.AsyncByteStream):
        def __init__(self, inner: httpx.AsyncByteStream) -> None:
            self._inner = inner

        async def __aiter__(self) -> AsyncIterator[bytes]:
            line = 0
            async for piece in self._inner:
                end = piece.rfind(b"\n")
                line = line + len(piece) if end < 0 else len(piece) - end
                if line > MAX_BODY_BYTES:
                    raise Unreadable("a line that does not end")
                yield piece

        async def aclose(self) -> None:
            await self._inner.aclose()

    class Transport(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream = Bounded(response.stream)
            if response.headers.get("content-encoding", "identity") != "identity":
                await response.aclose()
                raise Unreadable("a compressed answer, which was not asked for")
            return response

    return Transport
