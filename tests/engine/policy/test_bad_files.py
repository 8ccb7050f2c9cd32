"""Each file in ``bad/`` holds mistakes; below each line stands what is reported of it, at its place.

A comment of the form ``# ^^^ code: message | help`` says: the text above the carets is underlined, with that
message and help. The comments are taken out before the file is read.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.policy_texts import problems_of

from routewright.engine.policy import Policy, parse_yaml
from routewright.engine.policy.shapes.keys import keys_at

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))

EXPECTED = re.compile(r"#( *)(\^+) ")


def annotated(text: str, source: str) -> str:
    """The policy in ``text``, with what is reported of it below each line."""
    problems = problems_of(text, source)
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        lines.append(line)
        for problem in problems:
            if problem.line == number:
                assert problem.column is not None and problem.column > 1
                # Which keys there are is told by the shapes; a new one need not be written into these files.
                help = re.sub(r"known: .*", "known: …", f" | {problem.help}" if problem.help else "")
                marks = " " * (problem.column - 2) + "^" * problem.width
                lines.append(f"#{marks} {problem.code}: {problem.message}{help}")
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_mistakes_are_reported_as_the_file_says(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    without = "".join(line for line in lines if not EXPECTED.match(line))
    assert annotated(without, path.name) == text


def test_a_misspelt_key_hides_no_mistake_in_its_value() -> None:
    tried: set[str] = set()
    for file in BAD:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        text = "".join(line for line in lines if not EXPECTED.match(line))
        told, document = problems_of(text, file.name), parse_yaml(text, file.name)
        # How much work a policy is, is asked of whole ones alone.
        for problem in (one for one in told if one.code != "too-much-work"):
            for length in range(1, len(problem.path)):
                *above, key = problem.path[:length]
                if not isinstance(key, str) or key in tried or key not in keys_at(Policy, tuple(above)):
                    continue
                tried.add(key)
                end = document.node_at(problem.path[:length]).key_end
                found = {(one.code, one.message) for one in problems_of(text[:end] + key[-1] + text[end:])}
                new = found - {(one.code, one.message) for one in told}
                assert new == {("unknown-key", f"unknown key `{key}{key[-1]}`")}, (file.name, key)
                inside = (one for one in told if one.path[:length] == (*above, key) != one.path)
                assert {(one.code, one.message) for one in inside} <= found, (file.name, key)
    assert len(tried) > 30


def test_every_code_of_the_compiler_is_in_some_file() -> None:
    told = "".join(path.read_text(encoding="utf-8") for path in BAD)
    folder = Path(problems_of.__code__.co_filename).parents[2] / "engine" / "policy"
    codes: set[str] = set()
    for module in folder.rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        codes |= set(re.findall(r'(?:\.add|Problem|_problem)\(\s*"([a-z-]+)"', text))
    assert len(codes) > 25
    # In test_yaml.py, test_two_files.py and test_loading_candidates.py: they end the reading, or need two files.
    # In test_work_limits.py: they need very large files. In test_place_notes.py, test_limit_notes.py,
    # test_step_notes.py, test_quota_notes.py and test_key_notes.py: they are no mistakes.
    elsewhere = {
        "address-to-listen-at",
        "bounded-condition",
        "bounded-values",
        "location-unknown",
        "never-loaded",
        "nobody-to-ask",
        "same-quota",
        "same-salt",
        "sensitive-key",
        "empty-file",
        "file-too-large",
        "foreign-file",
        "missing-catalog",
        "nested-rollout",
        "narrower-candidate",
        "not-a-mapping",
        "second-document",
        "too-deep",
        "too-many-candidates",
        "too-many-nodes",
        "too-many-parts",
        "too-many-patterns",
        "unknown-anchor",
        "yaml-syntax",
    }
    assert sorted(code for code in codes - elsewhere if f" {code}: " not in told) == []
