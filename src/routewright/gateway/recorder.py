"""Makes the ledger's rows of what was decided and executed, and writes them to the ledger's writer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from routewright.backends.executing import Attempt
from routewright.engine.decision import Decision
from routewright.engine.policy import CompiledPolicy
from routewright.engine.record import record_text
from routewright.ledger import AttemptRow, DecisionRow, Ledger, LedgerEntry, PolicyRow

from .arms import meaning_of
from .results import DecisionResult


@dataclass(slots=True, eq=False)
class Pending:
    """What is to be recorded: a decision with its attempts and its shadow, and the ``policy`` that was in force.

    ``answered_attempt`` is the number of the attempt that gave the answer. ``error`` says afterwards why it was not
    recorded.
    """

    policy: CompiledPolicy
    decided: DecisionResult
    tags: Mapping[str, str] | None
    attempts: list[Attempt] = field(default_factory=list)
    answered_attempt: int | None = None
    done: asyncio.Future[None] | None = None
    error: Exception | None = None


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
        if writer.file != self._file:
            # Which policies' texts are in the file that is written now.
            self._file, self._known = writer.file, set()
        known = self._known
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


def decision_row(
    decision: Decision,
    *,
    deciding_ns: int | None = None,
    tags: Mapping[str, str] | None = None,
    shadow_of: str | None = None,
    answered_attempt: int | None = None,
) -> DecisionRow:
    """The row of a decision; ``deciding_ns`` is how long deciding took, which is no part of the record.

    ``shadow_of`` is, for a shadow, the id of the decision that was executed; ``answered_attempt`` the number of the
    attempt whose answer was given.
    """
    return DecisionRow(
        decision.id,
        record_text(decision),
        mode_of(decision),
        tags=dict(tags or {}),
        session_id=decision.task.session,
        deciding_ns=deciding_ns,
        shadow_of=shadow_of,
        answered_attempt=answered_attempt,
    )


def mode_of(decision: Decision) -> str:
    """How a decision is used: ``shadow`` where it is not executed, ``canary`` in both its arms, else ``exploit``."""
    arm = decision.arm
    if arm is not None and arm.mode == "canary":
        return "canary"
    return "shadow" if arm is not None and arm.mode == "shadow" and arm.name == "candidate" else "exploit"


def policy_rows(policy: CompiledPolicy, *, first_seen_us: int) -> tuple[PolicyRow, ...]:
    """The rows of a policy and its catalog, and of its rollout's candidate: what decisions can be explained from."""
    catalog = policy.catalog
    candidate = None if policy.rollout is None else policy.rollout.candidate
    return (
        PolicyRow(policy.digest, "policy", policy.name, policy.text, first_seen_us),
        PolicyRow(catalog.digest, "catalog", catalog.name or catalog.source, catalog.text, first_seen_us),
        *(() if candidate is None else policy_rows(candidate, first_seen_us=first_seen_us)),
    )
