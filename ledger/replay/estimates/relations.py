"""What is estimated, and from which relations of a DuckDB connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that was measured of decisions, such as their cost in USD.

    ``column`` has its values in ``logged`` and ``known``. ``low`` and ``high`` are the range that it is declared to
    keep to, both or neither: without them nothing bounds what was not seen. ``better`` says which way is good.
    """

    name: str
    column: str = "y"
    low: float | None = None
    high: float | None = None
    better: str = "higher"

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"metric `{self.name}` has one end of a range: give both, or neither")
        if self.range is not None and not -inf < self.range[0] < self.range[1] < inf:
            raise ValueError(f"the range of metric `{self.name}` is empty or not finite")
        if self.better not in ("higher", "lower"):
            raise ValueError(f"`better` of metric `{self.name}` is `higher` or `lower`")

    @property
    def range(self) -> tuple[float, float] | None:
        """The declared range."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, slots=True)
class Relations:
    """Names of tables or views that a connection has. All are read, none is changed.

    ``logged(row BIGINT, unit VARCHAR, context BIGINT, action VARCHAR, propensity DOUBLE, …)`` has a row for each
    recorded decision, and a DOUBLE column for each metric. ``propensity`` is the probability with which the
    logging policy took this action in this context, NULL where nobody logged it; a deterministic policy logs 1.
    ``unit`` is what was randomised as a whole, such as a team; NULL: each row by itself. Rows of one ``context`` are
    those among which the logging policy had the same actions with the same probabilities (NULL is a context too).
    A metric that was not measured is NULL.

    ``target(row BIGINT, action VARCHAR, probability DOUBLE)`` is what the candidate policy does with these rows: the
    probabilities of a row add up to 1, or all estimates are refused. Rows that only one of the two has are left out.

    ``known(row BIGINT, action VARCHAR, …)`` has outcomes of actions that were measured beside, with the same columns
    of metrics. Whether it has a row must not depend on which action was drawn.

    ``support(context BIGINT, action VARCHAR)`` has the actions to which the logging policy gave a probability above
    0. Without it these are the actions that were logged in the context.
    """

    logged: str = "logged"
    target: str = "target"
    known: str | None = None
    support: str | None = None


def quoted(name: str) -> str:
    """A name as SQL writes it, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def check_relations(connection: DuckDBPyConnection, relations: Relations, metrics: Sequence[Metric]) -> None:
    """Raise ValueError where a relation is not what it has to be."""
    if len({metric.name for metric in metrics}) < len(metrics):
        raise ValueError("two metrics have one name")
    if doubled := _doubled(connection, relations.logged, "row"):
        raise ValueError(f"`{relations.logged}` has {doubled} rows twice")
    # A look at the rows alone is quick, and enough for a candidate that splits nothing.
    if _doubled(connection, relations.target, "row") and (
        doubled := _doubled(connection, relations.target, "(row, action)")
    ):
        raise ValueError(f"`{relations.target}` has {doubled} actions twice in a row")
    if wrong := _count(
        connection,
        f"count(*) FROM {quoted(relations.target)} WHERE NOT coalesce(probability BETWEEN 0 AND 1, false)",
    ):
        raise ValueError(f"{wrong} probabilities of `{relations.target}` are not from 0 to 1")
    if relations.known is not None and _doubled(connection, relations.known, "(row, action)"):
        raise ValueError(f"`{relations.known}` has two outcomes of one action")


def _doubled(connection: DuckDBPyConnection, relation: str, key: str) -> int:
    """How many rows there are beyond one for each key."""
    return _count(connection, f"count(*) - count(DISTINCT {key}) FROM {quoted(relation)}")


def _count(connection: DuckDBPyConnection, selected: str) -> int:
    found = connection.execute(f"SELECT {selected}").fetchone()
    return 0 if found is None else int(found[0])
