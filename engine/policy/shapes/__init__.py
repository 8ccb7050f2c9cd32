"""The shapes of policy, catalog and test files: which keys exist and what each takes."""

from __future__ import annotations

from .base import Operation, Shape, check_unbroken
from .catalog import Backend, Catalog, Kind, Model
from .json_schema import catalog_schema, policy_schema, test_schema
from .keys import keys_at
from .policy import Assertion, ChainEntry, Constraint, Control, Ensemble, Feature, Policy, Rollout, Rule, Step
from .testfile import CaseState, CaseTask, TestFile
from .tokenizers import Encoding, encoding_for

__all__ = [
    "Assertion",
    "Backend",
    "CaseState",
    "CaseTask",
    "Catalog",
    "ChainEntry",
    "Constraint",
    "Control",
    "Encoding",
    "Ensemble",
    "Feature",
    "Kind",
    "Model",
    "Operation",
    "Policy",
    "Rollout",
    "Rule",
    "Shape",
    "Step",
    "TestFile",
    "catalog_schema",
    "check_unbroken",
    "encoding_for",
    "keys_at",
    "policy_schema",
    "test_schema",
]
