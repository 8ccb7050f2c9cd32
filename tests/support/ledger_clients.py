"""Another DuckDB client that has a ledger open, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from .children import Child, Tell

__all__ = ["client_on"]

LONG_S = 600


@contextmanager
def client_on(path: Path, *, reads: bool = False) -> Iterator[Child]:
    """A client that sits on the file at ``path``, to read or to write, until the block ends or it is killed."""

    def sit(tell: Tell) -> None:
        deadline = time.monotonic() + LONG_S
        while time.monotonic() < deadline:
            try:
                client = duckdb.connect(str(path), read_only=reads)
            except duckdb.IOException:  # others may have it open
                time.sleep(0.001)
                continue
            tell(b"!")
            time.sleep(LONG_S)
            client.close()

    with Child(sit) as child:
        assert child.heard() == b"!"
        yield child
