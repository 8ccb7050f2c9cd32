"""The shape of a policy file: which keys exist and what kind of value each takes.

Plain values in, pydantic models out. Nothing here knows whether a name refers to something: that is
``compile``. Every model refuses unknown keys and converts nothing in silence (``"1"`` is not 1).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import (
    MAX_LISTED_MODELS,
    Condition,
    FeatureName,
    ModelRef,
    Name,
    NotNegative,
    Positive,
    Scalar,
    Shape,
    Text,
)
from .catalog import Catalog
from .quantities import MAX_EXACT, DurationMs, Money, Percent

__all__ = [
    "Assertion",
    "Chain",
    "ChainEntry",
    "Constraint",
    "Control",
    "Draft",
    "Ensemble",
    "Feature",
    "Policy",
    "Refine",
    "Rollout",
    "Rule",
    "Screen",
    "Split",
    "Step",
    "StepBody",
    "Verify",
]


Limit = (
    Annotated[int, Field(ge=-MAX_EXACT, le=MAX_EXACT)] | Annotated[float, Field(ge=-MAX_EXACT, le=MAX_EXACT)]
)


class Feature(Shape):
    """A typed input of the policy."""

    type: Literal["boolean", "integer", "number", "string", "array"]
    items: Literal["boolean", "integer", "number", "string"] | None = Field(
        None, description="the type of an array's elements"
    )
    enum: list[Scalar] | None = Field(
        None, min_length=1, max_length=1_000, description="the only values allowed"
    )
    default: Scalar | list[Scalar] | None = Field(None, description="the value of a task that gives none")
    minimum: Limit | None = None
    maximum: Limit | None = None
    unit: str | None = None
    description: str | None = None
    needs: Name | Annotated[list[Name], Field(min_length=1, max_length=100)] | None = Field(
        None, description="capabilities that a model must have when this boolean feature is true"
    )
    from_: str | None = Field(
        None,
        alias="from",
        description="where the value is derived from when a task does not give it: request.prompt_tokens, "
        "request.messages, request.images, request.tools, request.json_schema, request.metadata.NAME, "
        "time.hour or time.weekday",
    )
    timezone: str | None = Field(None, description="the zone of `from: time.…`, such as Europe/Berlin")
    sensitive: bool | None = Field(None, description="stored so that it can be erased")


class Constraint(Shape):
    """What every candidate must meet, whatever rule matched; whatever is not true excludes the candidate."""

    name: Name
    description: str | None = None
    when: Condition = True
    require: Condition
    reason: str | None = None
    disabled: bool = False


class Split(Shape):
    """How `choose: split` divides tasks: weights by model, a sticky key, a salt."""

    weights: dict[ModelRef, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(
        min_length=1, description="a model of `use` that is left out has weight 0 and stands by"
    )
    key: str | None = Field(None, description="a feature: equal values always go the same way")
    salt: str = ""


class StepBody(Shape):
    """What every step says: the model that does it, and whether work may go on without it."""

    with_: ModelRef = Field(alias="with")
    required: bool = False


class Draft(StepBody):
    """A model prepares; its output is context for the answer."""


class Verify(StepBody):
    """Another model reviews the answer."""

    on_reject: Literal["annotate", "retry", "escalate"] = "annotate"


class Refine(StepBody):
    """Another model improves the answer."""

    rounds: int = Field(1, ge=1, le=10)


class Screen(StepBody):
    """A safety model looks at the prompt or the answer; flagged work is refused."""

    on: Literal["prompt", "answer", "both"] = "prompt"
    # Unscreened work must not go on in silence when the safety model is away.
    required: bool = True


class Step(Shape):
    """Exactly one step around the answer."""

    screen: Screen | None = None
    draft: Draft | None = None
    verify: Verify | None = None
    refine: Refine | None = None


class Ensemble(Shape):
    """Several models answer the same task; their answers are combined."""

    members: list[ModelRef] = Field(min_length=2, max_length=20, description="they answer side by side")
    combine: Literal["first", "vote", "judge", "consensus_or_override"]
    quorum: Positive | None = Field(None, description="members that must answer; default: all of them")
    judge: ModelRef | None = None
    override: ModelRef | None = Field(None, description="the member that decides when there is no consensus")
    label: Text | None = Field(
        None, description="a regular expression whose first group is an answer's label"
    )


class Rule(Shape):
    """A condition and the candidates to use when it holds. First match wins."""

    name: Name
    description: str | None = None
    when: Condition = True
    use: list[ModelRef] | None = Field(None, min_length=1, max_length=MAX_LISTED_MODELS)
    ensemble: Ensemble | None = None
    choose: Literal["first", "cheapest", "fastest", "split"] = "first"
    split: Split | None = None
    sticky: Literal["session"] | None = None
    fallback: Text | Annotated[list[ModelRef], Field(max_length=MAX_LISTED_MODELS)] = Field(
        "none", description="`none`, the name of a chain, or a list of models"
    )
    steps: list[Step] = Field(default_factory=list, max_length=20)
    reason: str | None = None
    on_unknown: Literal["skip", "match", "fail"] = "skip"
    disabled: bool = False


class ChainEntry(Shape):
    """One model of a chain, written out so that it can be taken out."""

    model: ModelRef
    disabled: bool = False
    reason: str | None = None


Chain = Annotated[list[ModelRef | ChainEntry], Field(min_length=1, max_length=MAX_LISTED_MODELS)]


class Control(Shape):
    """A limit in money, requests or time."""

    name: Name
    description: str | None = None
    disabled: bool = False
    on: ModelRef | Annotated[list[ModelRef], Field(min_length=1, max_length=MAX_LISTED_MODELS)] | None = (
        Field(None, description="the models it binds; default: all")
    )
    for_each: str | None = Field(None, description="a feature; each of its values has a limit of its own")
    max_requests: NotNegative | None = None
    max_tokens: NotNegative | None = None
    max_cost: Money | None = None
    max_concurrent: Positive | None = None
    per: Literal["minute", "hour", "day", "week", "month"] | None = None
    timezone: str = "UTC"
    unknown_cost: Literal["refuse", "allow"] = "refuse"
    of: Name | None = Field(None, description="the control that a reserve is kept from")
    reserve: Percent | None = None
    for_: Condition = Field(None, alias="for", description="the tasks that may use the reserve")
    first_token_within: DurationMs | None = None
    cache_ttl: DurationMs | None = None
    max_attempts: int | None = Field(None, ge=1, le=20)
    backoff: DurationMs | None = None
    deadline: DurationMs | None = None


class Assertion(Shape):
    """What must hold for every task that the policy can route."""

    name: Name | None = None
    description: str | None = None
    never: Condition = None
    always: Condition = None
    reason: str | None = None


class Rollout(Shape):
    """A candidate policy beside this one."""

    candidate: Text = Field(description="the candidate policy's file, relative to this one")
    mode: Literal["shadow", "canary", "full"]
    percent: Percent | None = None
    key: str | None = Field(None, description="a feature whose value decides the arm")
    salt: str = ""


class Policy(Shape):
    """A policy file."""

    routewright: Literal[1]
    name: Name
    description: str | None = None
    catalog: Text | Catalog = Field(description="the catalog's file, relative to this one, or a catalog")
    features: dict[FeatureName, Feature] = Field(default_factory=dict, max_length=1_000)
    constraints: list[Constraint] = Field(default_factory=list, max_length=500)
    rules: list[Rule] = Field(min_length=1, max_length=10_000)
    chains: dict[Name, Chain] = Field(default_factory=dict, max_length=2_000)
    controls: list[Control] = Field(default_factory=list, max_length=500)
    assertions: list[Assertion] = Field(default_factory=list, max_length=500)
    rollout: Rollout | None = None
