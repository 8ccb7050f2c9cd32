"""Creates a new, empty ledger, completely or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from routewright.private_files import make_private_folder

from .connection import open_for_creation
from .errors import LedgerError
from .migrate import apply_migrations


def create_ledger(path: Path) -> None:
    """Create the file in a folder of its own, then link it into place, so that nobody ever sees half a ledger.

    Raises LedgerError if it cannot be created.
    """
    # DuckDB creates its files with the umask's mode, and refuses an empty file that exists already.
    drafts = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    draft = drafts / "ledger.duckdb"
    try:
        make_private_folder(drafts)
        try:
            with open_for_creation(draft) as connection:
                apply_migrations(connection, path)
            draft.chmod(0o600)
            os.link(draft, path)
        finally:
            shutil.rmtree(drafts)
    except FileExistsError as error:
        if not path.is_file():
            raise LedgerError(f"the ledger `{path}` cannot be created: {error.strerror}") from error
        # Another process made it first: theirs is as good as ours.
    except OSError as error:
        raise LedgerError(f"the ledger `{path}` cannot be created: {error.strerror}") from error
