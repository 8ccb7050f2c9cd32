"""What was decided and executed in, the ledger's rows out to its writer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from routewright.backends.executing import Attempt
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.ledger import Ledger, LedgerWriter, Together

from .reloading import meaning_of
from .results import Decided
from .rows import attempt_row, decision_row, policy_rows

__all__ = ["Recorder"]


class _Waiting(NamedTuple):
    """What a caller waits for to be recorded."""

    done: asyncio.Future[None]
    policy: CompiledPolicy
    decided: Decided
    attempts: Sequence[Attempt]
    tags: Mapping[str, str] | None
    answered_attempt: int | None


class Recorder:
    """Records what is decided; without a ledger, nothing.

    ``policy`` is everywhere the one that was in force, with its rollout. Its text is recorded too, the first time that
    something is put into a file of the spool: so it is there also where somebody began a ledger anew meanwhile.
    """

    def __init__(self, ledger: Ledger | None) -> None:
        self._writer = None if ledger is None else ledger.writer()
        self._file = -1
        self._known: set[tuple[str, ...]] = set()
        self._waiting: list[_Waiting] = []

    def prepare(self) -> None:
        """Nothing, if a decision can be recorded now; else raises LedgerError."""
        if self._writer is not None:
            self._writer.prepare()

    def record(
        self,
        policy: CompiledPolicy,
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
        writer = self._writer
        if writer is None:
            return
        for error in writer.add_all(self._rows(writer, policy, decided, attempts, tags, answered_attempt)):
            if error is not None:
                raise error
        self._known_to(writer).add(meaning_of(policy))

    async def record_with_others(
        self,
        policy: CompiledPolicy,
        decided: Decided,
        attempts: Sequence[Attempt],
        tags: Mapping[str, str] | None,
        *,
        answered_attempt: int | None = None,
    ) -> None:
        """``record``, together with what other calls record in this turn of the event loop.

        One after the other they take half the time that they take between other work, and they are written in one
        go. It is recorded also when the caller is cancelled meanwhile.
        """
        if self._writer is None:
            return
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._record_waiting)
        done = loop.create_future()
        self._waiting.append(_Waiting(done, policy, decided, attempts, tags, answered_attempt))
        await done

    async def close(self) -> None:
        """Put everything into the ledger's tables. Raises LedgerError when that cannot be: then it waits."""
        self._record_waiting()
        if self._writer is not None:
            # In a thread: another process may hold the file for a while, and the loop has others to serve.
            await asyncio.to_thread(self._writer.close)

    def _record_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        writer = self._writer
        if writer is None or not waiting:
            return
        rows: list[Together] = []
        ends: list[tuple[_Waiting, int]] = []
        for one in waiting:
            try:
                rows += self._rows(
                    writer, one.policy, one.decided, one.attempts, one.tags, one.answered_attempt
                )
                ends.append((one, len(rows)))
            except Exception as error:
                # Who waits for it raises it: here nobody would hear of it, and all would wait for ever.
                _tell(one.done, error)
        try:
            errors = writer.add_all(rows)
        except Exception as error:
            for one, _ in ends:
                _tell(one.done, error)
            return
        begin = 0
        for one, end in ends:
            refused = next((error for error in errors[begin:end] if error is not None), None)
            if refused is None:
                self._known_to(writer).add(meaning_of(one.policy))
            _tell(one.done, refused)
            begin = end

    def _known_to(self, writer: LedgerWriter) -> set[tuple[str, ...]]:
        """The policies whose texts are in the file that is written now."""
        if writer.file != self._file:
            self._file, self._known = writer.file, set()
        return self._known

    def _rows(
        self,
        writer: LedgerWriter,
        policy: CompiledPolicy,
        decided: Decided,
        attempts: Sequence[Attempt],
        tags: Mapping[str, str] | None,
        answered_attempt: int | None,
    ) -> list[Together]:
        decision = decided.decision
        known = meaning_of(policy) in self._known_to(writer)
        policies = () if known else policy_rows(policy, first_seen_us=decision.state.at_us)
        row = decision_row(
            decision, deciding_ns=decided.deciding_ns, tags=tags, answered_attempt=answered_attempt
        )
        rows = [Together(row, [attempt_row(decision.id, attempt) for attempt in attempts], policies)]
        beside = decided.shadow
        if beside is not None:
            shadow = decision_row(
                beside.decision, deciding_ns=beside.deciding_ns, tags=tags, shadow_of=decision.id
            )
            rows.append(Together(shadow))
        return rows


def _tell(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return  # whoever waited was cancelled
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
