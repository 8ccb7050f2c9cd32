"""A damaged spool file costs no row but those that the damage is in, and is told of."""

from __future__ import annotations

from pathlib import Path
from random import Random

from support.sizes import SPOOL_FILES
from support.spool_mutations import check, write_case

from routewright.ledger import Ledger


def test_mutated_spool_files_lose_no_other_row(tmp_path: Path) -> None:
    random = Random(0)
    for start in range(0, SPOOL_FILES, 50):
        ledger = Ledger.open(tmp_path / f"from-{start}.duckdb")
        count = min(50, SPOOL_FILES - start)
        check(ledger, [write_case(ledger, 1 + 100 * number, random) for number in range(count)])
    print(f"{SPOOL_FILES:,} spool files")
