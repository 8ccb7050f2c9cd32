"""Where the command line keeps breakers, latencies and quotas."""

from __future__ import annotations

from pathlib import Path

from routewright.backends.control import StateError
from routewright.ledger import default_ledger_path


def state_path() -> Path:
    """The state store if nobody names one: beside the default ledger."""
    return default_ledger_path().with_name("state.sqlite")


def state_to_look_at(named: Path | None) -> Path:
    """The state store of a command that only looks. Raises StateError for one that was named and is not there."""
    if named is not None and not named.exists():
        raise StateError(
            f"there is no state store at `{named.absolute()}`", help="run a task first, or name another file"
        )
    return named or state_path()
