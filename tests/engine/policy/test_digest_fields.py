"""Every field counts in a digest unless it is listed as left out: asked of each class, and of each key in turn.

The keys are those of the shapes and the classes those of the compiled values, so that a key or a field that is added
is asked as well. Where no value that is tried fits a key, the test fails and wants one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from support.policy_texts import WHOLE

from routewright.engine.condition.check.typed import CheckedExpr
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledCatalog, CompiledPolicy
from routewright.engine.policy.digest import (
    LEFT_OUT,
    RESOLVED,
    digest_of_catalog,
    digest_of_policy,
    not_hashed,
)
from routewright.engine.policy.reading.read import Source
from routewright.engine.policy.shapes.base import Shape
from routewright.engine.policy.shapes.catalog import Catalog, Model
from routewright.engine.policy.shapes.kinds import MlxShape, OllamaShape, OpenAIShape
from routewright.engine.policy.shapes.policy import Ensemble, Feature, Policy, Rollout
from routewright.engine.policy.source.nodes import parse_yaml
from routewright.engine.report.errors import PolicyError

Place = tuple[str | int, ...]

_READ = YAML(typ="safe", pure=True)

OTHER = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends:
    mlx: { kind: mlx }
    ollama: { kind: ollama }
    server: { kind: openai, host: "http://127.0.0.1:8080/v1" }
  models:
    a: { backend: ollama, capabilities: [vision, tools], operations: [chat, embed], price: { input: 1, output: 2 } }
    b: { backend: ollama }
    c: { backend: server }
features:
  x: { type: boolean, needs: vision }
  l: { type: array, items: string }
rules:
  - { name: r1, use: [a, b] }
rollout: { candidate: f.yaml, mode: shadow }
"""
"""Has room for values that do not fit beside all that the whole policy has."""

BASES: list[dict[str, Any]] = [_READ.load(WHOLE), _READ.load(OTHER)]

MEANS_NOTHING: set[tuple[type[Shape], str]] = {
    (Feature, "unit"),
    (Rollout, "candidate"),
    (MlxShape, "path"),
    (OllamaShape, "api_key"),
    (OpenAIShape, "api_key"),
    (Model, "path"),
}
"""The keys that change no digest, beside every ``description``. By name: a key more that the tables leave out is wrong
until somebody writes it here too."""

ONE_VALUE: set[tuple[type[Shape], str]] = {(Policy, "routewright"), (Catalog, "routewright")}

TOGETHER: Mapping[tuple[type[Shape], str], Mapping[str, Any]] = {
    (Ensemble, "combine"): {"combine": "first", "label": None, "judge": None, "override": None},
}
"""Keys that no other value fits while the keys beside them stay; None takes one out."""

_FITS = 4
"""Values that fit are tried for each place: the first may be one that means nothing, inside a larger value."""

_TEXTS = (
    *(
        "other",
        "a",
        "b",
        "c",
        "n",
        "x",
        "l",
        "both",
        "!x",
        "n > 7",
        "(b)",
        "7s",
        "6 USD",
        "6%",
        "${OTHER}",
        "none",
    ),
    *(
        "http://localhost:9999",
        "http://localhost:8080/well",
        "2026-02-02",
        "1.9",
        "EUR",
        "31B",
        "5m",
        "Europe/Berlin",
        "request.messages",
        "q2",
    ),
    *("ollama", "tools"),
)


# --- the shapes ---------------------------------------------------------------------------------------------


