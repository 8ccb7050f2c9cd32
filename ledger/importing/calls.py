"""Makes calls of the rows of a file, as a plan says which column holds which field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

from .rows import FileRow
from .shape import CALL_FIELDS, DECISION_FIELDS, TOKENS, CallField, name
from .values import MOST, Money, Read, measured, text

Get = Callable[[Mapping[str, Any]], Any]
"""Gets a field's value from the values of a row."""

FIELDS: Final = {field.name: field for field in (*DECISION_FIELDS, *CALL_FIELDS)}

_MOST_SHOWN = 60


class Take(NamedTuple):
    """Where a field comes from: ``label`` names the place in the file, ``columns`` what ``get`` looks at."""

    field: CallField
    label: str
    get: Get
    read: Read
    columns: frozenset[str]
    constant: bool = False


class Named(NamedTuple):
    """One of several values by name: a tag, a feature or an outcome."""

    name: str
    label: str
    get: Get
    columns: frozenset[str]


class Several(NamedTuple):
    """Values by name that ``get`` makes of some columns."""

    get: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    columns: frozenset[str]


Group = Sequence[Named] | Several
"""Values by name: each from a place of its own, or all at once."""


@dataclass(frozen=True)
class CallPlan:
    """How one call of a row is made."""

    takes: Sequence[Take]
    outcomes: Group = ()


@dataclass(frozen=True)
class Plan:
    """How the calls of a row are made; what ``takes``, ``tags`` and ``features`` give is the same for all of them."""

    takes: Sequence[Take]
    calls: Sequence[CallPlan]
    tags: Group = ()
    features: Group = ()
    needs_id: bool = True
    """Whether a row without an id is bad; else it is told from others by all its values."""

    def columns(self) -> frozenset[str]:
        """The columns that are looked at."""
        named: list[Take | Named | Several] = [*self.takes]
        groups: list[Group] = [self.tags, self.features]
        for call in self.calls:
            named += call.takes
            groups.append(call.outcomes)
        for group in groups:
            named += [group] if isinstance(group, Several) else group
        return frozenset[str]().union(*(one.columns for one in named))


class RowError(ValueError):
    """A value of a row that cannot be read; the message names its column."""

    def __init__(self, label: str, value: Any, why: object) -> None:
        shown = str(value)
        shown = shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}…"
        super().__init__(f"`{label}` is `{shown}`, and {why}")


Call = dict[str, Any]
"""A call as the tables hold it: the columns of its decision and of itself, and `outcomes`."""


def take(
    field: str, column: str, get: Get | None = None, read: Read | None = None, also: Sequence[str] = ()
) -> Take:
    """A field from a column, or from what ``get`` makes of that and ``also`` others."""
    declared = FIELDS[field]
    found = get or (lambda row: row.get(column))
    return Take(declared, column, found, read or declared.read, frozenset({column, *also}))


def inside(value: Any, *path: str) -> Any:
    """What stands at a path of keys; None where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def constant(field: str, value: Any) -> Take:
    """A field that is the same in every row."""
    return Take(FIELDS[field], field, lambda row: value, FIELDS[field].read, frozenset(), constant=True)


def calls_of(row: FileRow, plan: Plan, import_name: str, money: Money) -> list[Call]:
    """The calls of a row, in the plan's order; one of which the row says nothing is left out. Raises RowError."""
    decision = _taken(plan.takes, row.values, money)
    key = decision.get("source_id")
    if key is None and plan.needs_id:
        label = next(one.label for one in plan.takes if one.field.name == "id")
        raise ValueError(f"`{label}` has no value, and it is the id")
    shared = _digest(b"id", key.encode()) if key is not None else _digest(b"row", _content(row.values))
    decision["decision_id"] = _uuid(import_name.encode(), shared)
    decision["import"] = import_name
    if tags := _tags(plan.tags, row.values):
        decision["tags"] = tags
    if features := _features(plan.features, row.values):
        decision["features"] = features
        decision["feature_sources"] = dict.fromkeys(features, "given")
    found = []
    for index, call in enumerate(plan.calls):
        made = _call(call, row.values, decision, money)
        if made is not None:
            made["call_id"] = _uuid(shared, _call_key(made, index))
            made["place"] = row.place
            found.append(made)
    return found


