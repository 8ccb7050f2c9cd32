"""Tasks and states as people write them (flags, JSON lines, YAML samples) in, tasks and states out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import BaseModel, Field, ValidationError

from routewright.engine.condition import BOOLEAN, INTEGER, NUMBER, STRING, ListType, Type
from routewright.engine.decision import ModelState, RequestFacts, State, Task
from routewright.engine.policy import (
    CaseState,
    CaseTask,
    CompiledPolicy,
    MoneyAmount,
    Quota,
    Shape,
    nano_units,
    parse_yaml,
    shape_problems,
)
from routewright.engine.report import FeatureError, PolicyError, TaskError, suggest

S = TypeVar("S", bound=BaseModel)

_EXAMPLES = {
    "task": 'one JSON object such as {"features": {"complexity": 0.9}}',
    "state": 'one JSON object such as {"load": 0.5, "models": {"glm-4.5": {"breaker": "open"}}}',
}

_COUNTED = {"requests": "requests", "tokens": "tokens", "concurrent": "calls at once"}


class Sample(CaseTask):
    """A task with what is needed to execute it."""

    name: str | None = None
    prompt: str | None = None
    documents: list[str] = Field(default_factory=list)


class Samples(Shape):
    """A file of sample tasks."""

    tasks: list[Sample] = Field(min_length=1)


def task_from(shape: CaseTask) -> Task:
    """The task that a shape describes."""
    return Task(
        features=dict(shape.features),
        operation=shape.operation,
        request=RequestFacts(
            prompt_tokens=shape.prompt_tokens,
            max_output_tokens=shape.max_output_tokens,
            messages=shape.messages,
            images=shape.images,
            tools=shape.tools,
            json_schema=shape.json_schema,
            metadata=dict(shape.metadata),
        ),
        pin=shape.pin,
        draw=shape.draw,
    )


def state_from(shape: CaseState, policy: CompiledPolicy, *, at_us: int) -> State:
    """The state that a shape describes; ``at_us`` is the time where the shape has none.

    Raises TaskError for a model or control that neither the policy nor the candidate of its rollout has, and for use
    in another unit.
    """
    candidate = None if policy.rollout is None else policy.rollout.candidate
    policies = [policy] if candidate is None else [policy, candidate]
    models = {}
    for name, known in shape.models.items():
        latency = None if known.latency_ms is None else float(known.latency_ms)
        for id in _models_named(name, policies):
            models[id] = ModelState(
                known.health,
                known.breaker,
                latency,
                None if known.breaker_until is None else parse_time(known.breaker_until),
                known.breaker_after,
            )
    # Of a control that both have, the use is counted under the name: the policy in force says in which unit.
    quotas = {quota.name: quota for one in reversed(policies) for quota in one.quotas}
    used = {}
    for name, amount in shape.quota_used.items():
        if name not in quotas:
            raise TaskError(
                f"the state names an unknown quota `{name}`", help=suggest(name, quotas, label="quotas")
            )
        used[name] = _used(quotas[name], amount)
    session_model = shape.session_model
    if session_model is not None:
        session_model = _models_named(session_model, policies)[0]
    at_us = parse_time(shape.at) if shape.at else at_us
    return State(at_us, shape.load, models, used, session_model)


def _models_named(name: str, policies: Sequence[CompiledPolicy]) -> list[str]:
    """The id that a name stands for in each policy that knows it. Raises TaskError where none does."""
    found = [model.id for policy in policies if (model := policy.catalog.find(name)) is not None]
    if not found:
        hint = policies[0].catalog.hint(name)
        raise TaskError(f"the state names an unknown model `{name}`", help=hint)
    return found


def _used(quota: Quota, amount: int | float | MoneyAmount) -> int:
    """An amount in the quota's unit; money in nano-units. Raises TaskError for one of another unit."""
    if quota.unit == "cost":
        if not isinstance(amount, MoneyAmount):
            return nano_units(amount)
        if amount.currency != quota.currency:
            message = f"quota `{quota.name}` is counted in {quota.currency}, not in {amount.currency}"
            raise TaskError(message, help="nothing is ever converted")
        return amount.nano
    if isinstance(amount, MoneyAmount):
        raise TaskError(f"quota `{quota.name}` is counted in {_COUNTED[quota.unit]}, not in money")
    if amount != int(amount) or amount < 0:
        raise TaskError(f"quota `{quota.name}` is counted in whole {_COUNTED[quota.unit]}, not `{amount}`")
    return int(amount)


