"""A path in, a new and empty ledger there: whole, or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from .connection import open_for_creation
from .errors import LedgerError
from .migrate import apply_migrations

__all__ = ["create_ledger"]


def create_ledger(path: Path) -> None:
    """Make the file whole under another name, then link it into place: nobody ever sees half a ledger."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_for_creation(draft) as connection:
                apply_migrations(connection, path)
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
            draft.with_name(draft.name + ".wal").unlink(missing_ok=True)
    except FileExistsError as error:
        if not path.is_file():
            raise LedgerError(f"the ledger `{path}` cannot be made: {error.strerror}") from error
        # Another process made it first: theirs is as good as ours.
    except OSError as error:
        raise LedgerError(f"the ledger `{path}` cannot be made: {error.strerror}") from error
