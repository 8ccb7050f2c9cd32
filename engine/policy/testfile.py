"""The shape of a file of policy tests (``NAME.test.yaml``): tasks, and what must become of each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Condition, ModelRef, NotNegative, Operation, Scalar, Shape

__all__ = ["Case", "CaseModelState", "CaseState", "CaseTask", "Expectation", "TestFile"]

FeatureValue = Scalar | list[Scalar]


class CaseTask(Shape):
    """The task of a case, of a line of a task file, or of a sample: what is decided about."""

    operation: Operation = "chat"
    features: dict[str, FeatureValue | None] = Field(default_factory=dict)
    pin: ModelRef | None = None
    prompt_tokens: NotNegative | None = None
    max_output_tokens: NotNegative | None = None
    messages: NotNegative | None = None
    images: NotNegative | None = None
    tools: NotNegative | None = None
    json_schema: bool | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    draw: float | None = Field(None, ge=0, lt=1, description="the random draw of `choose: split`")


class CaseModelState(Shape):
    """What is known about one model at the time of the case."""

    health: Literal["healthy", "unhealthy"] | None = None
    breaker: Literal["closed", "open", "half_open"] | None = None
    latency_ms: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0)] | None = None


class CaseState(Shape):
    """What the decision may know beyond the task."""

    at: str | None = Field(None, description="UTC, such as 2026-01-31T12:00:00Z")
    load: float | None = Field(None, ge=0, le=1)
    models: dict[ModelRef, CaseModelState] = Field(default_factory=dict)
    quota_used: dict[str, int | float] = Field(default_factory=dict)


class Expectation(Shape):
    """What must be true of the decision; what is not named may be anything."""

    outcome: Literal["routed", "no_match", "no_target", "undecided"] | None = None
    rule: str | None = None
    target: ModelRef | None = None
    fallbacks: list[ModelRef] | None = Field(None, description="exactly these, in this order")
    steps: list[str] | None = Field(None, description="exactly these, as `role: model`")
    ensemble: list[ModelRef] | None = None
    excluded: dict[ModelRef, str] | None = Field(None, description="models with the first gate that failed")
    every: Condition = Field(None, description="a condition over model.* that every model of the plan meets")


class Case(Shape):
    """One task and what must become of it."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: str | None = None
    task: CaseTask = CaseTask()
    state: CaseState = CaseState()
    expect: Expectation


class TestFile(Shape):
    """A file of cases for one policy."""

    __test__ = False  # not a pytest class

    routewright: Literal[1]
    policy: str = Field(description="the policy's file, relative to this one")
    description: str | None = None
    cases: list[Case] = Field(min_length=1)
