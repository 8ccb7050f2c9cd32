"""Records outcomes that are named on the command line or in a file."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import typer

from routewright.ledger import Outcome, outcome_value, read_outcomes

from .opened import ledger_at, print_notices
from .writer import counted, writer


def record(
    path: Path | None,
    decision_id: str | None,
    found: Sequence[str],
    file: Path | None,
    attempt: int | None,
    model: str | None,
    source: str | None,
) -> None:
    """Record what was found about a decision, or all that is in a file."""
    named = [_named(one) for one in found]
    with ledger_at(path, create=False) as opened:
        if decision_id is None:
            assert file is not None
            done = opened.record_outcomes(read_outcomes(file, source))
        else:
            of = decision_id if _is_whole(decision_id) else opened.find(decision_id).decision_id
            done = opened.record_outcomes(
                Outcome(of, metric, value, attempt, model, source or "manual") for metric, value in named
            )
    text = f"{counted(done.added, 'outcome')} recorded"
    text += f", {done.corrected:,} of them in place of another" if done.corrected else ""
    text += f"; {done.already_there:,} there already" if done.already_there else ""
    writer.text(text)
    print_notices(opened)


def _is_whole(id: str) -> bool:
    """Whether it is an id, and not the beginning of one, as ``ledger tail`` shows it on a terminal."""
    try:
        uuid.UUID(id)
    except ValueError:
        return False
    return True


def _named(argument: str) -> tuple[str, float | str]:
    metric, sign, written = argument.partition("=")
    if not (metric and sign and written):
        raise typer.BadParameter(f"`{argument}` is not METRIC=VALUE")
    if len(written) > 1 and written[0] == written[-1] == '"':
        try:
            return metric, str(json.loads(written))
        except ValueError:
            raise typer.BadParameter(f"`{written}` is not a quoted text") from None
    try:
        value = outcome_value(written)
    except ValueError as error:
        raise typer.BadParameter(f"`{argument}`: {error}") from None
    if value is None:
        raise typer.BadParameter(f"`{argument}` has no value")
    return metric, value
