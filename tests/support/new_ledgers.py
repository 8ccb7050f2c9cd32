"""Ledgers without a row, for tests that are not about how one is made, which takes longer; and what waits for one."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from routewright.ledger import Ledger, spool_folder

__all__ = ["left_in_spool", "new_ledger"]


@cache
def _file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return Ledger.open(Path(folder) / "ledger.duckdb").path.read_bytes()


def new_ledger(path: Path, *, lock_timeout_s: float = 10) -> Ledger:
    """A ledger at ``path``: a copy of the file of one that was just made."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(_file())
    return Ledger.open(path, lock_timeout_s=lock_timeout_s)


def left_in_spool(ledger: Ledger) -> list[str]:
    """The names of the files that wait for ``ledger`` or are kept beside it."""
    return sorted(path.name for path in spool_folder(ledger.path).iterdir() if path.name != "queue")
