"""The composition root: a policy, backends and a ledger, put together.

Deciding stays pure; time, ids and random draws are made here and handed in. The backends of this version are
simulated: they stand for every backend of the catalog and mark their answers as simulated.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from routewright.backends import (
    Backend,
    ChatRequest,
    EmbedRequest,
    Execution,
    Fault,
    Limits,
    Message,
    PriceFacts,
    Request,
    RerankRequest,
    SimulatedBackend,
    SimulatedModel,
    Target,
    execute,
)
from routewright.engine.decision.decide import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import State, Task
from routewright.engine.errors import NotBuiltError, TaskError
from routewright.engine.policy.compiled import CompiledModel, CompiledPolicy
from routewright.engine.policy.quantities import nano_units
from routewright.ledger import Ledger
from routewright.loading import load_policy

from .ids import uuid7
from .rows import attempt_row, decision_row, policy_rows

__all__ = ["Decided", "ModelGateway", "Ran", "models_with", "now_us", "request_for", "simulated_backends"]


def now_us() -> int:
    """The time in microseconds since 1970, UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision and how long deciding took, in nanoseconds."""

    decision: Decision
    deciding_ns: int


@dataclass(frozen=True, slots=True)
class Ran:
    """A decision and what came of executing it; ``execution`` is None where there was no target."""

    decision: Decision
    execution: Execution | None


class ModelGateway:
    """Decides where tasks go, executes them, and keeps the ledger.

    Without a ledger nothing is stored. ``random`` and ``clock`` make ids, draws and times: give both to have
    the same result again.
    """

    def __init__(
        self,
        policy: CompiledPolicy,
        *,
        backends: Mapping[str, Backend] | None = None,
        ledger: Ledger | None = None,
        random: Random | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self.policy = policy
        self.ledger = ledger
        self._backends = simulated_backends(policy) if backends is None else backends
        self._random = Random() if random is None else random
        self._clock = clock
        self._stored_policies = False
        self._draws = any(rule.choose == "split" for rule in policy.rules)

    @classmethod
    def from_policy(
        cls, path: str | os.PathLike[str], *, ledger: str | os.PathLike[str] | None = None
    ) -> ModelGateway:
        """A gateway for the policy in the file at ``path``, with a ledger at ``ledger`` if one is wanted.

        Raises PolicyError with all problems of the policy, LedgerError for a ledger that cannot be opened.
        """
        return cls(load_policy(path), ledger=None if ledger is None else Ledger.open(ledger))

    def has_capability(self, capability: str) -> bool:
        """Whether any model that is not disabled has ``capability``."""
        return bool(self.available_models(capability))

    def available_models(self, capability: str | None = None) -> list[str]:
        """The ids of the models that are not disabled, in the catalog's order; those with ``capability``."""
        return [model.id for model in models_with(self.policy, capability) if model.disabled is None]

    def decide(self, task: Task, *, state: State | None = None, strict: bool = True) -> Decided:
        """Decide where ``task`` goes now. Nothing is executed or stored. Raises FeatureError and TaskError."""
        known = State(self._clock()) if state is None else state
        decision_id = uuid7(known.at_us, self._random)
        if task.draw is None and self._draws:
            task = replace(task, draw=self._random.random())
        started = time.perf_counter_ns()
        decision = decide(self.policy, task, known, decision_id=decision_id, strict=strict)
        return Decided(decision, time.perf_counter_ns() - started)

    async def run(
        self,
        task: Task,
        request: Request,
        *,
        state: State | None = None,
        unenforced: bool = False,
        on_text: Callable[[str], None] | None = None,
    ) -> Ran:
        """Decide, execute along the plan, and store decision and attempts.

        With ``on_text`` a chat is streamed to it. Raises NotBuiltError, with nothing executed or stored, when
        the plan asks for what is not carried out yet and ``unenforced`` does not allow that; FeatureError and
        TaskError as ``decide`` does; LedgerError when the attempts could not be stored.
        """
        decided = self.decide(task, state=state)
        decision = decided.decision
        execution = None
        if decision.plan is not None:
            if decision.plan.unenforced and not unenforced:
                listed = "\n".join(f"  {part}" for part in decision.plan.unenforced)
                raise NotBuiltError(
                    f"the plan asks for what is not carried out yet:\n{listed}",
                    help="allow it with `unenforced` (`--unenforced`): what is listed is then left out",
                )
            execution = await execute(
                targets_of(decision), request, self._backends, clock=self._clock, on_text=on_text
            )
        self._store(decided, execution)
        return Ran(decision, execution)

    def _store(self, decided: Decided, execution: Execution | None) -> None:
        if self.ledger is None:
            return
        decision = decided.decision
        policies = (
            () if self._stored_policies else policy_rows(self.policy, first_seen_us=decision.state.at_us)
        )
        attempts = () if execution is None else execution.attempts
        self.ledger.append(
            [decision_row(decision, mode="exploit", deciding_ns=decided.deciding_ns)],
            [attempt_row(decision.id, attempt) for attempt in attempts],
            policies,
        )
        self._stored_policies = True


