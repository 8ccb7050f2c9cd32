"""The shapes of policy, catalog and test files: which keys exist and what each takes."""

from __future__ import annotations

from . import kinds
from .base import Operation, Shape, check_unbroken
from .catalog import Catalog, Model
from .json_schema import catalog_schema, policy_schema, test_schema
from .keys import keys_at
from .kinds import Backend, FolderBackend, ServerBackend
from .policy import Assertion, ChainEntry, Constraint, Control, Ensemble, Feature, Policy, Rollout, Rule
from .steps import STEPS, Role, Step
from .testfile import CaseState, CaseTask, TestFile
from .tokenizers import Encoding, encoding_for

__all__ = [
    "STEPS",
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
    "FolderBackend",
    "Model",
    "Operation",
    "Policy",
    "Role",
    "Rollout",
    "Rule",
    "ServerBackend",
    "Shape",
    "Step",
    "TestFile",
    "catalog_schema",
    "check_unbroken",
    "encoding_for",
    "keys_at",
    "kinds",
    "policy_schema",
    "test_schema",
]
