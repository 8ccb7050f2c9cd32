"""The composition root: a policy, backends and a ledger, put together.

Deciding stays pure; time, ids and random draws are made here and handed in. The backends of this version are
simulated: they stand for every backend of the catalog and mark their answers as simulated.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

from routewright.backends import Backend, Execution, Request, execute
from routewright.engine.decision.decide import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import State, Task
from routewright.engine.errors import NotBuiltError
from routewright.engine.policy.compiled import CompiledModel, CompiledPolicy
from routewright.ledger import Ledger, LedgerError
from routewright.loading import load_policy

from .ids import uuid7
from .rows import attempt_row, decision_row, policy_rows
from .targets import simulated_backends, targets_of

__all__ = [
    "Decided",
    "ModelGateway",
    "NotStoredError",
    "Ran",
    "models_with",
    "now_us",
]


def now_us() -> int:
    """The time in microseconds since 1970, UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, and how long deciding took in nanoseconds: that is no part of the record."""

    decision: Decision
    deciding_ns: int


@dataclass(frozen=True, slots=True)
class Ran:
    """A decision and what came of executing it.

    ``execution`` is None where the decision has no target; else it holds the answer or the error of the last
    attempt, and every attempt in order.
    """

    decision: Decision
    execution: Execution | None


class NotStoredError(LedgerError):
    """The ledger refused what was executed; ``ran`` is the result, so that no answer is lost with it."""

    def __init__(self, cause: LedgerError, ran: Ran) -> None:
        super().__init__(str(cause), help=cause.help, problem=cause.problem)
        self.ran = ran


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
        """Decide where ``task`` goes now. Nothing is executed or stored.

        A task that fits no model is an answer: ``decision.target`` is then None. Raises FeatureError for a
        feature that does not fit its declaration or, with ``strict``, is not declared; TaskError for a pin
        that names no model.
        """
        known = State(self._clock()) if state is None else state
        decision_id = uuid7(known.at_us, self._random)
        if task.draw is None and self._draws:
            task = replace(task, draw=self._random.random())
        started = time.perf_counter_ns()
        decision = decide(self.policy, task, known, decision_id=decision_id, strict=strict)
        return Decided(decision, time.perf_counter_ns() - started)

    async def execute(
        self,
        decided: Decided,
        request: Request,
        *,
        unenforced: bool = False,
        on_text: Callable[[str], None] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Ran:
        """Execute a decision along its plan, and store it with its attempts; one without a plan is stored alone.

        With ``on_text`` a chat is streamed to it. ``tags`` are stored with the decision. What a backend could
        not do is returned in ``execution.error``, never raised. Raises NotBuiltError, with nothing executed or
        stored, when the plan asks for what is not carried out yet and ``unenforced`` does not allow that; and
        NotStoredError, which holds the result, when the ledger refuses it.
        """
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
        ran = Ran(decision, execution)
        try:
            self._store(decided, execution, tags)
        except LedgerError as error:
            raise NotStoredError(error, ran) from error
        return ran

    async def run(
        self,
        task: Task,
        request: Request,
        *,
        state: State | None = None,
        strict: bool = True,
        unenforced: bool = False,
        on_text: Callable[[str], None] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Ran:
        """Decide and execute: ``decide``, then ``execute``, with what they raise."""
        decided = self.decide(task, state=state, strict=strict)
        return await self.execute(decided, request, unenforced=unenforced, on_text=on_text, tags=tags)

    def run_sync(
        self,
        task: Task,
        request: Request,
        *,
        state: State | None = None,
        strict: bool = True,
        unenforced: bool = False,
        on_text: Callable[[str], None] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Ran:
        """``run`` for callers without an event loop; raises RuntimeError inside a running one."""
        return asyncio.run(
            self.run(
                task,
                request,
                state=state,
                strict=strict,
                unenforced=unenforced,
                on_text=on_text,
                tags=tags,
            )
        )

    def _store(self, decided: Decided, execution: Execution | None, tags: Mapping[str, str] | None) -> None:
        if self.ledger is None:
            return
        decision = decided.decision
        policies = (
            () if self._stored_policies else policy_rows(self.policy, first_seen_us=decision.state.at_us)
        )
        attempts = () if execution is None else execution.attempts
        self.ledger.append(
            [decision_row(decision, mode="exploit", deciding_ns=decided.deciding_ns, tags=tags)],
            [attempt_row(decision.id, attempt) for attempt in attempts],
            policies,
        )
        self._stored_policies = True


def models_with(policy: CompiledPolicy, capability: str | None) -> list[CompiledModel]:
    """The catalog's models, in its order; with ``capability``, those that have it."""
    models = policy.catalog.models
    return [model for model in models if capability is None or capability in model.capabilities]
