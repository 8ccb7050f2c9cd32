"""Makes problems, with places and hints, of pydantic's complaints about a file's shape.

One mistake gives one problem: where a key takes several kinds of value, pydantic reports each kind that did
not fit; here they become one message, in an author's words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError

from ...report import MAX_PROBLEMS, Problem, closest, suggest
from ..labels import chain_help, joined, owner, quoted, value_name
from ..shapes import kinds
from ..shapes.keys import keys_at, takers
from ..shapes.steps import STEPS
from ..source.document import Document, Node, Path
from .wrong_values import KINDS_OF_VALUES, form_help, is_about_key, key_help, kind_help, kinds_text, unfit

_CONDITION_KEYS = frozenset(("when", "require", "never", "always", "for", "every"))

_VARIABLE = re.compile(r"\$?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)")
"""A text that is surely a variable name without its braces, not a key."""

_GLUED = re.compile(r"([A-Za-z_]+):([^\s:/].*)")
"""A key and its value without the blank between them, which YAML reads as a key."""

_MEANT: Mapping[str, Collection[str]] = {
    "when": ("if", "condition", "expression"),
    "host": ("base_url", "url", "endpoint", "api_base"),
    "use": ("model", "models", "target", "targets", "then"),
    "backend": ("provider", "server"),
    "tag": ("name", "id", "model", "model_name", "model_id"),
    "cache_ttl": ("ttl", "cache"),
    "max_requests": ("limit", "quota", "budget"),
    "context_length": ("window", "context_window", "max_context"),
    "max_output_tokens": ("max_tokens", "max_output"),
    "max_attempts": ("retries", "max_retries"),
    "timeouts": ("timeout", "request_timeout"),
    "price": ("cost", "pricing"),
    "keep_alive": ("unload_after", "idle_timeout"),
    "memory_gb": ("memory", "vram", "vram_gb", "max_memory"),
    "steps": STEPS,
}
"""What keys of other tools, and keys that stand elsewhere here, are called where the key is known."""

_INSTEAD = {
    "memory_pressure": "nothing is done when memory runs short: `memory_gb` of a backend bounds what is loaded",
    "residency": "write `preload: true` to have a model loaded early, and `keep_alive` for how long it stays",
}
"""Keys that mean nothing here, and what does what they are written for."""

_MOST_PLACES = 2
"""Of so many parts that take a key, each is named where it stands elsewhere."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def shape_problems(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """The problems of ``document`` that stand behind ``error``, each with its place; not more than
    ``MAX_PROBLEMS``."""
    hinted: dict[Path, set[str]] = {}
    problems = []
    for path, details in islice(by_place(error, document.root).items(), MAX_PROBLEMS):
        if details[0]["type"] == "extra_forbidden":
            known = keys_at(model, details[0]["loc"][:-1])
            problems.append(_unknown_key(path, known, takers(model, str(path[-1])), document))
            glued = _GLUED.match(str(path[-1]))
            meant = glued[1] if glued else _meant(str(path[-1]), known)
            if meant is not None:
                hinted.setdefault(path[:-1], set()).add(meant)
        elif details[0]["type"] == "missing":
            problems.append(_missing_key(path, document))
        else:
            problems.append(_wrong_value(path, details, document))
    # "needs the key `name`" says nothing new where `nme` beside it was reported with the hint to write `name`.
    return [
        problem
        for problem in problems
        if problem.code != "missing-key" or str(problem.path[-1]) not in hinted.get(problem.path[:-1], ())
    ]


def by_place(error: ValidationError, root: Node) -> dict[Path, list[Mapping[str, Any]]]:
    """Pydantic's complaints by the place that they are about; those of one place are one mistake."""
    found: dict[Path, list[Mapping[str, Any]]] = {}
    for detail in map(_about_kind, error.errors(include_url=False)):
        found.setdefault(_node_path(detail, root), []).append(detail)
    # Another kind of the same union fits better: its own problem, deeper down, is the one that counts.
    above = {path[:length] for path in found for length in range(len(path))}
    return {
        path: details
        for path, details in found.items()
        if path not in above or not all(detail["type"] in KINDS_OF_VALUES for detail in details)
    }


