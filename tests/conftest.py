"""Being here puts this folder on the import path, so that tests can import `strategies`; and what many tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from routewright.backends.control import StateStore


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user who runs the tests has set decides nothing."""
    monkeypatch.delenv("ROUTEWRIGHT_ROOT", raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    """A state store in a file of its own."""
    made = StateStore(tmp_path / "state.db")
    yield made
    made.close()
