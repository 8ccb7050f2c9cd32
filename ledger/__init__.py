"""Remembers decisions and attempts, and answers questions about them in SQL. Importing it loads no ``duckdb``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    AssumptionError,
    BusyError,
    FullError,
    InputError,
    LedgerError,
    NotWrittenError,
    OtherLayoutError,
    ProofError,
    QuestionError,
    UnknownDecisionError,
)
from .json_values import json_value
from .output import to_csv, to_json, to_jsonl, to_table
from .paths import default_ledger_path, spool_folder
from .results import Appended, QueryResult, TailRow, Written
from .settings import LedgerSettings
from .stoppable import left_running

if TYPE_CHECKING:
    from .canaries import JudgedCanary, canary_condition, canary_without_ledger
    from .checkpoints import read_checkpoint
    from .connection import remove_spilled
    from .erasing import Erased, ToErase
    from .exporting import BINARY_FORMS, FileForm, form_of
    from .finding import FoundDecision, FoundErasure, FoundOutcome
    from .importing.importer import Imported, check_import
    from .importing.mapping import read_mapping
    from .importing.run import ImportReport
    from .moments import now_in, parse_moment
    from .outcome_files import outcome_value, read_outcomes
    from .outcomes import Outcome, RecordedOutcomes
    from .proof.checkpoint import Checkpoint, SignedCheckpoint
    from .proof.keys import key_of
    from .proof.note import PublicKey, SignatureType, parse_public_key
    from .pruning import Pruned, first_of_month, months_ago
    from .question import Chart, Question, Unit, about_simulated, written
    from .question_files import QUESTION_SUFFIX, check_statement, read_question, shipped_questions
    from .receipts import Receipt, check_receipt, read_receipt
    from .replay.again import Difference, SelfReport
    from .replay.assumptions import parse_assumption
    from .replay.checks import Judged, parse_check
    from .replay.consequences import Consequence, Consequences, Measured
    from .replay.estimates import Baseline, Estimate, Finding, Interval, Metric
    from .replay.examples import Example
    from .replay.groups import Came
    from .replay.report import Alone, Move, NamedPolicy, NotDecided, PlanChange, ReplayReport, RuleHits
    from .replay.selecting import Selection
    from .rows import AttemptRow, DecisionEnd, DecisionRow, IntentRow, LedgerEntry, PolicyRow
    from .snapshot import Snapshot
    from .store import Ledger
    from .tailing import Followed, InFlight, TailFilter
    from .verifying import NEWEST, Verification
    from .views import cost_column, plain_names
    from .witnessing import cosign, witness_request
    from .writer import LedgerWriter

__all__ = [
    "BINARY_FORMS",
    "NEWEST",
    "QUESTION_SUFFIX",
    "Alone",
    "Appended",
    "AssumptionError",
    "AttemptRow",
    "Baseline",
    "BusyError",
    "Came",
    "Chart",
    "Checkpoint",
    "Consequence",
    "Consequences",
    "DecisionEnd",
    "DecisionRow",
    "Difference",
    "Erased",
    "Estimate",
    "Example",
    "FileForm",
    "Finding",
    "Followed",
    "FoundDecision",
    "FoundErasure",
    "FoundOutcome",
    "FullError",
    "ImportReport",
    "Imported",
    "InFlight",
    "InputError",
    "IntentRow",
    "Interval",
    "Judged",
    "JudgedCanary",
    "Ledger",
    "LedgerEntry",
    "LedgerError",
    "LedgerSettings",
    "LedgerWriter",
    "Measured",
    "Metric",
    "Move",
    "NamedPolicy",
    "NotDecided",
    "NotWrittenError",
    "OtherLayoutError",
    "Outcome",
    "PlanChange",
    "PolicyRow",
    "ProofError",
    "Pruned",
    "PublicKey",
    "QueryResult",
    "Question",
    "QuestionError",
    "Receipt",
    "RecordedOutcomes",
    "ReplayReport",
    "RuleHits",
    "Selection",
    "SelfReport",
    "SignatureType",
    "SignedCheckpoint",
    "Snapshot",
    "TailFilter",
    "TailRow",
    "ToErase",
    "Unit",
    "UnknownDecisionError",
    "Verification",
    "Written",
    "about_simulated",
    "canary_condition",
    "canary_without_ledger",
    "check_import",
    "check_receipt",
    "check_statement",
    "cosign",
    "cost_column",
    "default_ledger_path",
    "first_of_month",
    "form_of",
    "json_value",
    "key_of",
    "left_running",
    "months_ago",
    "now_in",
    "outcome_value",
    "parse_assumption",
    "parse_check",
    "parse_moment",
    "parse_public_key",
    "plain_names",
    "read_checkpoint",
    "read_mapping",
    "read_outcomes",
    "read_question",
    "read_receipt",
    "remove_spilled",
    "shipped_questions",
    "spool_folder",
    "to_csv",
    "to_json",
    "to_jsonl",
    "to_table",
    "witness_request",
    "written",
]

# These know the fields of records, whose shapes take a while to load: whoever only catches errors needs none of them.
_HOMES = {
    **dict.fromkeys(
        ("AttemptRow", "DecisionEnd", "DecisionRow", "IntentRow", "LedgerEntry", "PolicyRow"), "rows"
    ),
    **dict.fromkeys(("now_in", "parse_moment"), "moments"),
    **dict.fromkeys(("Chart", "Question", "Unit", "about_simulated", "written"), "question"),
    **dict.fromkeys(("cost_column", "plain_names"), "views"),
    **dict.fromkeys(
        ("QUESTION_SUFFIX", "check_statement", "read_question", "shipped_questions"), "question_files"
    ),
    **dict.fromkeys(("FoundDecision", "FoundErasure", "FoundOutcome"), "finding"),
    **dict.fromkeys(("Followed", "InFlight", "TailFilter"), "tailing"),
    **dict.fromkeys(("Outcome", "RecordedOutcomes"), "outcomes"),
    **dict.fromkeys(("outcome_value", "read_outcomes"), "outcome_files"),
    **dict.fromkeys(("Difference", "SelfReport"), "replay.again"),
    **dict.fromkeys(("Consequence", "Consequences", "Measured"), "replay.consequences"),
    **dict.fromkeys(("Baseline", "Estimate", "Finding", "Interval", "Metric"), "replay.estimates"),
    "Came": "replay.groups",
    "parse_assumption": "replay.assumptions",
    "Example": "replay.examples",
    **dict.fromkeys(("Judged", "parse_check"), "replay.checks"),
    **dict.fromkeys(
        ("Alone", "Move", "NamedPolicy", "NotDecided", "PlanChange", "ReplayReport", "RuleHits"),
        "replay.report",
    ),
    "Selection": "replay.selecting",
    **dict.fromkeys(("Erased", "ToErase"), "erasing"),
    **dict.fromkeys(("Pruned", "first_of_month", "months_ago"), "pruning"),
    "ImportReport": "importing.run",
    "read_mapping": "importing.mapping",
    **dict.fromkeys(("Imported", "check_import"), "importing.importer"),
    **dict.fromkeys(("JudgedCanary", "canary_condition", "canary_without_ledger"), "canaries"),
    "read_checkpoint": "checkpoints",
    **dict.fromkeys(("Checkpoint", "SignedCheckpoint"), "proof.checkpoint"),
    "key_of": "proof.keys",
    **dict.fromkeys(("PublicKey", "SignatureType", "parse_public_key"), "proof.note"),
    **dict.fromkeys(("Receipt", "check_receipt", "read_receipt"), "receipts"),
    **dict.fromkeys(("NEWEST", "Verification"), "verifying"),
    **dict.fromkeys(("cosign", "witness_request"), "witnessing"),
    "Ledger": "store",
    "Snapshot": "snapshot",
    "remove_spilled": "connection",
    **dict.fromkeys(("BINARY_FORMS", "FileForm", "form_of"), "exporting"),
    "LedgerWriter": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
