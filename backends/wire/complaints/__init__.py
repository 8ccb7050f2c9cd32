"""What a failure of a server means: its complaint in any shape, a table of known wordings, and stated times."""

from __future__ import annotations

from .classes import status_class
from .failing import Dialect, Failure, failed
from .meaning import Meaning, meaning_of
from .rows import ROWS, STREAM, Row
from .shapes import Complaint, complaint_in, plain
from .times import retry_after_ms, stated_wait_ms

__all__ = [
    "ROWS",
    "STREAM",
    "Complaint",
    "Dialect",
    "Failure",
    "Meaning",
    "Row",
    "complaint_in",
    "failed",
    "meaning_of",
    "plain",
    "retry_after_ms",
    "stated_wait_ms",
    "status_class",
]
