"""Reads which policies the recorded decisions were made under, and what their records can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from routewright.engine.policy import Catalog, CompiledPolicy, compile_policy, read_catalog, read_policy
from routewright.engine.record import read_json
from routewright.engine.report import PolicyError, RecordError

from .redeciding import EVERYTHING, Facts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class PolicyPart:
    """What follows from a recorded policy: the number of its part, digests, and names in the order of its rows."""

    part: int
    name: str
    digest: str
    catalog_digest: str
    features: tuple[str, ...]
    models: tuple[str, ...]
    quotas: tuple[str, ...]
    also_given: frozenset[str] = frozenset()
    """Features that it does not declare, and that a caller may have given all the same."""
    also_known: frozenset[str] = frozenset()
    """Models that its catalog does not have, and of which what was known was recorded all the same."""
    table: str = "decision_rows"
    """Where its rows stand."""
    is_open: bool = False
    """Whether what its rows do not say was not known: no policy of ours has decided them."""

    @property
    def facts(self) -> Facts:
        """What a record of it can tell."""
        if self.is_open:
            return EVERYTHING
        return Facts(self.also_given.union(self.features), self.also_known.union(self.models))


def policy_parts(connection: DuckDBPyConnection) -> list[PolicyPart]:
    """The policies of decisions by parts, in the order in which they were first recorded."""
    rows = connection.execute("SELECT part, value FROM parts WHERE kind = 'policy' ORDER BY part").fetchall()
    return [_policy_part(part, read_json(value)) for part, value in rows]


def _policy_part(part: int, value: Mapping[str, Any]) -> PolicyPart:
    return PolicyPart(
        part,
        value["policy"]["name"],
        value["policy"]["digest"],
        value["catalog"]["digest"],
        tuple(one["name"] for one in value["features"]),
        tuple(value["models"]),
        tuple(value["quotas"]),
    )


def recorded_policy(connection: DuckDBPyConnection, digest: str, catalog_digest: str) -> CompiledPolicy:
    """The policy that the ledger keeps under a digest, whatever form digests had when it was recorded.

    Raises RecordError where its text or that of its catalog is missing, or cannot be compiled any more.
    """
    try:
        policy, catalog = read_policy(_text(connection, "policy", digest), "the recorded policy"), None
        if not isinstance(policy.shape.catalog, Catalog):
            catalog = read_catalog(_text(connection, "catalog", catalog_digest), "the recorded catalog")
        return compile_policy(policy, catalog)
    except PolicyError as error:
        first = error.problems[0].message
        raise RecordError(f"this version cannot compile the recorded policy {digest}: {first}") from error


def _text(connection: DuckDBPyConnection, kind: str, digest: str) -> str:
    found = connection.execute(
        "SELECT any_value(text) FROM policies WHERE kind = ? AND digest = ?", [kind, digest]
    ).fetchone()
    if found is None or found[0] is None:
        raise RecordError(f"the ledger has no text of the {kind} {digest}")
    return str(found[0])
