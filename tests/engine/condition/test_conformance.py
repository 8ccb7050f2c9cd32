"""CEL's own conformance cases: each passes, or differs for a reason that the docs give and count."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from routewright.engine.condition import UNKNOWN, evaluate
from routewright.engine.condition.syntax.lexer import tokenize
from routewright.engine.report.errors import ConditionError, FeatureError

ROOT = Path(__file__).resolve().parents[3]
CASES = ROOT.parent / "shared" / "conformance" / "cel"
DOCS = ROOT / "docs" / "conditions.md"

pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason="CEL's conformance cases are not beside the repository"
)


def load_cases() -> list[dict[str, Any]]:
    files = sorted(CASES.glob("*.json"))
    return [case for file in files for case in json.loads(file.read_text(encoding="utf-8"))]


def outcome(case: dict[str, Any]) -> object:
    """The value, UNKNOWN, or the code of our error."""
    try:
        return evaluate(case["expr"], case["bindings"])
    except ConditionError as error:
        return error.problems[0].code
    except FeatureError:
        return "feature"


def passes(case: dict[str, Any], got: object) -> bool:
    kind, expected = case["expect"]
    if kind == "error":
        return got is UNKNOWN or isinstance(got, str)
    wanted = tuple(expected) if isinstance(expected, list) else expected
    # The type counts: 1, 1.0 and True are equal in Python.
    return got is not UNKNOWN and got == wanted and type(got) is type(wanted)


def divergence(case: dict[str, Any], got: object) -> str | None:
    """The class of a case that does not pass, told by its expression and what became of it."""
    tokens = {token.text for token in tokenize(case["expr"]) if token.kind in {"op", "name"}}
    divides_by_zero = re.search(r"/\s*0\.0", case["expr"]) is not None
    for name, holds in (
        ("maps", "{" in tokens and got == "no-maps"),
        ("null", "null" in tokens and got in {"no-null", "no-maps"}),
        ("not-finite", divides_by_zero and got is UNKNOWN),
        ("mixed-types", got == "type-mismatch"),
        ("operand-types", got == "not-boolean" and bool({"&&", "||"} & tokens)),
    ):
        if holds:
            return name
    return None


def test_every_case_passes_or_differs_for_a_documented_reason() -> None:
    cases = load_cases()
    counts: Counter[str] = Counter()
    unexplained = []
    for case in cases:
        got = outcome(case)
        if passes(case, got):
            counts["passed"] += 1
        elif name := divergence(case, got):
            counts[name] += 1
        else:
            unexplained.append((case["section"], case["name"], case["expr"], case["expect"], got))
    assert unexplained == []

    text = DOCS.read_text(encoding="utf-8")
    documented = {name: int(count) for name, count in re.findall(r"^\| ([a-z-]+) \| (\d+) \|", text, re.M)}
    total, passed = map(int, re.findall(r"Of (\d+) of its cases[^,]*(?:,[^,]*)*?, (\d+) pass", text)[0])
    assert documented | {"passed": passed} == dict(counts)
    assert total == len(cases)
