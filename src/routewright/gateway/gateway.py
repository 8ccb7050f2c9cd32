"""Puts a policy, backends, state and a ledger together: decides where tasks go, executes them, records the result.

Deciding stays pure; time, ids and random draws are made here and handed in, and so is the state: what breakers,
latencies and quotas say at that moment.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from random import Random
from typing import Any, Unpack

from routewright.backends import Backend
from routewright.backends.control import StateStore
from routewright.backends.executing import AnswerCache, Executor, Prompts, Request
from routewright.engine.decision import ArmName, State, Task, check_task
from routewright.engine.policy import CompiledPolicy
from routewright.ledger import Ledger
from routewright.loading import Permissions, root_for, user_ledger_settings
from routewright.tasks import described

from .admin import GatewayAdmin
from .arms import RolloutRuntime, simulated_candidate
from .calls import Calls, ExecuteOptions
from .canaries import CanaryWatch
from .deciding import Decider
from .execution import DecisionExecutor
from .generations import GatewaySource, PolicyGenerations
from .opening import simulated_backends
from .own_loop import OwnLoop
from .recorder import Recorder
from .results import DecisionResult, RunResult
from .upkeep import Upkeep

_log = logging.getLogger("routewright")


def now_us() -> int:
    """The time in microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class RunOptions(ExecuteOptions, total=False):
    """The options of ``ModelGateway.run``."""

    state: State | None
    strict: bool


