"""What tells tasks apart, and the columns that it is made of."""

from __future__ import annotations

from typing import Final, NamedTuple


class KeyPart(NamedTuple):
    """One thing that tells tasks apart: an SQL expression for a whole number from 0 to below ``values``.

    Where ``values`` is None, the expression is any value of any type.
    """

    name: str
    sql: str
    values: int | None


def condition_column(position: int) -> str:
    """The column with the verdict of the policy's condition at ``position``: BOOLEAN, NULL is unknown."""
    return f"c{position}"


def feature_column(slot: int) -> str:
    """The column with the value of the feature at ``slot``; NULL is unknown."""
    return f"f{slot}"


def quota_column(position: int) -> str:
    """The column with what is used of the quota at ``position``: BIGINT, NULL where nobody knows."""
    return f"q{position}"


def require_column(constraint: int, model: int) -> str:
    """The column with what a constraint that compares requires of a model: BOOLEAN, NULL is unknown."""
    return f"r{constraint}_{model}"


def point_column(rule: int) -> str:
    """The column with where a task falls in the split of a rule: DOUBLE, NULL where it needs a draw and has none."""
    return f"p{rule}"


RULE: Final = "rule"
"""The column with the rule that matched: 0 for none, else twice its position and 1, or 2 where it is undecided."""
