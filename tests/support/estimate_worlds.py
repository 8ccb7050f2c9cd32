"""Logs of routers whose truth is known, for estimates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np

from routewright.ledger.replay.estimates import Metric

__all__ = ["ACTIONS", "COST", "OK", "World", "known_world", "tables"]

ACTIONS: Final = np.array(["small", "middle", "large"], dtype=object)
COST: Final = Metric("cost", "cost", better="lower")
OK: Final = Metric("ok", "ok", low=0, high=1)

# By context (rows) and action: what is drawn, what the candidate does, and the means.
_DRAWN: Final = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.8, 0.1, 0.1]])
_WANTED: Final = np.array([[0, 1, 0], [1, 0, 0], [0, 0.5, 0.5]])
_COST: Final = np.array([[1, 3, 9], [2, 2.5, 6], [0.5, 4, 5]])
_OK: Final = np.array([[0.6, 0.7, 0.88], [0.8, 0.75, 0.85], [0.5, 0.8, 0.7]])

Columns = dict[str, Any]


@dataclass(frozen=True)
class World:
    """The relations of a log as columns, and the true means under the candidate, in these decisions alone, and under
    the log.
    """

    logged: Columns
    target: Columns
    truth: dict[str, float]
    truth_here: dict[str, float]
    truth_logged: dict[str, float]


def known_world(rng: np.random.Generator, units: int, tail: float = 1.0) -> World:
    """Units of one to seven tasks that have one context, one draw, and luck of their own; costs are log-normal."""
    sizes = rng.integers(1, 8, units)
    unit = np.repeat(np.arange(units), sizes)
    rows = len(unit)
    context = rng.integers(3, size=units)[unit]
    taken = (rng.random(units)[unit][:, None] > _DRAWN[context].cumsum(axis=1)).sum(axis=1)
    luck, spread = rng.choice([-0.12, 0.12], units)[unit], 0.6
    noise = rng.normal(0, spread, units)[unit] + rng.normal(0, tail, rows)
    cost = _COST[context] * np.exp(noise - (spread**2 + tail**2) / 2)[:, None]
    ok = (rng.random(rows)[:, None] < _OK[context] + luck[:, None]).astype(float)
    did = np.arange(rows), taken
    row, action = np.nonzero(_WANTED[context])
    return World(
        {
            "row": np.arange(rows),
            "unit": np.array([f"team {each}" for each in unit], dtype=object),
            "context": context,
            "action": ACTIONS[taken],
            "propensity": _DRAWN[context, taken],
            "cost": cost[did],
            "ok": ok[did],
        },
        {"row": row, "action": ACTIONS[action], "probability": _WANTED[context[row], action]},
        {"cost": (_COST * _WANTED).sum(axis=1).mean(), "ok": (_OK * _WANTED).sum(axis=1).mean()},
        {"cost": (cost * _WANTED[context]).sum() / rows, "ok": (ok * _WANTED[context]).sum() / rows},
        {"cost": (_COST * _DRAWN).sum(axis=1).mean(), "ok": (_OK * _DRAWN).sum(axis=1).mean()},
    )


@contextmanager
def tables(**relations: Columns) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with a view of each relation, given as columns (lists or arrays)."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        for name, columns in relations.items():
            connection.register(name, {key: _array(key, column) for key, column in columns.items()})
        yield connection


def _array(name: str, column: Any) -> Any:
    if isinstance(column, np.ndarray):
        return column
    if name in ("unit", "action"):
        return np.array(column, dtype=object)
    if name in ("row", "context"):
        return np.array(column, dtype=np.int64)
    return np.array([np.nan if value is None else value for value in column], dtype=float)
