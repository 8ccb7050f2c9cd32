"""Shows one decision of the ledger: what was recorded, what came of it, and why it was decided so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from routewright.backends.executing import Attempt
from routewright.engine.explain import Explanation, explain, explanation_tree, explanation_values, record_tree
from routewright.engine.record import DecisionRecord, Record
from routewright.engine.report import ProblemsError, RecordError, iso_time, money_text
from routewright.ledger import FoundDecision, FoundErasure, FoundOutcome
from routewright.loading import recorded_policy

from .opened import ledger_at, print_notices
from .writer import writer

ATTEMPT_HEADER: Final = ("call", "role", "model", "backend", "status", "took", "tokens in", "out", "cost")
OUTCOME_HEADER: Final = ("outcome", "value", "of", "source")


def show_decision(id: str | None, path: Path | None, format: Literal["text", "json"]) -> None:
    """Print all that the ledger has of a decision, and its explanation, which is computed again."""
    with ledger_at(path, create=False) as opened:
        found = opened.find(id)
    told = explained(found)
    if format == "json":
        writer.json_value(_values(found, told))
    else:
        _print(found, told)
    print_notices(opened)


@dataclass(frozen=True, slots=True)
class Told:
    """A decision's record and explanation, or why there is none."""

    record: Record | None = None
    explanation: Explanation | None = None
    missing: str | None = None


def explained(found: FoundDecision) -> Told:
    """Why a decision came out as it did, computed again; or why that cannot be said."""
    record = None
    try:
        record = found.record
        return Told(record, explain(recorded_policy(found), record))
    except ProblemsError as error:
        first = error.problems[0]
        return Told(record, missing=f"this version cannot compile the policy that decided: {first.message}")
    except RecordError as error:
        return Told(record, missing=str(error))


def _print(found: FoundDecision, told: Told) -> None:
    for name, value in _facts(found, told.record):
        writer.text(f"{name.ljust(8)}  {value}")
    writer.text()
    if found.attempts:
        rows = [attempt_row(one, is_answer=one.number == found.answered_attempt) for one in found.attempts]
        writer.table(ATTEMPT_HEADER, rows)
    else:
        writer.text("nothing was called")
    writer.text()
    if found.outcomes:
        writer.table(OUTCOME_HEADER, list(map(outcome_row, found.outcomes)))
        writer.text()
    if told.explanation is not None:
        writer.tree(explanation_tree(told.explanation))
    elif isinstance(told.record, DecisionRecord):
        writer.tree(record_tree(told.record))
    else:
        writer.lines(found.text)
    if told.missing is not None:
        writer.text()
        writer.text(f"not explained: {told.missing}")


def _facts(found: FoundDecision, record: Record | None) -> Sequence[tuple[str, str]]:
    facts = [
        ("decision", found.decision_id),
        ("time", "" if record is None else iso_time(record.at_us)),
        ("policy", "" if record is None else f"{record.policy.name} {record.policy.digest}"),
        ("mode", found.mode if found.mode != "exploit" else ""),
        ("shadow", "" if found.shadow_of is None else f"of {found.shadow_of}"),
        ("session", found.session_id or ""),
        ("trace", found.trace_id or ""),
        ("tags", ", ".join(f"{name}={value}" for name, value in found.tags.items())),
        *(("erased", _erasure(one)) for one in found.erasures),
    ]
    return [(name, value) for name, value in facts if value]


def _erasure(one: FoundErasure) -> str:
    return f"{', '.join(one.places)} on {iso_time(one.at_us)[:10]}" + (
        f": {one.reason}" if one.reason else ""
    )


def attempt_row(attempt: Attempt, *, is_answer: bool = False) -> list[str]:
    """The cells of an attempt, under ``ATTEMPT_HEADER``."""
    came = attempt.error_class or attempt.reason
    status = f"{attempt.status}{f': {came}' if came else ''}{', simulated' if attempt.simulated else ''}"
    if is_answer:
        status += ", the answer"
    return [
        str(attempt.number),
        attempt.role,
        attempt.model_id,
        attempt.backend_id,
        status,
        "unknown" if attempt.total_us is None else f"{attempt.total_us / 1000:.0f} ms",
        "" if attempt.input_tokens is None else str(attempt.input_tokens),
        "" if attempt.output_tokens is None else str(attempt.output_tokens),
        "unknown"
        if attempt.cost_nano is None
        else f"{money_text(attempt.cost_nano)} {attempt.currency or ''}".rstrip(),
    ]


def outcome_row(outcome: FoundOutcome) -> list[str]:
    """The cells of an outcome, under ``OUTCOME_HEADER``."""
    of = "" if outcome.attempt is None else f"call {outcome.attempt}"
    value = outcome.label if outcome.value is None else f"{outcome.value:g}"
    return [outcome.metric, value or "", of or outcome.model_id or "", outcome.source]


def _values(found: FoundDecision, told: Told) -> dict[str, Any]:
    explanation = None if told.explanation is None else explanation_values(told.explanation)
    if explanation is not None:
        del explanation["record"]
    return {
        "decision_id": found.decision_id,
        "mode": found.mode,
        "tags": dict(found.tags),
        "session_id": found.session_id,
        "trace_id": found.trace_id,
        "deciding_ns": found.deciding_ns,
        "shadow_of": found.shadow_of,
        "answered_attempt": found.answered_attempt,
        "record": None if told.record is None else told.record.model_dump(mode="json"),
        "record_digest": found.record_digest,
        "attempts": [attempt._asdict() for attempt in found.attempts],
        "outcomes": [outcome._asdict() for outcome in found.outcomes],
        "erasures": [erasure._asdict() for erasure in found.erasures],
        "explanation": explanation,
        "explanation_missing": told.missing,
    }
