"""Where the ledger is when nobody says, and what belongs to it beside its file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

LEDGER_VARIABLE = "ROUTEWRIGHT_LEDGER"
"""The environment variable that names another ledger file."""


def default_ledger_path(
    environment: Mapping[str, str] | None = None, *, platform: str = sys.platform, home: Path | None = None
) -> Path:
    """The ledger file to use; nothing is made.

    ``ROUTEWRIGHT_LEDGER`` where it is set; else ``ledger.duckdb`` in
    ``~/Library/Application Support/routewright`` on macOS, and elsewhere in ``$XDG_DATA_HOME/routewright`` or
    ``~/.local/share/routewright``.
    """
    env = os.environ if environment is None else environment
    named = env.get(LEDGER_VARIABLE)
    if named:
        return Path(named).expanduser()
    home = Path.home() if home is None else home
    if platform == "darwin":
        return home / "Library" / "Application Support" / "routewright" / "ledger.duckdb"
    # The XDG specification says that a relative path is to be ignored.
    # https://specifications.freedesktop.org/basedir-spec/latest/
    xdg = Path(env.get("XDG_DATA_HOME", ""))
    data = xdg if xdg.is_absolute() else home / ".local" / "share"
    return data / "routewright" / "ledger.duckdb"


ERASING = "erasing"
"""The file in the folder beside a ledger that is there while its files are rewritten, or if that was cut short."""


def spool_folder(path: Path) -> Path:
    """The folder beside the ledger at ``path`` that holds all else: what writers have left waiting, and the queue."""
    return path.with_name(f"{path.name}.spool")
