"""Binds features in SQL, for many recorded tasks at once, and says what tells tasks apart under a policy."""

from __future__ import annotations

from .bindings import Bindings, GivenColumn, TaskColumns, sql_of_bindings
from .choosing import own_models, points, precedes
from .classes import compared_models, key_parts, models_in_plans, models_of_rule, plan_models, rule_sql
from .keys import RULE, KeyPart, condition_column, feature_column, quota_column, require_column
from .lengths import length_columns, request_columns

__all__ = [
    "RULE",
    "Bindings",
    "GivenColumn",
    "KeyPart",
    "TaskColumns",
    "compared_models",
    "condition_column",
    "feature_column",
    "key_parts",
    "length_columns",
    "models_in_plans",
    "models_of_rule",
    "own_models",
    "plan_models",
    "points",
    "precedes",
    "quota_column",
    "request_columns",
    "require_column",
    "rule_sql",
    "sql_of_bindings",
]
