"""Words DuckDB's errors plainly, as LedgerError with the place in the statement where it is known."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from routewright.engine.report import Problem

from .errors import InputError, LedgerError

_SOURCE = "sql"

ONLY_READS = "a statement can read the ledger and nothing else"

DAMAGED_HELP: Final = (
    "a part of the file is not as it was written: put back a copy, such as a snapshot, and verify that with the newest "
    "checkpoint"
)

_NOT_ALLOWED = {
    r"^Cannot access (?:file|directory) (`.*`) - ": r"cannot open \1",
    r"attached in read-only mode": "nothing was changed",
    r"the configuration has been locked": "no setting was changed",
}
"""What DuckDB says of what a connection for reading does not allow."""

_HELP: Final[Mapping[str, str]] = {
    "cannot combine types with different collation": (
        "a decision has several attempts, so joined with them its cost and latency would count once for each; leave "
        "the join out (`attempts_POLICY` has a policy's features beside its calls), or write `WHERE decision_id IN "
        "(SELECT decision_id FROM …)`; to join all the same, compare `decision_id::UUID`"
    ),
    "referenced table `features` not found": (
        "features stand in the view of a policy (`all_decisions_` and its name), and those of all policies and imports "
        "in `all_decision_features`: `decision_id IN (SELECT decision_id FROM all_decision_features WHERE feature = "
        "'complexity' AND number > 0.7)`"
    ),
    "table with name attempts does not exist": (
        "`attempts_flat` holds the calls that were made; `all_attempts_flat` those that were simulated, skipped or "
        "imported too"
    ),
    "table with name decisions does not exist": (
        "`decisions_flat` holds the decisions of real work; `all_decisions_flat` simulated ones, shadows and imported "
        "ones too"
    ),
}
"""What to do about errors that our views lead to on purpose, whatever DuckDB proposes."""


def translate_error(
    error: Exception, sql: str | None = None, kind: type[LedgerError] = LedgerError
) -> LedgerError:
    """Our error for ``error``; with the statement's text, it carries a problem with line and column."""
    fields = _described(error)
    lines = str(fields["exception_message"]).strip().splitlines() or ["the statement failed"]
    message = _plain(lines[0])
    help_lines = [_plain(line) for line in lines[1:] if line and not line.startswith("LINE ")]
    help = _HELP.get(message.lower()) or "; ".join(help_lines) or None
    if "checksum" in message:
        help, kind = DAMAGED_HELP, LedgerError
    problem = _problem(message, help, fields.get("location"), sql) if sql is not None else None
    return kind(message, help=help, problem=problem)


def _described(error: Exception) -> dict[str, Any]:
    """What DuckDB says of an error: ``exception_message``, and perhaps ``location`` and others."""
    _, _, rest = str(error).partition(": ")
    for text in (rest, str(error)):  # which begins with the kind of the error, or is JSON as a whole
        try:
            fields = json.loads(text)
        except ValueError:
            continue
        if isinstance(fields, dict) and "exception_message" in fields:
            return fields
    return {"exception_message": rest or str(error)}


def _plain(line: str) -> str:
    """DuckDB's sentence in our form: lower case, names in backticks, no final stop."""
    line = line.strip().replace('"', "`")
    for pattern, what in _NOT_ALLOWED.items():
        if (found := re.search(pattern, line)) is not None:
            return f"{found.expand(what)}: {ONLY_READS}"
    if line[:1].isupper() and not line[:2].isupper():
        line = line[0].lower() + line[1:]
    return line.rstrip(".!")


def mistake(sql: str, message: str, start: int) -> LedgerError:
    """Our error for what is wrong with the character at ``start``."""
    return InputError(message, problem=_problem_at(message, None, sql, start, 1))


def _problem(message: str, help: str | None, location: object, sql: str) -> Problem | None:
    try:
        offset, length = json.loads(str(location))
        # DuckDB counts bytes of UTF-8.
        encoded = sql.encode()
        start = len(encoded[:offset].decode())
        width = len(encoded[offset : offset + length].decode().split("\n", 1)[0])
    except (ValueError, TypeError):
        return None
    return _problem_at(message, help, sql, start, max(1, width))


def _problem_at(message: str, help: str | None, sql: str, start: int, width: int) -> Problem:
    before = sql[:start]
    line = before.count("\n") + 1
    return Problem(
        code="sql",
        message=message,
        help=help,
        source=_SOURCE,
        line=line,
        column=start - (before.rfind("\n") + 1) + 1,
        source_line=sql.split("\n")[line - 1],
        width=width,
    )
