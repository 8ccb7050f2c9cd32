"""Cosigns checkpoints of other machines' logs, as a witness that remembers the last one of each log.

A witness signs a checkpoint only if the log begins with what it has cosigned before. So a log that shows two people two
histories needs two witnesses, or one that helps it. Requests are those of https://c2sp.org/tlog-witness, in files.
"""

from __future__ import annotations

import base64
import fcntl
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from routewright.private_files import ensure_private, make_private_folder, whole_file

from .checkpoints import log_folder, newest_checkpoint, read_checkpoint
from .errors import ProofError
from .proof.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint, parse_hash
from .proof.keys import key_of, safe_name
from .proof.merkle import EMPTY_ROOT, consistency_proof, verify_consistency
from .proof.note import MOST_BYTES, Note, PrivateKey, PublicKey, SignatureType
from .proof.tiles import TileFolder

_OLD: Final = re.compile("old (0|[1-9][0-9]{0,18})")
_MOST_HASHES: Final = 63


def witness_request(ledger: Path, old: int) -> str:
    """What a witness that has cosigned ``old`` leaves of the log is given: the newest checkpoint, with its proof.

    Raises ProofError if no checkpoint was signed, or only of fewer leaves.
    """
    newest = newest_checkpoint(ledger)
    if newest is None or newest.checkpoint.size < old:
        raise ProofError(
            f"no checkpoint of {old:,} leaves or more was signed",
            help="sign one: `routewright ledger checkpoint`",
        )
    size = newest.checkpoint.size
    proof = consistency_proof(old, size, partial(TileFolder(log_folder(ledger)).node, size))
    lines = [f"old {old}", *(base64.b64encode(one).decode() for one in proof)]
    return "".join(f"{line}\n" for line in lines) + f"\n{newest.note.written()}"


def cosign(
    request: bytes, folder: Path, *, name: str, keys: Sequence[PublicKey], key_folder: Path, at_s: int
) -> SignedCheckpoint:
    """The checkpoint of ``request``, cosigned by the witness ``name`` at ``at_s``, in seconds since 1970.

    ``folder`` holds the last checkpoint of each log that was cosigned, and then this one; ``keys`` are those of logs.
    Raises ProofError, with nothing signed, for a checkpoint that none of them has signed, and where the request does
    not prove that the log begins with the last one.
    """
    old, proof, signed = _parsed(request)
    checkpoint = signed.checkpoint
    if not signed.is_signed_by_log(keys):
        raise ProofError(
            f"none of the keys has signed the checkpoint of `{checkpoint.origin}`",
            help="give the key of the log by `--key`: `routewright ledger checkpoint --key` prints it where it signs",
        )
    try:
        make_private_folder(folder)
        with _turn(folder):
            return _cosign(old, proof, signed, folder, key_of(key_folder, name, SignatureType.WITNESS), at_s)
    except OSError as error:
        raise ProofError(f"`{folder}` cannot be written: {(error.strerror or str(error)).lower()}") from error


def _cosign(
    old: int, proof: Sequence[bytes], signed: SignedCheckpoint, folder: Path, key: PrivateKey, at_s: int
) -> SignedCheckpoint:
    checkpoint = signed.checkpoint
    path = folder / f"{safe_name(checkpoint.origin)}.checkpoint"
    last = read_checkpoint(path).checkpoint if path.exists() else Checkpoint(checkpoint.origin, 0, EMPTY_ROOT)
    if last.origin != checkpoint.origin:
        raise ProofError(f"`{path}` is of another log, `{last.origin}`; nothing was signed")
    if old != last.size:
        raise ProofError(
            f"this witness has cosigned {last.size:,} leaves of `{checkpoint.origin}`, and the request begins at "
            f"{old:,}",
            help=f"make it by `routewright ledger checkpoint --for-witness {last.size}`",
        )
    if not verify_consistency(old, checkpoint.size, last.root, checkpoint.root, proof):
        raise ProofError(
            f"the log `{checkpoint.origin}` does not begin with the {last.size:,} leaves that this witness has "
            "cosigned; nothing was signed",
            help=f"keep both as evidence: this request, and `{path}`",
        )
    cosigned = Note(signed.note.text, (*signed.note.signatures, key.sign(signed.note.text, at_s=at_s)))
    with whole_file(path, replace=True) as draft:
        draft.write_text(cosigned.written(), encoding="utf-8")
    return SignedCheckpoint(checkpoint, cosigned)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One at a time: of two requests that begin at the same leaf, one comes too late."""
    path = folder / "lock"
    ensure_private(path)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _parsed(request: bytes) -> tuple[int, list[bytes], SignedCheckpoint]:
    if len(request) > MOST_BYTES:
        raise ProofError(f"a request has at most {MOST_BYTES:,} bytes")
    head, blank, note = request.decode("utf-8", "replace").partition("\n\n")
    first, *hashes = head.split("\n")
    found = _OLD.fullmatch(first)
    if found is None or not blank or len(hashes) > _MOST_HASHES:
        raise ProofError("this is no request to a witness: one begins with a line such as `old 0`")
    return int(found[1]), [parse_hash(one) for one in hashes], parse_checkpoint(note.encode())
