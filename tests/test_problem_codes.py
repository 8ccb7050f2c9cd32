"""The page about what goes wrong lists the code of every problem that the code can report, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from support.pages import ROOT

_CODE = re.compile(r"[a-z]+(-[a-z]+)+")


def codes() -> Iterator[str]:
    """What looks like a code, and is the first argument of a call or the first part of a tuple."""
    for folder in ("engine", "src/routewright/loading"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case (
                        ast.Call(args=[ast.Constant(value=str(text)), *_])
                        | ast.Tuple(elts=[ast.Constant(value=str(text)), *_])
                    ) if _CODE.fullmatch(text):
                        yield text


def test_every_code_is_explained_once() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `([a-z-]+)` \| .+ \|$", page.split("\n## Codes\n")[1], re.MULTILINE)
    assert sorted(explained) == sorted(set(codes()))
