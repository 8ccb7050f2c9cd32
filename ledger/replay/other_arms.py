"""Decides the rows of a canary again in the arm that was not drawn: what could have happened has its probability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from routewright.engine.decision import Decision
from routewright.engine.policy import CompiledPolicy
from routewright.engine.record import ArmRecord, Record, read_json, state_of, task_of
from routewright.engine.report import RecordError

from .actions import choice_of_decision, choice_of_record
from .bound import Recorded
from .classes import ClassRows, class_rows
from .comparing import facts_as_known, state_as_known, strangers
from .each import came_of_record, facts_of
from .parts import PolicyPart, recorded_policy
from .redeciding import redecide
from .row_tables import CanaryArm, RowTables
from .selecting import Chosen

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def canary_arm(arm: ArmRecord | Mapping[str, Any] | None) -> CanaryArm | None:
    """The arm of a canary; None where nothing was left to chance between two arms."""
    if arm is None:
        return None
    values = arm.model_dump() if isinstance(arm, ArmRecord) else arm
    share = values["share"]
    if values["mode"] != "canary" or share is None or not 0 < share < 1:
        return None
    return CanaryArm(
        values["arm"],
        float(share),
        values["control"]["digest"],
        values["candidate"]["digest"],
        values["key"],
        values["salt"],
    )


class OtherArms:
    """The policies of arms that were not drawn, each compiled once. There are none where ``arms_are_given``."""

    def __init__(
        self, connection: DuckDBPyConnection, parts: list[PolicyPart], *, arms_are_given: bool
    ) -> None:
        self._connection, self._arms_are_given = connection, arms_are_given
        self._catalogs = {part.digest: part.catalog_digest for part in parts}
        self._compiled: dict[tuple[str, str], CompiledPolicy | None] = {}

    def policy(self, arm: CanaryArm, catalog_digest: str) -> CompiledPolicy | None:
        """The policy of the arm that was not drawn, None where the ledger cannot tell it; ``catalog_digest`` is that of
        the arm that was.
        """
        return self._policy((arm.other, self._catalogs.get(arm.other, catalog_digest)))

    def _policy(self, digests: tuple[str, str]) -> CompiledPolicy | None:
        if digests not in self._compiled:
            try:
                self._compiled[digests] = recorded_policy(self._connection, *digests)
            except RecordError:
                self._compiled[digests] = None
        return self._compiled[digests]

    def note(self, chosen: Chosen, part: PolicyPart, recorded: Recorded, rows: RowTables) -> None:
        """Decide the chosen rows of ``part`` again in the other arm, as far as they belong to a canary.

        Raises NotDecidableInSql where SQL cannot tell them apart.
        """
        for number, arm in self._arms(chosen, part):
            policy = self.policy(arm, part.catalog_digest)
            others = frozenset[str]() if policy is None else strangers(policy, recorded.policy)[0]
            found = list[ClassRows]()
            if policy is not None:
                of_arm, both = _of_arms(chosen, [number]), _of_both(part, policy, policy)
                found += class_rows(self._connection, policy, both, recorded, of_arm, keep_rows=True)
            rows.add_others(
                number,
                arm,
                [
                    (one.group, choice_of_decision(one.after.decision, others))
                    for one in found
                    if one.after.decision is not None
                ],
            )

    def by_arms(
        self, chosen: Chosen, part: PolicyPart, policy: CompiledPolicy
    ) -> Iterator[tuple[Chosen, PolicyPart]]:
        """The chosen rows of ``part`` in pieces: those under a canary, by the policy of the arm that was not drawn,
        with what their records can tell under ``policy`` thanks to it; and then all others.
        """
        numbers = dict[str, list[int]]()
        others = dict[str, CompiledPolicy]()
        for number, arm in self._arms(chosen, part):
            if (other := self.policy(arm, part.catalog_digest)) is not None:
                others[arm.other] = other
                numbers.setdefault(arm.other, []).append(number)
        for digest, other in others.items():
            yield _of_arms(chosen, numbers[digest]), _of_both(part, other, policy)
        if numbers:
            listed = ", ".join(str(number) for found in numbers.values() for number in found)
            rest = f"(arm_part IS NULL OR arm_part NOT IN ({listed}))"
            chosen = Chosen(f"{chosen.where} AND {rest}", chosen.parameters)
        yield chosen, part

    def note_record(self, record: Record, after: Decision, rows: RowTables) -> None:
        """Note a row that was decided again by itself, and what the other arm would have chosen."""
        arm, other = None if self._arms_are_given else canary_arm(record.arm), None
        drawn = self._policy((record.policy.digest, record.catalog.digest))
        policy = None if arm is None else self.policy(arm, record.catalog.digest)
        if policy is not None:
            known = facts_of(record)
            facts = replace(known, features=frozenset(policy.slots).union(record.features))
            task, state = task_of(record), state_as_known(policy, drawn, state_of(record))
            facts = facts_as_known(policy, drawn, facts)
            other = redecide(policy, task, state, facts, decision_id=record.id).decision
        came = came_of_record(record)
        rows.add_record(
            record,
            choice_of_record(came, record),
            choice_of_decision(after, strangers(after.policy, drawn)[0]),
            arm,
            None if other is None else choice_of_decision(other, strangers(other.policy, drawn)[0]),
        )

    def _arms(self, chosen: Chosen, part: PolicyPart) -> list[tuple[int, CanaryArm]]:
        if self._arms_are_given:
            return []
        of_part = f"{chosen.rows_of('decision_rows', 'DISTINCT arm_part')} AND (policy_part = {part.part})"
        found = self._connection.execute(
            f"SELECT part, value FROM parts WHERE part IN ({of_part}) ORDER BY part", chosen.parameters
        ).fetchall()
        arms = ((number, canary_arm(read_json(value))) for number, value in found)
        return [(number, arm) for number, arm in arms if arm is not None]


def _of_arms(chosen: Chosen, numbers: Sequence[int]) -> Chosen:
    listed = ", ".join(map(str, numbers))
    return Chosen(f"{chosen.where} AND (arm_part IN ({listed}))", chosen.parameters)


def _of_both(part: PolicyPart, other: CompiledPolicy, policy: CompiledPolicy) -> PolicyPart:
    """What rows under a canary can tell under ``policy``, where ``other`` is the policy of the arm that was not drawn.

    Whoever gives a task may give what either arm declares; what was not given is unknown. What was known of a model
    that the other arm alone has is what its last decision knew.
    """
    own = frozenset(one.id for one in other.catalog.models) - strangers(policy, other)[0]
    return replace(part, also_given=frozenset(other.slots), also_known=own - frozenset(part.models))
