"""The pages about policies and their tests: tables up to date, examples that hold, traps that are caught."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from key_tables import with_tables
from support.policy_texts import HEAD, problems_of

from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compile.testfile import read_tests
from routewright.engine.policy.reading.read import read_catalog, read_policy

ROOT = Path(__file__).resolve().parents[3]
POLICIES = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
TESTING = (ROOT / "docs" / "testing-policies.md").read_text(encoding="utf-8")


def examples(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("page", [POLICIES, TESTING], ids=["policies", "testing-policies"])
def test_tables_are_up_to_date_and_every_key_is_explained(page: str) -> None:
    assert with_tables(page) == page
    assert [line for line in page.splitlines() if re.fullmatch(r"\| `.*\|  \|", line)] == []


def test_a_mark_without_a_table_is_refused() -> None:
    for page in ("<!-- keys: nothing --><!-- end of keys -->", "<!-- keys: rule -->"):
        with pytest.raises(ValueError, match="unknown or not closed"):
            with_tables(page)


def test_the_policy_on_the_page_compiles_with_the_shipped_catalog() -> None:
    catalog = (ROOT / "policies" / "catalog.yaml").read_text(encoding="utf-8")
    policy = compile_policy(read_policy(examples(POLICIES)[0], "p.yaml"), read_catalog(catalog, "c.yaml"))
    assert [rule.name for rule in policy.rules] == ["mixture_of_experts", "otherwise"]


def test_the_cases_on_the_page_are_a_test_file() -> None:
    assert [case.name for case in read_tests(examples(TESTING)[0], "p.test.yaml").shape.cases] == [
        "private work stays on MLX, with its fallbacks and steps",
        "an open breaker is as good as an absence",
    ]


TRAPS = re.findall(r"^\| (`(?:when|any):.*?) \| [^|]* \| (.*?) \|$", POLICIES, re.MULTILINE)


def test_the_traps_are_found_on_the_page() -> None:
    assert len(TRAPS) == 7


@pytest.mark.parametrize("written", [one for row, _ in TRAPS for one in re.findall(r"`([^`]+)`", row)])
def test_a_trap_is_an_error_whatever_the_features_are(written: str) -> None:
    if written.startswith("any:"):
        written = f"when: {{ {written} }}"
    names = "".join(f"  {name}: {{ type: boolean }}\n" for name in ("private", "x", "y", "a", "b", "c"))
    text = f"{HEAD}{names}  team: {{ type: string }}\nrules:\n  - name: r\n    use: [small]\n    {written}\n"
    assert len(problems_of(text)) == 1


@pytest.mark.parametrize(
    "advice", [one for _, row in TRAPS for one in re.findall(r"`((?:when|any):[^`]+)`", row)]
)
def test_the_advice_against_a_trap_is_right(advice: str) -> None:
    if advice.startswith("any:"):
        advice = f"when: {{ {advice} }}"
    names = "".join(f"  {name}: {{ type: boolean }}\n" for name in ("private", "x", "y"))
    text = f"{HEAD}{names}  team: {{ type: string }}\nrules:\n  - name: r\n    use: [small]\n    {advice}\n"
    assert problems_of(text) == ()
