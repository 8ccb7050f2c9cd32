"""The composition root: a policy, backends, state and a ledger, put together.

Deciding stays pure; time, ids and random draws are made here and handed in, and so is the state: what breakers,
latencies and quotas say at that moment.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

from routewright.backends import (
    Backend,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    Message,
)
from routewright.backends.control import Breaker, StateStore
from routewright.backends.executing import AnswerCache, Attempt, Execution, Executor, Prompts, Request
from routewright.engine.decision.decide import decide
from routewright.engine.decision.task import RequestFacts, State, Task
from routewright.engine.errors import NotBuiltError, TaskError
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.ledger import Ledger, LedgerError
from routewright.loading import load_policy

from .ids import uuid7
from .opening import open_backends
from .planning import work_of
from .results import Decided, NoTargetError, NotStoredError, Ran, answer_of
from .rows import attempt_row, decision_row, policy_rows
from .standing import HEALTH_TIMEOUT_S, QuotaStanding, Standing
from .targets import chat_task, described, messages_of, models_with, simulated_backends

__all__ = [
    "Decided",
    "ModelGateway",
    "NoTargetError",
    "NotStoredError",
    "Ran",
    "now_us",
]


def now_us() -> int:
    """The time in microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class ModelGateway:
    """Decides where tasks go, executes them, and keeps the ledger.

    Without a ledger nothing is stored; without ``store`` there are no breakers, and models that a quota binds
    are not called. ``backends`` are by backend id; by default they are simulated. ``prompts`` are the templates of
    steps, by default the shipped ones. ``random`` and ``clock`` make ids, draws and times: give both to have the
    same result again. Use it in ``async with``, or call ``close``.
    """

    def __init__(
        self,
        policy: CompiledPolicy,
        *,
        backends: Mapping[str, Backend] | None = None,
        ledger: Ledger | None = None,
        store: StateStore | None = None,
        prompts: Prompts | None = None,
        random: Random | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self.policy = policy
        self.ledger = ledger
        self.store = store
        self.backends = simulated_backends(policy) if backends is None else backends
        self._random = Random() if random is None else random
        self._clock = clock
        self._writer = None if ledger is None else ledger.writer()
        self._stored_policies = False
        self._runner: asyncio.Runner | None = None
        self._draws = any(rule.choose == "split" for rule in policy.rules)
        cache = None if policy.limits.cache_ttl_ms is None else AnswerCache(clock=clock)
        self._executor = Executor(
            self.backends, clock=clock, store=store, cache=cache, random=self._random, prompts=prompts
        )
        self._standing = Standing(store)

    @classmethod
    def from_policy(
        cls,
        path: str | os.PathLike[str],
        *,
        ledger: str | os.PathLike[str] | None = None,
        state: str | os.PathLike[str] | None = None,
        maps: Mapping[str, str] | None = None,
        simulate: bool = False,
    ) -> ModelGateway:
        """A gateway for the policy in the file at ``path``, with a ledger and a state store if files are named.

        ``maps`` lets models stand in for others, such as ``{"kimi-k2-cloud": "llamacpp:smollm2"}``; with
        ``simulate`` no model is called and every answer says so. Raises PolicyError with all problems of the
        policy, LedgerError and StateError for a file that cannot be opened, BackendError for a missing key.
        """
        policy = load_policy(path, maps=maps)
        return cls(
            policy,
            backends=simulated_backends(policy) if simulate else open_backends(policy),
            ledger=None if ledger is None else Ledger.open(ledger),
            store=None if state is None else StateStore(state),
        )

    async def __aenter__(self) -> ModelGateway:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of backends and of the state store, and put what was recorded into the ledger's tables.

        No other method may be called afterwards. Raises LedgerError when the ledger is busy or cannot be written:
        then nothing is lost, and whoever reads it next takes it in.
        """
        try:
            await asyncio.gather(*(backend.close() for backend in self.backends.values()))
        finally:
            if self.store is not None:
                self.store.close()
            if self._writer is not None:
                await asyncio.to_thread(self._writer.close)

    def __enter__(self) -> ModelGateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_sync()

    def close_sync(self) -> None:
        """``close`` for callers without an event loop."""
        runner = self._runner_of_scripts()
        runner.run(self.close())
        runner.close()

    def has_capability(self, capability: str) -> bool:
        """Whether any model that is not disabled has ``capability``."""
        return bool(self.available_models(capability))

    def available_models(self, capability: str | None = None) -> list[str]:
        """The ids of the models that are not disabled, in the catalog's order; those with ``capability``."""
        return [model.id for model in models_with(self.policy, capability) if model.disabled is None]

    async def check_health(self, *, timeout_s: float = HEALTH_TIMEOUT_S) -> Mapping[str, HealthReport]:
        """Ask every backend how it is, at the same time; decisions from now on know what they said.

        One that says nothing within ``timeout_s`` is not healthy.
        """
        return await self._standing.check_health(self.backends, timeout_s=timeout_s)

    def breakers(self) -> Mapping[str, Breaker]:
        """Every model of the catalog that has failed since it last succeeded, by id; the others are closed."""
        return self._standing.breakers(self.policy, at_us=self._clock())

    def latencies(self) -> Mapping[str, float]:
        """How long calls of a model took of late, in milliseconds, by model id; loading is not counted."""
        return self._standing.latencies(self.policy, at_us=self._clock())

    def quotas(self) -> Sequence[QuotaStanding]:
        """Each quota of the policy with what is used and reserved now, for each key that took something."""
        return self._standing.quotas(self.policy, at_us=self._clock())

    def state(self, task: Task) -> State:
        """What is known now: breakers, latencies, health as last asked, and what is used of the task's quotas."""
        return self._standing.state(self.policy, task, at_us=self._clock())

    def decide(self, task: Task, *, state: State | None = None, strict: bool = True) -> Decided:
        """Decide where ``task`` goes now. Nothing is executed or stored.

        A task that fits no model is an answer: ``decision.target`` is then None. Raises FeatureError for a
        feature that does not fit its declaration or, with ``strict``, is not declared; TaskError for a pin
        that names no model.
        """
        known = self.state(task) if state is None else state
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
        not do is returned in ``execution.error``, never raised. A cancelled call is stored with the attempts
        made so far. Raises NotBuiltError, with nothing executed or stored, when the plan asks for what is not
        carried out yet and ``unenforced`` does not allow that; TaskError for a decision that has been executed;
        and NotStoredError, which holds the result, when the ledger refuses it.
        """
        decision = decided.decision
        if decided.executed:
            raise TaskError(
                "this decision has been executed", help="decide again: each execution has its own"
            )
        work = work_of(decision)
        if work is None:
            decided.executed = True
            return self._stored(decided, None, (), tags)
        if decision.plan is not None and decision.plan.unenforced and not unenforced:
            listed = "\n".join(f"  {part}" for part in decision.plan.unenforced)
            raise NotBuiltError(
                f"the plan asks for what is not carried out yet:\n{listed}",
                help="allow it with `unenforced` (`--unenforced`): what is listed is then left out",
            )
        decided.executed = True
        attempts: list[Attempt] = []
        try:
            execution = await self._executor.run(work, request, on_text=on_text, on_attempt=attempts.append)
        except BaseException:
            # Whatever ends this call (a cancelled caller above all), what was done is kept.
            self._store(decided, attempts, tags)
            raise
        return self._stored(decided, execution, execution.attempts, tags)

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
        """Decide and execute: ``decide``, then ``execute``, with what they raise.

        What the request says of itself (its length, images, tools, a schema) is known to the decision.
        """
        decided = self.decide(await described(task, request, self.policy), state=state, strict=strict)
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

    async def generate_chat(
        self,
        *,
        messages: Sequence[Message | Mapping[str, str]],
        model: str | None = None,
        features: Mapping[str, object] | None = None,
        metadata: Mapping[str, str] | None = None,
        max_output_tokens: int | None = None,
        unenforced: bool = False,
    ) -> ChatAnswer:
        """The answer to a conversation. ``model`` pins one; messages may be ``{"role": …, "content": …}``.

        Raises NoTargetError when no model may do it, BackendError when every model of the plan failed, and what
        ``run`` raises.
        """
        request = ChatRequest(messages_of(messages), max_output_tokens=max_output_tokens)
        task = chat_task(request, model, features, metadata)
        answer = answer_of(await self.run(task, request, unenforced=unenforced))
        assert isinstance(answer, ChatAnswer)
        return answer

    async def stream_chat(
        self,
        *,
        messages: Sequence[Message | Mapping[str, str]],
        model: str | None = None,
        features: Mapping[str, object] | None = None,
        metadata: Mapping[str, str] | None = None,
        max_output_tokens: int | None = None,
        unenforced: bool = False,
    ) -> AsyncGenerator[str, None]:
        """The answer piece by piece. Closing the iterator early stops the work. Raises as ``generate_chat`` does."""
        request = ChatRequest(messages_of(messages), max_output_tokens=max_output_tokens)
        task = chat_task(request, model, features, metadata)
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        running = asyncio.ensure_future(
            self.run(task, request, unenforced=unenforced, on_text=pieces.put_nowait)
        )
        running.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            answer_of(await running)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        features: Mapping[str, object] | None = None,
        unenforced: bool = False,
    ) -> EmbedAnswer:
        """One vector for each text, all of one embedding space. Raises as ``generate_chat`` does."""
        task = Task(dict(features or {}), "embed", RequestFacts(), model)
        answer = answer_of(await self.run(task, EmbedRequest(tuple(texts)), unenforced=unenforced))
        assert isinstance(answer, EmbedAnswer)
        return answer

    def _runner_of_scripts(self) -> asyncio.Runner:
        """One event loop for all calls of a script: connections and loaded models belong to the loop they began in."""
        if self._runner is None:
            self._runner = asyncio.Runner()
            # A gateway that is forgotten without being closed takes its loop with it.
            weakref.finalize(self, _drop, self._runner)
        return self._runner

    def _stored(
        self,
        decided: Decided,
        execution: Execution | None,
        attempts: Sequence[Attempt],
        tags: Mapping[str, str] | None,
    ) -> Ran:
        ran = Ran(decided.decision, execution)
        try:
            self._store(decided, attempts, tags)
        except LedgerError as error:
            raise NotStoredError(error, ran) from error
        return ran

    def _store(self, decided: Decided, attempts: Sequence[Attempt], tags: Mapping[str, str] | None) -> None:
        if self._writer is None:
            return
        decision = decided.decision
        policies = (
            () if self._stored_policies else policy_rows(self.policy, first_seen_us=decision.state.at_us)
        )
        self._writer.add(
            decision_row(decision, mode="exploit", deciding_ns=decided.deciding_ns, tags=tags),
            [attempt_row(decision.id, attempt) for attempt in attempts],
            policies,
        )
        self._stored_policies = True


def _drop(runner: asyncio.Runner) -> None:
    """Close a loop that nobody uses any more.

    Who is forgotten is so in any thread, one of the loop's own too: closing the runner would wait for it for ever.
    """
    loop = runner.get_loop()
    if not loop.is_running():
        loop.close()
