"""Shows the warnings of the logger ``routewright`` on standard error."""

from __future__ import annotations

import logging
from contextlib import suppress

from .writer import ReaderGone, writer


def show_warnings() -> None:
    """Print warnings from now on, each once however often this is called."""
    logger = logging.getLogger("routewright")
    if not any(isinstance(handler, _OnStandardError) for handler in logger.handlers):
        logger.addHandler(_OnStandardError(logging.WARNING))


class _OnStandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # What the ledger logs is among its notices, which commands print when they end.
        if not record.name.startswith("routewright.ledger"):
            with suppress(ReaderGone, OSError):  # a warning that nobody reads stops nothing
                writer.note(f"warning: {record.getMessage()}")