class ModelGateway(Calls):
    """Decides where tasks go, executes them, and keeps the ledger.

    Without a ledger nothing is stored; without ``store`` there are no breakers and no sessions, and models that a
    quota binds are not called. ``backends`` are by backend id; by default they are simulated, and so are then
    ``candidate_backends``: those of a rollout's candidate whose declaration is not the policy's own (see ``arms``).
    ``prompts`` are the templates of steps, by default the shipped ones. ``random`` and ``clock`` make ids, draws and
    times: give both to have the same result again. Use it in ``async with``, or call ``close``. With ``preload``,
    entering it begins to load what the catalog preloads, beside other work. ``admin`` is what its operator asks of it:
    health, memory, breakers, latencies, quotas.
    """

    def __init__(
        self,
        policy: CompiledPolicy,
        *,
        backends: Mapping[str, Backend] | None = None,
        candidate_backends: Mapping[str, Backend] | None = None,
        ledger: Ledger | None = None,
        store: StateStore | None = None,
        prompts: Prompts | None = None,
        random: Random | None = None,
        clock: Callable[[], int] = now_us,
        preload: bool = False,
        source: GatewaySource | None = None,
    ) -> None:
        self.ledger = ledger
        self.store = store
        self._clock = clock
        random = Random() if random is None else random
        self._recorder = Recorder(ledger)
        self._canaries = CanaryWatch(ledger, store, clock)
        self._decider = Decider(random=random, clock=clock, share=self._canaries.share)
        self._own_loop = OwnLoop()
        if candidate_backends is None:
            candidate_backends = simulated_candidate(policy) if backends is None else {}
        cache = AnswerCache(clock=clock)
        executor = partial(Executor, clock=clock, store=store, cache=cache, random=random, prompts=prompts)
        arms = partial(RolloutRuntime, store=store, executor=executor)
        first = arms(policy, simulated_backends(policy) if backends is None else backends, candidate_backends)
        self._generations = PolicyGenerations(arms, first, source)
        self.admin = GatewayAdmin(self._generations, clock)
        self._upkeep = Upkeep(self._generations, self.admin, clock, preloads=preload)
        self._decisions = DecisionExecutor(
            self._generations, self._recorder, self._upkeep, self._canaries, clock
        )

    @property
    def policy(self) -> CompiledPolicy:
        """The policy whose file is in force; under a rollout that of the control."""
        return self._generations.current.control.policy

    @property
    def backends(self) -> Mapping[str, Backend]:
        """Its backends, by id."""
        return self._generations.current.control.backends

    @classmethod
    def from_policy(
        cls,
        path: str | os.PathLike[str],
        *,
        ledger: str | os.PathLike[str] | Ledger | None = None,
        state: str | os.PathLike[str] | None = None,
        maps: Mapping[str, str] | None = None,
        simulate: bool = False,
        root: str | os.PathLike[str] | None = None,
        permissions: Permissions | None = None,
        preload: bool = True,
    ) -> ModelGateway:
        """A gateway for the policy in the file at ``path``, with a ledger and a state store if files are named.

        ``maps`` replaces models, as in ``{"kimi-k2-cloud": "llamacpp:smollm2"}``; with ``simulate`` no model is called
        and every answer says so. Files that the policy names must be under ``root``, as for ``load_policy``.
        ``permissions``, instead of the user's configuration file, say which variables the policy may read and where
        keys may go. That file also says how rows wait for a ledger that is named by its path; a ``Ledger`` has settings
        of its own. Raises PolicyError with all problems of the policy, LedgerError and StateError for a file that
        cannot be opened, and ConfigurationError for a configuration file that cannot be used. A backend that cannot be
        opened, because its key is missing for example, makes its own models ineligible and no others. ``preload=False``
        leaves models to be loaded by their first calls.
        """
        name = os.fspath(path)
        source = GatewaySource(
            name,
            None if maps is None else dict(maps),
            simulate,
            root=root_for(name, root),
            permissions=permissions,
        )
        policy = source.policy()
        backends, candidate_backends = source.backends(policy)
        return cls(
            policy,
            backends=backends,
            candidate_backends=candidate_backends,
            ledger=ledger if ledger is None or isinstance(ledger, Ledger) else _opened_ledger(ledger),
            store=None if state is None else StateStore(state),
            preload=preload,
            source=source,
        )

    async def reload(self) -> bool:
        """Read the policy's files again and go by them from now on; whether that changes any decision or call.

        Comments, layout and descriptions change none. What is being executed goes on under the policy that it was
        decided under; a decision whose execution has not begun is refused then. Backends whose declarations are the
        same are kept, with their connections and loaded models; the others are closed once nothing runs on them. What
        is used of a quota belongs to the names of policy and control, and breakers to what is called: both stay. Raises
        PolicyError and TaskError as ``from_policy`` does, and BackendError for a new or changed backend that cannot be
        opened, with everything left as it is; and TaskError for a gateway that was not made by it or is closed.
        """
        changed = await self._generations.reload()
        if changed:
            self._upkeep.begin()
        return changed

    def reload_sync(self) -> bool:
        """``reload`` for callers without an event loop; raises RuntimeError inside a running one."""
        return self._own_loop.run(self.reload)

    async def __aenter__(self) -> ModelGateway:
        self._upkeep.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of backends and of the state store, and put what was recorded into the ledger's tables.

        No other method may be called afterwards; closing again does nothing. If the ledger is open elsewhere, what was
        recorded stays in its spool, with a warning, until it is next read. Raises LedgerError when the ledger cannot be
        written: then nothing is lost either.
        """
        if self._generations.ended:
            return
        await self._upkeep.end()
        await self._canaries.end()
        try:
            await asyncio.gather(*(one.close() for one in self._generations.end_all()))
        finally:
            try:
                if self.store is not None:
                    self.store.close()
            finally:
                await self._recorder.close()

    def __enter__(self) -> ModelGateway:
        if self._upkeep.has_to_preload:
            self._own_loop.run(self.__aenter__)
        return self

    def __exit__(self, *_: object) -> None:
        self.close_sync()

    def close_sync(self) -> None:
        """``close`` for callers without an event loop."""
        if not self._generations.ended or self._own_loop.is_open:
            self._own_loop.finish(self.close)

    def has_capability(self, capability: str) -> bool:
        """Whether any model that is not disabled has ``capability``."""
        return bool(self.available_models(capability))

    def available_models(self, capability: str | None = None) -> list[str]:
        """The ids of the models that are not disabled, in the catalog's order; those with ``capability``."""
        return [
            model.id
            for model in self._policy_in_force().catalog.models
            if model.disabled is None and (capability is None or capability in model.capabilities)
        ]

    def state(self, task: Task) -> State:
        """What is known now: breakers, latencies, health as last asked, and what is used of the task's quotas.

        As the policy in force has it: the candidate under ``full``, else the control.
        """
        side = self._generations.current.in_force
        return side.status.state(task, at_us=self._clock())

    def decide(
        self, task: Task, *, state: State | None = None, strict: bool = True, arm: ArmName | None = None
    ) -> DecisionResult:
        """Decide where ``task`` goes now. Nothing is executed or stored.

        A task that fits no model is an answer: ``decision.target`` is then None. Under a rollout the arm is picked
        first, and the candidate of a shadow decides the same task; ``arm`` asks for one, to look at it: a canary's
        is not executed then. Raises FeatureError for a feature that does not fit its declaration or, with
        ``strict``, is declared by neither arm; TaskError for a pin that names no model.
        """
        check_task(task)
        return self._decider.decide(self._generations.current, task, state, strict=strict, arm=arm)

    async def execute(
        self,
        decided: DecisionResult,
        request: Request,
        *,
        unenforced: bool = False,
        on_text: Callable[[str], None] | None = None,
        tags: Mapping[str, str] | None = None,
        trace_id: str | None = None,
    ) -> RunResult:
        """Execute a decision along its plan, and store it with its attempts; one without a plan is stored alone.

        Each call is stored before it is made, and none is made that the ledger refuses. With ``on_text`` a chat is
        streamed to it. ``tags`` and ``trace_id`` are stored with the decision. What a backend could not do is
        returned in ``execution.error``, never raised. A cancelled call is stored with the attempts made so far. A
        shadow is stored with the decision that it is beside, and nothing is called for it. Raises
        NotBuiltError, with nothing executed or stored, when the plan asks for what is not supported yet and
        ``unenforced`` does not allow that; TaskError for tags and a trace that are not texts, for a request of another
        operation than was decided about, and for a decision that has been executed or is not to be (a shadow, a
        canary's whose arm was asked for, one of a policy that was replaced); and NotStoredError, which holds the
        result, when the ledger refuses it.
        """
        return await self._decisions.execute(
            decided, request, unenforced=unenforced, on_text=on_text, tags=tags, trace_id=trace_id
        )

    async def describe(self, task: Task, request: Request) -> Task:
        """The task as ``run`` decides about it: with what its request says of itself. Raises TaskError."""
        return await described(task, request, self._policy_in_force())

    async def run(
        self,
        task: Task,
        request: Request,
        *,
        state: State | None = None,
        strict: bool = True,
        **options: Unpack[ExecuteOptions],
    ) -> RunResult:
        """Describe, decide and execute, with what these raise; ``options`` are those of ``execute``."""
        decided = self.decide(await self.describe(task, request), state=state, strict=strict)
        return await self.execute(decided, request, **options)

    def _run(self, task: Task, request: Request, **options: Unpack[ExecuteOptions]) -> Awaitable[RunResult]:
        return self._decisions.execute(
            self.decide(task),
            request,
            unenforced=options.get("unenforced", False),
            on_text=options.get("on_text"),
            tags=options.get("tags"),
            trace_id=options.get("trace_id"),
        )

    def _policy_in_force(self) -> CompiledPolicy:
        return self._generations.current.in_force.policy

    def run_sync(self, task: Task, request: Request, **options: Unpack[RunOptions]) -> RunResult:
        """``run`` for callers without an event loop; raises RuntimeError inside a running one.

        ``on_text`` is called in this thread. Close the gateway afterwards: ``with ModelGateway(…) as gateway``, or
        ``close_sync``.
        """
        on_text = options.get("on_text")
        if on_text is None:
            return self._own_loop.run(lambda: self.run(task, request, **options))

        def start(give: Callable[[str], None]) -> Coroutine[Any, Any, RunResult]:
            streamed: RunOptions = {**options, "on_text": give}
            return self.run(task, request, **streamed)

        return self._own_loop.run_telling(start, on_text)


def _opened_ledger(path: str | os.PathLike[str]) -> Ledger:
    return Ledger.open(path, settings=user_ledger_settings())
