"""Which tables have leaves in the log, and of which values of a row its leaf is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from routewright.engine.record import columns_of

from ..columns import ATTEMPT_TYPES
from ..rows import DecisionRow, OutcomeRow, PolicyRow
from .leaf import Kind, Leaf, named_id, values_digest

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Logged:
    """A table whose rows have leaves.

    ``values`` has the SQL of each value by its name. ``id`` is SQL for the leaf's id, where SQL can make it.
    """

    kind: Kind
    table: str
    values: Mapping[str, str]
    make: Callable[[Values], Leaf]

    @property
    def selected(self) -> str:
        """The values as a list of columns, each with its name."""
        return ", ".join(f'{sql} AS "{name}"' for name, sql in self.values.items())

    def leaf(self, row: Sequence[Any]) -> Leaf:
        """The leaf of a row, given by what ``selected`` gives."""
        return self.make(dict(zip(self.values, row, strict=True)))


def _columns(*names: str, uuids: Sequence[str] = ()) -> dict[str, str]:
    # A UUID is its text in canonical JSON.
    return {name: f'"{name}"::VARCHAR' if name in uuids else f'"{name}"' for name in names}


def _decision(values: Values) -> Leaf:
    return _by_id(Kind.DECISION, values["decision_id"], values)


def _attempt(values: Values) -> Leaf:
    return _by_id(Kind.ATTEMPT, values["decision_id"], values, values["number"])


def _erasure(values: Values) -> Leaf:
    return _by_id(Kind.ERASURE, values["decision_id"], values, values["number"])


def _outcome(values: Values) -> Leaf:
    return _by_id(Kind.OUTCOME, values["outcome_id"], values)


def _pruning(values: Values) -> Leaf:
    return _by_id(Kind.PRUNING, values["pruning_id"], values)


def _policy(values: Values) -> Leaf:
    return Leaf(Kind.POLICY, named_id(values["kind"], values["digest"]), 0, values_digest(values))


def _part(values: Values) -> Leaf:
    digest = bytes.fromhex(values["digest"].removeprefix("sha256:"))
    return Leaf(Kind.PART, named_id(values["kind"], values["digest"]), 0, digest)


def _by_id(kind: Kind, id: str, values: Values, number: int = 0) -> Leaf:
    return Leaf(kind, bytes.fromhex(id.replace("-", "")), number, values_digest(values))


_UUIDS: Final = ("decision_id", "shadow_of", "outcome_id", "supersedes", "pruning_id")
_BESIDE: Final = tuple(column.name for column in columns_of(DecisionRow))

POLICIES: Final = Logged(
    Kind.POLICY, "policies", _columns(*(one.name for one in columns_of(PolicyRow))), _policy
)
PARTS: Final = Logged(Kind.PART, "parts", _columns("kind", "digest"), _part)
DECISIONS: Final = Logged(
    Kind.DECISION,
    "decision_rows",
    {
        **_columns("decision_id", uuids=_UUIDS),
        "record": "'sha256:' || lower(hex(digest))",
        **_columns("writer", "entry", *_BESIDE, uuids=_UUIDS),
    },
    _decision,
)
DECISIONS_1: Final = Logged(
    Kind.DECISION,
    "decisions_1",
    {
        **_columns("decision_id", uuids=_UUIDS),
        "record": "record_digest",
        **_columns(*(name for name in _BESIDE if name != "simulated"), "session_id", uuids=_UUIDS),
    },
    _decision,
)
ATTEMPTS: Final = Logged(Kind.ATTEMPT, "attempt_rows", _columns(*ATTEMPT_TYPES, uuids=_UUIDS), _attempt)
OUTCOMES: Final = Logged(
    Kind.OUTCOME, "outcomes", _columns(*(one.name for one in columns_of(OutcomeRow)), uuids=_UUIDS), _outcome
)

ERASURES: Final = Logged(
    Kind.ERASURE,
    "erasures",
    _columns("decision_id", "number", "places", "outcomes", "record", "at_us", "reason", uuids=_UUIDS),
    _erasure,
)

PRUNINGS: Final = Logged(
    Kind.PRUNING,
    "prunings",
    _columns("pruning_id", "since_us", "before_us", "leaves", "checkpoint", "at_us", "reason", uuids=_UUIDS),
    _pruning,
)

LOGGED: Final = (POLICIES, PARTS, DECISIONS_1, DECISIONS, ATTEMPTS, OUTCOMES, ERASURES, PRUNINGS)
"""In the order in which rows of earlier versions entered the log; there were no erasures or prunings then."""
