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
from .errors import InputError, ProofError
from .proof.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint, parse_hash
from .proof.keys import with_own_key
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

    ``what`` is the row in words, such as ``attempt 2 of decision `…` ``, and ``values`` are those of its leaf, without
    those that are NULL. ``record`` is that of the decision, None where the receipt is not of a decision itself.
    ``signed`` are the keys that have signed the checkpoint, none where nobody has checked it yet.
    """

    what: str
    decision_id: str
    leaf: int
    checkpoint: Checkpoint
    record: Mapping[str, Any] | None
    values: Mapping[str, Any]
    signed: tuple[Signed, ...] = ()

    @property
    def sensitive(self) -> tuple[str, ...]:
        """The places of sensitive values that the record holds, such as ``features.patient``."""
        return tuple(sorted((self.record or {}).get("salts") or ()))


def prove(
    connection: DuckDBPyConnection,
    ledger: Path,
    decision_id: str,
    *,
    attempt: int | None = None,
    outcome: str | None = None,
) -> str:
    """The receipt of a decision, or of an attempt of it by number, or an outcome by metric or the beginning of its id.

    It is under the newest checkpoint. Raises ProofError where that does not cover the row, and where the row is not as
    it was recorded; InputError where the decision has no such attempt or outcome, or more than one.
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
        [there] = connection.execute(_THERE, {"id": decision_id}).fetchall()
        raise InputError(
            f"decision `{decision_id}` has no {what or 'row'}",
            help="; ".join(
                f"its {name}: {', '.join(map(str, ones)) or 'none'}"
                for name, ones in zip(("attempts", "outcomes"), there, strict=True)
            ),
        )
    if len(found) > 1:
        ids = ", ".join(f"`{values.get('outcome_id')}`" for _, values in found)
        raise InputError(
            f"decision `{decision_id}` has several of {what}: {ids}", help="give the beginning of one's id"
        )
    return found[0]


_THERE: Final = """
SELECT
    (SELECT coalesce(list(number ORDER BY number), []) FROM attempt_rows WHERE decision_id = $id::UUID),
    (SELECT coalesce(list(DISTINCT metric ORDER BY metric), []) FROM outcomes WHERE decision_id = $id::UUID)
"""
"""The numbers of a decision's attempts, and the metrics of its outcomes."""

_LEAST_OF_ID: Final = 4

_THIS_OUTCOME: Final = """(
    ((metric = ?) AND (outcomes.outcome_id NOT IN (SELECT supersedes FROM outcomes WHERE supersedes IS NOT NULL)))
    OR starts_with(outcomes.outcome_id::VARCHAR, ?)
)"""
"""By its metric an outcome that nothing has corrected, by its id any."""


class _Read(NamedTuple):
    """A receipt as it is written, of which nothing is checked, and its proof."""

    receipt: Receipt
    signed: SignedCheckpoint
    leaf: Leaf
    hashes: list[bytes]


def read_receipt(content: bytes) -> Receipt:
    """What a receipt says, of which nothing is checked. Raises ProofError for what is no receipt."""
    return _read(content).receipt


def _read(content: bytes) -> _Read:
    try:
        head, _, note = content.decode().partition("\n\n")
        header, extra, index, *hashes = head.split("\n")
        if header != _HEADER or not extra.startswith("extra ") or not index.startswith("index "):
            raise ValueError(header)
        read = read_json(decode_base64(extra.removeprefix("extra ")).decode())
        values, logged = read["values"], _PROVEN[read.get("kind", int(Kind.DECISION))]
        leaf = logged.make(values)
        what = _named(leaf)
        at = int(index.removeprefix("index "))
        record = read["record"] if leaf.kind is Kind.DECISION else None
        decision_id = str(uuid.UUID(values["decision_id"]))
        if leaf.kind is Kind.DECISION and not isinstance(record, dict):
            raise TypeError(record)
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error):
        raise ProofError("this is no receipt of a decision, an attempt or an outcome") from None
    if len(hashes) > _MOST_HASHES:
        raise ProofError(f"a proof has at most {_MOST_HASHES} hashes")
    signed = parse_checkpoint(note.encode())
    receipt = Receipt(what, decision_id, at, signed.checkpoint, record, values)
    return _Read(receipt, signed, leaf, [parse_hash(one) for one in hashes])


def check_receipt(content: bytes, keys: Sequence[PublicKey], *, key_folder: Path | None = None) -> Receipt:
    """What a receipt proves. The key of its log is looked up in ``key_folder`` too, if it is not among ``keys``.

    Raises ProofError where it proves nothing: also where none of the keys has signed it.
    """
    receipt, signed, leaf, hashes = _read(content)
    checkpoint, record = receipt.checkpoint, receipt.record
    keys = with_own_key(keys, key_folder, checkpoint.origin)
    if not signed.is_signed_by_log(keys):
        raise ProofError(
            f"{'none of the keys has' if keys else 'no key was given to check who has'} signed the checkpoint of "
            f"`{checkpoint.origin}`",
            help="give the key of the log by `--key`: `routewright ledger checkpoint --key` prints it where it signs",
        )
    if record is not None and not _is_record_of(record, receipt.decision_id, receipt.values.get("record")):
        raise ProofError("the record in the receipt is not the one that was recorded")
    hashed = leaf_hash(leaf.encoded())
    if not verify_inclusion(receipt.leaf, checkpoint.size, hashed, hashes, checkpoint.root):
        raise ProofError(f"{receipt.what} of the receipt was not in the log when the checkpoint was signed")
    return receipt._replace(signed=tuple(signed.signed_by(keys)))


_PROVEN: Final[Mapping[int, Logged]] = {int(one.kind): one for one in (DECISIONS, ATTEMPTS, OUTCOMES)}
"""What receipts are of, by the kind of their leaves."""


def _is_record_of(record: Mapping[str, Any], decision_id: str, recorded: object) -> bool:
    try:
        return record.get("id") == decision_id and recorded in (digest_of_values(record), digest_of(record))
    except RecordError as error:
        raise ProofError(str(error)) from error
