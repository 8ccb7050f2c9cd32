"""Executes decisions along their plans, and records them with every call, whatever ends it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

from routewright.backends.control import StateError
from routewright.backends.executing import Execution, Request, Work
from routewright.engine.decision import Decision, check_label, check_labels
from routewright.engine.report import NotBuiltError, TaskError
from routewright.ledger import LedgerError
from routewright.tasks import operation_of

from .arms import ArmRuntime, RolloutRuntime
from .canaries import CanaryWatch
from .generations import PolicyGenerations
from .recorder import Pending, Recorder
from .results import DecisionResult, NotStoredError, RunResult, model_that_answered
from .upkeep import Upkeep

_log = logging.getLogger("routewright")


class DecisionExecutor:
    """Executes what was decided under the arms in force."""

    def __init__(
        self,
        generations: PolicyGenerations,
        recorder: Recorder,
        upkeep: Upkeep,
        canaries: CanaryWatch,
        clock: Callable[[], int],
    ) -> None:
        self._generations, self._recorder, self._upkeep = generations, recorder, upkeep
        self._canaries, self._clock = canaries, clock

    async def execute(
        self,
        decided: DecisionResult,
        request: Request,
        *,
        unenforced: bool,
        on_text: Callable[[str], None] | None,
        tags: Mapping[str, str] | None,
        trace_id: str | None,
    ) -> RunResult:
        """What ``ModelGateway.execute`` does."""
        self._generations.check_open()
        self._upkeep.ask_memory()
        if tags:
            check_labels(tags, "`tags`")
        if trace_id is not None:
            check_label(trace_id, "`trace_id`")
        with self._generations.running() as arms:
            side, work = _checked(arms, decided, request, unenforced)
            pending = Pending(arms.control.policy, decided, tags, trace_id, side.simulated)
            execution = None
            decided.executed = True
            if work is not None:
                if self._recorder.records:
                    try:
                        await self._recorder.prepare()
                    except BaseException:
                        decided.executed = False
                        raise
                execution = await self._executed(side, work, request, on_text, pending)
                if any(attempt.load_us for attempt in execution.attempts):
                    self._upkeep.loaded()
        try:
            ran = await self._stored(pending, execution)
            self._canaries.ask(arms)
            return ran
        finally:
            if execution is not None and decided.decision.task.session is not None:
                await self._keep_session(side, decided.decision, execution)

    async def _executed(
        self,
        side: ArmRuntime,
        work: Work,
        request: Request,
        on_text: Callable[[str], None] | None,
        pending: Pending,
    ) -> Execution:
        recorder, records = self._recorder, self._recorder.records
        try:
            return await side.executor.run(
                work,
                request,
                on_text=on_text,
                on_attempt=partial(recorder.attempted, pending) if records else None,
                before_call=partial(recorder.announce, pending) if records else None,
            )
        except BaseException as ended:
            # Whatever ends this call (a cancelled caller above all), what was done is kept.
            try:
                recorder.record(pending)
            except LedgerError as error:
                # Who cancels must see the cancellation, or a timeout is none.
                ended.add_note(f"what was done is not in the ledger: {error}")
            raise

    async def _keep_session(self, side: ArmRuntime, decision: Decision, execution: Execution) -> None:
        """Remember which model answered the session; without that the answer stands all the same."""
        model = model_that_answered(execution)
        if model is None:
            return
        try:
            await side.status.answered(decision.task, model, at_us=self._clock())
        except StateError as error:
            _log.warning("the model of a session was not kept, so its next turn chooses anew: %s", error)

    async def _stored(self, pending: Pending, execution: Execution | None) -> RunResult:
        decided = pending.decided
        if execution is not None:
            pending.answered_attempt = execution.answered_by
        shadow = None if decided.shadow is None else decided.shadow.decision
        ran = RunResult(decided.decision, execution, shadow, decided.shadow_error)
        if not self._recorder.records:
            return ran
        try:
            await self._recorder.record_with_others(pending)
        except LedgerError as error:
            raise NotStoredError(error, ran) from error
        return ran


def _checked(
    arms: RolloutRuntime, decided: DecisionResult, request: Request, unenforced: bool
) -> tuple[ArmRuntime, Work | None]:
    """The side that executes a decision, and its work. Raises as ``ModelGateway.execute`` does."""
    decision = decided.decision
    if decided.executed:
        raise TaskError("this decision has been executed", help="decide again: each execution has its own")
    if operation_of(request) != decision.task.operation:
        raise TaskError(
            f"the decision is about {decision.task.operation}, and the request asks for {operation_of(request)}",
            help="decide again for this request",
        )
    side = arms.side_of(decision)
    work = side.planner.work_of(decision)
    if decision.plan is not None and decision.plan.unenforced and not unenforced:
        listed = "\n".join(f"  {part}" for part in decision.plan.unenforced)
        raise NotBuiltError(
            f"the plan asks for what is not supported yet:\n{listed}",
            help="allow it with `unenforced` (`--unenforced`): what is listed is then left out",
        )
    return side, work
