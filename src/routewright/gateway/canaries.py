"""Ends canaries by the rule that their policy declares.

The ledger is looked at now and then, beside the calls; what came of that is in the state store, which every decision of
every process of the machine asks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from routewright.backends import run_blocking
from routewright.backends.control import Canaries, CanaryEnd, StateError, StateStore
from routewright.engine.policy import CompiledPolicy
from routewright.ledger import Ledger, LedgerError

from .arms import RolloutRuntime

_log = logging.getLogger("routewright")

LOOK_EVERY_US: Final = 60_000_000
"""A canary is judged at most so often, by whichever process of the machine comes first."""

SHARE_AFTER: Final = {"abort": 0.0, "promote": 1.0}
"""The candidate's share of the tasks once a canary has ended."""


class CanaryWatch:
    """Judges the canary in force, and says what share it has left. Without a ledger it judges nothing, without a store
    it knows of no end.
    """

    def __init__(self, ledger: Ledger | None, store: StateStore | None, clock: Callable[[], int]) -> None:
        self._ledger, self._clock = ledger, clock
        self._canaries = None if store is None else Canaries(store)
        self._looking: threading.Thread | None = None
        self._looked: tuple[RolloutRuntime, int] | None = None

    def share(self, arms: RolloutRuntime) -> float | None:
        """The candidate's share in place of the declared one, if the canary has ended by itself. Raises StateError."""
        named = canary_digests(arms.control.policy)
        end = None if self._canaries is None or named is None else self._canaries.get(*named).end
        return None if end is None else SHARE_AFTER[end.verdict]

    def ask(self, arms: RolloutRuntime) -> None:
        """Begin to judge the canary of these arms, where that is due; a thread does so, and nobody waits for it."""
        if canary_digests(arms.control.policy) is None or arms.control.simulated:
            return
        now = self._clock()
        if self._looked is not None and self._looked[0] is arms:
            if abs(now - self._looked[1]) < LOOK_EVERY_US:
                return
        elif self._ledger is None or self._canaries is None:
            missing = "ledger" if self._ledger is None else "state store"
            _log.warning(
                "nothing ends the canary: that needs a ledger and a state store, and there is no %s", missing
            )
        if self._looking is not None and self._looking.is_alive():
            return
        self._looked = arms, now
        if self._ledger is not None and self._canaries is not None:
            work = _Look(self._ledger, self._canaries, arms.control.policy, now)
            self._looking = threading.Thread(target=work.run, name="routewright-canary")
            self._looking.start()

    async def end(self) -> None:
        """Wait until no canary is being judged."""
        if self._looking is not None and self._looking.is_alive():
            await run_blocking(self._looking.join)


class _Look:
    """One look at the ledger."""

    def __init__(self, ledger: Ledger, canaries: Canaries, policy: CompiledPolicy, at_us: int) -> None:
        self._ledger, self._canaries, self._policy, self._at_us = ledger, canaries, policy, at_us

    def run(self) -> None:
        """Judge the canary if no other process has done so, and end it if its rule says so."""
        named = canary_digests(self._policy)
        assert named is not None
        try:
            kept = self._canaries.claim_look(*named, at_us=self._at_us, every_us=LOOK_EVERY_US)
            if kept is None:
                return
            verdict = self._ledger.judge_canary(self._policy, since_us=kept.since_us).verdict
            if verdict.decision == "keep going":
                return
            end = CanaryEnd(verdict.decision, verdict.reason, self._at_us)
            if self._canaries.end(*named, end, since_us=kept.since_us):
                _log.warning("%s", canary_end_text(self._policy, end))
        except (LedgerError, StateError) as error:
            _log.warning("the canary of policy `%s` was not judged: %s", self._policy.name, error)


def canary_end_text(policy: CompiledPolicy, end: CanaryEnd) -> str:
    """How a canary has ended and why, in a sentence."""
    rollout = policy.rollout
    assert rollout is not None
    what = "aborted: the control" if end.verdict == "abort" else f"promoted: the candidate {rollout.file}"
    return (
        f"the canary of policy `{policy.name}` was {what} executes all tasks, as this is sure: {end.reason}"
    )


def canary_digests(policy: CompiledPolicy) -> tuple[str, str] | None:
    """The digests of control and candidate, which name a canary; None without one that a rule ends."""
    rollout = policy.rollout
    if rollout is None or rollout.mode != "canary" or not rollout.ends_by_itself or rollout.candidate is None:
        return None
    return policy.digest, rollout.candidate.digest