def models_with(policy: CompiledPolicy, capability: str | None) -> list[CompiledModel]:
    """The catalog's models, in its order; with ``capability``, those that have it."""
    models = policy.catalog.models
    return [model for model in models if capability is None or capability in model.capabilities]


def request_for(task: Task, prompt: str, documents: Sequence[str] = ()) -> Request:
    """The request of a task's operation: a user's message, a text to embed, or documents to rank.

    Raises TaskError for a rerank without documents.
    """
    if task.operation == "embed":
        return EmbedRequest((prompt,))
    if task.operation == "rerank":
        if not documents:
            raise TaskError("rerank needs documents to rank", help="give at least one document")
        return RerankRequest(prompt, tuple(documents))
    return ChatRequest((Message("user", prompt),), max_output_tokens=task.request.max_output_tokens)


def targets_of(decision: Decision) -> list[Target]:
    """What the plan allows to be called: its target, then its fallbacks."""
    plan = decision.plan
    if plan is None:
        return []
    models = decision.policy.catalog.models
    targets = [_target(models[plan.target], decision.policy)]
    targets += [replace(_target(models[index], decision.policy), role="fallback") for index in plan.fallbacks]
    return targets


def simulated_backends(
    policy: CompiledPolicy,
    *,
    seed: int = 0,
    faults: Mapping[str, Sequence[Fault]] | None = None,
    sleep: bool = False,
) -> Mapping[str, Backend]:
    """A simulated backend for each backend of the catalog. ``faults`` are by model id, one for each call."""
    backends: dict[str, Backend] = {}
    for backend_id in policy.catalog.backends:
        models = [model for model in policy.catalog.models if model.backend == backend_id]
        backends[backend_id] = SimulatedBackend(
            {
                model.tag: SimulatedModel(
                    operations=frozenset(model.operations),
                    expected_latency_ms=model.shape.expected_latency,
                    dimensions=model.shape.dimensions,
                    context_length=model.context_length,
                )
                for model in models
            },
            seed=seed,
            faults={model.tag: faults[model.id] for model in models if faults and model.id in faults},
            sleep=sleep,
        )
    return backends


def _target(model: CompiledModel, policy: CompiledPolicy) -> Target:
    price, timeouts = model.shape.price, policy.catalog.backends[model.backend].timeouts
    return Target(
        model_id=model.id,
        backend_id=model.backend,
        tag=model.tag,
        price=None
        if price is None
        else PriceFacts(
            input_nano=nano_units(price.input),
            output_nano=nano_units(price.output),
            cached_input_nano=None if price.cached_input is None else nano_units(price.cached_input),
            currency=price.currency,
            since=price.since,
        ),
        limits=Limits(
            connect_ms=timeouts.connect,
            load_ms=timeouts.load,
            first_token_ms=timeouts.first_token,
            idle_ms=timeouts.idle,
            total_ms=timeouts.total,
        ),
    )
