"""A damaged spool file costs no row but those that the damage is in, and is told of."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from random import Random

import pytest
from sizes import SPOOL_FILES

from routewright.ledger import Ledger

LEDGER_TESTS = Path(__file__).resolve().parents[1] / "ledger"


def test_mutated_spool_files_lose_no_other_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LEDGER_TESTS))
    mutations = import_module("spool_mutations")
    random = Random(0)
    for start in range(0, SPOOL_FILES, 50):
        ledger = Ledger.open(tmp_path / f"from-{start}.duckdb")
        mutations.check(
            ledger, [mutations.write_case(ledger, 1 + 100 * number, random) for number in range(50)]
        )
    print(f"{SPOOL_FILES:,} spool files")
