"""The decision record: its shape, its canonical text, and reading it back."""

from __future__ import annotations

from .fields import ArmRecord, CandidateRecord, ChoiceRecord, DecisionRecord, FeatureRecord
from .reading import read_record
from .record import arm_of, record_of, record_values, state_of, task_of
from .text import record_text

__all__ = [
    "ArmRecord",
    "CandidateRecord",
    "ChoiceRecord",
    "DecisionRecord",
    "FeatureRecord",
    "arm_of",
    "read_record",
    "record_of",
    "record_text",
    "record_values",
    "state_of",
    "task_of",
]
