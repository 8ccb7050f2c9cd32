"""Another DuckDB client that has a ledger open, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["client_on"]

_SIT = """
import sys, duckdb
client = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def client_on(path: Path, *, reads: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A client that sits on the file at ``path``, to read or to write, until the block ends or it is killed."""
    arguments = [sys.executable, "-c", _SIT, str(path), "read" if reads else "write"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()
