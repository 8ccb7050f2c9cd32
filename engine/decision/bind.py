"""Binds a task's features: gives each feature of a policy its value and the source of that value; and works out what
is known of the request.

Given values are checked against their declarations; missing ones are derived from the request or the time, else
defaulted; the rest are unknown (None). A value given as None stays unknown.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, cast

from ..condition import (
    BOOLEAN,
    INTEGER,
    LARGEST,
    NUMBER,
    STRING,
    UNKNOWN,
    Sizes,
    ValueRefused,
    check_value,
    infer_declarations,
)
from ..policy import MAX_EXACT, CompiledFeature, CompiledPolicy, FeatureSource, per_policy
from ..report import EPOCH, FeatureError, suggest
from .task import NO_REQUEST, RequestFacts, Source, State, Task

Check = Callable[[object], object]


class Bound(NamedTuple):
    """The values, their sources, the features given that the policy does not declare, sorted by name, and whether a
    declared one has no value though a task or its request gave one: null, or one that the declaration does not allow.
    """

    values: list[Any]
    sources: list[Source]
    ignored: Mapping[str, object]
    nulls: bool


class Binder:
    """Binds tasks to one policy. Made once for a policy; holds nothing of any task."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self._checks: Mapping[str, tuple[int, Check]] = {
            feature.name: (slot, _check_of(feature, policy.sizes))
            for slot, feature in enumerate(policy.features)
        }
        self._defaults = [feature.default for feature in policy.features]
        self._sources: list[Source] = [
            "unknown" if feature.default is None else "default" for feature in policy.features
        ]
        derived = [
            (slot, f.derived, self._checks[f.name][1], f.refuses_other)
            for slot, f in enumerate(policy.features)
            if f.derived is not None
        ]
        self._timed = [one for one in derived if one[1].zone is not None]
        self._requested = [one for one in derived if one[1].zone is None]

    def bind(self, task: Task, state: State, *, strict: bool) -> Bound:
        """Raises FeatureError for a value that does not fit, and in strict use for an undeclared feature."""
        values = self._defaults.copy()
        sources = self._sources.copy()
        ignored: dict[str, object] = {}
        nulls = False
        checks = self._checks
        for name, value in task.features.items():
            found = checks.get(name)
            if found is None:
                ignored[name] = self._undeclared(name, value, strict=strict)
                continue
            slot, check = found
            sources[slot] = "given"
            if value is None or value is UNKNOWN:
                # A value that the caller says is unknown gets no default: the default might open a gate.
                values[slot] = None
                nulls = True
                continue
            values[slot] = check(value)
        if task.request is not NO_REQUEST:
            for slot, derived, check, refuses in self._requested:
                if sources[slot] != "given":
                    value = _requested(derived, task.request)
                    if value is not None:
                        sources[slot] = "derived"
                        values[slot] = bound = check(value) if refuses else _allowed(value, check)
                        nulls = nulls or bound is None
        for slot, derived, check, refuses in self._timed:
            if sources[slot] != "given":
                value = _timed(derived, state.at_us)
                sources[slot] = "derived"
                values[slot] = bound = check(value) if refuses else _allowed(value, check)
                nulls = nulls or bound is None
        # Sorted, as a record read back is: what is explained from it must not depend on the order given.
        return Bound(values, sources, dict(sorted(ignored.items())) if len(ignored) > 1 else ignored, nulls)

    def _undeclared(self, name: str, value: object, *, strict: bool) -> object:
        try:
            check_value(name, STRING)
        except ValueRefused as error:
            message = f"a feature's name: {error}"
            raise FeatureError(message, feature=ascii(name), help=error.help) from None
        if strict:
            message = f"unknown feature `{name}`"
            raise FeatureError(message, feature=name, help=suggest(name, self._checks))
        return _storable(name, value)


def _allowed(value: object, check: Check) -> object:
    """A derived value; None where the declaration does not allow it, as whoever wrote it may not know the policy."""
    try:
        return check(value)
    except FeatureError:
        return None


binder_of = per_policy(Binder)
"""The policy's binder."""


def request_facts(
    policy: CompiledPolicy, task: Task, values: Sequence[Any], sources: Sequence[Source]
) -> RequestFacts:
    """The request's own facts, and those that given features state in its stead.

    A feature with ``from: request.…`` speaks for the request: a task that gives it has said how long its prompt is,
    or that it holds images. Where request and feature differ, the larger counts: a gate must not be opened by
    saying less. A default is an assumption and says nothing of the request.
    """
    request = task.request
    said: dict[str, Any] = {}
    for slot, fact in policy.stated:
        value = values[slot]
        # A feature given as null says nothing about the request, which may still have the value.
        if sources[slot] == "given" and value is not None:
            if fact == "json_schema":
                said[fact] = value or bool(said.get(fact, request.json_schema))
            else:
                whole = value if type(value) is int else min(math.ceil(value), MAX_EXACT)
                known = said.get(fact, getattr(request, fact)) or 0
                if fact == "prompt_tokens" and whole >= known:
                    # What was counted or estimated is no more than that: the caller's word counts.
                    said |= {"prompt_tokens_source": "stated", "tokenizer": None}
                said[fact] = max(known, whole)
    if not said:
        return request
    # All at once: `replace` takes several times as long, and some policies have such a feature in every task.
    return RequestFacts(
        said.get("prompt_tokens", request.prompt_tokens),
        request.max_output_tokens,
        request.messages,
        said.get("images", request.images),
        said.get("tools", request.tools),
        said.get("json_schema", request.json_schema),
        request.metadata,
        said.get("prompt_tokens_source", request.prompt_tokens_source),
        said.get("tokenizer", request.tokenizer),
    )


