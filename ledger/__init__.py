"""Remembers decisions and attempts, and answers questions about them in SQL. Importing it loads no ``duckdb``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import BusyError, FullError, LedgerError, OtherLayoutError, QuestionError, UnknownDecisionError
from .output import to_csv, to_json, to_table
from .paths import default_ledger_path, spool_folder
from .results import Appended, QueryResult, TailRow
from .settings import LedgerSettings
from .stoppable import left_running

if TYPE_CHECKING:
    from .connection import remove_spilled
    from .finding import FoundDecision
    from .question import Chart, Question, now_in, read_question, shipped_questions
    from .rows import AttemptRow, DecisionEnd, DecisionRow, IntentRow, LedgerEntry, PolicyRow
    from .store import Ledger
    from .writer import LedgerWriter

__all__ = [
    "Appended",
    "AttemptRow",
    "BusyError",
    "Chart",
    "DecisionEnd",
    "DecisionRow",
    "FoundDecision",
    "FullError",
    "IntentRow",
    "Ledger",
    "LedgerEntry",
    "LedgerError",
    "LedgerSettings",
    "LedgerWriter",
    "OtherLayoutError",
    "PolicyRow",
    "QueryResult",
    "Question",
    "QuestionError",
    "TailRow",
    "UnknownDecisionError",
    "default_ledger_path",
    "left_running",
    "now_in",
    "read_question",
    "remove_spilled",
    "shipped_questions",
    "spool_folder",
    "to_csv",
    "to_json",
    "to_table",
]

# These know the fields of records, whose shapes take a while to load: whoever only catches errors needs none of them.
_HOMES = {
    **dict.fromkeys(
        ("AttemptRow", "DecisionEnd", "DecisionRow", "IntentRow", "LedgerEntry", "PolicyRow"), "rows"
    ),
    **dict.fromkeys(("Chart", "Question", "now_in", "read_question", "shipped_questions"), "question"),
    "FoundDecision": "finding",
    "Ledger": "store",
    "remove_spilled": "connection",
    "LedgerWriter": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
