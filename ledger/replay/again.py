"""Decides every recorded task again under its own policy: whatever differs is a fault of a record or of an engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from routewright.engine.explain import as_recorded, recompute
from routewright.engine.policy import CompiledPolicy
from routewright.engine.record import Record, parts_of
from routewright.engine.report import ErasedError, RecordError

from ..errors import InputError
from .bound import Recorded
from .class_query import NotDecidableInSql
from .classes import class_rows
from .each import records
from .parts import PolicyPart, policy_parts, recorded_policy
from .selecting import Chosen, Selection, choose, why_none

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

What = Literal["verdicts", "plan", "record", "not_decided", "erased"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that their own policy does not decide as it is recorded, for one reason; ``why`` says what differs.

    ``what`` is ``verdicts`` (of rules), ``plan`` (rule, outcome, candidates, choice or plan), ``record`` (anything of
    it), ``not_decided`` (the policy's text is missing, or cannot be compiled any more) or ``erased`` (a value was
    erased that could have changed them).
    """

    what: What
    policy_digest: str
    why: str
    rows: int
    example: str


@dataclass(frozen=True, slots=True)
class SelfReport:
    """How many recorded decisions were made again, and the differences, the most frequent first.

    ``lost`` are those that were not, as a value was erased that could have changed them, by what reads it.
    ``notes`` say why no decision was selected, if none was.
    """

    rows: int
    differences: tuple[Difference, ...]
    seconds: float
    lost: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def erased(self) -> int:
        """How many decisions could not be made again, as a value was erased that they need."""
        return sum(one.rows for one in self.lost)

    @property
    def different(self) -> int:
        """How many rows differ, or could not be decided again."""
        return sum(one.rows for one in self.differences)


def decide_again(connection: DuckDBPyConnection, selection: Selection) -> SelfReport:
    """Compare every selected decision with what its own policy decides now."""
    began = time.monotonic()
    if selection.import_name is not None:
        raise InputError(
            "what was imported was decided by no policy of this ledger, and cannot be compared with one"
        )
    chosen = choose(connection, selection)
    found: dict[tuple[What, str, str], Difference] = {}
    rows = 0
    for what, digest, why, count, example in _compared(connection, chosen):
        rows += 0 if what == "erased" else count
        if what is not None:
            known = found.get((what, digest, why))
            before, first = (0, example) if known is None else (known.rows, known.example)
            found[what, digest, why] = Difference(what, digest, why, before + count, min(first, example))
    ordered = sorted(found.values(), key=lambda one: -one.rows)
    differences, lost = (
        tuple(one for one in ordered if (one.what == "erased") is erased) for erased in (False, True)
    )
    notes = () if rows or lost else tuple(why_none(connection, selection))
    return SelfReport(rows, differences, time.monotonic() - began, lost, notes)


_Compared = tuple[What | None, str, str, int, str]
"""What differs if anything, the policy's digest, why, of how many rows, and the id of one."""


def _compared(connection: DuckDBPyConnection, chosen: Chosen) -> Iterator[_Compared]:
    for part in policy_parts(connection):
        try:
            policy = recorded_policy(connection, part.digest, part.catalog_digest)
        except RecordError as error:
            yield from _not_decided(connection, chosen, part, str(error))
            continue
        try:
            yield from _by_classes(connection, chosen, part, policy)
        except NotDecidableInSql:
            yield from (_of_record(policy, record) for record in records(connection, chosen, part))
    compiled: dict[tuple[str, str], CompiledPolicy | str] = {}
    for record in records(connection, chosen, None):
        digests = record.policy.digest, record.catalog.digest
        if digests not in compiled:
            try:
                compiled[digests] = recorded_policy(connection, *digests)
            except RecordError as error:
                compiled[digests] = str(error)
        policy_or_why = compiled[digests]
        if isinstance(policy_or_why, str):
            yield "not_decided", digests[0], policy_or_why, 1, record.id
        else:
            yield _of_record(policy_or_why, record)


def _by_classes(
    connection: DuckDBPyConnection, chosen: Chosen, part: PolicyPart, policy: CompiledPolicy
) -> Iterator[_Compared]:
    recorded = Recorded(part.features, policy)
    # All of it first: the statements of one policy use tables that those of the next replace.
    found = list(class_rows(connection, policy, part, recorded, chosen, compare_verdicts=True))
    plans = dict(connection.execute("SELECT part, digest FROM parts WHERE kind = 'plan'").fetchall())
    yield from (_of_record(policy, record) for record in records(connection, chosen, part, only_erased=True))
    for one in found:
        if one.other_verdicts:
            yield "verdicts", part.digest, "the verdicts of its rules differ", one.other_verdicts, one.example
        if (same := one.rows - one.other_verdicts) == 0:
            continue
        decision = one.after.decision
        if decision is None:
            why = one.after.why or "it cannot be decided"
            yield "plan", part.digest, why, same, one.example
        elif parts_of(decision).plan.digest != plans.get(one.plan_part):
            yield "plan", part.digest, "its rule, candidates or plan differ", same, one.example
        else:
            yield None, part.digest, "", same, one.example


def _of_record(policy: CompiledPolicy, record: Record) -> _Compared:
    try:
        recompute(as_recorded(policy, record), record)
    except ErasedError as error:
        return "erased", record.policy.digest, str(error), 1, record.id
    except RecordError as error:
        return "record", record.policy.digest, str(error), 1, record.id
    return None, record.policy.digest, "", 1, record.id


def _not_decided(
    connection: DuckDBPyConnection, chosen: Chosen, part: PolicyPart, why: str
) -> Iterator[_Compared]:
    of_part = f"({chosen.rows_of('decision_rows')}) WHERE policy_part = {part.part}"
    [(count, example)] = connection.execute(
        f"SELECT count(*), min(decision_id)::VARCHAR FROM {of_part}", chosen.parameters
    ).fetchall()
    if count:
        yield "not_decided", part.digest, why, count, example
