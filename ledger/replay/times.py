"""Works out hours and weekdays in the time zones that a policy asks for, once for each quarter of an hour.

DuckDB has a database of time zones of its own; the engine's is what a decision went by.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from routewright.engine.policy import CompiledPolicy
from routewright.engine.report import EPOCH

from .bound import QUARTER_US, TIMES, time_column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def make_times(
    connection: DuckDBPyConnection, policy: CompiledPolicy, source: str, parameters: Sequence[object]
) -> None:
    """Make the table ``TIMES`` for the rows of ``source``."""
    zones = {
        str(feature.derived.zone): feature.derived.zone
        for feature in policy.features
        if feature.derived is not None and feature.derived.zone is not None
    }
    if not zones:
        return
    quarters = connection.execute(
        f"SELECT DISTINCT floor(at_us / {QUARTER_US})::BIGINT FROM ({source})", parameters
    ).fetchall()
    columns: dict[str, list[int]] = {"quarter": [quarter for (quarter,) in quarters]}
    for name, zone in zones.items():
        moments = [
            (EPOCH + timedelta(microseconds=quarter * QUARTER_US)).astimezone(zone) for (quarter,) in quarters
        ]
        columns[time_column(name, "hour")] = [at.hour for at in moments]
        columns[time_column(name, "weekday")] = [at.isoweekday() for at in moments]
    unnested = ", ".join(f"unnest(?::BIGINT[]) AS {name}" for name in columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {TIMES} AS SELECT {unnested}", list(columns.values()))
