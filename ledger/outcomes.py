"""Records outcomes: what was found out about an answer after it was given, as a number or a label.

Outcomes are only added. One that corrects another names it, and the views show those that nothing has superseded.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from routewright.engine.record import columns_of

from .changing import changing
from .columns import sql_type
from .errors import InputError
from .inserting import known_digests, select_ids
from .proof.entering import enter
from .proof.logged import OUTCOMES
from .pruned import PRUNED_DECISIONS
from .rows import OutcomeRow

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_CHARACTERS: Final = 4_000
"""A metric, a label or a source may have so many characters."""

_AT_ONCE: Final = 10_000
_EXACT: Final = 2**53


class Outcome(NamedTuple):
    """What was found out about a decision's answer, or about one of its attempts.

    ``value`` is a number, a boolean (kept as 1 or 0) or a text, which is a label. ``attempt`` is the number of an
    attempt, ``model_id`` the model of one; without either it is of the answer that was given. ``source`` says who
    found it out: outcomes of two sources stand side by side, one of the same source supersedes the one before.
    ``at_us`` is when that was, in microseconds since 1970; now, where it is None. ``line`` is where it stands in a
    file.
    """

    decision_id: str
    metric: str
    value: float | int | bool | str
    attempt: int | None = None
    model_id: str | None = None
    source: str = "manual"
    at_us: int | None = None
    line: int | None = None


class RecordedOutcomes(NamedTuple):
    """How many outcomes were added, how many of these correct another, and how many were there already."""

    added: int
    corrected: int
    already_there: int


_COLUMNS: Final = {column.name: sql_type(column.kind) for column in columns_of(OutcomeRow)}
_INSERT: Final = f"""
INSERT INTO outcomes BY NAME
SELECT unnest(row) FROM (SELECT unnest(from_json_strict(?, '{json.dumps([_COLUMNS])}')) AS row)
RETURNING {OUTCOMES.selected}
"""

Key = tuple[str, int | None, str | None, str, str]
"""What an outcome is of: decision, attempt, model, metric and source."""


def record_outcomes(path: Path, lock_timeout_s: float, outcomes: Iterable[Outcome]) -> RecordedOutcomes:
    """Record all of ``outcomes``, or none. See ``Ledger.record_outcomes``."""
    waiting = iter(outcomes)
    counts = RecordedOutcomes(0, 0, 0)
    with changing(path, lock_timeout_s) as connection:
        while batch := list(islice(waiting, _AT_ONCE)):
            done = _record(connection, [_checked(one) for one in batch])
            counts = RecordedOutcomes(*(sum(pair) for pair in zip(counts, done, strict=True)))
    return counts


def _record(connection: DuckDBPyConnection, batch: Sequence[Outcome]) -> RecordedOutcomes:
    ids = sorted({one.decision_id for one in batch})
    known = known_digests(connection, ids)
    models: dict[str, dict[int, str]] = {}
    for decision_id, number, model in select_ids(
        connection, "decision_id::VARCHAR, number, model_id", "attempt_rows", ids
    ):
        models.setdefault(decision_id, {})[number] = model
    current = _current(connection, ids)
    rows: list[dict[str, Any]] = []
    corrected = already = 0
    now = time.time_ns() // 1_000
    for one in batch:
        if one.decision_id not in known:
            help = _why_unknown(connection, one.decision_id)
            raise _refused(one, f"there is no decision `{one.decision_id}`", help)
        model = _model_of(one, models.get(one.decision_id, {}))
        key = (one.decision_id, one.attempt, model, one.metric, one.source)
        found = _measured(one)
        before, value_before = current.get(key, (None, None))
        if before is not None and value_before == found:
            already += 1
            continue
        at_us = now if one.at_us is None else one.at_us
        of = (one.decision_id, one.attempt, model, one.metric)
        row = OutcomeRow(str(uuid.uuid4()), *of, *found, one.source, at_us, before)
        corrected += before is not None
        current[key] = (row.outcome_id, found)
        rows.append(row._asdict())
    if rows:
        enter(connection, OUTCOMES, connection.execute(_INSERT, [json.dumps(rows)]).fetchall())
    return RecordedOutcomes(len(rows), corrected, already)


def _current(
    connection: DuckDBPyConnection, ids: Sequence[str]
) -> dict[Key, tuple[str, tuple[float | None, str | None]]]:
    """The outcomes of these decisions that nothing has superseded, with their ids and values."""
    columns = "outcome_id::VARCHAR, decision_id::VARCHAR, attempt, model_id, metric, source, value, label"
    found = select_ids(connection, f"{columns}, supersedes::VARCHAR", "outcomes", ids)
    superseded = {row[-1] for row in found}
    return {
        (row[1], row[2], row[3], row[4], row[5]): (row[0], (row[6], row[7]))
        for row in found
        if row[0] not in superseded
    }


def _model_of(one: Outcome, models: Mapping[int, str]) -> str | None:
    """The model that an outcome is of. Raises InputError for an attempt or a model that the decision does not have."""
    if one.attempt is not None and one.attempt not in models:
        numbers = ", ".join(map(str, sorted(models))) or "none"
        raise _refused(
            one, f"decision `{one.decision_id}` has no attempt {one.attempt}", f"its attempts: {numbers}"
        )
    named = one.model_id if one.attempt is None else models[one.attempt]
    if one.model_id not in (None, named) or (named is not None and named not in models.values()):
        which = "" if one.attempt is None else f"attempt {one.attempt} of "
        has = ", ".join(sorted(set(models.values()))) or "none"
        raise _refused(
            one, f"{which}decision `{one.decision_id}` asked no model `{one.model_id}`", f"it asked: {has}"
        )
    return named


def _why_unknown(connection: DuckDBPyConnection, decision_id: str) -> str:
    if select_ids(connection, "decision_id", "in_flight", [decision_id]):
        return "it is still under way: record the outcome when it has ended"
    if select_ids(connection, "decision_id", "imported_decisions", [decision_id]):
        return "it was imported: its outcomes come from the file that it came from"
    if select_ids(connection, "decision_id", f"({PRUNED_DECISIONS})", [decision_id]):
        return "it was pruned"
    if select_ids(connection, "decision_id", "erasures", [decision_id]):
        return "it was erased"
    return "`routewright ledger tail --format json` shows ids"


def _checked(one: Outcome) -> Outcome:
    try:
        decision_id = str(uuid.UUID(one.decision_id))
    except (ValueError, AttributeError, TypeError):
        raise _refused(
            one,
            f"`{one.decision_id}` is no decision id",
            "an id is a UUID, as `ledger tail --format json` shows it",
        ) from None
    for what, text in (("metric", one.metric), ("source", one.source), ("model", one.model_id)):
        if text is not None and not _is_text(text):
            raise _refused(one, f"`{str(text)[:60]}` is no name of a {what}")
    if one.attempt is not None and (type(one.attempt) is not int or not 1 <= one.attempt < 2**31):
        raise _refused(one, f"`{one.attempt}` is no number of an attempt")
    return one._replace(decision_id=decision_id)


def _measured(one: Outcome) -> tuple[float | None, str | None]:
    value = one.value
    if isinstance(value, str) and _is_text(value):
        return None, value
    # A double holds larger whole numbers only roughly.
    if (
        isinstance(value, float | int)
        and math.isfinite(value)
        and (type(value) is float or abs(value) <= _EXACT)
    ):
        return float(value), None
    help = "a value is a number, true, false or a label"
    raise _refused(one, f"`{str(value)[:60]}` is no value of `{one.metric}`", help)


def _is_text(text: object) -> bool:
    if not isinstance(text, str) or not text.strip() or len(text) > MOST_CHARACTERS or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused(one: Outcome, why: str, help: str | None = None) -> InputError:
    where = "" if one.line is None else f"line {one.line}: "
    return InputError(f"{where}{why}; no outcome was recorded", help=help)
