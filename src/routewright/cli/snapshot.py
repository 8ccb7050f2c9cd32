"""Copies the ledger for other clients."""

from __future__ import annotations

from pathlib import Path

from .opened import ledger_at, print_notices
from .writer import writer


def take_snapshot(target: Path, path: Path | None) -> None:
    """Write a snapshot of the ledger to ``target``, and say what is missing from it."""
    with ledger_at(path, create=False) as opened:
        taken = opened.snapshot(target)
    print_notices(opened)
    writer.remark(f"{taken.path} is the ledger as of {taken.taken_at:%Y-%m-%d %H:%M:%S} UTC")
