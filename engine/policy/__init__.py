"""Policies and catalogs: YAML with places, shapes, compiled values, digests.

    text → Document (source) → Policy, Catalog (shapes, reading) → CompiledPolicy (compile)

Reads no files.
"""

from __future__ import annotations

from .compile import (
    UnfitCandidate,
    compile_catalog_file,
    compile_policy,
    largest,
    most_gated,
    names_of_models,
    read_tests,
    sizes_by_name,
    unenforced_of_catalog,
)
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
)
from .kept import per_policy
from .limits import MAX_SEARCH_WORK
from .locality import MAY_FORWARD, Server, client_address, is_loopback, is_this_machine, judge, server_of
from .notes import place_notes
from .quantities import MAX_EXACT, MoneyAmount, nano_units
from .reading import (
    FileKind,
    Source,
    kind_of,
    place_problem,
    read_catalog,
    read_policy,
    shape_problems,
    unreadable_catalog,
)
from .shapes import (
    Backend,
    CaseState,
    CaseTask,
    Catalog,
    Encoding,
    Model,
    Operation,
    Policy,
    Shape,
    TestFile,
    catalog_schema,
    check_unbroken,
    encoding_for,
    policy_schema,
    test_schema,
)
from .source import MAX_FILE_BYTES, Path, parse_yaml

__all__ = [
    "MAX_EXACT",
    "MAX_FILE_BYTES",
    "MAX_SEARCH_WORK",
    "MAY_FORWARD",
    "Backend",
    "Candidate",
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
    "Encoding",
    "FeatureSource",
    "FileKind",
    "Model",
    "MoneyAmount",
    "Operation",
    "Path",
    "Policy",
    "Quota",
    "Server",
    "Shape",
    "Source",
    "TaskCost",
    "TestFile",
    "UnfitCandidate",
    "catalog_schema",
    "check_unbroken",
    "client_address",
    "compile_catalog_file",
    "compile_policy",
    "encoding_for",
    "is_loopback",
    "is_this_machine",
    "judge",
    "kind_of",
    "largest",
    "most_gated",
    "names_of_models",
    "nano_units",
    "parse_yaml",
    "per_policy",
    "place_notes",
    "place_problem",
    "policy_schema",
    "read_catalog",
    "read_policy",
    "read_tests",
    "server_of",
    "shape_problems",
    "sizes_by_name",
    "test_schema",
    "unenforced_of_catalog",
    "unreadable_catalog",
]
