"""Signs checkpoints of a ledger's log, and keeps its tiles and its newest checkpoint in the folder beside it.

The folder ``log`` there has the layout of https://c2sp.org/tlog-tiles, so that any web server can serve it. Its tiles
hold the hashes of the leaves a second time, outside the ledger's file.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from routewright.private_files import make_private_folder, whole_file

from .changing import changing
from .connection import commit
from .errors import ProofError
from .paths import spool_folder
from .proof.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint
from .proof.keys import key_of
from .proof.leaf import FORM, VERSION
from .proof.merkle import leaf_hashes, root
from .proof.note import MOST_BYTES, Note, SignatureType, check_name
from .proof.tiles import TileFolder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_AT_ONCE: Final = 65_536

_LEAVES: Final = "SELECT leaf, kind, id, number, digest FROM log_leaves WHERE leaf >= ? ORDER BY leaf"


def log_folder(ledger: Path) -> Path:
    """The folder of a ledger's tiles and newest checkpoint."""
    return spool_folder(ledger) / "log"


def newest_checkpoint(ledger: Path) -> SignedCheckpoint | None:
    """The checkpoint that was signed last and is kept beside the ledger; None if there is none.

    Raises ProofError for one that cannot be read.
    """
    path = log_folder(ledger) / "checkpoint"
    return read_checkpoint(path) if path.exists() else None


def read_checkpoint(path: Path) -> SignedCheckpoint:
    """The checkpoint in a file. Raises ProofError where there is none; no signature is checked."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ProofError(f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        return parse_checkpoint(content)
    except ProofError as error:
        raise ProofError(f"`{path}` is no checkpoint: {error}") from None


def sign_checkpoint(
    ledger: Path, lock_timeout_s: float, *, keys: Path, origin: str | None = None
) -> SignedCheckpoint:
    """Write tiles of all leaves and sign a checkpoint of them; it is kept in place of the one before.

    ``keys`` is the folder of signing keys. ``origin`` names the log, once and for all; by default the name is random.
    Raises ProofError for another name than it has, where the log does not begin with what was signed before, and as
    ``key_of`` does.
    """
    with changing(ledger, lock_timeout_s) as connection:
        named = _name(connection, origin)
        key = key_of(keys, named, SignatureType.LOG)
        before = newest_checkpoint(ledger)
        size = _write_tiles(connection, ledger, before)
        tiles = TileFolder(log_folder(ledger))
        if before is not None:
            _check_begins(tiles, before.checkpoint, named, size)
        checkpoint = Checkpoint(named, size, root(size, partial(tiles.node, size)))
        note = Note(checkpoint.text(), (key.sign(checkpoint.text()),))
        try:
            make_private_folder(tiles.folder)
            with whole_file(tiles.folder / "checkpoint", replace=True) as draft:
                draft.write_text(note.written(), encoding="utf-8")
        except OSError as error:
            raise _not_written(ledger, error) from error
    return SignedCheckpoint(checkpoint, note)


def origin_of(connection: DuckDBPyConnection) -> str | None:
    """The name of the ledger's log; None while no checkpoint was signed."""
    found = connection.execute("SELECT origin FROM log_origin").fetchone()
    return None if found is None else str(found[0])


def encoded_leaves(connection: DuckDBPyConnection, first: int = 0) -> Iterator[list[bytes]]:
    """The bytes of the leaves from ``first`` on, some at a time. Raises ProofError behind the last before a gap."""
    expected = first
    result = connection.execute(_LEAVES, [first])
    while rows := result.fetchmany(_AT_ONCE):
        gap = None
        if [row[0] for row in rows] != list(range(expected, expected + len(rows))):
            gap = next(place for place, row in enumerate(rows) if row[0] != expected + place)
        yield [
            FORM.pack(VERSION, kind, id.bytes, number, bytes(digest))
            for _, kind, id, number, digest in rows[:gap]
        ]
        if gap is not None:
            found, place = rows[gap][0], expected + gap
            raise ProofError(
                f"the log has no leaf {place:,}" if found > place else f"the log has two leaves {found:,}"
            )
        expected += len(rows)


def _name(connection: DuckDBPyConnection, origin: str | None) -> str:
    known = origin_of(connection)
    if known is not None:
        if origin not in (None, known):
            raise ProofError(f"the log of this ledger is called `{known}`, and keeps its name")
        return known
    named = f"routewright/{secrets.token_hex(8)}" if origin is None else origin
    check_name(named)
    connection.execute("INSERT INTO log_origin VALUES (?)", [named])
    # INVARIANT: the ledger knows the name before a checkpoint has it: whoever is killed could sign no other one.
    commit(connection)
    connection.execute("BEGIN")
    return named


def _write_tiles(connection: DuckDBPyConnection, ledger: Path, before: SignedCheckpoint | None) -> int:
    """Write what the tiles lack; return the size of the log."""
    tiles = TileFolder(log_folder(ledger))
    size = 0 if before is None else before.checkpoint.size
    try:
        for leaves in encoded_leaves(connection, size):
            tiles.extend(size, leaf_hashes(leaves))
            size += len(leaves)
    except OSError as error:
        raise _not_written(ledger, error) from error
    return size


def _check_begins(tiles: TileFolder, before: Checkpoint, origin: str, size: int) -> None:
    if before.origin != origin:
        raise ProofError(
            f"the checkpoint beside the ledger is of another log, `{before.origin}`; nothing was signed"
        )
    if root(before.size, partial(tiles.node, size)) != before.root:
        raise ProofError(
            f"the log does not begin with the {before.size:,} leaves that were signed before; nothing was signed",
            help="`routewright ledger verify` names what has changed",
        )


def _not_written(ledger: Path, error: OSError) -> ProofError:
    return ProofError(f"`{log_folder(ledger)}` cannot be written: {(error.strerror or str(error)).lower()}")