def shapes_in(value: Any, annotation: Any, place: Place) -> Iterator[tuple[type[Shape], Place]]:
    """Each shape that is written in plain values, and its place."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Shape) and isinstance(value, dict):
            yield kind, place
            for name, field in kind.model_fields.items():
                key = field.alias or name
                if key in value:
                    yield from shapes_in(value[key], field.annotation, (*place, key))
    if get_origin(annotation) is list and isinstance(value, list):
        for number, item in enumerate(value):
            yield from shapes_in(item, get_args(annotation)[0], (*place, number))
    elif get_origin(annotation) is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from shapes_in(item, get_args(annotation)[1], (*place, key))
    else:
        for part in get_args(annotation):
            if get_args(part):
                yield from shapes_in(value, part, place)


PLACES: dict[type[Shape], list[tuple[int, Place]]] = {}
for _number, _base in enumerate(BASES):
    for _kind, _place in shapes_in(_base, Policy, ()):
        if (_number, _place) not in PLACES.setdefault(_kind, []):
            PLACES[_kind].append((_number, _place))

KEYS = [(kind, name) for kind in PLACES for name in kind.model_fields if (kind, name) not in ONE_VALUE]


def every_shape(kind: type[BaseModel]) -> set[type[BaseModel]]:
    """The shapes that a shape may hold, itself included."""
    found = {kind}
    todo: list[Any] = [field.annotation for field in kind.model_fields.values()]
    while todo:
        one = todo.pop()
        todo += get_args(one)
        if isinstance(one, type) and issubclass(one, Shape) and one not in found:
            found.add(one)
            todo += [field.annotation for field in one.model_fields.values()]
    return found


def others(value: Any, annotation: Any) -> Iterator[Any]:
    """Values that may stand in the place of ``value``; most fit some keys alone."""
    words = _words(annotation)
    yield from words
    if isinstance(value, list) or value is None:
        yield from ([word] for word in words)
    if isinstance(value, bool) or value is None:
        yield from (not value, False)
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from (value + 1, value - 1, value / 2)
    if value is None:
        yield from (3, 0.5)
    if isinstance(value, str) or value is None:
        yield from (text for text in _TEXTS if text != value)
        yield from ([text] for text in _TEXTS)
    if isinstance(value, list):
        yield value[:-1]
        yield value[::-1]
        yield from ([*value, text] for text in _TEXTS)
        for number, item in enumerate(value):
            yield from ([*value[:number], other, *value[number + 1 :]] for other in others(item, Any))
    if isinstance(value, dict):
        for key, item in reversed(value.items()):
            yield from ({**value, key: other} for other in others(item, Any))


def _words(annotation: Any) -> tuple[Any, ...]:
    found = get_args(annotation) if get_origin(annotation) is Literal else ()
    return (*found, *(word for part in get_args(annotation) for word in _words(part)))


def put_at(tree: Any, place: Place, change: Mapping[str, Any]) -> Any:
    """The tree with other keys at ``place``."""
    if not place:
        return {
            key: value for key, value in {**tree, **change}.items() if value is not None or key not in change
        }
    if isinstance(tree, list):
        number = place[0]
        return [put_at(one, place[1:], change) if at == number else one for at, one in enumerate(tree)]
    return {**tree, place[0]: put_at(tree[place[0]], place[1:], change)}


DOCUMENTS = [parse_yaml(text, "p.yaml") for text in (WHOLE, OTHER)]


def compiled_like(number: int, values: dict[str, Any]) -> CompiledPolicy:
    """The policy of plain values that are nearly those of a base: only problems would need their own places."""
    return compile_policy(Source(Policy.model_validate(values), DOCUMENTS[number]))


BASE_DIGESTS = [compiled_like(number, values).digest for number, values in enumerate(BASES)]


def digests_with_another(kind: type[Shape], name: str) -> Iterator[tuple[str, str]]:
    """Digests of policies like a base but for one key of one ``kind``, each beside the base's."""
    field = kind.model_fields[name]
    key = field.alias or name
    default = field.get_default(call_default_factory=True)
    for number, place in PLACES[kind]:
        node: Any = BASES[number]
        for step in place:
            node = node[step]
        now = node.get(key, None if isinstance(default, BaseModel) else default)
        changes = (
            [TOGETHER[kind, name]]
            if (kind, name) in TOGETHER
            else ({key: v} for v in others(now, field.annotation))
        )
        fits = 0
        for change in changes:
            if (type(change[key]), change[key]) == (type(now), now):
                continue
            try:
                yield BASE_DIGESTS[number], compiled_like(number, put_at(BASES[number], place, change)).digest
            except (ValidationError, PolicyError):
                continue
            fits += 1
            if fits == _FITS:
                break


