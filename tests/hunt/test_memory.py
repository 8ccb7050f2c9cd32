"""Memory stays flat under the shipped policy, with a state store: a sample, or all of it under `make thorough`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.sizes import SOAK_REQUESTS

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "memory.py"


def test_memory_stays_flat_over_many_requests_at_once() -> None:
    ran = subprocess.run(
        [sys.executable, SCRIPT, str(SOAK_REQUESTS)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    print(ran.stdout)
    found = re.search(r"at most (\d+\.\d) MB after the first tenth; closed in (\d+\.\d+) s", ran.stdout)
    assert found is not None, ran.stdout
    most_mb, closing_s = map(float, found.groups())
    # A process begins with 60 MB, and the cache may take 64 MiB: a few thousand requests do not fill it.
    assert 0 < most_mb <= (250 if SOAK_REQUESTS >= 10_000 else 150)
    assert closing_s < 10
