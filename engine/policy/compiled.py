"""What a policy and its catalog become once every name, type and reference has been checked.

``compile_policy`` makes these; ``decide`` reads them. Models, features and rules are numbered, so that deciding
works on positions instead of names. Everything is immutable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal, NewType

from ..condition import CheckedExpr, Declaration, Sizes
from ..report import suggest
from .labels import counted
from .locality import Location
from .shapes.base import Operation
from .shapes.catalog import Catalog, Model
from .shapes.kinds import Backend
from .shapes.policy import CanaryCondition, Policy
from .shapes.steps import Role
from .shapes.tokenizers import Encoding

ControlKind = Literal["quota", "task_cost", "reserve", "first_token", "cache", "retry", "lease"]
ModelIndex = NewType("ModelIndex", int)
"""The position of a model in its catalog. Digests use the model's id instead, since the order means nothing."""
Verdict = bool | None
"""True, False, or None for unknown: how compiled conditions give the value of a condition."""


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """A model of the catalog with everything that follows from where it runs."""

    index: ModelIndex
    id: str
    backend: str
    kind: str
    location: Location | None
    """None if unknown: a server on this machine that may forward. Unknown never counts as local."""
    tag: str
    operations: frozenset[Operation]
    """What the model and its backend both offer."""
    capabilities: frozenset[str]
    context_length: int | None
    embedding_space: str | None
    tokenizer: Encoding | None
    """What its prompts are counted with; None where nobody knows."""
    disabled: str | None
    """Why it is taken out; None while it is not."""
    facts: Mapping[str, object]
    """``model.*`` as conditions see them; a fact that the catalog does not give is left out."""
    shape: Model

    @property
    def may_load(self) -> bool:
        """Whether a call may have to load it first, as any server on this machine may."""
        return self.location != "cloud"


@dataclass(frozen=True, slots=True)
class CompiledCatalog:
    """All models, in the catalog's order, and the names they go by."""

    name: str | None
    digest: str
    text: str
    source: str
    models: tuple[CompiledModel, ...]
    backends: Mapping[str, Backend]
    names: Mapping[str, tuple[int, ...]]
    """Every name that may stand for a model, with the models it may mean: more than one is ambiguous."""
    tokenizers: Mapping[Operation, Encoding | None]
    """The commonest among the enabled models that offer an operation; the first by name of several."""
    scope: Mapping[str, Declaration]
    """The ``model.*`` names that conditions may use."""
    shape: Catalog

    def __repr__(self) -> str:
        return f"<CompiledCatalog {self.name or self.source!r}: {counted(len(self.models), 'models')}, {self.digest}>"

    @property
    def currencies(self) -> frozenset[str]:
        """The currencies that its models are priced in."""
        return frozenset(model.shape.price.currency for model in self.models if model.shape.price is not None)

    def hint(self, name: str) -> str:
        """What may have been meant by a name that stands for no model."""
        return suggest(name, self.names, label="in the catalog", listed=self.shape.models)

    def find(self, name: str) -> CompiledModel | None:
        """The one model that ``name`` stands for: an id, alias, tag or ``backend:tag``."""
        found = self.names.get(name, ())
        return self.models[found[0]] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """Where a feature's value is derived from when the task does not give it."""

    fact: str
    """``prompt_tokens``, ``messages``, ``images``, ``tools``, ``json_schema``, ``metadata``, ``hour``, ``weekday``."""
    key: str | None = None
    zone: tzinfo | None = None


@dataclass(frozen=True, slots=True)
class CompiledFeature:
    """A declared feature. ``default`` is None where it has none."""

    name: str
    declaration: Declaration
    default: object
    minimum: int | float | None
    maximum: int | float | None
    needs: tuple[str, ...]
    derived: FeatureSource | None
    sensitive: bool | None
    refuses_other: bool = False
    """Whether a derived value that is not in the enum is an error; otherwise it is unknown."""


@dataclass(frozen=True, slots=True)
class CompiledConstraint:
    """A condition on every candidate.

    ``by_model`` holds the verdict of ``require`` for each model where only the catalog decides it. Elsewhere
    ``function`` is called with the values of features and state followed by those of ``model_names``.
    """

    name: str
    reason: str | None
    when: CheckedExpr
    require: CheckedExpr
    by_model: tuple[Verdict, ...] | None
    function: Callable[[Sequence[Any]], tuple[Any, ...]] | None
    model_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompiledAssertion:
    """A condition that must hold for no task and candidate (``never``), or for all."""

    kind: Literal["never", "always"]
    name: str | None
    condition: CheckedExpr
    reason: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model in the order that a rule gives, and what put it there: ``use``, ``chain NAME``, ``fallback``…"""

    model: ModelIndex
    origin: str


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """One step around the answer."""

    role: Role
    model: ModelIndex
    required: bool
    options: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class CompiledEnsemble:
    """Members answer side by side; ``quorum`` of them must be eligible, or the ensemble is not used."""

    members: tuple[ModelIndex, ...]
    combine: str
    quorum: int
    judge: ModelIndex | None
    override: ModelIndex | None
    label: str | None


@dataclass(frozen=True, slots=True)
class CompiledSplit:
    """Weights in the order of the rule's ``use``; ``key`` is a feature's position, None for a random draw."""

    weights: tuple[int, ...]
    key: int | None
    key_name: str | None
    salt: str


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule that is not disabled. ``candidates`` are without repeats, ``chosen_from`` counts those of ``use``."""

    index: int
    name: str
    when: CheckedExpr
    on_unknown: Literal["skip", "match", "fail"]
    candidates: tuple[Candidate, ...]
    chosen_from: int
    choose: Literal["first", "cheapest", "fastest", "split"]
    split: CompiledSplit | None
    ensemble: CompiledEnsemble | None
    steps: tuple[CompiledStep, ...]
    reason: str | None
    sticky: bool
    excluded: tuple[tuple[str, str], ...]
    """Chain entries that are disabled, with the reason given."""


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit on use. ``limit`` is in requests, tokens, calls at once, or nano-units of ``currency``."""

    name: str
    unit: Literal["requests", "tokens", "concurrent", "cost"]
    limit: int
    models: frozenset[ModelIndex]
    for_each: str | None
    per: str | None
    timezone: str
    currency: str | None
    refuses_unknown_cost: bool
    reserves: tuple[Reserve, ...]
    shared: bool = False
    """Whether all policies of a machine with a quota of this name count together."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """A part of a quota that only tasks with ``condition`` may use; ``held`` is in the quota's unit."""

    name: str
    held: int
    share: float
    when: CheckedExpr
    condition: int
    """The position of its condition among those that are evaluated for every task."""


