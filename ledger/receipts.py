"""Receipts: that one decision was in the log when a checkpoint was signed, checked without the ledger.

A receipt is a file as in https://c2sp.org/tlog-proof. Its extra data are the decision's record and the values that its
leaf is made of, as canonical JSON.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from routewright.engine.canonical import canonical_bytes, digest_of
from routewright.engine.record import digest_of_values, read_json
from routewright.engine.report import RecordError

from .checkpoints import log_folder, newest_checkpoint
from .errors import ProofError
from .proof.checkpoint import Checkpoint, parse_checkpoint, parse_hash
from .proof.leaf import Kind, Leaf, values_digest
from .proof.logged import DECISIONS, DECISIONS_1
from .proof.merkle import inclusion_proof, leaf_hash, verify_inclusion
from .proof.note import PublicKey, Signed, decode_base64
from .proof.tiles import TileFolder
from .restoring import record_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_MOST_HASHES: Final = 64


class Receipt(NamedTuple):
    """What a receipt proves: that a decision with this record was leaf ``leaf`` of the log at the checkpoint.

    ``values`` are those of its leaf. ``signed`` are the keys that have signed the checkpoint.
    """

    decision_id: str
    leaf: int
    checkpoint: Checkpoint
    record: Mapping[str, Any]
    values: Mapping[str, Any]
    signed: tuple[Signed, ...]


def prove(connection: DuckDBPyConnection, ledger: Path, decision_id: str) -> str:
    """The receipt of a decision, under the newest checkpoint. Raises ProofError where that does not cover it."""
    found = connection.execute(
        "SELECT leaf FROM log_leaves WHERE (kind = ?) AND (id = ?::UUID) ORDER BY leaf DESC LIMIT 1",
        [int(Kind.DECISION), decision_id],
    ).fetchone()
    if found is None:
        raise ProofError(f"decision `{decision_id}` is not in the log")
    newest = newest_checkpoint(ledger)
    if newest is None or newest.checkpoint.size <= found[0]:
        raise ProofError(
            f"no checkpoint covers decision `{decision_id}` yet",
            help="sign one: `routewright ledger checkpoint`",
        )
    size = newest.checkpoint.size
    hashes = inclusion_proof(found[0], size, partial(TileFolder(log_folder(ledger)).node, size))
    extra = canonical_bytes(
        {"values": _values(connection, decision_id), "record": _record(connection, decision_id)}
    )
    lines = [
        _HEADER,
        f"extra {base64.b64encode(extra).decode()}",
        f"index {found[0]}",
        *(base64.b64encode(one).decode() for one in hashes),
    ]
    return "".join(f"{line}\n" for line in lines) + f"\n{newest.note.written()}"


def check_receipt(content: bytes, keys: Sequence[PublicKey]) -> Receipt:
    """What a receipt proves. Raises ProofError where it proves nothing: also where none of ``keys`` has signed it."""
    try:
        head, _, note = content.decode().partition("\n\n")
        header, extra, index, *hashes = head.split("\n")
        if header != _HEADER or not extra.startswith("extra ") or not index.startswith("index "):
            raise ValueError(header)
        told = read_json(decode_base64(extra.removeprefix("extra ")).decode())
        values, record = told["values"], told["record"]
        decision_id = str(uuid.UUID(values["decision_id"]))
        at = int(index.removeprefix("index "))
        recorded = values["record"]
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ProofError("this is no receipt of a decision") from None
    if len(hashes) > _MOST_HASHES:
        raise ProofError(f"a proof has at most {_MOST_HASHES} hashes")
    signed = parse_checkpoint(note.encode())
    if not signed.is_signed_by_log(keys):
        raise ProofError(
            f"none of the keys has signed the checkpoint of `{signed.checkpoint.origin}`",
            help="give the key of the log by `--key`: `routewright ledger checkpoint --key` prints it where it signs",
        )
    try:
        is_recorded = record.get("id") == decision_id and recorded in (
            digest_of_values(record),
            digest_of(record),
        )
    except RecordError as error:
        raise ProofError(str(error)) from error
    if not is_recorded:
        raise ProofError("the record in the receipt is not the one that was recorded")
    leaf = Leaf(Kind.DECISION, uuid.UUID(decision_id).bytes, 0, values_digest(values)).encoded()
    proof = [parse_hash(one) for one in hashes]
    if not verify_inclusion(at, signed.checkpoint.size, leaf_hash(leaf), proof, signed.checkpoint.root):
        raise ProofError("the decision in the receipt was not in the log when the checkpoint was signed")
    return Receipt(decision_id, at, signed.checkpoint, record, values, tuple(signed.signed_by(keys)))


def _values(connection: DuckDBPyConnection, decision_id: str) -> dict[str, Any]:
    for logged in (DECISIONS, DECISIONS_1):
        sql = f"SELECT {logged.selected} FROM {logged.table} WHERE decision_id = ?::UUID"
        if (row := connection.execute(sql, [decision_id]).fetchone()) is not None:
            values = zip(logged.values, row, strict=True)
            return {name: value for name, value in values if value is not None}
    raise ProofError(f"decision `{decision_id}` is in the log, but its row is missing")


def _record(connection: DuckDBPyConnection, decision_id: str) -> Any:
    return read_json(record_text(connection, decision_id) or "null")
