"""The start of the process, and its end."""

from __future__ import annotations

import sys

from .stopping import end, stop_at_once


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # Before anything else is loaded, which takes long enough to be interrupted.
    stop_at_once()
    from routewright.ledger import left_running

    from .invoking import run_app

    code = run_app()
    if left_running():
        end(code)  # Python would wait for a statement that does not hear that it is to stop
    sys.exit(code)
