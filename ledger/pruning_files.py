"""Prunes a ledger: signs a checkpoint of what goes, compares that with the log, drops it, and rewrites the files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from .changing import changing
from .checkpoints import sign_checkpoint
from .connection import open_for_reading, open_for_writing
from .errors import ProofError
from .proof.checkpoint import SignedCheckpoint
from .pruning import Pruned, beginning_us, leaves_of, plan, prune
from .rewriting import is_unfinished, rewritten
from .verifying import verify_ledger


def would_prune(path: Path, lock_timeout_s: float, before: date) -> Pruned:
    """What ``prune_from`` would prune. Nothing changes."""
    with open_for_writing(path, lock_timeout_s=lock_timeout_s) as connection:
        return plan(connection, before)


def prune_from(
    path: Path,
    lock_timeout_s: float,
    before: date,
    *,
    keys: Path,
    origin: str | None,
    reason: str | None,
    tell: Callable[[str], None],
) -> Pruned:
    """Prune the ledger at ``path``. See ``Ledger.prune``."""
    before_us = beginning_us(before)
    found = would_prune(path, lock_timeout_s, before)
    if not found.months and not is_unfinished(path):
        return found
    size = path.stat().st_size
    with rewritten(path, lock_timeout_s):
        tell("signing a checkpoint of all that is there")
        signed = sign_checkpoint(path, lock_timeout_s, keys=keys, origin=origin)
        tell("comparing what goes with the log")
        with open_for_reading(path, lock_timeout_s=lock_timeout_s, own_statement=True) as connection:
            verified = verify_ledger(
                connection, path, given={}, keys=(), key_folder=keys, of=leaves_of(before_us)
            )
        if verified.fault_count:
            raise ProofError(
                f"something is not as it was recorded: {verified.faults[0].what}; nothing was pruned",
                help="`routewright ledger verify` names all that differs: once it was pruned, nobody can tell any more",
            )
        tell("dropping rows")
        with changing(path, lock_timeout_s) as connection:
            found = plan(connection, before)
            prune(connection, before_us, signed.note.written(), reason)
        tell("writing the file anew")
    sign_checkpoint(path, lock_timeout_s, keys=keys)
    return _as_done(found, signed, size - path.stat().st_size)


def _as_done(found: Pruned, signed: SignedCheckpoint, bytes: int) -> Pruned:
    is_own = any(one.decisions for one in found.months)
    return found._replace(bytes=bytes, checkpoint=signed.checkpoint.size if is_own else None)
