"""What was decided and executed in, the ledger's rows out to its writer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from routewright.backends.executing import Attempt
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.ledger import Ledger

from .results import Decided
from .rows import attempt_row, decision_row, policy_rows

__all__ = ["Recorder"]


class Recorder:
    """Records what is decided under ``policy``, its rollout included; without a ledger, nothing."""

    def __init__(self, ledger: Ledger | None, policy: CompiledPolicy) -> None:
        self._policy = policy
        self._writer = None if ledger is None else ledger.writer()
        self._knows_policies = False

    def prepare(self) -> None:
        """Nothing, if a decision can be recorded now; else raises LedgerError."""
        if self._writer is not None:
            self._writer.prepare()

    def record(
        self,
        decided: Decided,
        attempts: Sequence[Attempt],
        tags: Mapping[str, str] | None,
        *,
        answered_attempt: int | None = None,
    ) -> None:
        """Record a decision with its attempts, and its shadow.

        ``answered_attempt`` is the number of the attempt that gave the answer. Raises LedgerError, with nothing of
        this decision kept, when it cannot be written.
        """
        writer, decision = self._writer, decided.decision
        if writer is None:
            return
        policies = (
            () if self._knows_policies else policy_rows(self._policy, first_seen_us=decision.state.at_us)
        )
        writer.add(
            decision_row(
                decision, deciding_ns=decided.deciding_ns, tags=tags, answered_attempt=answered_attempt
            ),
            [attempt_row(decision.id, attempt) for attempt in attempts],
            policies,
        )
        self._knows_policies = True
        beside = decided.shadow
        if beside is not None:
            writer.add(
                decision_row(
                    beside.decision, deciding_ns=beside.deciding_ns, tags=tags, shadow_of=decision.id
                )
            )

    async def close(self) -> None:
        """Put everything into the ledger's tables. Raises LedgerError when that cannot be: then it waits."""
        if self._writer is not None:
            # In a thread: another process may hold the file for a while, and the loop has others to serve.
            await asyncio.to_thread(self._writer.close)
