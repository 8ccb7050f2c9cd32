"""Judges a report by what a user wants to fail on, such as ``changed>5%``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from routewright.engine.report import TaskError, suggest

from .consequences import Consequence

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


COUNTED: Final[Mapping[str, tuple[str, str]]] = {
    "changed": ("goes elsewhere", "go elsewhere"),
    "other_plan": ("keeps the target with another plan", "keep the target with another plan"),
    "no_target": ("had a target and has none", "had a target and have none"),
    "not_decided": ("could not be decided again", "could not be decided again"),
}
"""What counts decisions, in words about one and about several: a bound is a number of them, or a share in percent."""

CHANGED: Final[Mapping[str, str]] = {
    "cost": "in percent",
    "latency": "in percent",
    "success": "in points of a percentage",
}
"""Kinds of metrics whose mean is compared with what it was: a bound is a change, such as ``cost>+10%``."""

_EXAMPLES: Final[Mapping[str, str]] = {
    "changed": "changed>5%",
    "other_plan": "other_plan>10%",
    "no_target": "no_target>0",
    "not_decided": "not_decided>1%",
    "cost": "cost>+10%",
    "latency": "latency>+10%",
    "success": "success<-1%",
}

_NEARLY: Final = re.compile(
    r"\s*(?P<name>\w[\w-]*)\s*(?P<sign>[<>=]*)\s*(?P<number>[-+]?(\d+(\.\d*)?|\.\d+))?\s*(?P<rest>.*)",
    re.DOTALL,
)
"""What begins as a bound does, however it goes on."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of an expression: whether it failed, and in words what was found.

    ``value`` is what was compared, a share where the bound is one. It is None for a change from 0, and where that
    cannot be judged, which fails.
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

    def judge_change(self, metrics: Sequence[Consequence], why_none: str) -> Judged:
        """Whether it holds of a change in one of ``metrics``, all of its kind. What is not identified fails, and
        without metrics it fails as ``why_none`` says."""
        if not metrics:
            return self._cannot(why_none)
        judged = [self._of_change(one) for one in metrics]
        return next((one for one in judged if one.failed), judged[0])

    def _of_change(self, metric: Consequence) -> Judged:
        found = metric.after
        if found.verdict == "identified" and (found.change is None or found.logged is None):
            return self._cannot(f"{found.metric.name}: the log does not say what was done before")
        if found.verdict != "identified" or found.change is None or found.logged is None:
            return self._cannot(f"{found.metric.name} ({found.verdict}): {found.reason}")
        value = found.change
        if self.name != "success" and value:
            value = value / found.logged if found.logged else math.inf
        unit = "points" if self.name == "success" else "%"
        text = f"{found.metric.name} changes by {value * 100:+.4g} {unit}, from {found.logged:.4g} to {found.value:.4g}"
        failed = _SIGNS[self.sign](value, self.bound / 100)
        return Judged(self.expression, failed, value if math.isfinite(value) else None, text)

    def _cannot(self, why: str) -> Judged:
        return Judged(self.expression, True, None, f"cannot be judged: {why}")

    def judge(self, rows: int, of: int, why_none: str) -> Judged:
        """Whether it holds of ``rows`` of so many decisions. What cannot be judged fails, as ``why_none`` says."""
        if not of:
            return self._cannot(why_none)
        share = rows / of
        value, bound = (share, self.bound / 100) if self.percent else (float(rows), self.bound)
        text = f"{rows:,} of {of:,} {COUNTED[self.name][rows != 1]} ({share * 100:.4g} %)"
        return Judged(self.expression, _SIGNS[self.sign](value, bound), value, text)


def parse_check(expression: str) -> Check:
    """The check that ``expression`` says. Raises TaskError where it says none."""
    found = _EXPRESSION.fullmatch(expression)
    nearly = _NEARLY.fullmatch(expression)
    if nearly is None:
        raise TaskError(
            f"`{expression}` is not a bound to fail on", help=_expected("changed", "no_target", "cost")
        )
    name = nearly["name"]
    if name not in _EXAMPLES:
        raise TaskError(
            f"`{expression}` is not a bound to fail on: `{name}` is not known",
            help=suggest(name, _EXAMPLES, label="known"),
        )
    if found is None:
        raise TaskError(f"`{expression}` is not a bound to fail on", help=_meant(nearly))
    if name in CHANGED and not found["percent"]:
        raise TaskError(
            f"`{expression}` has no unit: {name} is compared {CHANGED[name]}",
            help=f"write `{expression.strip()}%`",
        )
    return Check(expression.strip(), name, found["sign"], float(found["number"]), bool(found["percent"]))


def _meant(nearly: re.Match[str]) -> str:
    """How a bound is written that is nearly one."""
    name, sign, number, rest = (
        nearly["name"],
        nearly["sign"],
        nearly["number"],
        nearly["rest"].strip().lower(),
    )
    if sign in _SIGNS and number is not None and (rest.startswith("p") or set(rest) == {"%"}):
        return f"write `{name}{sign}{number}%`"
    return _expected(name)


def _expected(*names: str) -> str:
    examples = [f"`{_EXAMPLES[name]}`" for name in names]
    return f"a name, one of {', '.join(_SIGNS)}, and a number, with `%` for a share: {', '.join(examples)}"
