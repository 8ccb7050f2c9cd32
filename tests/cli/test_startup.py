"""What is loaded when: nothing heavy before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ["asyncio", "click", "duckdb", "pydantic", "re2", "rich", "ruamel.yaml", "simpleeval"]


def loaded(script: str) -> list[str]:
    """Which of the heavy modules are loaded when ``script`` has run in a process of its own."""
    words = (
        f"import sys\n{script}\nprint([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    return [name for name in HEAVY if repr(name) in done.stderr]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("import routewright", []),
        ("from routewright import RoutewrightError, LedgerError", []),
        ("from routewright.cli.invoking import run_app; run_app(['--help'])", []),
        # typer reads the arguments of a command with pydantic.
        ("from routewright.cli.invoking import run_app; run_app(['decide', '--help'])", ["pydantic"]),
        ("from routewright.cli.invoking import run_app; run_app(['ledger', 'sql', '--help'])", ["pydantic"]),
    ],
)
def test_starting_loads_nothing_heavy(script: str, expected: list[str]) -> None:
    assert loaded(script) == expected


def test_deciding_loads_no_database_and_no_terminal_library() -> None:
    script = (
        "from routewright import load_policy, ModelGateway, Task\n"
        "from routewright.loading import shipped\n"
        "ModelGateway(load_policy(shipped('hybrid.yaml'))).decide(Task())"
    )
    assert {"duckdb", "rich", "click"} & set(loaded(script)) == set()


def test_next_to_nothing_is_loaded_before_ctrl_c_is_heard() -> None:
    script = (
        "import __future__, importlib, os, sys; before = set(sys.modules)\n"
        "import routewright.cli.start; print(*sorted(set(sys.modules) - before))"
    )
    # Without `site`, nothing that another package has put there hides what we load.
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-S", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=paths)
    assert done.stdout.split() == [
        "routewright",
        "routewright.cli",
        "routewright.cli.start",
        "routewright.cli.stopping",
    ]
