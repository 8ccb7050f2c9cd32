"""Measures how long commands take as processes of their own: interleaved, in seconds, as medians."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

__all__ = ["COMMANDS", "HELP", "IMPORT", "NOTHING", "PUBLIC_NAMES", "startup_times"]

NOTHING = "`python -c pass`"
IMPORT = "`import routewright`"
PUBLIC_NAMES = "`from routewright import decide, load_policy`"
HELP = "`routewright --help`"

COMMANDS: Mapping[str, Sequence[str]] = {
    NOTHING: [sys.executable, "-c", "pass"],
    IMPORT: [sys.executable, "-c", "import routewright"],
    PUBLIC_NAMES: [sys.executable, "-c", "from routewright import decide, load_policy"],
    HELP: [str(Path(sys.executable).parent / "routewright"), "--help"],
}


def startup_times(rounds: int) -> dict[str, list[float]]:
    """Seconds for each command and round; a command that does not work yet is left out."""
    works = {name: command for name, command in COMMANDS.items() if _seconds(command) is not None}
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, command in works.items():
            seconds = _seconds(command)
            if seconds is not None:
                times[name].append(seconds)
    return times


def _seconds(command: Sequence[str]) -> float | None:
    started = perf_counter()
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return None
    return perf_counter() - started if done.returncode == 0 else None
