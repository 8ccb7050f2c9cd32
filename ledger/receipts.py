"""Receipts: that one row was in the log when a checkpoint was signed, checked without the ledger.

A receipt is a file as in https://c2sp.org/tlog-proof. Its extra data are the values that the row's leaf is made of, and
of a decision its record, as canonical JSON.
"""

from __future__ import annotations

import base64
import binascii
import struct
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from routewright.engine.canonical import canonical_bytes, digest_of
from routewright.engine.record import digest_of_values, read_json
from routewright.engine.report import RecordError

from .checkpoints import log_folder, newest_checkpoint
from .comparing import name_of
from .errors import ProofError
from .proof.checkpoint import Checkpoint, parse_checkpoint, parse_hash
from .proof.leaf import Kind, Leaf, told
from .proof.logged import ATTEMPTS, DECISIONS, DECISIONS_1, OUTCOMES, Logged
from .proof.merkle import inclusion_proof, leaf_hash, verify_inclusion
from .proof.note import PublicKey, Signed, decode_base64
from .proof.tiles import TileFolder
from .restoring import record_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_MOST_HASHES: Final = 64


class Receipt(NamedTuple):
    """What a receipt proves: that a row was leaf ``leaf`` of the log at the checkpoint.

    ``what`` is the row in words, such as ``attempt 2 of decision `…` ``, and ``values`` are those of its leaf.
    ``record`` is that of the decision, None where the receipt is not of a decision itself. ``signed`` are the keys that
    have signed the checkpoint.
    """

    what: str
    decision_id: str
    leaf: int
    checkpoint: Checkpoint
    record: Mapping[str, Any] | None
    values: Mapping[str, Any]
    signed: tuple[Signed, ...]


def prove(
    connection: DuckDBPyConnection,
    ledger: Path,
    decision_id: str,
    *,
    attempt: int | None = None,
    outcome: str | None = None,
) -> str:
    """The receipt of a decision, or of an attempt of it by number, or an outcome by metric or the beginning of its id.

    It is under the newest checkpoint. Raises ProofError where that does not cover the row, where the row is not as it
    was recorded, and where the decision has no such attempt or outcome, or more than one.
    """
    logged, values = _row(connection, decision_id, attempt, outcome)
    leaf = logged.make(values)
    what = _named(leaf)
    at = _place(connection, leaf, what)
    newest = newest_checkpoint(ledger)
    if newest is None or newest.checkpoint.size <= at:
        raise ProofError(f"no checkpoint covers {what} yet", help="sign one: `routewright ledger checkpoint`")
    size = newest.checkpoint.size
    hashes = inclusion_proof(at, size, partial(TileFolder(log_folder(ledger)).node, size))
    extra: dict[str, Any] = {"values": told(values)}
    if leaf.kind is Kind.DECISION:
        extra["record"] = read_json(record_text(connection, decision_id) or "null")
    else:
        extra["kind"] = int(leaf.kind)
    lines = [
        _HEADER,
        f"extra {base64.b64encode(canonical_bytes(extra)).decode()}",
        f"index {at}",
        *(base64.b64encode(one).decode() for one in hashes),
    ]
    return "".join(f"{line}\n" for line in lines) + f"\n{newest.note.written()}"


def _named(leaf: Leaf) -> str:
    return name_of(leaf.kind, str(uuid.UUID(bytes=leaf.id)), leaf.number)


def _place(connection: DuckDBPyConnection, leaf: Leaf, what: str) -> int:
    """The number of a row's last leaf. Raises ProofError if that is not ``leaf``."""
    found = connection.execute(
        "SELECT leaf, digest FROM log_leaves WHERE (kind = ?) AND (id = ?) AND (number = ?) ORDER BY leaf DESC LIMIT 1",
        [int(leaf.kind), uuid.UUID(bytes=leaf.id), leaf.number],
    ).fetchone()
    if found is None:
        raise ProofError(f"{what} is not in the log")
    if bytes(found[1]) != leaf.digest:
        raise ProofError(
            f"{what} has changed since it was recorded", help="`routewright ledger verify` says more"
        )
    return int(found[0])


