"""Makes the ledger's rows of what was decided and executed, and writes them to the ledger's writer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Final

from routewright.backends import run_blocking
from routewright.backends.executing import Attempt
from routewright.engine.decision import Decision
from routewright.engine.policy import CompiledPolicy
from routewright.engine.record import Intent, parts_of, sealed
from routewright.ledger import AttemptRow, DecisionEnd, DecisionRow, IntentRow, Ledger, LedgerEntry, PolicyRow

from .arms import meaning_of
from .results import DecisionResult
from .settling import SharedWait


@dataclass(slots=True, eq=False)
class Pending:
    """What of a decision is not recorded yet: intents and attempts of calls, its shadow, and the ``policy`` in force.

    It is ``begun`` once the decision itself is recorded, and has ``ended`` once nothing more can come of it;
    ``answered_attempt`` is then the number of the attempt that gave the answer. ``simulated`` says that no model can be
    called. ``error`` says why what was there was not recorded the last time.
    """

    policy: CompiledPolicy
    decided: DecisionResult
    tags: Mapping[str, str] | None
    trace_id: str | None = None
    simulated: bool = False
    intents: list[Intent] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    answered_attempt: int | None = None
    begun: bool = False
    ended: bool = False
    error: Exception | None = None


_ANSWERING: Final = ("answer", "fallback", "retry")

_Waiting = dict[Pending, list[asyncio.Future[Exception | None]]]


class Recorder:
    """Records what is decided and called; without a ledger, nothing.

    A decision is recorded together with the intent of its first call, before that call leaves, and so is each later
    intent; attempts as they end, and the end of it all. A decision without a call is recorded as a whole.

    A policy's text, with its rollout's, is recorded too, the first time that something of it is put into a file of the
    spool: so it is there also where somebody began a ledger anew meanwhile.
    """

    def __init__(self, ledger: Ledger | None) -> None:
        self._writer = writer = None if ledger is None else ledger.writer()
        # What waits for a disk must not keep an event loop waiting.
        self._settled = None if writer is None or writer.settles_at_once else SharedWait(writer.settle)
        self._room = None if writer is None else SharedWait(writer.wait_for_room)
        self._file = -1
        self._known: set[tuple[str, ...]] = set()
        # By event loop: several threads may use one gateway, and a process that was forked has none of its parent's.
        # INVARIANT: an entry leaves with its turn, or with its loop, which the futures in it refer to.
        self._waiting: dict[asyncio.AbstractEventLoop, _Waiting] = {}
        # What was announced and has not ended. A process that was forked has its parent's too, and then never thinks
        # that it is alone.
        self._under_way: set[Pending] = set()

    @property
    def records(self) -> bool:
        """Whether there is a ledger."""
        return self._writer is not None

    async def prepare(self) -> None:
        """Nothing, if a decision can be recorded now; else raises LedgerError, perhaps after a wait for room."""
        writer = self._writer
        if writer is None:
            return
        if writer.may_wait and self._room is not None:
            await self._room.join(anew=False)
        writer.prepare(waits=False)

    async def announce(self, one: Pending, intent: Intent) -> None:
        """Record a call that is about to be made; returns once that is as durable as the ledger's settings say.

        Raises LedgerError, with nothing of it kept, when it cannot be recorded. If it cannot be made durable, it may be
        kept all the same, as a call that was lost.
        """
        one.intents.append(intent)
        self._under_way.add(one)
        try:
            if self._writer is not None and self._writer.may_wait:
                await self.prepare()
            await self._with_others(one)
            if self._settled is not None:
                await self._settled.join()
        finally:
            if intent in one.intents:
                one.intents.remove(intent)

    def attempted(self, one: Pending, attempt: Attempt) -> None:
        """Record an attempt soon, or else with what is recorded next of its decision.

        After an answer that comes at once: its end, or the intent of a step.
        """
        one.attempts.append(attempt)
        if attempt.status == "ok" and attempt.role in _ANSWERING:
            return
        # A call whose loop was closed under it ends in no loop, and its decision with it.
        if one.begun and asyncio._get_running_loop() is not None:
            self._turn().setdefault(one, [])

    def record(self, one: Pending) -> None:
        """Record all of a decision that has ended. Raises LedgerError when it cannot be written."""
        one.ended = True
        self._under_way.discard(one)
        self._write([one])
        if one.error is not None:
            raise one.error

    async def record_with_others(self, one: Pending) -> None:
        """``record``, together with what other calls record in this turn of the event loop.

        It is recorded also when the caller is cancelled meanwhile; if it cannot be, the cancellation says so.
        """
        one.ended = True
        try:
            await self._with_others(one)
            if self._settled is not None:
                await self._settled.join()
        finally:
            self._under_way.discard(one)

    async def close(self) -> None:
        """Put everything into the ledger's tables. Raises LedgerError when that cannot be: then it waits."""
        self._record_waiting(asyncio.get_running_loop())
        self._record_left()
        if self._writer is not None:
            # In a thread: another process may hold the file for a while, and the loop has others to serve.
            await run_blocking(self._writer.close)

    async def _with_others(self, one: Pending) -> None:
        """One after the other they take half the time that they take between other work, and in one go less still.

        What is the only one under way is recorded at once: nobody would join it.
        """
        if self._writer is None:
            return
        loop = asyncio.get_running_loop()
        under_way = self._under_way
        if not under_way or (len(under_way) == 1 and one in under_way):
            if self._waiting:
                self._turn().setdefault(one, [])
                self._record_waiting(loop)
            else:
                self._write((one,))
            if one.error is not None:
                raise one.error
            return
        done: asyncio.Future[Exception | None] = loop.create_future()
        self._turn().setdefault(one, []).append(done)
        try:
            error = await done
        except asyncio.CancelledError as cancelled:
            self._record_waiting(loop)
            if one.error is not None:
                # Who cancels must see the cancellation, or a timeout is none.
                cancelled.add_note(f"what was done is not in the ledger: {one.error}")
            raise
        if error is not None:
            raise error

    def _turn(self) -> _Waiting:
        """What is recorded when this turn of the event loop ends, or before by whoever asks for it."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(loop)
        if waiting is None:
            self._record_left()
            waiting = self._waiting[loop] = {}
            loop.call_soon(self._record_waiting, loop)
        return waiting

    def _record_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._waiting.pop(loop, None)
        if waiting:
            self._write(list(waiting))
            for one, futures in waiting.items():
                for done in futures:
                    if not done.done():
                        done.set_result(one.error)

    def _record_left(self) -> None:
        """Record what waits for a turn of a loop that was closed before; nobody waits for that any more."""
        for loop in list(self._waiting):
            if loop.is_closed() and (waiting := self._waiting.pop(loop, None)):
                self._write(list(waiting))

    def _write(self, many: Sequence[Pending]) -> None:
        """Record each by itself, and note why one could not be; nothing is raised, as others wait too."""
        writer = self._writer
        if writer is None:
            return
        if writer.file != self._file:
            # Which policies' texts are in the file that is written now.
            self._file, self._known = writer.file, set()
        known, given, groups, grouped = self._known, list[tuple[str, ...]](), [], []
        for one in many:
            one.error = None
            meaning = None if one.begun else meaning_of(one.policy)
            is_new = meaning is not None and meaning not in known and meaning not in given
            try:
                rows = _rows(one, with_policies=is_new)
            except Exception as error:
                one.error = error
                continue
            if rows:
                groups.append(rows)
                grouped.append(one)
                if is_new and meaning is not None:
                    given.append(meaning)
        try:
            errors: Sequence[Exception | None] = writer.add_all(groups) if groups else ()
        except Exception as error:
            errors = [error] * len(groups)
        for one, entries, refused in zip(grouped, groups, errors, strict=True):
            one.error = refused
            if refused is None:
                one.begun = True
                one.intents.clear()
                one.attempts.clear()
                if entries[0].policies:
                    known.add(meaning_of(one.policy))


def _rows(one: Pending, *, with_policies: bool) -> list[LedgerEntry]:
    """What is there of a decision and not recorded yet; with the decision itself its shadow."""
    decided = one.decided
    decision = decided.decision
    id = decision.id
    attempts = [AttemptRow(id, attempt) for attempt in one.attempts] if one.attempts else ()
    intents = [IntentRow(id, intent) for intent in one.intents] if one.intents else ()
    if one.begun:
        end = DecisionEnd(id, one.answered_attempt) if one.ended else None
        return [LedgerEntry(None, attempts, (), intents, end)] if attempts or intents or end else []
    policies = policy_rows(one.policy, first_seen_us=decision.state.at_us) if with_policies else ()
    row = decision_row(
        decision,
        deciding_ns=decided.deciding_ns,
        tags=one.tags,
        trace_id=one.trace_id,
        answered_attempt=one.answered_attempt,
        simulated=one.simulated,
    )
    rows = [LedgerEntry(row, attempts, policies, intents)]
    if (shadow := decided.shadow) is not None:
        row = decision_row(
            shadow.decision,
            deciding_ns=shadow.deciding_ns,
            tags=one.tags,
            trace_id=one.trace_id,
            shadow_of=decision.id,
            simulated=one.simulated,
        )
        rows.append(LedgerEntry(row))
    return rows


def decision_row(
    decision: Decision,
    *,
    deciding_ns: int | None = None,
    tags: Mapping[str, str] | None = None,
    trace_id: str | None = None,
    shadow_of: str | None = None,
    answered_attempt: int | None = None,
    simulated: bool | None = None,
) -> DecisionRow:
    """The row of a decision; ``deciding_ns`` is how long deciding took, which is no part of the record.

    ``shadow_of`` is, for a shadow, the id of the decision that was executed; ``answered_attempt`` the number of the
    attempt whose answer was given. ``simulated`` says that no model could be called.
    """
    labels = dict(tags) if tags else {}
    parts, mode = parts_of(sealed(decision, token_bytes)), mode_of(decision)
    return DecisionRow(parts, mode, labels, trace_id, deciding_ns, shadow_of, answered_attempt, simulated)


def mode_of(decision: Decision) -> str:
    """How a decision is used: ``shadow`` where it is not executed, ``canary`` in both its arms, else ``exploit``."""
    arm = decision.arm
    if arm is None:
        return "exploit"
    if arm.mode == "canary":
        return "canary"
    return "shadow" if arm.mode == "shadow" and arm.name == "candidate" else "exploit"


def policy_rows(policy: CompiledPolicy, *, first_seen_us: int) -> tuple[PolicyRow, ...]:
    """The rows of a policy and its catalog, and of its rollout's candidate: what decisions can be explained from."""
    catalog = policy.catalog
    candidate = None if policy.rollout is None else policy.rollout.candidate
    return (
        PolicyRow(policy.digest, "policy", policy.name, policy.text, first_seen_us),
        PolicyRow(catalog.digest, "catalog", catalog.name or catalog.source, catalog.text, first_seen_us),
        *(() if candidate is None else policy_rows(candidate, first_seen_us=first_seen_us)),
    )
