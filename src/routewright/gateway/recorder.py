"""Writes what was decided and executed to the ledger's writer, as rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

from routewright.backends.executing import Attempt
from routewright.engine.policy import CompiledPolicy
from routewright.ledger import AttemptRow, Ledger, LedgerEntry, LedgerWriter

from .arms import meaning_of
from .results import DecisionResult
from .rows import decision_row, policy_rows


class Pending:
    """What is to be recorded: a decision with its attempts and its shadow, and the ``policy`` that was in force.

    ``answered_attempt`` is the number of the attempt that gave the answer. ``error`` says afterwards why it was not
    recorded.
    """

    __slots__ = ("answered_attempt", "attempts", "decided", "done", "error", "policy", "tags")

    def __init__(
        self,
        policy: CompiledPolicy,
        decided: DecisionResult,
        attempts: Sequence[Attempt],
        tags: Mapping[str, str] | None,
        answered_attempt: int | None = None,
    ) -> None:
        self.policy, self.decided, self.attempts = policy, decided, attempts
        self.tags, self.answered_attempt = tags, answered_attempt
        self.done: asyncio.Future[None] | None = None
        self.error: Exception | None = None


class Recorder:
    """Records what is decided; without a ledger, nothing.

    A policy's text, with its rollout's, is recorded too, the first time that something of it is put into a file of the
    spool: so it is there also where somebody began a ledger anew meanwhile.
    """

    def __init__(self, ledger: Ledger | None) -> None:
        self._writer = None if ledger is None else ledger.writer()
        self._file = -1
        self._known: set[tuple[str, ...]] = set()
        # By event loop: several threads may use one gateway, and a process that was forked has none of its parent's.
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Pending]] = WeakKeyDictionary()

    def prepare(self) -> None:
        """Nothing, if a decision can be recorded now; else raises LedgerError."""
        if self._writer is not None:
            self._writer.prepare()

    def record(self, one: Pending) -> None:
        """Record a decision. Raises LedgerError, with nothing of it kept, when it cannot be written."""
        self._write([one])
        if one.error is not None:
            raise one.error

    async def record_with_others(self, one: Pending) -> None:
        """``record``, together with what other calls record in this turn of the event loop.

        One after the other they take half the time that they take between other work, and they are written in one
        go. It is recorded also when the caller is cancelled meanwhile; if it cannot be, the cancellation says so.
        """
        if self._writer is None:
            return
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(loop)
        if waiting is None:
            waiting = self._waiting[loop] = []
            loop.call_soon(self._record_waiting, loop)
        one.done = loop.create_future()
        waiting.append(one)
        try:
            await one.done
        except asyncio.CancelledError as cancelled:
            self._record_waiting(loop)
            if one.error is not None:
                # Who cancels must see the cancellation, or a timeout is none.
                cancelled.add_note(f"what was done is not in the ledger: {one.error}")
            raise
        if one.error is not None:
            raise one.error

    async def close(self) -> None:
        """Put everything into the ledger's tables. Raises LedgerError when that cannot be: then it waits."""
        self._record_waiting(asyncio.get_running_loop())
        if self._writer is not None:
            # In a thread: another process may hold the file for a while, and the loop has others to serve.
            await asyncio.to_thread(self._writer.close)

    def _record_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._waiting.pop(loop, None)
        if waiting:
            self._write(waiting)
            for one in waiting:
                if one.done is not None and not one.done.done():
                    one.done.set_result(None)

    def _write(self, many: Sequence[Pending]) -> None:
        """Record each by itself, and note why one could not be; nothing is raised, as others wait too."""
        writer = self._writer
        if writer is None:
            return
        known = self._known_to(writer)
        given: set[tuple[str, ...]] = set()
        groups: list[Sequence[LedgerEntry]] = []
        grouped: list[Pending] = []
        for one in many:
            meaning = meaning_of(one.policy)
            try:
                groups.append(_rows(one, with_policies=meaning not in known and meaning not in given))
            except Exception as error:
                one.error = error
                continue
            grouped.append(one)
            given.add(meaning)
        try:
            errors: Sequence[Exception | None] = writer.add_all(groups)
        except Exception as error:
            errors = [error] * len(groups)
        for one, texts, refused in zip(grouped, groups, errors, strict=True):
            one.error = refused
            if refused is None and texts[0].policies:
                known.add(meaning_of(one.policy))

    def _known_to(self, writer: LedgerWriter) -> set[tuple[str, ...]]:
        """The policies whose texts are in the file that is written now."""
        if writer.file != self._file:
            self._file, self._known = writer.file, set()
        return self._known


def _rows(one: Pending, *, with_policies: bool) -> list[LedgerEntry]:
    """A decision with its attempts, and its shadow."""
    decided = one.decided
    decision = decided.decision
    policies = policy_rows(one.policy, first_seen_us=decision.state.at_us) if with_policies else ()
    row = decision_row(
        decision,
        deciding_ns=decided.deciding_ns,
        tags=one.tags,
        answered_attempt=one.answered_attempt,
    )
    rows = [LedgerEntry(row, [AttemptRow(decision.id, attempt) for attempt in one.attempts], policies)]
    metadata = decided.shadow
    if metadata is not None:
        shadow = decision_row(
            metadata.decision, deciding_ns=metadata.deciding_ns, tags=one.tags, shadow_of=decision.id
        )
        rows.append(LedgerEntry(shadow))
    return rows
