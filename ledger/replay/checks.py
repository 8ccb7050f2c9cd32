"""Judges a report by what a user wants to fail on, such as ``changed>5%``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from routewright.engine.report import TaskError, suggest

_EXPRESSION: Final = re.compile(
    r"\s*(?P<name>[A-Za-z_]+)\s*(?P<sign>[<>]=?)\s*(?P<number>[-+]?(\d+(\.\d*)?|\.\d+))\s*(?P<percent>%?)\s*",
    re.ASCII,
)
_SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


COUNTED: Final[Mapping[str, str]] = {
    "changed": "go elsewhere",
    "other_plan": "keep the target with another plan",
    "no_target": "had a target and have none",
    "not_decided": "could not be decided again",
}
"""What counts decisions, in words: a bound is a number of them, or a share in percent."""

_HELP: Final = "such as `changed>5%`, `no_target>0` or `not_decided>1%`"


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of an expression: whether it failed, and in words what was found.

    ``value`` is what was compared, a share where the bound is one; None where that cannot be judged, which fails.
    """

    expression: str
    failed: bool
    value: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """An expression that a report is to fail on."""

    expression: str
    name: str
    sign: str
    bound: float
    percent: bool

    def judge(self, rows: int, of: int, why_none: str) -> Judged:
        """Whether it holds of ``rows`` of so many decisions. What cannot be judged fails, as ``why_none`` says."""
        if not of:
            return Judged(self.expression, True, None, f"cannot be judged: {why_none}")
        share = rows / of
        value, bound = (share, self.bound / 100) if self.percent else (float(rows), self.bound)
        text = f"{rows:,} of {of:,} {COUNTED[self.name]} ({share * 100:.4g} %)"
        return Judged(self.expression, _SIGNS[self.sign](value, bound), value, text)


def parse_check(expression: str) -> Check:
    """The check that ``expression`` says. Raises TaskError where it says none."""
    found = _EXPRESSION.fullmatch(expression)
    if found is None:
        raise TaskError(f"`{expression}` is nothing to fail on", help=_HELP)
    name = found["name"]
    if name not in COUNTED:
        raise TaskError(f"`{name}` is nothing to fail on", help=suggest(name, COUNTED, label="known"))
    return Check(expression.strip(), name, found["sign"], float(found["number"]), bool(found["percent"]))
