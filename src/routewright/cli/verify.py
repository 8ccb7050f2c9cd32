"""Signs checkpoints of a ledger, verifies it, and writes and checks receipts."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import typer

from routewright.engine.report import escape_line, iso_time
from routewright.ledger import (
    NEWEST,
    NotWrittenError,
    ProofError,
    SignatureType,
    Verification,
    check_receipt,
    cosign,
    key_of,
    parse_public_key,
    read_checkpoint,
    witness_request,
)
from routewright.loading import user_key_folder
from routewright.private_files import whole_file

from .exit_codes import ExitCode
from .opened import ledger_at, print_notices
from .progress import stage_progress
from .writer import counted, writer

_MOST_BYTES: Final = 16 * 1024**2


def sign(
    path: Path | None,
    output: Path | None,
    origin: str | None,
    for_witness: int | None,
    *,
    key: bool,
    force: bool,
) -> None:
    """Sign a checkpoint; print it, a request to a witness or the key, and write that into a file if one is named."""
    keys = user_key_folder()
    with ledger_at(path, create=False) as opened:
        signed = opened.sign_checkpoint(keys, origin=origin)
        if key:
            text = f"{key_of(keys, signed.checkpoint.origin, SignatureType.LOG).public}\n"
        elif for_witness is not None:
            text = witness_request(opened.path, for_witness)
        else:
            text = signed.note.written()
    _print_and_write(text, output, force=force)
    print_notices(opened)


def cosign_and_print(
    request: Path, keys: Sequence[str], name: str, output: Path | None, *, force: bool
) -> None:
    """Cosign what a request holds, and print it."""
    key_folder = user_key_folder()
    cosigned = cosign(
        _content(request),
        key_folder.with_name("witness"),
        name=name,
        keys=[parse_public_key(key) for key in keys],
        key_folder=key_folder,
        at_s=int(time.time()),
    )
    _print_and_write(cosigned.note.written(), output, force=force)


def verify_and_print(
    path: Path | None,
    checkpoints: Sequence[Path],
    since: Path | None,
    keys: Sequence[str],
    format: Literal["text", "json"],
) -> None:
    """Verify the ledger, or what came after the checkpoint ``since``, and print what was found."""
    named = None if since is None else f"`{since}`"
    if since is not None and not since.exists() and (str(since) == NEWEST or str(since).isdecimal()):
        since, named = None, str(since)
    files = [*checkpoints, *([] if since is None else [since])]
    given = {f"`{file}`": read_checkpoint(file) for file in files}
    with ledger_at(path, create=False) as opened, stage_progress() as tell:
        tell("comparing rows with the log")
        found = opened.verify(
            given,
            keys=[parse_public_key(key) for key in keys],
            key_folder=user_key_folder(),
            since=named,
        )
    if format == "json":
        writer.json_value(_as_json(found, opened.notices()))
    else:
        _print(found)
    for notice in found.notices:
        writer.note(notice)
    print_notices(opened)
    if found.fault_count:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def write_receipt(
    path: Path | None, id: str, attempt: int | None, outcome: str | None, output: Path, *, force: bool
) -> None:
    """Write the receipt of a decision, or of an attempt or an outcome of it."""
    with ledger_at(path, create=False) as opened:
        receipt = opened.prove(id, attempt=attempt, outcome=outcome)
    _write(output, receipt, force=force)
    print_notices(opened)


def verify_receipt(file: Path, keys: Sequence[str], format: Literal["text", "json"]) -> None:
    """Check a receipt, and print what it proves."""
    content = _content(file)
    try:
        proved = check_receipt(content, [parse_public_key(key) for key in keys])
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
        f"{escape_line(proved.what)} was leaf {proved.leaf:,} of `{escape_line(checkpoint.origin)}` when the "
        f"checkpoint of {checkpoint.size:,} leaves was signed"
    )


def _print(found: Verification) -> None:
    for fault in found.faults:
        writer.text(escape_line(fault.what if fault.leaf is None else f"leaf {fault.leaf:,}: {fault.what}"))
    if found.fault_count > len(found.faults):
        writer.text(f"and {found.fault_count - len(found.faults):,} more")
    if found.fault_count:
        writer.text()
    kinds = ", ".join(f"{count:,} {name}" for name, count in found.leaves.items()) or "nothing yet"
    writer.text(f"log: {_leaves(found.size)} ({kinds})")
    writer.text(f"root: {base64.b64encode(found.root).decode()}")
    for one in found.pruned:
        writer.text(
            f"{one.name}, on {_day(one.at_us)}: {counted(one.decisions, 'decision')} with "
            f"{counted(one.attempts, 'call')} and {counted(one.outcomes, 'outcome')} from before "
            f"{_day(one.before_us)}, the oldest of {_day(one.since_us)}"
        )
    if not found.fault_count:
        gone = [f"what was erased of {counted(found.erased, 'decision')}"] if found.erased else []
        gone += ["what was pruned"] if found.pruned else []
        but = f", but for {' and '.join(gone)}" if gone else ""
        of = f" of the newest {_leaves(found.size - found.since)}" if found.since else ""
        writer.text(f"every row{of} is as it was recorded{but}")
    if found.since:
        writer.text(f"rows of the {_leaves(found.since)} before were not read")


def _day(at_us: int) -> str:
    return iso_time(at_us)[:10]


def _leaves(count: int) -> str:
    return counted(count, "leaf", "leaves")


def _as_json(found: Verification, notices: Sequence[str]) -> dict[str, Any]:
    return {
        "origin": found.origin,
        "size": found.size,
        "root": base64.b64encode(found.root).decode(),
        "leaves": dict(found.leaves),
        "covered": found.covered,
        "pruned": [
            {name: value for name, value in one._asdict().items() if name != "checkpoint"}
            for one in found.pruned
        ],
        "since": found.since,
        "erased": found.erased,
        "fault_count": found.fault_count,
        "faults": [one._asdict() for one in found.faults],
        "unknown": [*found.notices, *notices],
    }


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_BYTES)
    except OSError as error:
        raise ProofError(f"`{file}` cannot be read: {(error.strerror or str(error)).lower()}") from None


def _print_and_write(text: str, file: Path | None, *, force: bool) -> None:
    if file is not None:
        _write(file, text, force=force)
    if writer.on_terminal:
        writer.lines(text.removesuffix("\n"))
    else:
        writer.bytes(io.BytesIO(text.encode()))  # signed to the letter, whatever the encoding of the stream


def _write(file: Path, text: str, *, force: bool) -> None:
    try:
        with whole_file(file, replace=force) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotWrittenError(
            f"`{file}` cannot be written: {(error.strerror or str(error)).lower()}"
        ) from error
