"""Pydantic's complaints about a file's shape in, problems with places and hints out.

One mistake gives one problem: where a key takes several kinds of value, pydantic reports each kind that did
not fit; here they become one message.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ..errors import Problem
from ..suggest import suggest
from .nodes import Document, Node, Path

__all__ = ["node_path", "place_problem", "shape_problems"]

_DID_YOU_MEAN = re.compile("did you mean `([^`]+)`")

_TYPE_WORDS = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "nothing",
}


def shape_problems(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """The problems of ``document`` that stand behind ``error``, each with its place."""
    found: dict[Path, list[Mapping[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        path = node_path(detail, document.root)
        found.setdefault(path, []).append(detail)
    problems = []
    for path, details in found.items():
        if all(detail["type"] in _TYPE_WORDS for detail in details) and _has_deeper(path, found):
            # Another kind of the same union fits better: its own problem, deeper down, is the one to report.
            continue
        problems.append(_problem(path, details, document, model))
    return _without_echoes(problems)


def _without_echoes(problems: list[Problem]) -> list[Problem]:
    """Leave out "needs the key `name`" where `nme` beside it was reported with the hint to write `name`."""
    hinted = {
        (*problem.path[:-1], match[1])
        for problem in problems
        if problem.code == "unknown-key" and (match := _DID_YOU_MEAN.match(problem.help or ""))
    }
    return [p for p in problems if not (p.code == "missing-key" and p.path in hinted)]


def place_problem(problem: Problem, document: Document, *, at_key: bool = False) -> Problem:
    """The problem at the node its ``path`` leads to: at the value, or at the key where there is none."""
    node = document.node_at(problem.path)
    if at_key and node.key_start is not None and node.key_end is not None:
        return document.place(problem, node.key_start, node.key_end)
    end = node.end if not node.children and node.style not in ("|", ">") else node.start + 1
    return document.place(problem, node.start, end)


def node_path(detail: Mapping[str, Any], root: Node) -> Path:
    """The part of pydantic's location that exists in the file, plus a key that is missing or not allowed."""
    node, path = root, []
    for step in detail["loc"]:
        child = node.children.get(step)
        if child is not None:
            node = child
            path.append(step)
    if detail["type"] == "missing":
        path.append(detail["loc"][-1])
    return tuple(path)


def _has_deeper(path: Path, found: Mapping[Path, object]) -> bool:
    return any(len(other) > len(path) and other[: len(path)] == path for other in found)


def _problem(
    path: Path, details: list[Mapping[str, Any]], document: Document, model: type[BaseModel]
) -> Problem:
    first = next((d for d in details if d["type"] not in _TYPE_WORDS), details[0])
    kind, context = first["type"], first.get("ctx", {})
    name = (
        _owner(path[-2:] + ("",)) if path and isinstance(path[-1], int) else path[-1] if path else "the file"
    )
    if kind == "extra_forbidden":
        known = _keys_of(model, path[:-1])
        problem = Problem(
            "unknown-key", f"unknown key `{name}`", suggest(str(name), known, label="known"), path=path
        )
        return place_problem(problem, document, at_key=True)
    if kind == "missing":
        where = f"`{_owner(path)}`" if len(path) > 1 else "the file"
        problem = Problem("missing-key", f"{where} needs the key `{name}`", path=path)
        return place_problem(problem, document, at_key=True)
    value = document.node_at(path).value
    if kind in _TYPE_WORDS:
        expected = " or ".join(
            dict.fromkeys(_TYPE_WORDS[d["type"]] for d in details if d["type"] in _TYPE_WORDS)
        )
        message = f"`{name}` takes {expected}, not {_said(value)}"
    elif kind in ("literal_error", "enum"):
        message = f"`{name}` takes {context.get('expected', '').replace(chr(39), '`')}, not {_said(value)}"
    elif kind == "string_pattern_mismatch":
        message = f"{_said(value)} does not fit `{name}`: expected the form {context.get('pattern')}"
    elif kind == "value_error":
        message = f"`{name}`: {context.get('error')}, not {_said(value)}"
    else:
        message = f"`{name}`: {_lower(first['msg'])}"
    if value is None:
        return place_problem(Problem("wrong-value", f"`{name}` is empty", path=path), document, at_key=True)
    return place_problem(Problem("wrong-value", message, _value_help(kind, value), path=path), document)


def _value_help(kind: str, value: object) -> str | None:
    if kind == "bool_type" and isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
        return "write true or false"
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return "put it in quotes"
    return None


def _owner(path: Path) -> str:
    """The nearest word above a missing key: ``rules[2]`` reads better than ``2``."""
    text = ""
    for step in path[:-1]:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else step)
    return text


def _said(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value)
    return f"`{text[:57]}...`" if len(text) > 60 else f"`{text}`"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")


def _keys_of(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that are allowed at ``path`` below ``model``, by following the annotations."""
    kinds: list[Any] = [model]
    for step in path:
        kinds = [inner for kind in kinds for inner in _below(kind, step)]
    return [
        field.alias or name
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name, field in kind.model_fields.items()
    ]


def _below(kind: Any, step: str | int) -> Iterable[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if (field.alias or name) == step:
                yield from _unwrapped(field.annotation)
    elif get_origin(kind) is list and isinstance(step, int):
        yield from _unwrapped(get_args(kind)[0])
    elif get_origin(kind) is dict and isinstance(step, str):
        yield from _unwrapped(get_args(kind)[1])


def _unwrapped(annotation: Any) -> Iterable[Any]:
    """The members of a union, without ``Annotated``."""
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _unwrapped(member)
    elif hasattr(annotation, "__metadata__"):
        yield from _unwrapped(get_args(annotation)[0])
    else:
        yield annotation
