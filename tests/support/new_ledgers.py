"""Ledgers without a row, copied from the first that this process has made, as making one takes longer."""

from __future__ import annotations

from pathlib import Path

from routewright.ledger import Ledger, migrate, spool_folder

__all__ = ["copy_new_ledgers", "left_in_spool", "new_ledger"]


def copy_new_ledgers() -> None:
    """From now on, let the content of a new ledger be that of the first one of its layout."""
    write, made = migrate.write_new_file, dict[object, bytes]()

    def copied(draft: Path, path: Path) -> None:
        layout = migrate.migrations()
        if layout in made:
            draft.write_bytes(made[layout])
        else:
            write(draft, path)
            made[layout] = draft.read_bytes()

    migrate.write_new_file = copied


def new_ledger(path: Path, *, lock_timeout_s: float = 10) -> Ledger:
    """A ledger at ``path``, where there is no file."""
    assert not path.exists()
    return Ledger.open(path, lock_timeout_s=lock_timeout_s)


def left_in_spool(ledger: Ledger) -> list[str]:
    """The names of the files that wait for ``ledger`` or are kept beside it."""
    return sorted(path.name for path in spool_folder(ledger.path).iterdir() if path.name != "queue")
