"""Decides a task now: hands the engine its id, draw, time and state, and picks the arm of a rollout.

Nothing is executed or stored here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from random import Random
from secrets import token_bytes

from routewright.engine.decision import (
    Arm,
    ArmName,
    State,
    Task,
    check_declared,
    decide,
    pick_arm,
    shadow_arm,
)
from routewright.engine.record import sealed
from routewright.engine.report import RoutewrightError, TaskError

from .arms import ArmRuntime, RolloutRuntime
from .results import DecisionResult


class Decider:
    """Decides under the policies of arms. ``random`` makes ids and draws, ``clock`` microseconds since 1970.

    Salts are none of ``random``: ids tell of its numbers, and so which come next.
    ``share`` gives the candidate's share under a canary that has ended by itself, else None.
    """

    def __init__(
        self,
        *,
        random: Random,
        clock: Callable[[], int],
        share: Callable[[RolloutRuntime], float | None] = lambda _: None,
    ) -> None:
        self._share = share
        self._random = random
        self._clock = clock

    def decide(
        self, arms: RolloutRuntime, task: Task, state: State | None, *, strict: bool, arm: ArmName | None
    ) -> DecisionResult:
        """The decision of the arm that is picked, or asked for, and of the shadow beside it.

        Raises FeatureError for a feature that does not fit its declaration or, with ``strict``, is declared by
        neither arm; TaskError for a pin that names no model, or an arm without a rollout.
        """
        at_us = self._clock() if state is None else state.at_us
        policy, picked = arms.control.policy, None if arm is None else arms.named(arm)
        if arms.candidate is None:
            return self._decided(arms.control, task, state, at_us, strict)
        if strict:
            check_declared(policy, task, State(at_us))
        if arms.draws:
            # Both sides of a shadow decide the same task.
            task = self._drawn(task)
        if picked is None:
            known = State(at_us) if state is None else state
            canary = policy.rollout is not None and policy.rollout.mode == "canary"
            draw = self._random.random() if canary else None
            picked = pick_arm(policy, task, known, draw=draw, share=self._share(arms) if canary else None)
        decided = self._decided(arms.side(picked), task, state, at_us, False, picked)
        shadow = shadow_arm(policy) if arm is None else None
        if shadow is None:
            return decided
        try:
            return replace(
                decided, shadow=self._decided(arms.side(shadow), task, state, at_us, False, shadow)
            )
        except RoutewrightError as error:
            # What is only looked at takes nothing from the answer.
            return replace(decided, shadow_error=error)

    def _decided(
        self,
        side: ArmRuntime,
        task: Task,
        state: State | None,
        at_us: int,
        strict: bool,
        arm: Arm | None = None,
    ) -> DecisionResult:
        if state is None:
            state = side.status.state(task, at_us=at_us)
        decision_id = uuid7(state.at_us, self._random)
        if side.policy.splits:
            task = self._drawn(task)
        started = time.perf_counter_ns()
        decision = decide(side.policy, task, state, decision_id=decision_id, strict=strict, arm=arm)
        return DecisionResult(sealed(decision, token_bytes), time.perf_counter_ns() - started)

    def _drawn(self, task: Task) -> Task:
        return replace(task, draw=self._random.random()) if task.draw is None else task


def uuid7(at_us: int, random: Random) -> str:
    """A decision's id: a UUIDv7 (RFC 9562, section 5.7), so that ids sort by time to the millisecond.

    ``at_us`` are microseconds since 1970. The same time and the same state of ``random`` give the same id. Raises
    TaskError for a time before 1970, which such an id cannot hold.
    """
    if at_us < 0:
        raise TaskError("ids and records hold times from 1970 on")
    milliseconds = (at_us // 1000) & (1 << 48) - 1
    drawn = random.getrandbits(74)
    bits = milliseconds << 80 | 0x7 << 76 | drawn >> 62 << 64 | 0b10 << 62 | drawn & (1 << 62) - 1
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