def time_facts(at_us: int) -> tuple[int, int]:
    """The hour (0-23) and the weekday (1-7, Monday is 1) of a time in microseconds since 1970, UTC."""
    hours = at_us // 3_600_000_000
    # 1 January 1970 was a Thursday.
    return hours % 24, (hours // 24 + 3) % 7 + 1


def _check_of(feature: CompiledFeature, sizes: Sizes) -> Check:
    """The check of one feature's values; the commonest ones pass without a call to ``check_value``.

    ``sizes`` limits values to what the policy's conditions can handle; those with an ``enum`` are short anyway.
    """
    check = _careful_check(feature, sizes)
    kind, enum = feature.declaration.type, feature.declaration.enum
    low, high = feature.minimum, feature.maximum
    if kind == STRING and enum is not None:
        plain = frozenset(enum)
        return lambda value: value if type(value) is str and value in plain else check(value)
    if enum is not None:
        return check
    if kind == BOOLEAN:
        return lambda value: value if value is True or value is False else check(value)
    if kind == INTEGER:
        least = -MAX_EXACT if low is None else max(-MAX_EXACT, low)
        most = MAX_EXACT if high is None else min(MAX_EXACT, high)
        return lambda value: value if type(value) is int and least <= value <= most else check(value)
    if kind == NUMBER:
        least = -sys.float_info.max if low is None else low
        most = sys.float_info.max if high is None else high
        # NaN and infinities lie outside; -0.0 + 0.0 is 0.0.
        return lambda value: value + 0.0 if type(value) is float and least <= value <= most else check(value)
    return check


def _careful_check(feature: CompiledFeature, sizes: Sizes) -> Check:
    declaration, name = feature.declaration, feature.name
    low, high = feature.minimum, feature.maximum
    is_bounded = sizes != LARGEST

    def check(value: object) -> object:
        try:
            checked = check_value(value, declaration)
        except ValueRefused as error:
            raise FeatureError(f"feature `{name}`: {error}", feature=name, help=error.help) from None
        if is_bounded and (declaration.enum is None or isinstance(checked, tuple)):
            _check_sizes(name, checked, sizes)
        for element in checked if isinstance(checked, tuple) else (checked,):
            if low is not None and cast(float, element) < low:
                raise FeatureError(f"feature `{name}`: {element} is below the minimum {low}", feature=name)
            if high is not None and cast(float, element) > high:
                raise FeatureError(f"feature `{name}`: {element} is above the maximum {high}", feature=name)
        return checked

    return check


def _check_sizes(name: str, value: object, sizes: Sizes) -> None:
    """Refuse a value that would make the policy's conditions too much work, before any of it is done."""
    help = "the policy's conditions would take too long on longer values: send less, or simplify them"
    elements, characters = 0, len(value) if isinstance(value, str) else 0
    if isinstance(value, tuple):
        elements, characters = len(value), sum(len(one) for one in value if isinstance(one, str))
    counted = (("characters", characters, sizes.characters), ("elements", elements, sizes.elements))
    for unit, count, most in counted:
        if count > most:
            message = f"feature `{name}`: {count:,} {unit} are more than {most:,}"
            raise FeatureError(message, feature=name, help=help)


def _requested(derived: FeatureSource, request: RequestFacts) -> object:
    if derived.fact == "metadata":
        return request.metadata.get(derived.key or "")
    return cast(object, getattr(request, derived.fact))


def _timed(derived: FeatureSource, at_us: int) -> int:
    at = (EPOCH + timedelta(microseconds=at_us)).astimezone(derived.zone)
    return at.hour if derived.fact == "hour" else at.isoweekday()


def _storable(name: str, value: object) -> object:
    """An undeclared value as the record can hold it; what JSON cannot say is refused here, not there."""
    if value is None or value is UNKNOWN:
        return None
    try:
        return _as_json_reads(check_value(value, infer_declarations({name: value})[name]))
    except ValueRefused as error:
        raise FeatureError(f"feature `{name}`: {error}", feature=name, help=error.help) from None


def _as_json_reads(value: object) -> object:
    """The value as it comes back from JSON, which has one number where Python has 1 and 1.0."""
    if isinstance(value, tuple):
        return tuple(map(_as_json_reads, value))
    whole = isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT
    return int(cast(float, value)) if whole else value
