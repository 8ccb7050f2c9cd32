"""The command line: declared in one place, results on standard output, exit codes with a meaning."""

from __future__ import annotations

from .app import main
from .commands import app

__all__ = ["app", "main"]
