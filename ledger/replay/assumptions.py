"""Reads what a replay is to assume, such as ``glm-4.5=down`` or ``price:kimi-k2-cloud*2``.

    ASSUMPTION  = [ "model:" | "backend:" ] NAME "=" ( "down" | "up" | "retired" )
                | "price:" NAME ( FACTOR | "=" NUMBER "," NUMBER [ CURRENCY ] )
                | "latency:" NAME ( FACTOR | "=" DURATION )
                | "quota:" NAME ( FACTOR | "=" AMOUNT | "used" "=" ( AMOUNT | PERCENT ) )
                | "load" "=" ( NUMBER | PERCENT )
    FACTOR      = ( "*" | "/" ) NUMBER
    NAME        = characters up to "=", "*", a blank, or a "/" that only a number follows
                | '"' characters '"' | "'" characters "'"

Which names there are, and what an amount is, only a policy says (see ``assuming``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, get_args

from routewright.engine.policy import parse_duration_ms
from routewright.engine.report import Problem, suggest

from ..errors import AssumptionError

Subject = Literal["model", "backend", "price", "latency", "quota"]
Status = Literal["down", "up", "retired"]

_MOST: Final = 1_000_000
"""The largest factor and the highest price."""

_NUMBER: Final = r"\d{1,15}(?:\.\d{1,15})?"
_SUBJECT: Final = re.compile(rf"({'|'.join(get_args(Subject))}):")
_NAME: Final = re.compile(rf"\"([^\"]+)\"|'([^']+)'|((?:(?!/{_NUMBER}$)[^\s=*\"'])+)", re.ASCII)
_FACTOR: Final = re.compile(rf"([*/])\s*({_NUMBER})", re.ASCII)
_PRICES: Final = re.compile(rf"({_NUMBER})\s*,\s*({_NUMBER})(?:\s*([A-Z]{{3}}))?", re.ASCII)
_SHARE: Final = re.compile(rf"({_NUMBER})\s*(%?)", re.ASCII)

_FORMS: Final[dict[Subject | Literal["load"] | None, str]] = {
    None: "`NAME=down`, `NAME=up` or `NAME=retired`, of a model or a backend",
    "model": "`model:NAME=down`, `model:NAME=up` or `model:NAME=retired`",
    "backend": "`backend:NAME=down`, `backend:NAME=up` or `backend:NAME=retired`",
    "price": "`price:NAME*2`, `price:NAME/2` or `price:NAME=0.5,2` (prices in and out, per million tokens)",
    "latency": "`latency:NAME*3`, `latency:NAME/2` or `latency:NAME=5s`",
    "quota": "`quota:NAME/2`, `quota:NAME*2`, `quota:NAME=1000`, `quota:NAME used=90%` or `quota:NAME used=50`",
    "load": "`load=0.9` or `load=90%`",
}
"""What may be assumed, as it is written."""


@dataclass(frozen=True, slots=True)
class Times:
    """A multiple of what it would be."""

    factor: Fraction


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices per million tokens; no currency is the one that the model has."""

    input: Fraction
    output: Fraction
    currency: str | None


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency in milliseconds."""

    ms: int


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of a quota as it was written."""

    text: str


@dataclass(frozen=True, slots=True)
class Used:
    """What is used of a quota: a share of its limit, or an amount as it was written."""

    of: Fraction | str


@dataclass(frozen=True, slots=True)
class Load:
    """The load, from 0 to 1."""

    share: float


Change = Status | Times | Prices | Latency | Limit | Used | Load


@dataclass(frozen=True, slots=True)
class Assumption:
    """One thing that is assumed: ``text`` as it was written, of what, and what is assumed of it.

    ``subject`` is None for a name that may be a model's or a backend's. ``name`` is empty for the load.
    """

    text: str
    subject: Subject | None
    name: str
    change: Change
    name_at: tuple[int, int] = (0, 0)
    change_at: int = 0

    def wrong_name(self, message: str, help: str) -> AssumptionError:
        """The error that says what is wrong with the name."""
        return _error(self.text, self.name_at, message, help)

    def wrong_change(self, message: str, help: str | None = None) -> AssumptionError:
        """The error that says what is wrong with what is assumed."""
        return _error(self.text, (self.change_at, len(self.text)), message, help)


