"""Signs checkpoints of a ledger, and verifies it."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import typer

from routewright.engine.report import escape_line, iso_time
from routewright.ledger import (
    NEWEST,
    SignatureType,
    Verification,
    cosign,
    key_of,
    read_checkpoint,
    witness_request,
)
from routewright.loading import user_key_folder

from .exit_codes import ExitCode
from .opened import ledger_at, print_notices
from .progress import stage_progress
from .proof_files import read_content, read_keys, write_file
from .writer import counted, writer


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
        read_content(request),
        key_folder.with_name("witness"),
        name=name,
        keys=read_keys(keys),
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
    given, public = {f"`{file}`": read_checkpoint(file) for file in files}, read_keys(keys)
    with ledger_at(path, create=False) as opened, stage_progress() as tell:
        tell("comparing rows with the log")
        found = opened.verify(
            given,
            keys=public,
            key_folder=user_key_folder(),
            since=named,
        )
    if format == "json":
        writer.json_value(_as_json(found, opened.notices()))
    else:
        _print(found, given)
    for notice in found.notices:
        writer.note(notice)
    print_notices(opened)
    if found.fault_count:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _print(found: Verification, given: Container[str]) -> None:
    """``given`` are the names of checkpoints that were kept elsewhere."""
    if found.fault_count:
        cut = f", the first {len(found.faults):,} of them" if found.fault_count > len(found.faults) else ""
        writer.text(f"{counted(found.fault_count, 'fault')}{cut}:")
    for fault in found.faults:
        writer.text(escape_line(fault.what if fault.leaf is None else f"leaf {fault.leaf:,}: {fault.what}"))
    if found.fault_count:
        writer.text()
    kinds = ", ".join(counted(count, name, _MANY.get(name)) for name, count in found.leaves.items())
    writer.text(f"log: {_leaves(found.size)} ({kinds or 'nothing yet'})")
    writer.text(f"root: {base64.b64encode(found.root).decode()}")
    for agreed in found.agreed:
        if agreed.name in given:
            who = (
                f"signed by {', '.join(agreed.signed_by)}"
                if agreed.signed_by
                else "who signed it is not known"
            )
            writer.text(escape_line(f"agrees with {agreed.name}: {_leaves(agreed.size)}, {who}"))
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
        if found.unproven:
            but += f"; of {counted(found.unproven, 'decision')} the rest of the record could not be compared"
        of = f" of the newest {_leaves(found.size - found.since)}" if found.since else ""
        writer.text(
            f"every row{of} is as it was recorded{but}" if found.size else "there is no row to compare"
        )
    if found.imports:
        imports, calls = counted(found.imports, "import"), counted(found.imported_calls, "call")
        writer.text(f"not covered: {imports} with {calls}, as what another router has logged has no leaves")
    if found.since:
        writer.text(f"rows of the {_leaves(found.since)} before were not read")


_MANY: Final = {"policy": "policies"}


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
        "unproven": found.unproven,
        "agreed": [one._asdict() for one in found.agreed],
        "imports": found.imports,
        "imported_calls": found.imported_calls,
        "fault_count": found.fault_count,
        "faults": [one._asdict() for one in found.faults],
        "unknown": [*found.notices, *notices],
    }


def _print_and_write(text: str, file: Path | None, *, force: bool) -> None:
    if file is not None:
        write_file(file, text, force=force)
    if writer.on_terminal:
        writer.lines(text.removesuffix("\n"))
    else:
        writer.bytes(io.BytesIO(text.encode()))  # signed to the letter, whatever the encoding of the stream
