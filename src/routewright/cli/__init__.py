"""The command line: declared in one place, results on standard output, exit codes with a meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .start import main

if TYPE_CHECKING:
    from .commands import app

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    # Loading the commands takes a while, and `main` has something to do before.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .commands import app

    return app
