"""What the gates know of one task, worked out once and asked for each model; and what they say of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from ...policy import Candidate, CompiledConstraint, CompiledModel, CompiledPolicy, CompiledRule
from ...report import TaskError
from ..task import NOTHING_KNOWN, ModelState, RequestFacts, State, Task


@dataclass(frozen=True, slots=True)
class GateContext:
    """What the gates know of one task.

    ``rule`` is the one that matched, ``candidates`` are its own, or the pinned model. ``request`` is what is known of
    it, features that speak for it included. ``parameters`` are the values of features, then of ``state.*``.
    ``constraints`` are those that are not known to be off, each with whether that is known. ``needs`` are capabilities
    with what asks for each; ``perhaps_needs`` those that features without a value may ask for. ``reserves`` holds the
    verdict of each reserve's condition.
    """

    policy: CompiledPolicy
    rule: CompiledRule | None
    task: Task
    request: RequestFacts
    state: State
    parameters: Sequence[Any]
    candidates: tuple[Candidate, ...]
    constraints: tuple[tuple[CompiledConstraint, bool], ...]
    needs: tuple[tuple[str, str], ...]
    perhaps_needs: frozenset[str]
    embedding_space: tuple[str | None, str] | None
    """For embeddings, the space and the id of the first candidate that offers them; fallbacks stay in that space."""
    reserves: Sequence[bool | None]

    def known(self, model: CompiledModel) -> ModelState:
        """What is known of the model now."""
        return self.state.models.get(model.id, NOTHING_KNOWN)


def context_of(
    policy: CompiledPolicy,
    rule: CompiledRule | None,
    task: Task,
    request: RequestFacts,
    state: State,
    parameters: Sequence[Any],
    verdicts: Sequence[bool | None],
) -> GateContext:
    """What the gates know of the task; ``verdicts`` are all that ``policy.evaluate`` gave.

    Raises TaskError for a pin that does not name one model.
    """
    candidates = _candidates(policy, rule, task)
    first_reserve = len(policy.rules) + len(policy.constraints)
    needs, perhaps_needs = _needs(policy, request, parameters)
    space = None
    if task.operation == "embed":
        models = (policy.catalog.models[candidate.model] for candidate in candidates)
        first = next((model for model in models if "embed" in model.operations), None)
        space = None if first is None else (first.embedding_space, first.id)
    return GateContext(
        policy=policy,
        rule=rule,
        task=task,
        request=request,
        state=state,
        parameters=parameters,
        candidates=candidates,
        constraints=_active_constraints(policy, verdicts[len(policy.rules) : first_reserve]),
        needs=needs,
        perhaps_needs=perhaps_needs,
        embedding_space=space,
        reserves=verdicts[first_reserve:],
    )


def _candidates(policy: CompiledPolicy, rule: CompiledRule | None, task: Task) -> tuple[Candidate, ...]:
    """The candidates of a task: the pinned model alone, else those of the rule.

    Raises TaskError for a pin that does not name one model.
    """
    if task.pin is None:
        return rule.candidates if rule is not None else ()
    catalog = policy.catalog
    model = catalog.find(task.pin)
    if model is not None:
        return (Candidate(model.index, "pin"),)
    # Their ids: what they share may be the tag as well as the backend.
    meant = [catalog.models[i].id for i in catalog.names.get(task.pin, ())]
    if meant:
        raise TaskError(f"the pin `{task.pin}` names {len(meant)} models", help=f"one of: {', '.join(meant)}")
    raise TaskError(f"the pin `{task.pin}` names no model", help=catalog.hint(task.pin))


def _active_constraints(
    policy: CompiledPolicy, verdicts: Sequence[bool | None]
) -> tuple[tuple[CompiledConstraint, bool], ...]:
    """The constraints whose ``when`` is not false, with whether it is known to be true."""
    return tuple(
        (constraint, verdict is True)
        for constraint, verdict in zip(policy.constraints, verdicts, strict=True)
        if verdict is not False
    )


def _needs(
    policy: CompiledPolicy, request: RequestFacts, parameters: Sequence[Any]
) -> tuple[tuple[tuple[str, str], ...], frozenset[str]]:
    """The capabilities that the task needs, with what asks for each; and those that it may need besides."""
    needs: dict[str, str] = {}
    perhaps: set[str] = set()
    for feature, value in zip(policy.features, parameters, strict=False):
        if value is True:
            for capability in feature.needs:
                needs.setdefault(capability, f"feature {feature.name}")
        elif value is None:
            perhaps.update(feature.needs)
    if request.images:
        needs.setdefault("vision", "images in the request")
    if request.tools:
        needs.setdefault("tools", "tools in the request")
    if request.json_schema:
        needs.setdefault("json_schema", "a JSON schema in the request")
    return tuple(needs.items()), frozenset(perhaps)


class Call(Protocol):
    """What a failure is worded with; a decision has it."""

    @property
    def task(self) -> Task: ...
    @property
    def request(self) -> RequestFacts: ...
    @property
    def state(self) -> State: ...


@dataclass(frozen=True, slots=True)
class GateFailure:
    """A gate that a model did not pass. Where the words depend on the call, a subclass makes them.

    INVARIANT: an instance holds only what follows from the policy and from what plans are remembered by. What differs
    from call to call (tokens, what is used of a quota) is taken from the call when it is worded. Records of version 1
    and 2 hold the recorded texts, so they stay byte for byte what they are.
    """

    gate: str
    text: str
    data: Mapping[str, object]

    varies: ClassVar[bool] = False
    """Whether the recorded text depends on the call."""

    @property
    def lasting(self) -> str:
        """Why, without what differs from call to call: what calls that share a plan share too."""
        return self.text

    def recorded(self, call: Call) -> str:
        """Why, as a record keeps it."""
        return self.text

    def explained(self, call: Call) -> str:
        """Why, with the numbers of the call."""
        return self.recorded(call)

    def facts(self, call: Call) -> Mapping[str, object]:
        """What the model was judged by, such as ``limit``, ``value`` and ``until_us``; None where unknown."""
        return self.data