@dataclass(frozen=True, slots=True)
class TaskCost:
    """The most that one task may cost, whatever is called for it, in nano-units of ``currency``.

    ``control`` is its name. Where ``refuses_unknown`` a model without a price in that currency is not called.
    """

    control: str
    limit: int
    currency: str
    refuses_unknown: bool


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """What controls say of each task; None where none does.

    ``cache_by`` are the features, sorted, whose values have to be equal for an answer to be reused; None stands for all
    that the caller gives. ``lease_ms`` is how long leases hold by themselves.
    """

    first_token_within_ms: int | None = None
    cache_ttl_ms: int | None = None
    cache_by: tuple[str, ...] | None = None
    max_attempts: int | None = None
    backoff_ms: int | None = None
    deadline_ms: int | None = None
    cost: TaskCost | None = None
    lease_ms: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRollout:
    """A candidate policy beside the one that is in force, and which tasks are its.

    ``share`` is the candidate's, from 0 to 1, under ``canary`` alone. ``key`` is a feature's position, None for
    a random draw. ``candidate`` is None where the policy was compiled alone: then no arm can be picked.
    """

    mode: Literal["shadow", "canary", "full"]
    share: float | None
    key: int | None
    key_name: str | None
    salt: str
    file: str
    """The candidate's file as the policy names it."""
    candidate: CompiledPolicy | None
    abort_when: tuple[CanaryCondition, ...] = ()
    """One of these that is sure ends a canary for the control."""
    promote_when: tuple[CanaryCondition, ...] = ()
    """All of these, once they are sure, end a canary for the candidate."""

    @property
    def ends_by_itself(self) -> bool:
        """Whether a canary has conditions that end it."""
        return bool(self.abort_when or self.promote_when)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CompiledPolicy:
    """A policy that can be decided under: names, types and order are checked.

    ``evaluate`` takes the values of ``parameters`` (features in their order, then ``state.*``), unknown as None, and
    returns the verdict of each rule, then of each constraint's ``when``, then of each reserve. A feature with a
    default must not be None; ``verdicts`` handles tasks that give it as null.
    """

    name: str
    digest: str
    text: str
    source: str
    catalog: CompiledCatalog
    features: tuple[CompiledFeature, ...]
    sizes: Sizes
    """The largest strings and arrays of a task for which deciding stays within MAX_DECISION_WORK."""
    slots: Mapping[str, int]
    defaulted: tuple[int, ...]
    """The slots of features with a default."""
    stated: tuple[tuple[int, str], ...]
    """The slots of features that speak for a fact of the request which gates ask for, with the fact."""
    rules: tuple[CompiledRule, ...]
    constraints: tuple[CompiledConstraint, ...]
    assertions: tuple[CompiledAssertion, ...]
    quotas: tuple[Quota, ...]
    limits: TaskLimits
    parameters: tuple[str, ...]
    conditions: tuple[CheckedExpr, ...]
    """The conditions that ``evaluate`` evaluates, in its order."""
    evaluate: Callable[[Sequence[Any]], tuple[Any, ...]]
    disabled: tuple[str, ...]
    """Rules, constraints, controls, chain entries, models and backends that are disabled, each with its kind; sorted,
    since they come from several lists and the order in the catalog means nothing."""
    unenforced: tuple[str, ...]
    """What the policy says that is checked but not supported yet, in words."""
    unenforced_everywhere: tuple[str, ...]
    """What of it concerns every plan."""
    uses_state: bool
    """Whether any condition asks for ``state.*``."""
    splits: bool
    """Whether any rule divides its tasks."""
    is_sticky: bool
    """Whether any rule keeps conversations on their models."""
    scope: Mapping[str, Declaration]
    rollout: CompiledRollout | None
    shape: Policy

    @property
    def with_candidate(self) -> tuple[CompiledPolicy, ...]:
        """The policy, and the candidate of its rollout where there is one."""
        rollout = self.rollout
        return (self,) if rollout is None or rollout.candidate is None else (self, rollout.candidate)

    def __repr__(self) -> str:
        return f"<CompiledPolicy {self.name!r}: {counted(len(self.rules), 'rules')}, {self.digest}>"
