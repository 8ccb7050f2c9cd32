"""The shape of a policy file: which keys exist and what kind of value each takes.

Plain values in, pydantic models out. Nothing here knows whether a name refers to something: that is
``compile``. Every model refuses unknown keys and converts nothing in silence (``"1"`` is not 1).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ...report import duration_text
from ..default_limits import DEFAULT_DEADLINE_MS
from ..quantities import MAX_EXACT, DurationMs, Money, Percent
from .base import (
    MAX_LISTED_MODELS,
    Condition,
    FeatureName,
    FileName,
    FormatVersion,
    ModelRef,
    Name,
    NotNegative,
    Positive,
    Salt,
    Scalar,
    Shape,
    Text,
)
from .catalog import Catalog
from .steps import Step

Limit = (
    Annotated[int, Field(ge=-MAX_EXACT, le=MAX_EXACT)] | Annotated[float, Field(ge=-MAX_EXACT, le=MAX_EXACT)]
)


class Feature(Shape):
    """A typed input of the policy."""

    type: Literal["boolean", "integer", "number", "string", "array"] = Field(
        description="the type of its values"
    )
    items: Literal["boolean", "integer", "number", "string"] | None = Field(
        None, description="the type of an array's elements"
    )
    enum: list[Scalar] | None = Field(
        None, min_length=1, max_length=1_000, description="the only values allowed"
    )
    default: Scalar | list[Scalar] | None = Field(None, description="the value if a task gives none")
    minimum: Limit | None = Field(None, description="the least value")
    maximum: Limit | None = Field(None, description="the largest value")
    unit: str | None = Field(None, description="a note for readers; changes nothing")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    needs: Name | Annotated[list[Name], Field(min_length=1, max_length=100)] | None = Field(
        None, description="capabilities that a model must have when this boolean feature is true"
    )
    from_: str | None = Field(
        None,
        alias="from",
        description="where the value comes from if a task gives none: request.prompt_tokens, "
        "request.messages, request.images, request.tools, request.json_schema, request.metadata.NAME, "
        "time.hour or time.weekday",
    )
    on_other: Literal["unknown", "error"] | None = Field(
        None,
        description="what to do with a derived value that the declaration does not allow; default: unknown",
    )
    timezone: str | None = Field(None, description="the zone of `from: time.…`, such as Europe/Berlin")
    sensitive: bool | None = Field(
        None,
        description="whether values of tasks are sealed in the ledger, so that they can be erased and leave no trace",
    )


class Constraint(Shape):
    """What every candidate must meet, whatever rule matched; whatever is not true excludes the candidate."""

    name: Name = Field(description="its name in explanations")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    when: Condition = Field(True, description="the tasks that it applies to")
    require: Condition = Field(description="what must be true of a candidate")
    reason: str | None = Field(None, description="shown in explanations")
    disabled: bool = Field(False, description="switches the constraint off")


class Split(Shape):
    """How `choose: split` divides tasks: weights by model, a sticky key, a salt."""

    weights: dict[ModelRef, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(
        min_length=1, description="a model of `use` without a weight has weight 0 and comes last"
    )
    key: str | None = Field(None, description="a feature: equal values always go the same way")
    salt: Salt = Field("", description="makes one split independent of another")


class Ensemble(Shape):
    """Several models answer the same task; their answers are combined."""

    members: list[ModelRef] = Field(min_length=2, max_length=20, description="the models that are asked")
    combine: Literal["first", "vote", "judge", "consensus_or_override"] = Field(
        description="how one answer is made of several"
    )
    quorum: Positive | None = Field(
        None, description="members that must answer; default: all of them, one for `first`"
    )
    judge: ModelRef | None = Field(None, description="the model that chooses, for `combine: judge`")
    override: ModelRef | None = Field(None, description="the member that decides if there is no consensus")
    label: Text | None = Field(
        None, description="a regular expression whose first group is an answer's label"
    )


class Rule(Shape):
    """A condition and the candidates to use when it holds. First match wins."""

    name: Name = Field(description="its name in explanations")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    when: Condition = Field(True, description="the tasks that it matches")
    use: list[ModelRef] | None = Field(
        None,
        min_length=1,
        max_length=MAX_LISTED_MODELS,
        description="models to choose from; this or `ensemble`",
    )
    ensemble: Ensemble | None = Field(None, description="several models answer; this or `use`")
    choose: Literal["first", "cheapest", "fastest", "split"] = Field(
        "first", description="the order in which the models of `use` are tried"
    )
    split: Split | None = Field(None, description="the weights of `choose: split`")
    sticky: Literal["session"] | None = Field(
        None, description="keeps a conversation on the model that answered it, while that is eligible"
    )
    fallback: Text | Annotated[list[ModelRef], Field(max_length=MAX_LISTED_MODELS)] = Field(
        "none", description="`none`, the name of a chain, or a list of models"
    )
    steps: list[Step] = Field(
        default_factory=list, max_length=20, description="work around the answer, in this order"
    )
    reason: str | None = Field(None, description="shown in explanations")
    on_unknown: Literal["skip", "match", "fail"] = Field(
        "skip", description="what to do when the condition is unknown"
    )
    disabled: bool = Field(False, description="switches the rule off")


class ChainEntry(Shape):
    """One model of a chain, written out so that it can be taken out."""

    model: ModelRef
    disabled: bool = Field(False, description="removes the model from the chain")
    reason: str | None = Field(None, description="shown in explanations")


Chain = Annotated[list[ModelRef | ChainEntry], Field(min_length=1, max_length=MAX_LISTED_MODELS)]


class Control(Shape):
    """A limit in money, requests or time."""

    name: Name = Field(description="the name under which use is counted")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    disabled: bool = Field(False, description="switches the control off")
    on: ModelRef | Annotated[list[ModelRef], Field(min_length=1, max_length=MAX_LISTED_MODELS)] | None = (
        Field(None, description="the models it binds; default: all")
    )
    for_each: str | None = Field(None, description="a feature: each of its values has its own limit")
    max_requests: NotNegative | None = Field(None, description="a quota: attempts")
    max_tokens: NotNegative | None = Field(None, description="a quota: tokens in and out")
    max_cost: Money | None = Field(None, description="a quota: money")
    max_concurrent: Positive | None = Field(None, description="a quota: calls at the same time")
    per: Literal["request", "minute", "hour", "day", "week", "month"] | None = Field(
        None,
        description="the period of a quota; required except with `max_concurrent`. `request` makes `max_cost` "
        "a limit on one task",
    )
    timezone: str = Field("UTC", description="the time zone of the period")
    scope: Literal["policy", "machine"] = Field(
        "policy",
        description="whose calls a quota counts: this policy's, or those of all that have such a quota of this name",
    )
    unknown_cost: Literal["refuse", "allow"] = Field(
        "refuse", description="whether `max_cost` refuses models without a price"
    )
    of: Name | None = Field(None, description="the quota that the reserve is a part of")
    reserve: Percent | None = Field(None, description="the share of the quota that is kept")
    for_: Condition = Field(None, alias="for", description="the tasks that may use the reserve")
    first_token_within: DurationMs | None = Field(None, description="a limit on the time to the first token")
    cache_ttl: DurationMs | None = Field(None, description="how long an answer may be reused")
    cache_by: Annotated[list[Name], Field(max_length=100)] | None = Field(
        None,
        description="features whose values have to be equal for an answer to be reused; none with `[]`. "
        "Default: whatever the caller gives, features and metadata",
    )
    max_attempts: int | None = Field(
        None,
        ge=1,
        le=20,
        description="calls for the answer to one task: retries, fallbacks and members, but not steps",
    )
    backoff: DurationMs | None = Field(None, description="the first wait before a retry")
    deadline: DurationMs | None = Field(
        None, description=f"the time for one task, in all; default: {duration_text(DEFAULT_DEADLINE_MS)}"
    )
    lease: DurationMs | None = Field(
        None,
        description="how long the reservations of a killed process last before they count as used; default: 1 minute",
    )


class Assertion(Shape):
    """What must hold for every task that the policy can route."""

    name: Name | None = Field(None, description="its name in reports")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    never: Condition = Field(None, description="what must not be true for any task and candidate")
    always: Condition = Field(None, description="what must be true for every task and candidate")
    reason: str | None = Field(None, description="shown in reports")


class CanaryCondition(Shape):
    """What the candidate's mean of a metric is, beside the control's."""

    metric: Literal["success", "cost", "latency_ms"] = Field(
        description="`success`: the share of decisions with an answer; `cost` of a decision, in the currency "
        "of all prices; `latency_ms` of an answer"
    )
    is_: Literal["above", "below"] = Field(
        alias="is", description="on which side of `times` the control's mean and `plus`"
    )
    times: Annotated[int, Field(ge=0, le=MAX_EXACT)] | Annotated[float, Field(ge=0, le=MAX_EXACT)] = Field(
        1, description="a multiple of the control's mean"
    )
    plus: Limit = Field(0, description="what is added to that, in the metric's unit; less with a minus")


CanaryConditions = Annotated[list[CanaryCondition], Field(max_length=20)]


class Rollout(Shape):
    """A candidate policy beside this one."""

    candidate: FileName = Field(description="the candidate policy's file, relative to this one")
    mode: Literal["shadow", "canary", "full"] = Field(
        description="`shadow`: decided but not executed; `canary`: for a share of the tasks; `full`: for all"
    )
    percent: Percent | None = Field(None, description="the candidate's share, for `mode: canary`")
    key: str | None = Field(None, description="a feature: equal values always go the same way")
    salt: Salt = Field("", description="makes one rollout independent of another")
    abort_when: CanaryConditions = Field(
        default_factory=list,
        description="a canary ends, and the control executes all, as soon as one of these is sure",
    )
    promote_when: CanaryConditions = Field(
        default_factory=list,
        description="a canary ends, and the candidate executes all, as soon as all of these are sure",
    )


class Policy(Shape):
    """A policy file."""

    routewright: FormatVersion = Field(description="the version of the format")
    name: Name = Field(description="the policy's name, part of every record")
    description: str | None = Field(None, description="a note for readers; changes nothing")
    catalog: FileName | Catalog = Field(description="the catalog's file, relative to this one, or a catalog")
    features: dict[FeatureName, Feature] = Field(
        default_factory=dict, max_length=1_000, description="the inputs, by name"
    )
    constraints: list[Constraint] = Field(
        default_factory=list, max_length=500, description="what every candidate must meet"
    )
    rules: list[Rule] = Field(
        min_length=1, max_length=10_000, description="in order: the first that holds wins"
    )
    chains: dict[Name, Chain] = Field(
        default_factory=dict, max_length=2_000, description="lists of models, by name"
    )
    controls: list[Control] = Field(
        default_factory=list, max_length=500, description="limits in money, requests and time"
    )
    assertions: list[Assertion] = Field(
        default_factory=list, max_length=500, description="what must hold for every task"
    )
    rollout: Rollout | None = Field(None, description="a candidate policy beside this one")
