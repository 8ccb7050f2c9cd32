"""Says under which policy, and under which assumptions, each recorded decision is made again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from routewright.engine.policy import CompiledPolicy
from routewright.engine.record import Record, state_of, task_of
from routewright.engine.report import RecordError

from ..errors import InputError
from .assuming import Assumed, assume, is_named
from .assumptions import Assumption
from .comparing import counted_alike, facts_as_known, state_as_known
from .each import facts_of
from .parts import recorded_policy
from .redeciding import Redecided, redecide
from .selecting import Chosen

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Digests = tuple[str, str]
"""Of a policy and of its catalog, as they were recorded."""


class Candidates:
    """One candidate for all decisions; or for each the policy that decided it, where there is none.

    Assumptions are about the candidate, or about those of the recorded policies that have what they name. Raises
    AssumptionError for one that fits none of them.
    """

    def __init__(
        self,
        connection: DuckDBPyConnection,
        candidate: CompiledPolicy | None,
        assumptions: Sequence[Assumption],
        chosen: Chosen,
    ) -> None:
        self._connection = connection
        self._policies: dict[Digests, CompiledPolicy | RecordError] = {}
        self._candidate = None if candidate is None else assume(candidate, assumptions)
        self._recorded: dict[Digests, Assumed | str] = {}
        if candidate is None and chosen.is_import:
            raise InputError(
                "imported requests were decided by no policy of this ledger", help="name a candidate for them"
            )
        if candidate is None:
            self._read(recorded_digests(connection, chosen), assumptions)

    @property
    def candidate(self) -> CompiledPolicy | None:
        """The candidate as it is assumed to be; None where there is none."""
        return None if self._candidate is None else self._candidate.policy

    @property
    def all(self) -> Iterable[Assumed]:
        """Everything that decisions are made again under."""
        if self._candidate is not None:
            return [self._candidate]
        return [one for one in self._recorded.values() if isinstance(one, Assumed)]

    def of(self, digests: Digests) -> Assumed:
        """What a decision that was recorded under a policy is made again under.

        Raises RecordError where it has to be that policy, and the ledger lacks it or it cannot be compiled any more.
        """
        found = self._candidate or self._recorded[digests]
        if isinstance(found, str):
            raise RecordError(found)
        return found

    def recorded(self, digests: Digests) -> CompiledPolicy | None:
        """The policy that a decision was recorded under, None where the ledger lacks it or it cannot be compiled."""
        found = self._found(digests)
        return found if isinstance(found, CompiledPolicy) else None

    @property
    def counted_otherwise(self) -> list[str]:
        """The quotas of the candidate that recorded policies, as far as they were asked for, have by name alone."""
        found = set[str]()
        if self._candidate is not None:
            policy, assumed = self._candidate.policy, self._candidate.state
            for one in filter(None, map(self.recorded, self._policies)):
                found |= {quota.name for quota in policy.quotas} - counted_alike(policy, one)
            found -= assumed.quota_used.keys()
        return sorted(found)

    @property
    def priced_otherwise(self) -> list[str]:
        """The ids of the candidate's models whose prices are others in recorded catalogs that were asked for."""
        found = set[str]()
        if self._candidate is not None:
            now = {one.id: one.shape.price for one in self._candidate.policy.catalog.models}
            for policy in filter(None, map(self.recorded, self._policies)):
                then = {one.id: one.shape.price for one in policy.catalog.models}
                found |= {id for id in now.keys() & then.keys() if now[id] != then[id]}
        return sorted(found)

    def _found(self, digests: Digests) -> CompiledPolicy | RecordError:
        found = self._policies.get(digests)
        if found is None:
            try:
                found = recorded_policy(self._connection, *digests)
            except RecordError as error:
                found = error
            self._policies[digests] = found
        return found

    def again(self, record: Record) -> Redecided:
        """The decision of a record made again."""
        digests = record.policy.digest, record.catalog.digest
        try:
            under = self.of(digests)
        except RecordError as error:
            return Redecided(None, "policy_missing", str(error))
        task, recorded = task_of(record), self.recorded(digests)
        state = state_as_known(under.policy, recorded, state_of(record))
        facts = facts_as_known(under.policy, recorded, facts_of(record))
        return redecide(under.policy, task, state, facts, decision_id=record.id, assumed=under.state)

    def _read(self, recorded: Iterable[Digests], assumptions: Sequence[Assumption]) -> None:
        policies = dict[Digests, CompiledPolicy]()
        for digests in recorded:
            found = self._found(digests)
            if isinstance(found, RecordError):
                self._recorded[digests] = str(found)
            else:
                policies[digests] = found
        for one in assumptions:
            if policies and not any(is_named(policy, one) for policy in policies.values()):
                assume(list(policies.values())[-1], [one])  # says what there is instead
        for digests, policy in policies.items():
            self._recorded[digests] = assume(policy, [one for one in assumptions if is_named(policy, one)])


def recorded_digests(connection: DuckDBPyConnection, chosen: Chosen) -> list[Digests]:
    """The policies of the chosen decisions, those that were recorded first before the others."""
    parts = f"""
        SELECT p.value->>'$.policy.digest', p.value->>'$.catalog.digest'
        FROM (SELECT DISTINCT policy_part FROM ({chosen.rows_of("decision_rows")})) AS d
        JOIN parts AS p ON (p.part = d.policy_part) ORDER BY p.part
    """
    older = (
        f"SELECT DISTINCT policy_digest, catalog_digest FROM ({chosen.rows_of('decisions_1')}) ORDER BY ALL"
    )
    found = [
        digests for sql in (older, parts) for digests in connection.execute(sql, chosen.parameters).fetchall()
    ]
    return list(dict.fromkeys((str(policy), str(catalog)) for policy, catalog in found))