def _row(
    connection: DuckDBPyConnection, decision_id: str, attempt: int | None, outcome: str | None
) -> tuple[Logged, dict[str, Any]]:
    """The table of the row that is meant, and its values."""
    tables: tuple[Logged, ...] = (DECISIONS, DECISIONS_1)
    more, parameters, what = "(TRUE)", list[object](), ""
    if attempt is not None:
        tables, more, parameters, what = (ATTEMPTS,), "(number = ?)", [attempt], f"attempt {attempt}"
    elif outcome is not None:
        id = outcome.lower() if len(outcome) >= _LEAST_OF_ID else None
        tables, more, parameters, what = (OUTCOMES,), _THIS_OUTCOME, [outcome, id], f"outcome `{outcome}`"
    found = []
    for one in tables:
        sql = f"SELECT {one.selected} FROM {one.table} WHERE ({one.table}.decision_id = ?::UUID) AND {more}"
        rows = connection.execute(sql, [decision_id, *parameters]).fetchall()
        found += [(one, dict(zip(one.values, row, strict=True))) for row in rows]
    if not found:
        raise ProofError(f"decision `{decision_id}` has no {what or 'row'}")
    if len(found) > 1:
        ids = ", ".join(f"`{values.get('outcome_id')}`" for _, values in found)
        raise ProofError(
            f"decision `{decision_id}` has several of {what}: {ids}", help="give the beginning of one's id"
        )
    return found[0]


_LEAST_OF_ID: Final = 4

_THIS_OUTCOME: Final = """(
    ((metric = ?) AND (outcomes.outcome_id NOT IN (SELECT supersedes FROM outcomes WHERE supersedes IS NOT NULL)))
    OR starts_with(outcomes.outcome_id::VARCHAR, ?)
)"""
"""By its metric an outcome that nothing has corrected, by its id any."""


def check_receipt(content: bytes, keys: Sequence[PublicKey]) -> Receipt:
    """What a receipt proves. Raises ProofError where it proves nothing: also where none of ``keys`` has signed it."""
    try:
        head, _, note = content.decode().partition("\n\n")
        header, extra, index, *hashes = head.split("\n")
        if header != _HEADER or not extra.startswith("extra ") or not index.startswith("index "):
            raise ValueError(header)
        read = read_json(decode_base64(extra.removeprefix("extra ")).decode())
        values, logged = read["values"], _PROVEN[read.get("kind", int(Kind.DECISION))]
        leaf = logged.make(values)
        what = _named(leaf)
        at, encoded = int(index.removeprefix("index ")), leaf.encoded()
        record = read["record"] if leaf.kind is Kind.DECISION else None
        decision_id = str(uuid.UUID(values["decision_id"]))
        recorded = values["record"] if leaf.kind is Kind.DECISION else None
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error):
        raise ProofError("this is no receipt of a decision, an attempt or an outcome") from None
    if len(hashes) > _MOST_HASHES:
        raise ProofError(f"a proof has at most {_MOST_HASHES} hashes")
    signed = parse_checkpoint(note.encode())
    if not signed.is_signed_by_log(keys):
        raise ProofError(
            f"none of the keys has signed the checkpoint of `{signed.checkpoint.origin}`",
            help="give the key of the log by `--key`: `routewright ledger checkpoint --key` prints it where it signs",
        )
    if leaf.kind is Kind.DECISION and not _is_record_of(record, decision_id, recorded):
        raise ProofError("the record in the receipt is not the one that was recorded")
    proof = [parse_hash(one) for one in hashes]
    if not verify_inclusion(at, signed.checkpoint.size, leaf_hash(encoded), proof, signed.checkpoint.root):
        raise ProofError(f"{what} of the receipt was not in the log when the checkpoint was signed")
    return Receipt(what, decision_id, at, signed.checkpoint, record, values, tuple(signed.signed_by(keys)))


_PROVEN: Final[Mapping[int, Logged]] = {int(one.kind): one for one in (DECISIONS, ATTEMPTS, OUTCOMES)}
"""What receipts are of, by the kind of their leaves."""


def _is_record_of(record: Any, decision_id: str, recorded: object) -> bool:
    try:
        return record.get("id") == decision_id and recorded in (digest_of_values(record), digest_of(record))
    except AttributeError:
        return False
    except RecordError as error:
        raise ProofError(str(error)) from error
