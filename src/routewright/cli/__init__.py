"""The command line: one file for each command, results on standard output, exit codes with a meaning."""

from __future__ import annotations

from .app import app, main

__all__ = ["app", "main"]
