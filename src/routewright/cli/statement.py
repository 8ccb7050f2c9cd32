"""Reads a statement and the values of its parameters as people give them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from routewright.engine.report import TaskError

_STDIN: Final = "-"
_MOST_BYTES: Final = 4_000_000
"""A statement of that many bytes is refused for its length."""

_PARAM: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<typed>:?)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Statement:
    """A statement, and the name that it is reported under."""

    sql: str
    source: str


def statement_of(argument: str | None, file: Path | None) -> Statement:
    """The statement in an argument, in a file, or in what is piped in.

    A byte that is no UTF-8 becomes half of a surrogate pair, which the ledger refuses at its place. Raises TaskError
    where there is no statement, or more than one, or where it cannot be read.
    """
    if argument is not None and file is not None:
        raise TaskError("the statement is given twice: as an argument and by --file")
    if file is None and argument not in (None, _STDIN):
        return Statement(str(argument), "sql")
    if file is None and argument is None and (sys.stdin is None or sys.stdin.isatty()):
        raise TaskError("there is no statement", help="give it as an argument, by --file, or through a pipe")
    if file is None or str(file) == _STDIN:
        if sys.stdin is None:
            raise TaskError("standard input is closed")
        return Statement(_decoded(sys.stdin.buffer.read(_MOST_BYTES)), "standard input")
    try:
        with file.open("rb") as opened:
            return Statement(_decoded(opened.read(_MOST_BYTES)), str(file))
    except OSError as error:
        raise TaskError(f"cannot read `{file}`: {(error.strerror or str(error)).lower()}") from None


def values_of(given: Sequence[str]) -> dict[str, object]:
    """The values of ``NAME=TEXT`` and ``NAME:=JSON``, by name. Raises TaskError for anything else."""
    values: dict[str, object] = {}
    for one in given:
        match = _PARAM.fullmatch(one)
        if match is None:
            raise TaskError(
                f"`{one}` is no value for a parameter",
                help="write NAME=TEXT, or NAME:=JSON for a number, true, false, null or a list",
            )
        name, value = match["name"], match["value"]
        if name.lower() in map(str.lower, values):
            raise TaskError(f"the parameter `${name}` has two values")
        values[name] = _json(name, value) if match["typed"] else value
    return values


def _json(name: str, text: str) -> object:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise TaskError(
            f"the value of `${name}` is no JSON: `{text}`", help=f"for text, write {name}={text}"
        ) from None


def _decoded(content: bytes) -> str:
    return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
