"""The command line: declared in one place, results on standard output, exit codes with a meaning."""

from __future__ import annotations

from .start import main

TYPE_CHECKING = False  # as in `typing`, which is not loaded yet
if TYPE_CHECKING:
    from .commands import app

__all__ = ["app", "main"]


def __getattr__(name: str) -> object:
    # Loading the commands takes a while, and `main` has something to do before.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .commands import app

    return app
