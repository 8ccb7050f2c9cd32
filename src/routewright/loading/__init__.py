"""Reads policies, catalogs, test files and the user's configuration from disk, within what they may reach."""

from __future__ import annotations

from .configuration import (
    ConfigurationError,
    user_key_folder,
    user_ledger_settings,
    user_permissions,
    user_question_folders,
)
from .loading import file_kind, load_catalog, load_policy, load_tests, read_text, shipped
from .mapping import parse_maps
from .other_files import load_prompts, load_samples, routewright_files
from .permissions import Permissions, permission_notes, refusals
from .questions import all_questions, find_question, load_question
from .reach import Root, root_for
from .recorded import recorded_policy

__all__ = [
    "ConfigurationError",
    "Permissions",
    "Root",
    "all_questions",
    "file_kind",
    "find_question",
    "load_catalog",
    "load_policy",
    "load_prompts",
    "load_question",
    "load_samples",
    "load_tests",
    "parse_maps",
    "permission_notes",
    "read_text",
    "recorded_policy",
    "refusals",
    "root_for",
    "routewright_files",
    "shipped",
    "user_key_folder",
    "user_ledger_settings",
    "user_permissions",
    "user_question_folders",
]
