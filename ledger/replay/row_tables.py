"""Notes in temporary tables what the log did with each row that is decided again, and what the candidate does."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from routewright.engine.condition import sql_text
from routewright.engine.decision import key_text
from routewright.engine.record import Record

from .actions import Chances, Choice, mixed
from .bound import session
from .classes import ROW_GROUPS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS: Final = "replay_rows"
"""The temporary table: ``row`` (a number), ``decision_id``, ``logged`` and ``target`` (numbers of what the log chose
and of the chances under the candidate), ``arm`` and ``other`` (of the arm of a canary that decided, and of the chances
in the other one; -1 for none), and ``unit``, what was drawn as a whole."""

CHOICES: Final = "replay_choices"
"""The temporary table of what the log can have done, by ``logged``, ``target``, ``arm`` and ``other`` of ``ROWS``:
``context`` (a number), ``action``, its ``propensity``, NULL where nobody can say it, and ``kept``: whether the
candidate does the same with the same chances, so that what was measured stands."""

CHANCES: Final = "replay_chances"
"""The temporary table of the candidate's chances: ``target`` of ``ROWS``, ``action``, ``probability``."""

SUPPORT: Final = "replay_support"
"""The temporary table of what the log did by chance in each ``context``: ``action``."""

_GROUPS: Final = "replay_group_numbers"
_OTHERS: Final = "replay_other_arms"
_NONE: Final = -1
_ONE_BY_ONE: Final = 2**48
"""Rows that were not decided by classes are numbered from here on."""
_BATCH: Final = 10_000

T = TypeVar("T", bound=Hashable)


class CanaryArm(NamedTuple):
    """The arm of a canary that decided: its name, the candidate's share, both policies' digests, and the feature whose
    value fell into a bucket, None for a random draw, with the salt of the bucket."""

    name: str
    share: float
    control: str
    candidate: str
    key: str | None
    salt: str | None

    def binds(self, choice: Choice) -> bool:
        """Whether a split falls by the same bucket as the canary: then one draw says both, and the chance of a model is
        not the product of two."""
        return self.key is not None and (choice.key, choice.salt) == (self.key, self.salt)

    @property
    def other(self) -> str:
        """The digest of the other arm's policy."""
        return self.candidate if self.name == "control" else self.control


class _Logged(NamedTuple):
    policy_digest: str
    choice: Choice


def _given(record: Record, name: str) -> object:
    """The value of a feature, declared or not; None where it has none, or none any more."""
    found = record.features.get(name)
    return record.ignored.get(name) if found is None else found.value


