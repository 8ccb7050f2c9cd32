"""The shape of a catalog: the models that exist, and the backends that run them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ..quantities import Count, DurationMs
from .base import (
    Amount,
    FilePath,
    Form,
    FormatVersion,
    Name,
    NotNegative,
    Operation,
    Positive,
    Shape,
    Version,
    check_unbroken,
)
from .kinds import AnyBackend
from .tokenizers import Encoding

Tag = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": r"^\S+$"}),
    AfterValidator(check_unbroken),
]
"""A name of a model for a backend or a policy. Blanks are refused: servers trim names and may then read another one."""

CurrencyCode = Annotated[str, Form(r"[A-Z]{3}", "a currency's three letters such as `USD`")]


def _day(value: str) -> str:
    try:
        date.fromisoformat(value)
    except ValueError:
        raise ValueError("expected a day such as `2026-01-31`") from None
    return value


Day = Annotated[str, Form(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "a day such as `2026-01-31`"), AfterValidator(_day)]

KeepAlive = Annotated[
    str, Form(r"-?[0-9]+(\.[0-9]+)?(ms|s|m|h)?", 'a duration such as `15m` or `1h`, or `"-1"` for ever')
]

UnsupportedParameter = Literal[
    "temperature",
    "top_p",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "stream_options",
    "reasoning_effort",
    "chat_template_kwargs",
]
"""The parameters of OpenAI's API that a request can do without."""


class Price(Shape):
    """Prices per million tokens. A model without a price has an unknown cost, never a cost of 0."""

    input: Amount = Field(description="per million tokens of the prompt")
    cached_input: Amount | None = Field(None, description="per million tokens read from a cache")
    output: Amount = Field(description="per million tokens of the answer")
    currency: CurrencyCode = Field("USD", description="three letters; nothing is converted")
    since: Day | None = Field(None, description="the day since which the prices hold")


class Model(Shape):
    """A model that tasks can be routed to."""

    backend: Name = Field(description="the backend that runs it")
    tag: Tag | None = Field(None, description="the backend's own name for it; default: the model's id")
    path: FilePath | None = Field(None, description="where its files are (kinds `mlx` and `llamacpp`)")
    source: str | None = Field(None, description="where the weights come from, such as a repository's name")
    aliases: list[Tag] = Field(default_factory=list, description="other names that policies may use")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    operations: list[Operation] = Field(
        default_factory=lambda: list[Operation](["chat"]),
        min_length=1,
        description="what it can do; its backend must offer it too",
    )
    capabilities: list[Name] = Field(
        default_factory=list, description="what tasks can require of it: vision, tools, …"
    )
    recommended_for: list[Name] = Field(
        default_factory=list, description="advice for readers; excludes nothing"
    )
    architecture: Literal["dense", "mixture_of_experts"] | None = Field(
        None, description="the model's architecture; excludes nothing"
    )
    total_parameters: Count | None = Field(None, description="parameters in all")
    active_parameters: Count | None = Field(None, description="parameters active for one token")
    quantization: str | None = Field(None, description="how the weights are stored")
    context_length: Positive | None = Field(None, description="tokens")
    max_output_tokens: Positive | None = Field(
        None, description="the longest answer: no chat is asked for more"
    )
    tokenizer: Encoding | None = Field(
        None, description="what its prompts are counted with; default: by its tag, source and id"
    )
    embedding_space: Name | None = Field(None, description="vectors of one space can be compared")
    dimensions: Positive | None = Field(None, description="numbers in one vector")
    pooling: Literal["mean", "cls", "last"] | None = Field(
        None, description="how vectors are made, if the model does not say (kind `llamacpp`)"
    )
    memory_gb: Amount | None = Field(None, description="memory that it needs")
    size_bytes: NotNegative | None = Field(None, description="size of its files")
    min_version: Version | None = Field(None, description="the oldest server that runs it (kind `ollama`)")
    price: Price | None = Field(None, description="without it the cost is unknown, not 0")
    expected_latency: DurationMs | None = Field(None, description="until the answer, if nothing was observed")
    think: bool | Literal["low", "medium", "high"] | None = Field(
        None, description="whether the model thinks before it answers, if its backend can tell it"
    )
    unsupported: list[UnsupportedParameter] | None = Field(
        None,
        description="parameters that it does not take, so that they are left out; a limit in tokens goes under the "
        "other of its two names (kind `openai`)",
    )
    keep_alive: KeepAlive | None = Field(
        None, description="how long it stays in memory after a call (kinds `ollama` and `mlx`)"
    )
    preload: bool = Field(
        False,
        description="whether it is loaded when a gateway opens, if nothing has to go for it (kinds `ollama`, `mlx` and "
        "`llamacpp`)",
    )
    stands_in_for: str | None = Field(
        None, description="the model that this one stands in for, as `backend:tag`"
    )
    disabled: bool = Field(False, description="switches the model off")
    disabled_reason: str | None = Field(None, description="shown in explanations")


class Catalog(Shape):
    """A catalog file."""

    routewright: FormatVersion = Field(description="the version of the format")
    name: Name | None = Field(None, description="the catalog's name")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    backends: dict[Name, AnyBackend] = Field(min_length=1, max_length=1_000, description="by name")
    models: dict[Name, Model] = Field(min_length=1, max_length=5_000, description="by id")