def parse_assumption(text: str) -> Assumption:
    """The assumption in a text. Raises AssumptionError with the place of what cannot be read.

    >>> parse_assumption("quota:max_daily_requests/2").change
    Times(factor=Fraction(1, 2))
    """
    text = text.strip()
    found = _SUBJECT.match(text)
    subject: Subject | None = None if found is None else found[1]  # type: ignore[assignment]  # one of its words
    at = 0 if found is None else found.end()
    named = _NAME.match(text, at)
    if named is None:
        message = (
            "expected the end of a name in quotes" if text[at : at + 1] in ("'", '"') else "expected a name"
        )
        raise _error(text, (at, len(text)), message, _FORMS[subject])
    name = named[1] or named[2] or named[3]
    rest = len(text) - len(text[named.end() :].lstrip())
    if subject is None and named[0] == "load":
        return Assumption(text, None, "", _load(text, rest), named.span(), rest)
    change = _change(text, subject, rest)
    return Assumption(text, subject, name, change, named.span(), rest)


def _change(text: str, subject: Subject | None, at: int) -> Change:
    if subject in ("price", "latency", "quota") and (factor := _FACTOR.fullmatch(text, at)) is not None:
        return Times(_factor(text, factor))
    if subject == "quota" and (used := re.compile(r"used\s*=\s*").match(text, at)) is not None:
        return _used(text, used.end())
    value, value_at = _after_equals(text, at, _FORMS[subject])
    if subject == "price":
        prices = _PRICES.fullmatch(value)
        if prices is None or max(Fraction(prices[1]), Fraction(prices[2])) > _MOST:
            message = f"expected the prices in and out per million tokens, up to {_MOST:,}"
            raise _error(text, (value_at, len(text)), message, _FORMS["price"])
        return Prices(Fraction(prices[1]), Fraction(prices[2]), prices[3])
    if subject == "latency":
        try:
            return Latency(parse_duration_ms(value))
        except ValueError as error:
            raise _error(text, (value_at, len(text)), str(error), _FORMS["latency"]) from None
    if subject == "quota":
        return Limit(value)
    for status in get_args(Status):
        if value == status:
            return status  # type: ignore[no-any-return]  # it is one of them
    raise _error(
        text,
        (value_at, len(text)),
        f"`{value}` is nothing that can be assumed of a model or a backend",
        suggest(value, get_args(Status), label="allowed"),
    )


def _factor(text: str, found: re.Match[str]) -> Fraction:
    number = Fraction(found[2])
    if found[1] == "/" and number:
        number = 1 / number
    elif found[1] == "/":
        raise _error(text, found.span(2), "nothing can be divided by 0", None)
    if number > _MOST:
        raise _error(text, found.span(2), f"expected a factor up to {_MOST:,}", None)
    return number


def _used(text: str, at: int) -> Used:
    share = _SHARE.fullmatch(text, at)
    if share is not None and share[2]:
        return Used(Fraction(share[1]) / 100)
    if at == len(text):
        raise _error(text, (at, at), "expected an amount or a percentage", _FORMS["quota"])
    return Used(text[at:])


def _load(text: str, at: int) -> Load:
    value, value_at = _after_equals(
        text, at, f'{_FORMS["load"]}; a model of this name is written `"load"=down`'
    )
    found = _SHARE.fullmatch(value)
    share = None if found is None else Fraction(found[1]) / (100 if found[2] else 1)
    if share is None or share > 1:
        help = f'{_FORMS["load"]}; a model of this name is written `"load"=down`'
        raise _error(text, (value_at, len(text)), "expected a load from 0 to 1", help)
    return Load(float(share))


def _after_equals(text: str, at: int, help: str) -> tuple[str, int]:
    """What comes after ``=``, and where."""
    if text[at : at + 1] != "=":
        raise _error(text, (at, len(text)), "expected what is assumed of it", help)
    value = text[at + 1 :].lstrip()
    if not value:
        raise _error(text, (len(text), len(text)), "expected a value after `=`", help)
    return value, len(text) - len(value)


def _error(text: str, place: tuple[int, int], message: str, help: str | None) -> AssumptionError:
    start, end = place
    problem = Problem(
        "bad-assumption", message, help, column=start + 1, source_line=text, width=max(1, end - start)
    )
    return AssumptionError(text, problem)