class _Numbers(Generic[T]):
    """Numbers values in the order in which they are first seen."""

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}
        self.values: list[T] = []

    def __call__(self, value: T) -> int:
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class RowTables:
    """Fills ``ROWS`` policy by policy, and at the end makes the small tables that it names numbers of."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self._logged, self._arms = _Numbers[_Logged](), _Numbers[CanaryArm]()
        self._chances, self._contexts = _Numbers[Chances](), _Numbers[tuple[object, ...]]()
        self._groups: list[tuple[int, int, int]] = []
        self._keys: dict[int, str] = {}
        self._arm_parts: dict[int, int] = {}
        self._single: list[tuple[int, str, int, int, int, int, str | None]] = []
        self._singles = _ONE_BY_ONE
        self.are_imported = False
        """Whether the rows come from an import."""
        self.notes: list[str] = []
        """What a reader has to know of these rows, after ``finish``."""
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {ROWS} (row BIGINT, decision_id UUID, logged INTEGER, target INTEGER, "
            "arm INTEGER, other INTEGER, unit VARCHAR)"
        )
        self._forget_others()

    # -- rows by classes --------------------------------------------------------------------------------------

    def add_group(
        self, group: int, policy_digest: str, plan_part: int, logged: Choice, after: Choice
    ) -> None:
        """The rows of a group (see ``ROW_GROUPS``) were recorded with a plan, and the candidate decides them so."""
        if logged.key is not None:
            self._keys[plan_part] = logged.key
        self._groups.append(
            (group, self._logged(_Logged(policy_digest, logged)), self._chances(after.chances))
        )

    def add_others(self, arm_part: int, arm: CanaryArm, others: Sequence[tuple[int, Choice]]) -> None:
        """The groups of ``ROW_GROUPS``, all recorded in one arm of a canary, are decided so in the other arm, as far
        as they can be.
        """
        self._arm_parts[arm_part] = self._arms(arm)
        free = [(group, choice) for group, choice in others if not arm.binds(choice)]
        if not free:
            return
        self._number([(group, self._chances(choice.chances), 0) for group, choice in free])
        self._connection.execute(
            f'INSERT INTO {_OTHERS} SELECT row, g.one FROM {ROW_GROUPS} JOIN {_GROUPS} AS g USING ("group")'
        )

    def take_groups(self, table: str = "decision_rows") -> None:
        """Note the rows of ``ROW_GROUPS``, which stand in ``table``, after their groups and those of other arms were
        added.
        """
        if self._groups:
            self._insert(table)
        self._groups.clear()
        self._arm_parts.clear()
        self._forget_others()

    def _insert(self, table: str) -> None:
        self._number(self._groups)
        arms = "".join(f" WHEN {part} THEN {arm}" for part, arm in self._arm_parts.items())
        arm = f"(CASE d.arm_part{arms} ELSE {_NONE} END)" if arms else f"{_NONE}"
        self._connection.execute(f"""
            INSERT INTO {ROWS}
            SELECT r.row, d.decision_id, g.one, g.two, {arm}, coalesce(o.other, {_NONE}), {self._unit()}
            FROM {ROW_GROUPS} AS r
            JOIN {_GROUPS} AS g USING ("group")
            JOIN {table} AS d ON (d.rowid = r.row)
            LEFT JOIN {_OTHERS} AS o ON (o.row = r.row)
        """)
        self._connection.execute(f"DROP TABLE {ROW_GROUPS}")

    def _unit(self) -> str:
        """What was drawn as a whole: all with one value of a key, else a session; NULL: the row by itself."""
        arms = self._arms.values
        keyed = [
            (f"d.arm_part = {part}", key)
            for part, arm in self._arm_parts.items()
            if (key := arms[arm].key) is not None
        ]
        keyed += [(f"d.plan_part = {part}", key) for part, key in self._keys.items()]
        cases = "".join(
            f" WHEN {test} THEN {sql_text(f'{key}=')} || CAST(d.features[{sql_text(key)}] AS VARCHAR)"
            for test, key in keyed
        )
        by_session = f"'session=' || {session()}"
        return f"(CASE{cases} ELSE {by_session} END)" if cases else f"({by_session})"

    def _number(self, groups: Sequence[tuple[int, int, int]]) -> None:
        columns = [list(column) for column in zip(*groups, strict=True)] or [[], [], []]
        self._connection.execute(
            f'CREATE OR REPLACE TEMP TABLE {_GROUPS} AS SELECT unnest(?::BIGINT[]) AS "group", '
            "unnest(?::INTEGER[]) AS one, unnest(?::INTEGER[]) AS two",
            columns,
        )

    def _forget_others(self) -> None:
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {_OTHERS} (row BIGINT, other INTEGER)")

    # -- rows one by one --------------------------------------------------------------------------------------

    def add_record(
        self, record: Record, logged: Choice, after: Choice, arm: CanaryArm | None, other: Choice | None
    ) -> None:
        """Note a row that was decided again by itself; ``other`` is its choice in the other arm of a canary."""
        key = logged.key if arm is None or arm.key is None else arm.key
        drawn_by = "session" if key is None else key
        value = (record.request.metadata.get("session") or None) if key is None else _given(record, key)
        unit = None if value is None else f"{drawn_by}={key_text(value)}"
        self._single.append((
            self._singles,
            record.id,
            self._logged(_Logged(record.policy.digest, logged)),
            self._chances(after.chances),
            _NONE if arm is None else self._arms(arm),
            _NONE if other is None or (arm is not None and arm.binds(other)) else self._chances(other.chances),
            unit,
        ))  # fmt: skip
        self._singles += 1
        if len(self._single) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._single:
            kinds = ("BIGINT", "UUID", "INTEGER", "INTEGER", "INTEGER", "INTEGER", "VARCHAR")
            columns = [list(column) for column in zip(*self._single, strict=True)]
            lists = ", ".join(f"unnest(?::{kind}[])" for kind in kinds)
            self._connection.execute(f"INSERT INTO {ROWS} SELECT {lists}", columns)
            self._single.clear()

    # -- at the end -------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Make ``CHOICES``, ``CHANCES`` and ``SUPPORT``; see ``drop``."""
        self._flush()
        found = self._connection.execute(
            f"SELECT DISTINCT logged, target, arm, other FROM {ROWS} ORDER BY ALL"
        ).fetchall()
        if any(arm != _NONE and other == _NONE for _, _, arm, other in found):
            self.notes.append(
                "how likely the models of some decisions of a canary were is not known: the policy of the other arm is "
                "missing from the ledger, or cannot decide them, or it splits by the canary's own key and salt"
            )
        choices, support = list[tuple[object, ...]](), set[tuple[int, str]]()
        for logged, target, arm, other in found:
            context, action, chances = self._context(logged, arm, other)
            number, kept = self._contexts(context), chances == self._chances.values[target]
            propensity = None if action is None else dict(chances).get(action)
            choices.append((logged, target, arm, other, number, action, propensity, kept))
            support.update((number, each) for each, _ in chances)
        self._table(
            CHOICES,
            "logged INTEGER, target INTEGER, arm INTEGER, other INTEGER, context INTEGER, action VARCHAR, "
            "propensity DOUBLE, kept BOOLEAN",
            choices,
        )
        self._table(SUPPORT, "context INTEGER, action VARCHAR", sorted(support))
        self._table(CHANCES, "target INTEGER, action VARCHAR, probability DOUBLE", list(self._targets()))

    def drop(self) -> None:
        """Drop ``ROWS``, once nothing more is asked of it: it has a row for each decision."""
        self._connection.execute(f"DROP TABLE {ROWS}")

    def _targets(self) -> Iterator[tuple[object, ...]]:
        for number, chances in enumerate(self._chances.values):
            yield from ((number, action, chance) for action, chance in chances)

    def _context(self, logged: int, arm: int, other: int) -> tuple[tuple[object, ...], str | None, Chances]:
        """What tells contexts apart, what was done, and all that could have been done there with its chances.

        # INVARIANT: a context is the same whichever arm or member was drawn, or propensities would mean nothing.
        """
        policy_digest, choice = self._logged.values[logged]
        if arm == _NONE:
            return (policy_digest, choice.rule, choice.chances), choice.action, choice.chances
        drawn = self._arms.values[arm]
        if other == _NONE or drawn.binds(choice):
            return (drawn, choice), choice.action, ()
        own, beside = choice.chances, self._chances.values[other]
        control, candidate = (own, beside) if drawn.name == "control" else (beside, own)
        both = (drawn.control, drawn.candidate, drawn.share, control, candidate)
        return both, choice.action, mixed(drawn.share, control, candidate)

    def _table(self, name: str, columns: str, rows: Sequence[tuple[object, ...]]) -> None:
        kinds = [one.rpartition(" ")[2] for one in columns.split(", ")]
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({columns})")
        if rows:
            lists = ", ".join(f"unnest(?::{kind}[])" for kind in kinds)
            columns_of = [list(column) for column in zip(*rows, strict=True)]
            self._connection.execute(f"INSERT INTO {name} SELECT {lists}", columns_of)
