"""Policies and catalogs: YAML with places, shapes, compiled values, digests.

    text → Document (source) → Policy, Catalog (shapes, reading) → CompiledPolicy (compile)

Reads no files.
"""

from __future__ import annotations

from .changes import (
    PolicyChanges,
    amount_of,
    limit_of,
    new_price,
    scaled_price,
    with_changes,
    with_limit,
)
from .compile.budget import largest, most_gated, sizes_by_name
from .compile.catalog import compile_catalog_file
from .compile.names import names_of_models
from .compile.policy import compile_policy
from .compile.rollout import UnfitCandidate
from .compile.testfile import read_tests
from .compiled import (
    Candidate,
    CompiledCatalog,
    CompiledConstraint,
    CompiledEnsemble,
    CompiledFeature,
    CompiledModel,
    CompiledPolicy,
    CompiledRollout,
    CompiledRule,
    CompiledSplit,
    CompiledStep,
    FeatureSource,
    Quota,
    TaskCost,
    TaskLimits,
)
from .default_limits import DEFAULT_DEADLINE_MS, DEFAULT_TIMEOUTS, DefaultWait, default_timeouts
from .kept import per_policy
from .limits import MAX_SEARCH_WORK
from .locality import MAY_FORWARD, Location, Server, client_address, is_loopback, is_this_machine, judge
from .notes import key_notes, limit_notes, place_notes, quota_notes, step_notes
from .promises import (
    PROMISE_KINDS,
    Promise,
    by_kind,
    called_otherwise,
    compare_promises,
    differences_text,
    other_models,
)
from .quantities import MAX_EXACT, MoneyAmount, nano_units, parse_duration_ms
from .reading.read import (
    FileKind,
    Source,
    kind_of,
    read_catalog,
    read_policy,
    read_shape,
    unreadable_catalog,
)
from .reading.shape_problems import place_problem, shape_problems
from .shapes import kinds
from .shapes.base import FeatureName, FormatVersion, Operation, Shape, Text, check_unbroken
from .shapes.catalog import Catalog, Model, UnsupportedParameter
from .shapes.http_parts import HttpWay
from .shapes.json_schema import SCHEMAS, json_schema
from .shapes.kinds import Backend, FolderBackend, ServerBackend
from .shapes.policy import CanaryCondition, Control, Policy
from .shapes.steps import STEPS, Role
from .shapes.testfile import CaseModelState, CaseState, CaseTask, TestFile
from .shapes.tokenizers import Encoding, encoding_for
from .source.document import Path
from .source.nodes import MAX_FILE_BYTES, parse_yaml
from .variables import variables_in, with_variables
from .waits import default_waits, waits_by_default

__all__ = [
    "DEFAULT_DEADLINE_MS",
    "DEFAULT_TIMEOUTS",
    "MAX_EXACT",
    "MAX_FILE_BYTES",
    "MAX_SEARCH_WORK",
    "MAY_FORWARD",
    "PROMISE_KINDS",
    "SCHEMAS",
    "STEPS",
    "Backend",
    "CanaryCondition",
    "Candidate",
    "CaseModelState",
    "CaseState",
    "CaseTask",
    "Catalog",
    "CompiledCatalog",
    "CompiledConstraint",
    "CompiledEnsemble",
    "CompiledFeature",
    "CompiledModel",
    "CompiledPolicy",
    "CompiledRollout",
    "CompiledRule",
    "CompiledSplit",
    "CompiledStep",
    "Control",
    "DefaultWait",
    "Encoding",
    "FeatureName",
    "FeatureSource",
    "FileKind",
    "FolderBackend",
    "FormatVersion",
    "HttpWay",
    "Location",
    "Model",
    "MoneyAmount",
    "Operation",
    "Path",
    "Policy",
    "PolicyChanges",
    "Promise",
    "Quota",
    "Role",
    "Server",
    "ServerBackend",
    "Shape",
    "Source",
    "TaskCost",
    "TaskLimits",
    "TestFile",
    "Text",
    "UnfitCandidate",
    "UnsupportedParameter",
    "amount_of",
    "by_kind",
    "called_otherwise",
    "check_unbroken",
    "client_address",
    "compare_promises",
    "compile_catalog_file",
    "compile_policy",
    "default_timeouts",
    "default_waits",
    "differences_text",
    "encoding_for",
    "is_loopback",
    "is_this_machine",
    "json_schema",
    "judge",
    "key_notes",
    "kind_of",
    "kinds",
    "largest",
    "limit_notes",
    "limit_of",
    "most_gated",
    "names_of_models",
    "nano_units",
    "new_price",
    "other_models",
    "parse_duration_ms",
    "parse_yaml",
    "per_policy",
    "place_notes",
    "place_problem",
    "quota_notes",
    "read_catalog",
    "read_policy",
    "read_shape",
    "read_tests",
    "scaled_price",
    "shape_problems",
    "sizes_by_name",
    "step_notes",
    "unreadable_catalog",
    "variables_in",
    "waits_by_default",
    "with_changes",
    "with_limit",
    "with_variables",
]
