"""Lists the leaves of the sources, JSON texts and a Markdown document, as paths and values. Reads no files.

A path is a tuple of texts, positions in lists included; an empty list or mapping counts as a leaf.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

__all__ = ["Leaf", "Path", "leaves_of_json", "leaves_of_markdown"]

Path = tuple[str, ...]
Leaf = tuple[Path, object]

_FENCE = re.compile(r"^```(\w*)$")
_HEADING = re.compile(r"^#+ (.+)$")
_ITEM = re.compile(r"^\s*(?:-|\d+\.) (.+)$")
_FACT = re.compile(r"^\*\*(.+?)\*\*: ")
_LEAD = re.compile(r"^(?:\*\*(.+?)\*\*|`(.+?)`)")
_MODEL = re.compile(r'model: "([^"]+)"')
_CALL = re.compile(r"\.(hasCapability|getAvailableModels)\('([^']+)'\)")


def leaves_of_json(text: str) -> list[Leaf]:
    """Every leaf of a JSON file, in its order."""
    return list(_flatten((), json.loads(text)))


def leaves_of_markdown(text: str) -> list[Leaf]:
    """Every leaf of the document's JSON blocks, of its other code, and of its lists and facts in prose.

    JSON blocks give the paths of their keys; code gives ``code/HEADING/…``, prose ``prose/HEADING/…``, after
    the nearest heading. An item is called by its bold or quoted beginning, or else by its text.
    """
    leaves: list[Leaf] = []
    heading, language = "", None
    block: list[str] = []
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence and language is None:
            language, block = fence[1], []
        elif fence and language is not None:
            leaves += _leaves_of_block(heading, language, "\n".join(block))
            language = None
        elif language is not None:
            block.append(line)
        elif title := _HEADING.match(line):
            heading = title[1]
        elif (item := _ITEM.match(line)) or _FACT.match(line):
            content = item[1] if item else line
            lead = _LEAD.match(content)
            name = (lead[1] or lead[2]) if lead else content
            leaves.append((("prose", heading, name.rstrip()), content))
    return leaves


def _leaves_of_block(heading: str, language: str, text: str) -> Iterator[Leaf]:
    if language == "json":
        yield from leaves_of_json(text)
    elif language == "bash":
        for line in text.splitlines():
            if line and not line.startswith("#"):
                yield ("code", heading, line), line
    else:
        for number, model in enumerate(_MODEL.findall(text), 1):
            yield ("code", heading, f"model {number}"), model
        for function, argument in _CALL.findall(text):
            yield ("code", heading, function), argument


def _flatten(path: Path, value: object) -> Iterator[Leaf]:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _flatten((*path, key), child)
    elif isinstance(value, list) and value:
        for position, child in enumerate(value):
            yield from _flatten((*path, str(position)), child)
    else:
        yield path, value