def _about_kind(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    """A complaint about the `kind` of a backend, as pydantic words it for a key that is not told from others by it."""
    if detail["type"] == "union_tag_not_found":
        there = isinstance(detail["input"], Mapping) and "kind" in detail["input"]
        return {**detail, "type": "string_type" if there else "missing", "loc": (*detail["loc"], "kind")}
    if detail["type"] == "union_tag_invalid":
        expected = {"expected": detail["ctx"]["expected_tags"]}
        return {**detail, "type": "literal_error", "loc": (*detail["loc"], "kind"), "ctx": expected}
    return {**detail, "type": "model_type"} if detail["type"] == "model_attributes_type" else detail


def place_problem(problem: Problem, document: Document, *, at_key: bool = False) -> Problem:
    """The problem at the node its ``path`` leads to: at the value, or at the key where there is none."""
    node = document.node_at(problem.path)
    if at_key and node.key_start is not None and node.key_end is not None:
        return document.place(problem, node.key_start, node.key_end)
    end = node.end if not node.children and node.style not in ("|", ">") else node.start + 1
    return document.place(problem, node.start, end)


def _node_path(detail: Mapping[str, Any], root: Node) -> Path:
    """The part of pydantic's location that exists in the file, plus a key that is missing or spelt otherwise."""
    node, path = root, []
    for step in detail["loc"]:
        child = node.children.get(step)
        if child is not None:
            node = child
            path.append(step)
    # JSON writes a character above U+FFFF as two escapes, which YAML reads as two halves, so the key differs there.
    strange = detail["type"] == "extra_forbidden" and path[-1:] != [detail["loc"][-1]]
    if detail["type"] == "missing" or strange:
        path.append(detail["loc"][-1])
    return tuple(path)


def empty_value(path: Path, document: Document) -> Problem:
    """The problem of a key, or an entry of a list, without a value."""
    help = "give it a value, or leave it out"
    if _CONDITION_KEYS.intersection(map(str, path)):
        help = "write a condition; in quotes where it begins with a sign such as `#`, `!` or `*`"
    problem = Problem("empty-value", f"{value_name(path)} is empty", help, path=path)
    return place_problem(problem, document, at_key=True)


def _unknown_key(path: Path, known: Sequence[str], elsewhere: Sequence[str], document: Document) -> Problem:
    """The problem of a key that is none of those ``known`` here; it may be one ``elsewhere``, below other keys."""
    name = str(path[-1])
    meant = _renamed(name, known)
    help: str | None = _INSTEAD.get(name) or suggest(name, known, label="known")
    # A word that many parts take, such as `description`, says nothing of where it was to stand.
    if name not in _INSTEAD and 0 < len(elsewhere) <= _MOST_PLACES:
        help = f"it belongs to {joined([f'`{one}`' for one in elsewhere])}"
    if meant is not None:
        help = f"write `steps: [{{ {name}: … }}]`" if name in STEPS else f"did you mean `{meant}`?"
        if meant == "max_requests":
            help = "such as `max_requests`, `max_tokens`, `max_cost` or `max_concurrent`"
    empty = document.node_at(path).value is None
    above = _empty_above(path, known, document)
    if empty and (glued := _GLUED.match(name)):
        help = f"a blank is missing after the `:`: write `{glued[1]}: {glued[2]}`"
    elif path[-3:-2] == ("backends",) and (taking := kinds.kinds_with(name)):
        kind = document.node_at((*path[:-1], "kind")).value
        help = f"backends of kind {joined([f'`{one}`' for one in taking])} take it, and this one is {quoted(kind)}"
    elif above is not None and closest(name, known) is None:
        help = f"to stand below {quoted(above)}, it has to be indented further"
    elif not _WORD.fullmatch(name) and empty:
        help = "inside `{…}` a comma ends plain text: put the whole text in quotes"
    elif not _WORD.fullmatch(name):
        help = "a `: ` makes a key of the text before it: put the whole text in quotes"
    problem = Problem("unknown-key", f"unknown key {quoted(name)}", help, path=path)
    return place_problem(problem, document, at_key=True)


def _renamed(name: str, known: Sequence[str]) -> str | None:
    return next((meant for meant, others in _MEANT.items() if name in others and meant in known), None)


def misspelt(path: Path, known: Sequence[str], elsewhere: Sequence[str]) -> str | None:
    """The key that the unknown one at ``path`` must mean, as its help says; None where it may mean something else."""
    name = str(path[-1])
    of_another_kind = path[-3:-2] == ("backends",) and bool(kinds.kinds_with(name))
    if name in _INSTEAD or name in STEPS or of_another_kind or not _WORD.fullmatch(name):
        return None
    meant = _renamed(name, known)
    if meant is None and 0 < len(elsewhere) <= _MOST_PLACES:
        return None
    return None if meant == "max_requests" else meant or closest(name, known)


def _meant(name: str, known: Sequence[str]) -> str | None:
    return _renamed(name, known) or closest(name, known)


def _empty_above(path: Path, known: Sequence[str], document: Document) -> str | None:
    """The last key without a value before this one, under which it was perhaps meant to stand."""
    found = None
    for step, node in document.node_at(path[:-1]).children.items():
        if step == path[-1]:
            break
        if step in known and node.value is None and not node.children:
            found = str(step)
    return found


def _missing_key(path: Path, document: Document) -> Problem:
    message = f"{owner(path[:-1], document)} needs the key `{path[-1]}`"
    help = "begin the file with `routewright: 1`" if path == ("routewright",) else None
    return place_problem(Problem("missing-key", message, help, path=path), document, at_key=True)


def _wrong_value(path: Path, details: Sequence[Mapping[str, Any]], document: Document) -> Problem:
    value = document.node_at(path).plain()
    name = value_name(path)
    if value is None:
        return empty_value(path, document)
    if path[-1] == "api_key" and isinstance(value, str):
        return _wrong_key(path, value, document)
    detail = next((d for d in details if d["type"] not in KINDS_OF_VALUES), details[0])
    if detail["type"] in KINDS_OF_VALUES:
        kinds = [KINDS_OF_VALUES[d["type"]] for d in details if d["type"] in KINDS_OF_VALUES]
        message = f"{name} takes {kinds_text(kinds)}, not {quoted(value)}"
        help = kind_help(kinds, value) or form_help(path, kinds, value)
        chains = document.root.children.get("chains")
        if path[-1] == "use" and isinstance(value, str) and chains and value in chains.children:
            help = chain_help(value)
    else:
        if is_about_key(detail):
            name, value = f"a key of {value_name(path[:-1])}", detail["input"]
        message, help = unfit(detail, name, value)
        if is_about_key(detail):
            help = key_help(path)
    problem = Problem("wrong-value", message, help, path=path)
    # A key that does not fit its form is reported where it stands, not at what it leads to.
    return place_problem(problem, document, at_key=is_about_key(detail))


def _wrong_key(path: Path, value: str, document: Document) -> Problem:
    """Message and help for an `api_key` that is not a variable. It may be the key itself, so it is not repeated."""
    wanted = "`api_key` takes an environment variable such as `${OLLAMA_API_KEY}`"
    if (meant := _VARIABLE.fullmatch(value)) is not None:
        message, help = f"{wanted}, not {quoted(value)}", f"write `${{{meant[1]}}}`"
        return place_problem(Problem("wrong-value", message, help, path=path), document)
    message = f"{wanted}, and never the key itself"
    help = "put the key into an environment variable and name the variable here"
    placed = place_problem(Problem("wrong-value", message, help, path=path), document)
    return replace(placed, source_line=None)
