"""Writes receipts, checks them without the ledger, and says what they prove."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import typer

from routewright.engine.record import Attempt
from routewright.engine.report import escape_line, iso_time
from routewright.ledger import FoundOutcome, ProofError, Receipt, check_receipt, read_receipt
from routewright.loading import user_key_folder

from .exit_codes import ExitCode
from .opened import ledger_at, print_notices
from .proof_files import read_content, read_keys, write_file
from .show import ATTEMPT_HEADER, OUTCOME_HEADER, attempt_row, outcome_row
from .writer import counted, writer


def write_receipt(
    path: Path | None, id: str, attempt: int | None, outcome: str | None, output: Path, *, force: bool
) -> None:
    """Write the receipt of a decision, or of an attempt or an outcome of it, and say of what it is."""
    with ledger_at(path, create=False) as opened:
        text = opened.prove(id, attempt=attempt, outcome=outcome)
    write_file(output, text, force=force)
    receipt = read_receipt(text.encode())
    writer.text(f"wrote {output}: {escape_line(receipt.what)}, {_leaf(receipt)}")
    if receipt.sensitive:
        writer.note(
            f"it holds sensitive values ({escape_line(', '.join(receipt.sensitive))}): give it to those alone who may "
            "read them"
        )
    print_notices(opened)


def verify_receipt(file: Path, keys: Sequence[str], format: Literal["text", "json"]) -> None:
    """Check a receipt, and print what it proves."""
    content, public = read_content(file), read_keys(keys)
    try:
        proved = check_receipt(content, public, key_folder=user_key_folder())
    except ProofError as error:
        writer.note(f"error: {escape_line(str(error))}")
        if error.help:
            writer.note(f"  = help: {escape_line(error.help)}")
        raise typer.Exit(ExitCode.CHECK_FAILED) from None
    checkpoint = proved.checkpoint
    if format == "json":
        told = {"what": proved.what, "decision_id": proved.decision_id, "leaf": proved.leaf}
        told |= {"origin": checkpoint.origin, "size": checkpoint.size, "values": dict(proved.values)}
        writer.json_value({**told, "record": proved.record})
        return
    writer.text(
        f"{escape_line(proved.what)} was in the log `{escape_line(checkpoint.origin)}` when its checkpoint of "
        f"{counted(checkpoint.size, 'leaf', 'leaves')} was signed: {_leaf(proved)}"
    )
    writer.text(f"signed by {', '.join(escape_line(one.key.name) for one in proved.signed)}")
    writer.text()
    if "metric" in proved.values:
        writer.table(OUTCOME_HEADER, [outcome_row(_outcome(proved.values))])
    elif proved.record is None:
        writer.table(ATTEMPT_HEADER, [attempt_row(_attempt(proved.values))])
    if proved.record is None:
        writer.text()
    for name, value in _facts(proved):
        writer.text(f"{name.ljust(8)}  {escape_line(value)}")


def _leaf(receipt: Receipt) -> str:
    return f"leaf {receipt.leaf:,} of {receipt.checkpoint.size:,}, counted from 0"


def _facts(proved: Receipt) -> Iterator[tuple[str, str]]:
    """What is proven beside the cells of a table."""
    values, record = proved.values, proved.record
    if record is None:
        yield "decision", proved.decision_id
        at_us = values["at_us" if "metric" in values else "started_at_us"]
    else:
        at_us = record["at_us"]
    yield "time", iso_time(at_us)
    if record is not None:
        yield "policy", f"{record['policy']['name']} {record['policy']['digest']}"
        yield "outcome", record["outcome"]
        for name in ("rule", "target"):
            if record[name] is not None:
                yield name, record[name]
        yield "mode", f"{values['mode']}{', simulated' if values.get('simulated') else ''}"


def _attempt(values: Mapping[str, Any]) -> Attempt:
    """The attempt that a leaf's values are of, which leave out what is unknown."""
    made = Attempt._make(map(values.get, Attempt._fields))
    # Text where it is beyond the integers of JSON.
    return made._replace(cost_nano=None if made.cost_nano is None else int(made.cost_nano))


def _outcome(values: Mapping[str, Any]) -> FoundOutcome:
    return FoundOutcome._make(map(values.get, FoundOutcome._fields))
