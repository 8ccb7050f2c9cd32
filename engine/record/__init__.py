"""The fields of records: a decision's with its canonical text and reading it back, and an attempt's."""

from __future__ import annotations

from .attempt import Attempt, Intent
from .field import (
    Field,
    Ordinal,
    Shape,
    Uuid,
    columns_of,
    fields_of,
    without_later_fields,
    without_null,
)
from .fields import ArmRecord, CandidateRecord, ChoiceRecord, DecisionRecord, FeatureRecord, PlanRecord, Value
from .reading import read_record
from .record import arm_of, no_decision, record_of, record_values, state_of, task_of
from .text import record_text

__all__ = [
    "ArmRecord",
    "Attempt",
    "CandidateRecord",
    "ChoiceRecord",
    "DecisionRecord",
    "FeatureRecord",
    "Field",
    "Intent",
    "Ordinal",
    "PlanRecord",
    "Shape",
    "Uuid",
    "Value",
    "arm_of",
    "columns_of",
    "fields_of",
    "no_decision",
    "read_record",
    "record_of",
    "record_text",
    "record_values",
    "state_of",
    "task_of",
    "without_later_fields",
    "without_null",
]