def test_the_policies_that_are_changed_have_every_shape() -> None:
    assert set(PLACES) == every_shape(Policy)


def test_what_means_nothing_is_a_key() -> None:
    assert all(name in kind.model_fields for kind, name in MEANS_NOTHING | ONE_VALUE)


@pytest.mark.parametrize(("kind", "name"), KEYS, ids=[f"{kind.__name__}.{name}" for kind, name in KEYS])
def test_every_key_changes_the_digest_unless_it_means_nothing(kind: type[Shape], name: str) -> None:
    found = digests_with_another(kind, name)
    if name == "description" or (kind, name) in MEANS_NOTHING:
        same = [other == digest for digest, other in found]
        assert same and all(same)
    else:
        # The first that differs is enough: compiling more takes its time.
        assert any(other != digest for digest, other in found), "if no value fits, name one in `_TEXTS`"


# --- the compiled values ------------------------------------------------------------------------------------


def objects_in(value: Any) -> Iterator[Any]:
    """Every value with fields of its own that is compiled into a policy."""
    if isinstance(value, CheckedExpr):
        return
    if is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in fields(value):
            if field.name not in not_hashed(type(value)):
                yield from objects_in(getattr(value, field.name))
    elif isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from objects_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from objects_in(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from objects_in(part)


def put_in(value: Any, old: Any, new: Any) -> Any:
    """``value`` with the object ``old`` replaced wherever it stands."""
    if value is old:
        return new
    if isinstance(value, CheckedExpr):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        counted = [field.name for field in fields(value) if field.name not in not_hashed(type(value))]
        return replace(value, **{name: put_in(getattr(value, name), old, new) for name in counted})
    if isinstance(value, BaseModel):
        parts = {name: put_in(getattr(value, name), old, new) for name in type(value).model_fields}
        return value.model_copy(update=parts)
    if isinstance(value, Mapping):
        return {key: put_in(part, old, new) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(put_in(part, old, new) for part in value)
    return value


WHOLE_POLICY = compiled_like(0, BASES[0])
ONE_OF_EACH = {type(value): value for value in objects_in(WHOLE_POLICY)}

FIELDS = [
    (kind, name)
    for kind in ONE_OF_EACH
    for name in ([field.name for field in fields(kind)] if is_dataclass(kind) else kind.model_fields)
]


def test_the_compiled_classes_are_all_there() -> None:
    from routewright.engine.policy import compiled as module

    declared = {
        one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__
    }
    assert declared <= set(ONE_OF_EACH)


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind.__name__}.{name}" for kind, name in FIELDS])
def test_every_field_is_asked_for_unless_it_is_left_out(kind: type, name: str) -> None:
    """A value of no known kind is refused where it counts, and not even looked at where it is left out."""
    old = ONE_OF_EACH[kind]
    strange = {name: object()}
    new = old.model_copy(update=strange) if isinstance(old, BaseModel) else replace(old, **strange)
    policy = put_in(WHOLE_POLICY, old, new)

    def digests() -> tuple[str, str]:
        return digest_of_policy(policy), digest_of_catalog(policy.catalog)

    if (kind, name) == (CompiledCatalog, "digest"):
        # By it a policy's digest covers the catalog.
        assert digest_of_catalog(policy.catalog) == WHOLE_POLICY.catalog.digest
    elif name in not_hashed(kind):
        assert digests() == (WHOLE_POLICY.digest, WHOLE_POLICY.catalog.digest)
    else:
        with pytest.raises((TypeError, AttributeError)):
            digests()


def test_the_tables_name_fields_that_exist_with_a_reason_for_each() -> None:
    for table in (LEFT_OUT, RESOLVED):
        for kind, names in table.items():
            known = {field.name for field in fields(kind)} if is_dataclass(kind) else set(kind.model_fields)  # type: ignore[attr-defined]  # the others are pydantic's
            assert names.keys() <= known and all(names.values())
    assert CompiledCatalog in LEFT_OUT
