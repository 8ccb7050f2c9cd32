"""The shape of a catalog: the models that exist, and the backends that run them.

Plain values in, pydantic models out. Secrets and paths may name an environment variable as ``${NAME}``; it is
resolved when the backend opens, never here, and is part of no digest.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Name, Operation, Shape
from .quantities import Count, DurationMs

__all__ = ["Backend", "Catalog", "Kind", "Model", "Price", "Timeouts"]

Kind = Literal["ollama", "mlx", "openai", "llamacpp", "simulated"]

EnvRef = Annotated[str, Field(pattern=r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$")]
"""``${NAME}``: an environment variable, never the secret itself."""

CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Timeouts(Shape):
    """How long each phase of a call may take."""

    connect: DurationMs | None = None
    load: DurationMs | None = Field(None, description="a cold start is not slowness: it has its own limit")
    first_token: DurationMs | None = None
    idle: DurationMs | None = Field(None, description="between two tokens")
    total: DurationMs | None = None
    pull: DurationMs | None = None


class Backend(Shape):
    """Something that runs models."""

    kind: Kind
    description: str | None = None
    host: str | None = Field(None, description="the server's address, such as http://localhost:11434")
    path: str | None = Field(None, description="a folder of models; may start with ${NAME}")
    api_key: EnvRef | None = None
    min_version: str | None = Field(None, description="the oldest server that will do, such as 0.12.3")
    operations: list[Operation] | None = Field(None, description="default: what this kind of backend offers")
    location: Literal["cloud"] | None = Field(
        None, description="say `cloud` for a local address that forwards elsewhere; `local` follows by itself"
    )
    timeouts: Timeouts = Timeouts()
    concurrency: int | None = Field(None, ge=1, description="calls at the same time")
    pull: bool = Field(False, description="whether a missing model may be pulled")
    health: str | None = Field(None, description="the address that answers while the backend is well")
    health_interval: DurationMs | None = None
    requires_signin: bool = False
    unload_after: DurationMs | None = Field(None, description="an unused model leaves memory after this time")
    memory_pressure: float | None = Field(None, ge=0, le=1, description="share of memory that unloads models")
    disabled: bool = False
    disabled_reason: str | None = None


class Price(Shape):
    """Prices per million tokens. A model without a price has an unknown cost, never a cost of 0."""

    input: int | float = Field(ge=0)
    cached_input: int | float | None = Field(None, ge=0)
    output: int | float = Field(ge=0)
    currency: CurrencyCode = "USD"
    since: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}$")


class Model(Shape):
    """A model that tasks can be routed to."""

    backend: Name
    tag: str | None = Field(None, description="the backend's own name for it; default: the model's id")
    path: str | None = Field(None, description="where its files are; may start with ${NAME}")
    source: str | None = Field(None, description="where the weights come from, such as a repository's name")
    aliases: list[str] = Field(default_factory=list)
    description: str | None = None
    operations: list[Operation] = Field(default_factory=lambda: list[Operation](["chat"]), min_length=1)
    capabilities: list[Name] = Field(default_factory=list, description="facts that gate: vision, tools, …")
    recommended_for: list[Name] = Field(default_factory=list, description="advice; gates nothing")
    architecture: Literal["dense", "mixture_of_experts"] | None = None
    total_parameters: Count | None = None
    active_parameters: Count | None = None
    quantization: str | None = None
    context_length: int | None = Field(None, ge=1, description="tokens")
    max_output_tokens: int | None = Field(None, ge=1)
    max_pairs: int | None = Field(None, ge=1, description="pairs in one rerank call")
    embedding_space: Name | None = Field(None, description="vectors of one space can be compared")
    dimensions: int | None = Field(None, ge=1)
    memory_gb: int | float | None = Field(None, ge=0)
    size_bytes: int | None = Field(None, ge=0)
    min_version: str | None = Field(None, description="the oldest backend that runs it")
    requires_signin: bool = False
    price: Price | None = None
    expected_latency: DurationMs | None = None
    residency: Literal["always_on", "preload", "standby", "on_demand"] = "on_demand"
    disabled: bool = False
    disabled_reason: str | None = None


class Catalog(Shape):
    """A catalog file."""

    routewright: Literal[1]
    name: Name | None = None
    description: str | None = None
    backends: dict[Name, Backend] = Field(min_length=1)
    models: dict[Name, Model] = Field(min_length=1)