def parse_task(text: str) -> Sample:
    """The task in a JSON object. Raises TaskError with all that is wrong with it."""
    return _parse(text, Sample, "task")


def parse_state(text: str) -> CaseState:
    """The state in a JSON object. Raises TaskError with all that is wrong with it."""
    return _parse(text, CaseState, "state")


def parse_time(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time; without a zone it is taken as UTC. Raises TaskError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise TaskError(f"`{text}` is not a time", help="such as 2026-01-31T12:00:00Z") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    # Whole microseconds: a float of seconds would lose the last ones.
    at_us = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if at_us < 0:
        raise TaskError(f"`{text}` is before 1970", help="ids and records hold times from 1970 on")
    return at_us


_BOOLEANS: Final = {
    "true": "true",
    "yes": "true",
    "on": "true",
    "false": "false",
    "no": "false",
    "off": "false",
}
"""What people write for true and false, in any case."""


def features_from_flags(flags: Iterable[str], policy: CompiledPolicy | None = None) -> dict[str, object]:
    """The features in flags such as ``complexity=0.9``, each read as its declaration says.

    Without a policy or a declaration, a value is read as JSON if it is valid JSON, otherwise as text. ``null`` is
    None, except for features of text, where it is that word. Raises FeatureError for a flag without ``=``, one given
    twice, or a value that cannot be read.
    """
    candidate = None if policy is None or policy.rollout is None else policy.rollout.candidate
    features: dict[str, object] = {}
    for flag in flags:
        name, equals, text = flag.partition("=")
        name = name.strip()
        if not equals or not name:
            raise FeatureError(
                f"`{flag}` does not give a feature a value",
                feature=flag,
                help=f"write {name or 'name'}={text or 'value'}",
            )
        if name in features:
            raise FeatureError(f"feature `{name}` is given twice", feature=name)
        known = [one for one in (policy, candidate) if one is not None and name in one.slots]
        type = known[0].features[known[0].slots[name]].declaration.type if known else None
        features[name] = _read(name, text, type)
    return features


def _read(name: str, text: str, type: Type | None) -> object:
    if type == STRING:
        return text
    # Only an array of text can have `null` as its single element.
    is_json = text.lstrip().startswith("[") or (text == "null" and type != ListType(STRING))
    if isinstance(type, ListType) and not is_json:
        return [_read(name, part.strip(), type.element) for part in text.split(",")] if text else []
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        if type is None:
            return text
        expected = {BOOLEAN: "true or false", INTEGER: "a whole number", NUMBER: "a number"}
        what = expected.get(type, f"an {type}")  # type: ignore[arg-type]  # arrays are not among the keys
        meant = _BOOLEANS.get(text.lower()) if type == BOOLEAN else None
        help = None if meant is None else f"write {name}={meant}"
        raise FeatureError(
            f"feature `{name}`: expected {what}, got `{text}`", feature=name, help=help
        ) from None
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _parse(text: str, shape: type[S], what: str) -> S:
    try:
        values: Any = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except _Repeated as error:
        raise TaskError(f"the {what} has the key `{error}` twice") from None
    except (ValueError, RecursionError) as error:
        where = ""
        if isinstance(error, json.JSONDecodeError):
            where = f" at column {error.colno}" if error.lineno == 1 else f" at line {error.lineno}"
        raise TaskError(f"the {what} is not JSON{where}", help=_EXAMPLES[what]) from None
    if not isinstance(values, Mapping):
        raise TaskError(f"the {what} is not a JSON object", help=_EXAMPLES[what])
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise _unfit(error, text, shape) from None


def _unfit(error: ValidationError, text: str, shape: type[BaseModel]) -> TaskError:
    """What is wrong with a JSON object, in the words that YAML files get: YAML includes nearly all of JSON."""
    try:
        problems = shape_problems(error, parse_yaml(text, ""), shape)
    except PolicyError:
        path = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        return TaskError(f"`{path}` does not fit")
    helps = [problem.help for problem in problems if problem.help]
    return TaskError("; ".join(problem.message for problem in problems), help="; ".join(helps) or None)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise _Repeated(name)
        values[name] = value
    return values


class _Repeated(Exception):
    """A JSON object has a key twice: one of its values would be ignored in silence."""
