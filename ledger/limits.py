"""What a statement may take: rows, time, memory, and disk for what does not fit into memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from .errors import InputError, LedgerError

_LEAST_MEMORY_MB: Final = 50
"""DuckDB needs some memory to open a file at all."""

_COUNTED: Final = 10**12
"""DuckDB counts rows and bytes in 64 bits: a limit above so many rows or MB is none."""

_DUCKDB_SHARE: Final = 0.8
"""DuckDB is told to keep within this part of the memory: it does not count all that it takes."""


@dataclass(frozen=True)
class Limits:
    """A MB is 1,000,000 bytes. ``max_rows`` None is no limit; with ``max_disk_mb`` 0 nothing is written to disk.

    Raises LedgerError for limits under which nothing can run.
    """

    max_rows: int | None = 10_000
    timeout_s: float = 60.0
    max_memory_mb: int = 2_000
    max_disk_mb: int = 10_000

    def __post_init__(self) -> None:
        if self.max_rows is not None and self.max_rows < 0:
            raise InputError(f"`{self.max_rows}` rows cannot be asked for", help="the row limit is 0 or more")
        if self.max_rows is not None and self.max_rows > _COUNTED:
            object.__setattr__(self, "max_rows", None)
        if not self.timeout_s > 0 or math.isnan(self.timeout_s):
            raise InputError(
                f"a statement cannot run for `{self.timeout_s:g}` s", help="the time limit is above 0"
            )
        if self.max_memory_mb < _LEAST_MEMORY_MB:
            raise InputError(
                f"no statement runs in `{self.max_memory_mb}` MB of memory",
                help=f"the memory limit is {_LEAST_MEMORY_MB} MB or more",
            )
        if self.max_disk_mb < 0:
            raise InputError(
                f"a statement cannot have `{self.max_disk_mb}` MB of disk", help="the disk limit is 0 or more"
            )

    @property
    def settings(self) -> dict[str, str]:
        """DuckDB's settings for these limits."""
        return {
            "memory_limit": f"{int(min(self.max_memory_mb, _COUNTED) * _DUCKDB_SHARE)}MB",
            "max_temp_directory_size": f"{min(self.max_disk_mb, _COUNTED)}MB",
        }

    def too_long(self) -> LedgerError:
        """The error for a statement that is not done in time."""
        return _over(f"took longer than {self.timeout_s:g} s", "--timeout", "timeout_s")

    def too_much_memory(self) -> LedgerError:
        """The error for a statement that does not fit into memory."""
        return _over(f"needed more than {self.max_memory_mb:,} MB of memory", "--max-memory", "max_memory_mb")

    def too_much_disk(self) -> LedgerError:
        """The error for a statement that does not fit on disk either."""
        sizes = f"{self.max_disk_mb:,} MB of disk beside {self.max_memory_mb:,} MB of memory"
        return _over(f"needed more than {sizes}", "--max-disk", "max_disk_mb")


def _over(what: str, option: str, parameter: str) -> LedgerError:
    return LedgerError(
        f"the statement {what} and was stopped",
        help=f"narrow it by a WHERE clause, or raise the limit: `{option}`, in Python `{parameter}`",
    )
