"""What a command works on when nothing is named: its policy, its ledger and its state store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from routewright.backends.control import StateError, StateStore
from routewright.engine.report import TaskError, escape_line
from routewright.ledger import Ledger, LedgerSettings, default_ledger_path, remove_spilled
from routewright.loading import shipped, user_ledger_settings
from routewright.private_files import remove_unfinished

from .stopping import before_stopping
from .writer import writer

VARIABLE = "ROUTEWRIGHT_POLICY"


@dataclass(frozen=True)
class ShownPolicy:
    """The policy that a command shows, and where its name comes from if nobody gave one."""

    path: Path
    chosen_by: str | None

    def announce(self, *, json: bool) -> None:
        """Print its name as the first line; beside JSON as a note, and only if nobody gave one."""
        line = f"{self.path}" if self.chosen_by is None else f"{self.path} ({self.chosen_by})"
        if not json:
            writer.lines(f"{escape_line(line)}\n")
        elif self.chosen_by is not None:
            writer.note(line)


def shown_policy(named: Path | None) -> ShownPolicy:
    """The named policy, else that of the environment, else the shipped one.

    Raises TaskError where the environment names a file that is not there.
    """
    if named is not None:
        return ShownPolicy(named, None)
    if given := os.environ.get(VARIABLE):
        if not Path(given).exists():
            raise TaskError(
                f"there is no policy at `{given}`", help=f"{VARIABLE} names it: change or unset it"
            )
        return ShownPolicy(Path(given), f"from {VARIABLE}")
    return ShownPolicy(shipped("hybrid.yaml"), f"the shipped policy: name yours, or set {VARIABLE}")


def state_store(named: Path | None, *, must_exist: bool = False) -> StateStore:
    """Where breakers, latencies and quotas are kept: beside the default ledger if nobody names a file.

    A command that only looks raises StateError for a file that is named and not there.
    """
    if must_exist and named is not None and not named.exists():
        raise StateError(
            f"there is no state store at `{named.absolute()}`", help="run a task first, or name another file"
        )
    return StateStore(named or default_ledger_path().with_name("state.sqlite"))


def ledger_at(path: Path | None, *, create: bool) -> Ledger:
    """The ledger at ``path``, or the default one; the caller prints its notices at the end.

    Who may create it may write to it, as the user's configuration says.
    """
    settings = user_ledger_settings() if create else LedgerSettings()
    path = path or default_ledger_path()
    before_stopping(partial(remove_spilled, path))
    before_stopping(remove_unfinished)
    return Ledger.open(path, create=create, settings=settings)


def print_notices(opened: Ledger) -> None:
    """Print the ledger's notices: rows that still wait, rejected entries, unacknowledged damage."""
    for notice in opened.notices():
        writer.note(notice)
