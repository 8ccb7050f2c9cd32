"""The shape of a file of policy tests (``NAME.test.yaml``): tasks, and what must become of each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..quantities import Money
from .base import (
    Amount,
    Condition,
    FileName,
    FormatVersion,
    ModelRef,
    Name,
    NotNegative,
    Operation,
    Scalar,
    Shape,
)

CaseName = Annotated[str, Field(min_length=1, max_length=200)]

FeatureValue = Scalar | list[Scalar]


class CaseTask(Shape):
    """The task of a case, of a line of a task file, or of a sample: what is decided about."""

    operation: Operation = Field("chat", description="the kind of work")
    features: dict[str, FeatureValue | None] = Field(
        default_factory=dict,
        description="values by name; `null` means unknown: the value is neither derived nor defaulted",
    )
    pin: ModelRef | None = Field(None, description="the model that the caller names")
    prompt_tokens: NotNegative | None = Field(None, description="facts of the request: tokens of the prompt")
    max_output_tokens: NotNegative | None = Field(
        None, description="facts of the request: the longest answer asked for"
    )
    messages: NotNegative | None = Field(
        None, description="facts of the request: messages of the conversation"
    )
    images: NotNegative | None = Field(None, description="facts of the request: images")
    tools: NotNegative | None = Field(None, description="facts of the request: tools offered to the model")
    json_schema: bool | None = Field(
        None, description="facts of the request: whether the answer must fit a schema"
    )
    metadata: dict[str, str] = Field(default_factory=dict, description="facts of the request: texts by name")
    draw: float | None = Field(None, ge=0, lt=1, description="the random draw of `choose: split`")


class CaseModelState(Shape):
    """What is known about one model at the time of the case."""

    health: Literal["healthy", "unhealthy"] | None = Field(None, description="default: unknown, which passes")
    breaker: Literal["closed", "open", "half_open"] | None = Field(None, description="default: closed")
    breaker_until: str | None = Field(
        None, description="when an open breaker closes, such as 2026-01-31T12:00:00Z"
    )
    breaker_after: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="the class of the failure that opened it, such as `quota_exhausted`",
    )
    latency_ms: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0)] | None = Field(
        None, description="as observed, in milliseconds"
    )
    loaded: bool | None = Field(None, description="whether it is in memory; default: unknown")
    load_ms: NotNegative | None = Field(
        None, description="how long loading it took of late, in whole milliseconds"
    )
    memory_gb: Amount | None = Field(
        None, description="what it takes in memory, as its backend says; the catalog's own number comes first"
    )


class CaseMemory(Shape):
    """What is known about the memory of one backend at the time of the case."""

    limit_gb: Amount | None = Field(
        None, description="what all its models together may take; default: unknown"
    )
    loaded: list[ModelRef] = Field(
        default_factory=list,
        description="the models in memory, in the order in which they make room; its others are not loaded",
    )


class CaseState(Shape):
    """What the decision may know beyond the task."""

    at: str | None = Field(None, description="UTC, such as 2026-01-31T12:00:00Z")
    load: float | None = Field(None, ge=0, le=1, description="of this machine, from 0 to 1")
    models: dict[ModelRef, CaseModelState] = Field(
        default_factory=dict, description="by any name of the model"
    )
    memory: dict[Name, CaseMemory] = Field(default_factory=dict, description="by backend")
    quota_used: dict[str, int | float | Money] = Field(
        default_factory=dict,
        description="by control: requests, tokens or calls; money as `12.5 USD`, or as the amount alone",
    )
    session_model: ModelRef | None = Field(
        None, description="the model that last answered the session of the task's metadata"
    )


class Expectation(Shape):
    """What must be true of the decision; what is not named may be anything."""

    outcome: Literal["routed", "no_match", "no_target", "undecided"] | None = Field(
        None, description="the outcome"
    )
    rule: str | None = Field(None, description="the rule that won")
    target: ModelRef | None = Field(None, description="the model chosen")
    fallbacks: list[ModelRef] | None = Field(None, description="exactly these, in this order")
    steps: list[str] | None = Field(None, description="exactly these, as `role: model`")
    ensemble: list[ModelRef] | None = Field(None, description="exactly these members, in this order")
    excluded: dict[ModelRef, str] | None = Field(
        None, description="models, each with the first gate that it fails"
    )
    every: Condition = Field(None, description="a condition over model.* that every model of the plan meets")


class Case(Shape):
    """One task and what must become of it."""

    name: CaseName = Field(description="what the case shows; unique in the file")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    task: CaseTask = Field(CaseTask(), description="the task")
    state: CaseState = Field(CaseState(), description="what else the decision may know")
    expect: Expectation = Field(description="what must be true of the decision")


class TestFile(Shape):
    """A file of cases for one policy."""

    __test__ = False  # not a pytest class

    routewright: FormatVersion = Field(description="the version of the format")
    policy: FileName = Field(description="the policy's file, relative to this one")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    cases: list[Case] = Field(min_length=1, description="in order")
