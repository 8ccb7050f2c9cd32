"""Lists the packages for docs/architecture.md, each with the first sentence of its docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def rooms() -> Iterator[str]:
    """The lines of the table, folder by folder."""
    yield "| package | what it is for |"
    yield "| --- | --- |"
    for folder in ("engine", "backends", "ledger", "src/routewright"):
        for face in sorted((ROOT / folder).glob("**/__init__.py")):
            said = ast.get_docstring(ast.parse(face.read_text(encoding="utf-8")))
            if said and face.parent.name != "routewright":
                sentence, _, _ = said.replace("\n", " ").partition(". ")
                yield f"| `{face.parent.relative_to(ROOT).as_posix()}` | {sentence.strip().removesuffix('.')} |"