def _call(plan: CallPlan, values: Mapping[str, Any], decision: Call, money: Money) -> Call | None:
    taken = _taken(plan.takes, values, money)
    outcomes = _outcomes(plan.outcomes, values)
    said = outcomes or any(one.field.column in taken for one in plan.takes if not one.constant)
    if not said:
        return None
    call = {**decision, **taken}
    if outcomes:
        call["outcomes"] = outcomes
    if "at_us" in call:
        call.setdefault("started_at_us", call["at_us"])
    if any(column in taken for column in TOKENS):
        call["tokens_source"] = "reported"
    if "cost_nano" in taken:
        if taken["cost_nano"] and "currency" not in taken:
            label = next(one.label for one in plan.takes if one.field.name == "cost")
            raise RowError(label, values.get(label), "nothing says in which currency")
        call["cost_source"] = "imported"
    if "target" in call:
        call["outcome"] = "routed"
    call["digest"] = _uuid(json.dumps(call, sort_keys=True).encode())
    return call


def _taken(takes: Sequence[Take], values: Mapping[str, Any], money: Money) -> Call:
    """The columns that have a value."""
    found: Call = {}
    for field, label, get, read, _, _ in takes:
        value = values.get(label)
        try:
            value = get(values)
            if value is None:
                continue
            kept = money(value) if field.name == "cost" else read(value)
        except ValueError as error:
            raise RowError(label, value, _why(error)) from None
        if kept is not None:
            found[field.column] = kept
    return found


def _named(group: Group, values: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """The name, the place and the value of each of a group."""
    if isinstance(group, Several):
        try:
            return [(key, key, value) for key, value in group.get(values).items()]
        except ValueError as error:
            label = min(group.columns)
            raise RowError(label, values.get(label), _why(error)) from None
    found = []
    for one in group:
        try:
            found.append((one.name, one.label, one.get(values)))
        except ValueError as error:
            raise RowError(one.label, values.get(one.label), _why(error)) from None
    return found


def _tags(group: Group, values: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for key, label, value in _named(group, values):
        try:
            kept = name(value)
        except ValueError as error:
            raise RowError(label, value, _why(error)) from None
        if kept is not None:
            found[_key(key)] = kept
    return found


def _features(group: Group, values: Mapping[str, Any]) -> dict[str, Any]:
    """Features: booleans, numbers, texts, and lists of them, by name."""
    found = {}
    for key, label, value in _named(group, values):
        if value is None or value == "":
            continue
        try:
            found[_key(key)] = [_scalar(one) for one in value] if isinstance(value, list) else _scalar(value)
        except ValueError as error:
            raise RowError(label, value, _why(error)) from None
    return found


def _scalar(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and "\0" not in value:
        return text(value) or ""
    if isinstance(value, int) and abs(value) <= MOST:
        return value
    if isinstance(value, float | Decimal):
        kept, _ = measured(value)
        return kept
    raise ValueError("a boolean, a number, a text or a list of them was expected")


def _outcomes(group: Group, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for metric, label, value in _named(group, values):
        try:
            number, word = measured(value)
            if number is not None or word is not None:
                found.append({"metric": _key(metric), "value": number, "label": name(word)})
        except ValueError as error:
            raise RowError(label, value, _why(error)) from None
    return found


def _key(key: str) -> str:
    found = name(key)
    if found is None:
        raise ValueError("a name in it is empty")
    return found


def _call_key(call: Call, index: int) -> bytes:
    """What tells a call from others of its request: the source's id of it, else its model and its place in the row."""
    own = call.get("call_id")
    return f"id\0{own}".encode() if own is not None else f"model\0{index}\0{call.get('model_id')}".encode()


def _content(values: Mapping[str, Any]) -> bytes:
    """All values of a row, whatever their order and however they were written."""
    try:
        return json.dumps(values, sort_keys=True, default=str).encode()
    except TypeError:  # keys of another kind than JSON has, in a map of Parquet
        return repr(values).encode()


def _why(error: ValueError) -> str:
    return "it is not UTF-8 text" if isinstance(error, UnicodeError) else str(error)


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"\0".join(parts)).digest()


def _uuid(*parts: bytes) -> str:
    """A UUID of version 8 (RFC 9562) made of the parts: the same for the same parts."""
    text = hashlib.sha256(b"\0".join(parts)).hexdigest()
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-a{text[17:20]}-{text[20:32]}"
