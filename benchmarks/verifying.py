"""Measures verifying a ledger: all of it, what came after a checkpoint, and one row's receipt.

    python benchmarks/verifying.py [DECISIONS]

Decisions are those of ``benchmarks/ledger.py``, with a call each. A checkpoint is signed when nine tenths are recorded.
What it is held against is a query that writes every row of decisions and calls as JSON and hashes it in DuckDB, which
compares with nothing; and loading the same rows. Times are processor time, all threads together; prints only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
from filling import BEGIN_US, EVERY_US, fill

from routewright.ledger import Ledger, check_receipt
from routewright.ledger.proof.keys import find_key
from routewright.ledger.proof.note import SignatureType

HASHED = """
SELECT count(sha256(to_json(d)::VARCHAR)) FROM decision_rows AS d
UNION ALL
SELECT count(sha256(to_json(a)::VARCHAR)) FROM attempt_rows AS a
"""
FIRST = "SELECT decision_id FROM decisions_flat ORDER BY decision_id LIMIT 20"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Measure verifying a ledger.")
    parser.add_argument("decisions", nargs="?", type=int, default=100_000)
    decisions = parser.parse_args().decisions
    with TemporaryDirectory() as folder:
        path, keys = Path(folder) / "ledger.duckdb", Path(folder) / "keys"
        before = decisions * 9 // 10
        fill(path, before)
        ledger = Ledger.open(path)
        signing = spent(lambda: ledger.sign_checkpoint(keys, origin="benchmark"))
        fill(path, decisions - before, begin_us=BEGIN_US + before * EVERY_US)
        said("sign a checkpoint", signing, before)
        measure(ledger, keys, decisions, decisions - before)


def measure(ledger: Ledger, keys: Path, decisions: int, since: int) -> None:
    """Print what each way of verifying takes."""
    ids = [row[0] for row in ledger.query(FIRST).rows]
    with duckdb.connect(str(ledger.path), read_only=True) as connection:
        hashing = spent(lambda: connection.execute(HASHED).fetchall())
    whole = spent(lambda: verify(ledger, keys, None))
    said("hash every row", hashing, decisions)
    said("verify", whole, decisions, f"; {whole / hashing:.1f} times hashing")
    newest = spent(lambda: verify(ledger, keys, "newest"))
    said("verify since", newest, since, f" that came since; {newest / whole:.2f} times all of it")
    key = find_key(keys, "benchmark", SignatureType.LOG)
    assert key is not None
    receipts = list[str]()
    said("make a receipt", spent(lambda: receipts.extend(map(ledger.prove, ids))), len(ids))
    said(
        "check a receipt",
        spent(lambda: [check_receipt(one.encode(), [key.public]) for one in receipts]),
        len(ids),
    )


def verify(ledger: Ledger, keys: Path, since: str | None) -> None:
    found = ledger.verify(key_folder=keys, since=since)
    assert not found.faults, found.faults


def said(name: str, seconds: float, count: int, more: str = "") -> None:
    print(f"  {name:18} {seconds:8.2f} s  {seconds / count * 1e6:9.1f} µs each of {count:,}{more}")


def spent(work: Callable[[], object]) -> float:
    """The processor time of it, all threads together, in seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
