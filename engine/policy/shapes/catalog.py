"""The shape of a catalog: the models that exist, and the backends that run them.

Plain values in, pydantic models out. Secrets and paths may name an environment variable as ``${NAME}``; it is
resolved when the backend opens, never here, and is part of no digest.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from ..quantities import Count, DurationMs
from .base import Form, FormatVersion, Name, NotNegative, Operation, Positive, Shape, check_unbroken
from .tokenizers import Encoding

Kind = Literal["ollama", "mlx", "openai", "llamacpp", "simulated"]

EnvRef = Annotated[
    str, Form(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}", "an environment variable such as `${OLLAMA_API_KEY}`")
]
"""``${NAME}``: an environment variable, never the secret itself."""

FilePath = Annotated[
    str,
    Field(min_length=1),
    Form(r"(\$\{[A-Za-z_][A-Za-z0-9_]*\})?[^$]*", "a path, perhaps after `${NAME}`"),
]
"""A path; it may start with an environment variable."""

Tag = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": r"^\S+$"}),
    AfterValidator(check_unbroken),
]
"""A name of a model for a backend or a policy. Blanks are refused: servers trim names and may then read another one."""

CurrencyCode = Annotated[str, Form(r"[A-Z]{3}", "a currency's three letters such as `USD`")]

Version = Annotated[str, Form(r"[0-9]+(\.[0-9]+){0,3}", "a version such as `0.12.3`")]


def _day(value: str) -> str:
    try:
        date.fromisoformat(value)
    except ValueError:
        raise ValueError("expected a day such as `2026-01-31`") from None
    return value


def _address(value: str) -> str:
    """Refuse what is no address, and secrets in one: an address is stored and shown."""
    try:
        parts = urlsplit(value if "//" in value else f"//{value}")
        known = bool(parts.hostname) or value.count(":") > 1
        # Reading the port checks it.
        fits = known and (parts.port is None or parts.port > 0) and value.isprintable() and " " not in value
    except ValueError:
        # A bare IPv6 address is no URL, and an address all the same.
        fits = value.count(":") > 1 and "//" not in value and "[" not in value
        parts = urlsplit("")
    if not fits:
        raise ValueError("expected an address such as `http://localhost:11434`")
    if "@" in parts.netloc:
        raise ValueError("an address holds no user or password: secrets belong into `api_key`")
    return value


Address = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_address)]
Day = Annotated[str, Form(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "a day such as `2026-01-31`"), AfterValidator(_day)]


Amount = Annotated[int, Field(ge=0, le=1_000_000)] | Annotated[float, Field(ge=0, le=1_000_000)]
"""Money for a million tokens, or gigabytes."""


class Timeouts(Shape):
    """How long each phase of a call may take."""

    connect: DurationMs | None = Field(None, description="until the server is reached")
    load: DurationMs | None = Field(None, description="a cold start is not slowness: it has its own limit")
    first_token: DurationMs | None = Field(None, description="until the first token of an answer")
    idle: DurationMs | None = Field(None, description="between two tokens")
    total: DurationMs | None = Field(None, description="for the whole call")
    pull: DurationMs | None = Field(None, description="for fetching a missing model")


class Backend(Shape):
    """Something that runs models."""

    kind: Kind = Field(description="what speaks to it")
    description: str | None = Field(None, description="for people")
    host: Address | None = Field(None, description="the server's address, such as http://localhost:11434")
    path: FilePath | None = Field(None, description="a folder of models; may start with ${NAME}")
    api_key: EnvRef | None = Field(None, description="the environment variable that holds the key")
    min_version: Version | None = Field(None, description="the oldest server that will do, such as 0.12.3")
    operations: list[Operation] | None = Field(
        None, min_length=1, description="default: what this kind of backend offers"
    )
    location: Literal["cloud"] | None = Field(
        None, description="say `cloud` for a local address that forwards elsewhere; `local` follows by itself"
    )
    stays: bool = Field(
        False,
        description="whether a server on this machine does all work itself, which makes its models local "
        "(kind `openai`)",
    )
    timeouts: Timeouts = Field(Timeouts(), description="how long each phase of a call may take")
    concurrency: Positive | None = Field(
        None, description="calls at the same time; of `llamacpp` generations of each model, default 1"
    )
    pull: bool = Field(False, description="whether a missing model may be pulled")
    health: Address | None = Field(None, description="the address that answers while the backend is well")
    health_interval: DurationMs | None = Field(None, description="the time between two looks at its health")
    requires_signin: bool = Field(False, description="whether someone has to be signed in")
    unload_after: DurationMs | None = Field(None, description="an unused model leaves memory after this time")
    memory_gb: Amount | None = Field(
        None, description="what all loaded models take together at most (kind `mlx`)"
    )
    threads: Positive | None = Field(
        None, description="processor threads of each model; default: llama.cpp's choice (kind `llamacpp`)"
    )
    memory_pressure: float | None = Field(None, ge=0, le=1, description="share of memory that unloads models")
    disabled: bool = Field(False, description="takes the backend and its models out")
    disabled_reason: str | None = Field(None, description="what explanations say of it")


class Price(Shape):
    """Prices per million tokens. A model without a price has an unknown cost, never a cost of 0."""

    input: Amount = Field(description="for a million tokens of the prompt")
    cached_input: Amount | None = Field(None, description="for a million tokens read from a cache")
    output: Amount = Field(description="for a million tokens of the answer")
    currency: CurrencyCode = Field("USD", description="three letters; nothing is ever converted")
    since: Day | None = Field(None, description="the day from which the prices hold")


class Model(Shape):
    """A model that tasks can be routed to."""

    backend: Name = Field(description="the backend that runs it")
    tag: Tag | None = Field(None, description="the backend's own name for it; default: the model's id")
    path: FilePath | None = Field(None, description="where its files are; may start with ${NAME}")
    source: str | None = Field(None, description="where the weights come from, such as a repository's name")
    aliases: list[Tag] = Field(default_factory=list, description="other names that policies may use")
    description: str | None = Field(None, description="for people")
    operations: list[Operation] = Field(
        default_factory=lambda: list[Operation](["chat"]),
        min_length=1,
        description="what it can do; its backend must offer it too",
    )
    capabilities: list[Name] = Field(default_factory=list, description="facts that gate: vision, tools, …")
    recommended_for: list[Name] = Field(default_factory=list, description="advice; gates nothing")
    architecture: Literal["dense", "mixture_of_experts"] | None = Field(
        None, description="what the model says of itself; gates nothing"
    )
    total_parameters: Count | None = Field(None, description="parameters in all")
    active_parameters: Count | None = Field(None, description="parameters at work for one token")
    quantization: str | None = Field(None, description="how the weights are stored")
    context_length: Positive | None = Field(None, description="tokens")
    max_output_tokens: Positive | None = Field(
        None, description="the longest answer: no chat is asked for more"
    )
    tokenizer: Encoding | None = Field(
        None, description="what its prompts are counted with; left out, told from its tag, source and id"
    )
    max_pairs: Positive | None = Field(None, description="pairs in one rerank call")
    embedding_space: Name | None = Field(None, description="vectors of one space can be compared")
    dimensions: Positive | None = Field(None, description="numbers in one vector")
    pooling: Literal["mean", "cls", "last"] | None = Field(
        None, description="how a model that does not say so makes vectors (kind `llamacpp`)"
    )
    memory_gb: Amount | None = Field(None, description="memory that it takes")
    size_bytes: NotNegative | None = Field(None, description="size of its files")
    min_version: Version | None = Field(None, description="the oldest backend that runs it")
    requires_signin: bool = Field(False, description="whether someone has to be signed in")
    price: Price | None = Field(None, description="left out, the cost is unknown, never 0")
    expected_latency: DurationMs | None = Field(
        None, description="until the answer, where nothing was observed"
    )
    think: bool | Literal["low", "medium", "high"] | None = Field(
        None, description="whether the model thinks before it answers, where its backend can say so"
    )
    keep_alive: str | None = Field(
        None, pattern=r"^-?\d+(\.\d+)?(ms|s|m|h)?$", description="how long an Ollama server keeps it loaded"
    )
    stands_in_for: str | None = Field(
        None, description="what this model takes the place of here, as `backend:tag`"
    )
    residency: Literal["always_on", "preload", "standby", "on_demand"] = Field(
        "on_demand", description="when it is kept in memory"
    )
    disabled: bool = Field(False, description="takes the model out")
    disabled_reason: str | None = Field(None, description="what explanations say of it")


class Catalog(Shape):
    """A catalog file."""

    routewright: FormatVersion = Field(description="the version of the format")
    name: Name | None = Field(None, description="the catalog's name")
    description: str | None = Field(None, description="for people")
    backends: dict[Name, Backend] = Field(min_length=1, max_length=1_000, description="by name")
    models: dict[Name, Model] = Field(min_length=1, max_length=5_000, description="by id")
