"""Being here puts this folder on the import path, so that tests can import `strategies`; and what many tests use."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.new_ledgers import copy_new_ledgers
from support.read_texts import remember_read_texts
from support.sizes import EXAMPLES

from routewright.backends.control import StateStore

settings.register_profile(
    "ours", max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ours")

# Threads of llama.cpp that wait for each other actively keep each other from working where tests run side by side.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

copy_new_ledgers()
remember_read_texts()


def pytest_collection_finish() -> None:
    """Keep what collecting has made out of garbage collection, which would walk over it again and again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let the interpreter free everything at its end: libraries that count their objects tell of leaks otherwise."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the user who runs the tests has set or configured decides nothing."""
    for name in ("ROUTEWRIGHT_ROOT", "ROUTEWRIGHT_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-configuration"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    """A state store in a file of its own."""
    made = StateStore(tmp_path / "state.db")
    yield made
    made.close()
