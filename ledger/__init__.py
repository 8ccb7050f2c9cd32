"""Keeps decisions and attempts in DuckDB, and answers questions in SQL. Importing it does not load ``duckdb``."""

from __future__ import annotations

from .errors import LedgerError, OtherLayoutError
from .ingest import spool_folder
from .output import to_csv, to_json, to_table
from .paths import default_ledger_path
from .results import Appended, QueryResult, TailRow
from .rows import AttemptRow, DecisionRow, LedgerEntry, PolicyRow
from .store import Ledger
from .writer import LedgerWriter

__all__ = [
    "Appended",
    "AttemptRow",
    "DecisionRow",
    "Ledger",
    "LedgerEntry",
    "LedgerError",
    "LedgerWriter",
    "OtherLayoutError",
    "PolicyRow",
    "QueryResult",
    "TailRow",
    "default_ledger_path",
    "spool_folder",
    "to_csv",
    "to_json",
    "to_table",
]
