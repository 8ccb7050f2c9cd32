"""Every key of a policy with every kind of wrong value: one problem, in an author's words, at its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ruamel.yaml import YAML
from support.policy_texts import WHOLE, problems_of
from support.sizes import WRONG_VALUES

from routewright.engine.report.problems import render_problem

Path = tuple[str | int, ...]

WRONG: dict[str, Any] = {
    "true": True,
    "5": 5,
    "-1": -1,
    "huge": 10**25,
    "1.5": 1.5,
    "text": "zz zz",
    "empty": "",
    "long": "z" * 300,
    "list": ["zz zz"],
    "empty list": [],
}

# Words of the libraries below, of Python, and of regular expressions; and what does not say what would be right.
FOREIGN = re.compile(
    r"cannot be `|pydantic|[Ii]nput should|[Vv]alue error|\bNone\b|\bint\b|\bstr\b|\bdict\b|\bbool\b|\^\[|\{0,"
)


_PLAIN = json.dumps(YAML(typ="safe", pure=True).load(WHOLE))


def load() -> Any:
    return json.loads(_PLAIN)


def paths(node: Any, above: Path = ()) -> Iterator[Path]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, child in items:
        yield (*above, step)
        yield from paths(child, (*above, step))


def changed(values: Mapping[Path, Any]) -> str:
    """The policy as JSON, which is YAML too, one value to a line; each path leads to its value."""
    tree = load()
    for path, value in values.items():
        node = tree
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = value
    return json.dumps(tree, indent=1, ensure_ascii=False)


def test_the_policy_with_every_key_has_no_problem() -> None:
    assert problems_of(WHOLE) == ()
    assert problems_of(json.dumps(load(), indent=1)) == ()


# One key of a kind is enough, and what a policy says of names has tests of its own.
SECTIONS = {step for path in paths(load()) for step in path[:1]}


@pytest.mark.parametrize("section", sorted(map(str, SECTIONS)))
def test_a_wrong_value_is_one_problem_in_an_authors_words(section: str) -> None:
    seen: set[Path] = set()
    for path in paths(load()):
        # A name that others refer to, when it is valid and another, leaves them without what they refer to.
        if path[0] != section or path[-1] in ("name", "aliases"):
            continue
        key = tuple("*" if isinstance(step, int) else step for step in path)
        if key in seen:
            continue
        # Some of the values for each key, the next for the next: reading a file takes its time.
        begin = WRONG_VALUES * len(seen)
        labels = [list(WRONG)[(begin + number) % len(WRONG)] for number in range(WRONG_VALUES)]
        seen.add(key)
        for label in labels:
            value = WRONG[label]
            text = changed({path: value})
            problems = problems_of(text)
            where = (path, label, [problem.message for problem in problems])
            assert len(problems) <= 1 or _means_more(path, label), where
            lines = text.splitlines()
            for problem in problems:
                assert not FOREIGN.search(problem.message + (problem.help or "")), where
                assert problem.line is not None and problem.column is not None, where
                line = lines[problem.line - 1]
                secret = path[-1] == "api_key" and isinstance(value, str)
                assert problem.source_line == (None if secret else line), where
                assert 1 <= problem.column <= len(line) + 1, where
                assert problem.message[0] == "`" or problem.message[0].islower(), where
                assert not problem.message.endswith("."), where


def _means_more(path: Path, label: str) -> bool:
    """Whether the value fits its key and takes away, or brings in, what other keys are about."""
    return path[-1] in ("use", "members", "enum", "minimum", "maximum", "needs", "capabilities", "ch") or (
        isinstance(path[-1], int) and path[-2] in ("use", "members", "enum", "capabilities", "ch")
    )


def test_a_key_that_stands_in_the_file_is_not_repeated() -> None:
    for key in ("sk-proj-hunter2", "HUNTER2HUNTER2", "${HUNTER2", "hunter2_x"):
        text = changed({("catalog", "backends", "ollama", "api_key"): key})
        (problem,) = problems_of(text)
        assert "hunter2" not in f"{problem}{render_problem(problem)}".lower()
        assert problem.message.endswith(", and never the key itself")


def test_an_empty_key_is_one_problem() -> None:
    """Keys that do not hide one another are empty at once, and each is reported."""
    seen: set[Path] = set()
    groups: list[list[Path]] = []
    for path in paths(load()):
        # The same key in another rule or model is no other case.
        if path[-2:] in seen:
            continue
        seen.add(path[-2:])
        for group in groups:
            if not any(_meet(path, other) for other in group):
                group.append(path)
                break
        else:
            groups.append([path])
    for group in groups:
        text = changed(dict.fromkeys(group))
        problems = problems_of(text)
        empty = [number for number, line in enumerate(text.splitlines(), 1) if "null" in line]
        assert len(empty) == len(group)
        assert [(problem.line, problem.code) for problem in problems] == [
            (line, "empty-value") for line in empty
        ], group


def _meet(one: Path, other: Path) -> bool:
    """Whether an empty key hides another: it is beside that, or beside what that is in."""
    above = min(len(one), len(other)) - 1
    return one[:above] == other[:above]
