"""The page about what goes wrong lists the code of every problem that the code can report, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from support.pages import ROOT

_CODE = re.compile(r"[a-z]+(-[a-z]+)*")
_REPORTING = re.compile(r"Problem|UnreachableError|.+\.(add|fail|_?problem|wrong)")


def codes() -> Iterator[str]:
    """The first argument of calls that report a problem, and the first part of a tuple that looks like a code."""
    for folder in ("engine/condition", "engine/policy", "engine/report", "ledger", "src/routewright/loading"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func, [ast.Constant(value=str(text)), *_]):
                        if _REPORTING.fullmatch(ast.unparse(func)) and _CODE.fullmatch(text):
                            yield text
                        elif ast.unparse(func).endswith(".unknown"):
                            yield f"unknown-{text}"
                    case ast.Call(func, [_, ast.Constant(value=str(text)), *_]):
                        if ast.unparse(func).endswith(".fail_at"):
                            yield text
                    case ast.Tuple([ast.Constant(value=str(text)), _, *_]):
                        if "-" in text and _CODE.fullmatch(text):
                            yield text


def explained() -> list[str]:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([a-z-]+)` \| .+ \|$", page.split("\n## Codes\n")[1], re.MULTILINE)


def test_every_code_in_the_code_is_explained_once() -> None:
    assert sorted(explained()) == sorted(set(codes()))


def test_every_code_of_the_bad_examples_is_explained() -> None:
    examples = [
        path.read_text(encoding="utf-8") for path in (ROOT / "tests/engine/policy/bad").glob("*.yaml")
    ]
    expected = {code for text in examples for code in re.findall(r"\^ ([a-z-]+): ", text)}
    assert len(expected) > 30
    assert sorted(expected - set(explained())) == []
