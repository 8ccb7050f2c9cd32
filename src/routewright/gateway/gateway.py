"""The composition root: a policy, backends, state and a ledger, put together.

Deciding stays pure; time, ids and random draws are made here and handed in, and so is the state: what breakers,
latencies and quotas say at that moment.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from random import Random

from routewright.backends import Backend, HealthReport
from routewright.backends.control import Breaker, StateError, StateStore
from routewright.backends.executing import AnswerCache, Attempt, Execution, Executor, Prompts, Request
from routewright.engine.decision import ArmName, Decision, State, Task, candidate_of, check_labels
from routewright.engine.policy import Backend as BackendShape
from routewright.engine.policy import CompiledModel, CompiledPolicy
from routewright.engine.report import NotBuiltError, TaskError, suggest
from routewright.ledger import Ledger, LedgerError
from routewright.loading import Permissions, root_for
from routewright.tasks import check_task, described, operation_of

from .arms import ArmRuntime, RolloutRuntime, simulated_candidate
from .calls import Calls
from .deciding import Decider
from .generations import GatewaySource, PolicyGenerations, is_as_before
from .planning import work_of
from .recorder import Pending, Recorder
from .results import DecisionResult, NotStoredError, RunResult, model_that_answered
from .status import HEALTH_TIMEOUT_S, QuotaUsage
from .targets import models_with, simulated_backends


def now_us() -> int:
    """The time in microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class ModelGateway(Calls):
    """Decides where tasks go, executes them, and keeps the ledger.

    Without a ledger nothing is stored; without ``store`` there are no breakers and no sessions, and models that a
    quota binds are not called. ``backends`` are by backend id; by default they are simulated, and so are then
    ``candidate_backends``: those of a rollout's candidate whose declaration is not the policy's own (see ``arms``).
    ``prompts`` are the templates of steps, by default the shipped ones. ``random`` and ``clock`` make ids, draws and
    times: give both to have the same result again. Use it in ``async with``, or call ``close``.
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
    ) -> None:
        self.ledger = ledger
        self.store = store
        self._random = Random() if random is None else random
        self._clock = clock
        self._prompts = prompts
        self._cache: AnswerCache | None = None
        self._recorder = Recorder(ledger)
        self._opening: GatewaySource | None = None
        self._readings = self._newest = 0  # how often the files were read, and which reading is in force
        self._succession = PolicyGenerations()
        self._closed = False
        self._runner: asyncio.Runner | None = None
        self._forgotten: weakref.finalize[..., ModelGateway] | None = None
        if candidate_backends is None:
            candidate_backends = simulated_candidate(policy) if backends is None else {}
        self._adopt(policy, simulated_backends(policy) if backends is None else backends, candidate_backends)

    @classmethod
    def from_policy(
        cls,
        path: str | os.PathLike[str],
        *,
        ledger: str | os.PathLike[str] | None = None,
        state: str | os.PathLike[str] | None = None,
        maps: Mapping[str, str] | None = None,
        simulate: bool = False,
        root: str | os.PathLike[str] | None = None,
        permissions: Permissions | None = None,
    ) -> ModelGateway:
        """A gateway for the policy in the file at ``path``, with a ledger and a state store if files are named.

        ``maps`` replaces models, as in ``{"kimi-k2-cloud": "llamacpp:smollm2"}``; with ``simulate`` no model is called
        and every answer says so. Files that the policy names must be under ``root``, as for ``load_policy``.
        ``permissions``, instead of the user's configuration file, say which variables the policy may read and where
        keys may go. Raises PolicyError with all problems of the policy, LedgerError and StateError for a file that
        cannot be opened, BackendError for a key that is missing or not permitted, and ConfigurationError for a
        configuration file that cannot be used.
        """
        name = os.fspath(path)
        opening = GatewaySource(
            name,
            None if maps is None else dict(maps),
            simulate,
            root=root_for(name, root),
            permissions=permissions,
        )
        policy = opening.policy()
        backends, candidate_backends = opening.backends(policy)
        gateway = cls(
            policy,
            backends=backends,
            candidate_backends=candidate_backends,
            ledger=None if ledger is None else Ledger.open(ledger),
            store=None if state is None else StateStore(state),
        )
        gateway._opening = opening
        return gateway

    async def reload(self) -> bool:
        """Read the policy's files again and go by them from now on; whether that changes any decision or call.

        Comments, layout and descriptions change none. What is being executed goes on under the policy that it was
        decided under; a decision whose execution has not begun is refused then. Backends whose declarations are the
        same are kept, with their connections and loaded models; the others are closed once nothing runs on them. What
        is used of a quota belongs to its control's name, and breakers to the ids of models: both stay. Raises
        PolicyError, TaskError and BackendError as ``from_policy`` does, with everything left as it is, and TaskError
        for a gateway that was not made by it or is closed.
        """
        opening = self._opening
        if opening is None:
            raise TaskError(
                "this gateway was not made from a file, so there is nothing to read again",
                help="make it by ModelGateway.from_policy",
            )
        self._check_open()
        self._readings += 1
        reading = self._readings
        # In a thread: compiling takes longer than an event loop should stand.
        policy = await asyncio.to_thread(opening.policy)
        self._check_open()
        if reading < self._newest:
            return False  # what was read later is in force already
        self._newest = reading
        if is_as_before(self.policy, policy):
            return False
        self._adopt(policy, *opening.backends(policy, self._arms))
        await self._succession.close_left()
        return True

    def reload_sync(self) -> bool:
        """``reload`` for callers without an event loop; raises RuntimeError inside a running one."""
        return self._runner_of_scripts().run(self.reload())

    def _adopt(
        self,
        policy: CompiledPolicy,
        backends: Mapping[str, Backend],
        candidate_backends: Mapping[str, Backend],
    ) -> None:
        limits = [policy.limits, *([] if policy.rollout is None else [candidate_of(policy).limits])]
        if self._cache is None and any(one.cache_ttl_ms is not None for one in limits):
            self._cache = AnswerCache(clock=self._clock)
        arms = RolloutRuntime(policy, backends, candidate_backends, self.store, self._executor)
        self.policy, self.backends, self._arms = policy, backends, arms
        self._succession.follow(arms)
        self._decider = Decider(arms, random=self._random, clock=self._clock)

    def _executor(self, backends: Mapping[str, Backend]) -> Executor:
        return Executor(
            backends,
            clock=self._clock,
            store=self.store,
            cache=self._cache,
            random=self._random,
            prompts=self._prompts,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise TaskError("the gateway is closed")

    async def __aenter__(self) -> ModelGateway:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of backends and of the state store, and put what was recorded into the ledger's tables.

        No other method may be called afterwards; closing again does nothing. Raises LedgerError when the ledger is
        busy or cannot be written: then nothing is lost, and whoever reads it next takes it in.
        """
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.gather(*(one.close() for one in self._succession.end_all()))
        finally:
            try:
                if self.store is not None:
                    self.store.close()
            finally:
                await self._recorder.close()

    def __enter__(self) -> ModelGateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_sync()

    def close_sync(self) -> None:
        """``close`` for callers without an event loop."""
        if self._closed and self._runner is None:
            return
        runner = self._runner_of_scripts()
        try:
            runner.run(self.close())
        finally:
            runner.close()
            if self._forgotten is not None:
                self._forgotten.detach()
            self._runner = None

    def has_capability(self, capability: str) -> bool:
        """Whether any model that is not disabled has ``capability``."""
        return bool(self.available_models(capability))

    def available_models(self, capability: str | None = None) -> list[str]:
        """The ids of the models that are not disabled, in the catalog's order; those with ``capability``."""
        policy = self._arms.in_force.policy
        return [model.id for model in models_with(policy, capability) if model.disabled is None]

    def declared(self) -> tuple[Mapping[str, BackendShape], Mapping[str, CompiledModel]]:
        """The backends as ``check_health`` names them, and every model of either arm by its id, the policy's first."""
        return self._arms.declared()

    async def check_health(self, *, timeout_s: float = HEALTH_TIMEOUT_S) -> Mapping[str, HealthReport]:
        """Ask every backend how it is, at the same time; decisions from now on know what they said.

        One that says nothing within ``timeout_s`` is not healthy. What a rollout's candidate has for itself is
        called ``ID (candidate)``.
        """
        arms = self._arms
        self._succession.begin(arms)
        try:
            return await arms.check_health(timeout_s=timeout_s)
        finally:
            if arms is not self._arms:
                arms.tell_health(self._arms)
            self._succession.end(arms)

    def breakers(self) -> Mapping[str, Breaker]:
        """Every model of either arm that has failed since it last succeeded, by id; the others are closed."""
        return self._arms.breakers(at_us=self._clock())

    def close_breaker(self, model: str) -> None:
        """Let a model be called again at once, whatever it failed at: it is mended. It goes by any of its names.

        Raises TaskError for what is no model of either arm, and StateError.
        """
        _, models = self.declared()
        candidate = None if self.policy.rollout is None else self.policy.rollout.candidate
        found = models.get(model) or self.policy.catalog.find(model)
        if found is None and candidate is not None:
            found = candidate.catalog.find(model)
        if found is None:
            raise TaskError(f"unknown model `{model}`", help=suggest(model, models, label="models"))
        self._arms.control.status.close_breaker(found)

    def latencies(self) -> Mapping[str, float]:
        """How long calls of a model took of late, in milliseconds, by model id; loading is not counted."""
        return self._arms.latencies(at_us=self._clock())

    def quotas(self) -> Sequence[QuotaUsage]:
        """Each quota of the policy with what is used and reserved now, for each key that took something."""
        return self._arms.quotas(at_us=self._clock())

    def state(self, task: Task) -> State:
        """What is known now: breakers, latencies, health as last asked, and what is used of the task's quotas.

        As the policy in force has it: the candidate under ``full``, else the control.
        """
        side = self._arms.in_force
        return side.status.state(side.policy, task, at_us=self._clock())

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
        return self._decider.decide(task, state, strict=strict, arm=arm)

    async def execute(
        self,
        decided: DecisionResult,
        request: Request,
        *,
        unenforced: bool = False,
        on_text: Callable[[str], None] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RunResult:
        """Execute a decision along its plan, and store it with its attempts; one without a plan is stored alone.

        With ``on_text`` a chat is streamed to it. ``tags`` are stored with the decision. What a backend could
        not do is returned in ``execution.error``, never raised. A cancelled call is stored with the attempts
        made so far. A shadow is stored with the decision that it is beside, and nothing is called for it. Raises
        NotBuiltError, with nothing executed or stored, when the plan asks for what is not carried out yet and
        ``unenforced`` does not allow that; TaskError for tags that are not texts by name, for a request of another
        operation than was decided about, and for a decision that has been executed or is not to be (a shadow, a
        canary's whose arm was asked for, one of a policy that was replaced); and NotStoredError, which holds the
        result, when the ledger refuses it.
        """
        self._check_open()
        if tags:
            check_labels(tags, "`tags`")
        decision = decided.decision
        if decided.executed:
            raise TaskError(
                "this decision has been executed", help="decide again: each execution has its own"
            )
        if operation_of(request) != decision.task.operation:
            raise TaskError(
                f"the decision is about {decision.task.operation}, and the request asks for {operation_of(request)}",
                help="decide again for this request",
            )
        arms = self._arms
        side, policy = arms.side_of(decision), arms.control.policy
        work = work_of(decision)
        if work is None:
            decided.executed = True
            return await self._stored(policy, decided, None, (), tags)
        if decision.plan is not None and decision.plan.unenforced and not unenforced:
            listed = "\n".join(f"  {part}" for part in decision.plan.unenforced)
            raise NotBuiltError(
                f"the plan asks for what is not carried out yet:\n{listed}",
                help="allow it with `unenforced` (`--unenforced`): what is listed is then left out",
            )
        self._recorder.prepare()
        decided.executed = True
        attempts: list[Attempt] = []
        self._succession.begin(arms)
        try:
            execution = await side.executor.run(work, request, on_text=on_text, on_attempt=attempts.append)
        except BaseException as ended:
            # Whatever ends this call (a cancelled caller above all), what was done is kept.
            try:
                self._recorder.record(Pending(policy, decided, attempts, tags))
            except LedgerError as error:
                # Who cancels must see the cancellation, or a timeout is none.
                ended.add_note(f"what was done is not in the ledger: {error}")
            raise
        finally:
            self._succession.end(arms)
        try:
            return await self._stored(policy, decided, execution, execution.attempts, tags)
        finally:
            await self._keep_session(side, decision, execution)

    async def _keep_session(self, side: ArmRuntime, decision: Decision, execution: Execution) -> None:
        """Remember which model answered the session; without that the answer stands all the same."""
        model = None if decision.task.session is None else model_that_answered(execution)
        if model is None:
            return
        # The next turn chooses anew where this one could not be kept.
        with suppress(StateError):
            await side.status.answered(side.policy, decision.task, model, at_us=self._clock())

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
    ) -> RunResult:
        """Decide and execute: ``decide``, then ``execute``, with what they raise.

        What the request says of itself (its length, images, tools, a schema) is known to the decision.
        """
        task = await described(task, request, self._policy_in_force())
        decided = self.decide(task, state=state, strict=strict)
        return await self.execute(decided, request, unenforced=unenforced, on_text=on_text, tags=tags)

    def _run(
        self,
        task: Task,
        request: Request,
        unenforced: bool,
        on_text: Callable[[str], None] | None,
        tags: Mapping[str, str] | None,
    ) -> Awaitable[RunResult]:
        return self.execute(self.decide(task), request, unenforced=unenforced, on_text=on_text, tags=tags)

    def _policy_in_force(self) -> CompiledPolicy:
        return self._arms.in_force.policy

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
    ) -> RunResult:
        """``run`` for callers without an event loop; raises RuntimeError inside a running one.

        Close the gateway afterwards: ``with ModelGateway(…) as gateway``, or ``close_sync``.
        """
        return self._runner_of_scripts().run(
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

    def _runner_of_scripts(self) -> asyncio.Runner:
        """One event loop for all calls of a script: connections and loaded models belong to the loop they began in."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass  # there is none, as it should be
        else:
            raise RuntimeError("an event loop is running here: await the method without `_sync`")
        if self._runner is None:
            self._runner = asyncio.Runner()
            # A gateway that is forgotten without being closed takes its loop with it.
            self._forgotten = weakref.finalize(self, _drop, self._runner)
        return self._runner

    async def _stored(
        self,
        policy: CompiledPolicy,
        decided: DecisionResult,
        execution: Execution | None,
        attempts: Sequence[Attempt],
        tags: Mapping[str, str] | None,
    ) -> RunResult:
        shadow = None if decided.shadow is None else decided.shadow.decision
        ran = RunResult(decided.decision, execution, shadow, decided.shadow_error)
        try:
            answered = None if execution is None else execution.answered_by
            await self._recorder.record_with_others(Pending(policy, decided, attempts, tags, answered))
        except LedgerError as error:
            raise NotStoredError(error, ran) from error
        return ran


def _drop(runner: asyncio.Runner) -> None:
    """Close a loop that nobody uses any more.

    Who is forgotten is so in any thread, one of the loop's own too: closing the runner would wait for it for ever.
    """
    loop = runner.get_loop()
    if not loop.is_running():
        loop.close()
