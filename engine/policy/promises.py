"""What a policy promises of every task, and where its models are; and what another policy makes of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Final, Literal, NamedTuple, get_args

from ..condition import render_expr
from .compiled import CompiledCatalog, CompiledModel, CompiledPolicy, TaskCost
from .digest import meaning_of
from .shapes.kinds import Backend

PromiseKind = Literal["constraint", "assertion", "quota", "reserve", "limit", "sensitive feature"]

PROMISE_KINDS: Final[tuple[PromiseKind, ...]] = get_args(PromiseKind)


class Promise(NamedTuple):
    """A promise by its name. A limit on each task goes by its key, as no two controls set the same one."""

    kind: PromiseKind
    name: str


class Differences(NamedTuple):
    """What another policy does to promises; each list is in the order of the policy that has them."""

    left_out: list[Promise]
    changed: list[Promise]
    added: list[Promise]


def compare_promises(policy: CompiledPolicy, other: CompiledPolicy) -> Differences:
    """The promises of ``policy`` that ``other`` lacks or changes, and those that it adds.

    A promise is changed if it compiles to something else, or if a feature in it has another default or source. Texts
    for people make no difference, nor does which model has which position in a catalog.
    """
    here, there = dict(_promises(policy)), dict(_promises(other))
    return Differences(
        left_out=[promise for promise in here if promise not in there],
        changed=[promise for promise in here if promise in there and here[promise] != there[promise]],
        added=[promise for promise in there if promise not in here],
    )


def by_kind(promises: Sequence[Promise]) -> dict[str, list[str]]:
    """Names by kind, without kinds that none has."""
    found = {kind: [one.name for one in promises if one.kind == kind] for kind in PROMISE_KINDS}
    return {kind: names for kind, names in found.items() if names}


def differences_text(policy: CompiledPolicy, other: CompiledPolicy) -> list[str]:
    """What ``other`` does to the promises and models of ``policy``, such as ``changes constraint private_stays``.

    Of a constraint or reserve that is changed both texts are told.
    """
    found = compare_promises(policy, other)
    here, there = dict(_texts(policy)), dict(_texts(other))
    bare = [one for one in found.changed if one not in here]
    told = [
        f"{verb} {kind} {', '.join(names)}"
        for verb, promises in (("has no", found.left_out), ("changes", bare), ("adds", found.added))
        for kind, names in by_kind(promises).items()
    ]
    told += [
        f"changes {one.kind} {one.name}{_change(here[one], there[one])}"
        for one in found.changed
        if one in here
    ]
    others = other_models(policy.catalog, other.catalog)
    return [*told, *([f"another model or place stands behind {', '.join(others)}"] if others else [])]


def other_models(catalog: CompiledCatalog, other: CompiledCatalog) -> list[str]:
    """The ids of both catalogs under which ``other`` has another model, or one at another place, in its order.

    A constraint on ``model.location``, or on a backend by its name, may let such a model do what the first may not.
    """
    here = dict(_whereabouts(catalog))
    return [id for id, found in _whereabouts(other) if here.get(id, found) != found]


def called_otherwise(
    catalog: CompiledCatalog, other: CompiledCatalog
) -> tuple[frozenset[str], frozenset[str]]:
    """The ids in both catalogs under which ``other`` calls another model, or one at another place; and the ids of
    backends at another place.

    What was known of one says nothing of the other. How a place is judged, and what a backend is called, counts for
    nothing.
    """
    here, there = ({model.id: _called(one, model) for model in one.models} for one in (catalog, other))
    before, after = (
        {id: _place(id, shape) for id, shape in one.backends.items()} for one in (catalog, other)
    )
    return (
        frozenset(id for id, called in there.items() if here.get(id, called) != called),
        frozenset(id for id, place in after.items() if before.get(id, place) != place),
    )


def _called(catalog: CompiledCatalog, model: CompiledModel) -> object:
    place = _place(model.backend, catalog.backends[model.backend])
    source = model.shape.source if model.kind == "mlx" else None
    return model.kind, model.shape.path or source or model.tag, place


def _place(id: str, backend: Backend) -> object:
    way, path = (getattr(backend, name, None) for name in ("way", "path"))
    # What is simulated is nowhere else: it is the same if it is called the same.
    return backend.kind, backend.server.url, way, path, id if backend.kind == "simulated" else None


def _whereabouts(catalog: CompiledCatalog) -> Iterator[tuple[str, object]]:
    for model in catalog.models:
        backend = catalog.backends[model.backend]
        proxy = getattr(backend, "proxy", None)
        yield model.id, (model.kind, model.tag, model.location, model.backend, backend.server, proxy)


def _change(before: str, after: str) -> str:
    if before == after:  # what it says means something else
        return f": `{before}`, of which a feature or model is another"
    return f": `{before}` before, `{after}` now"


def _texts(policy: CompiledPolicy) -> Iterator[tuple[Promise, str]]:
    """How the promises that are conditions are written."""
    for constraint in policy.constraints:
        when, require = (render_expr(one.source) for one in (constraint.when, constraint.require))
        told = f"require {require}" if when == "true" else f"when {when} require {require}"
        yield Promise("constraint", constraint.name), told
    for quota in policy.quotas:
        for reserve in quota.reserves:
            text = f"{reserve.share} of {quota.name} when {render_expr(reserve.when.source)}"
            yield Promise("reserve", reserve.name), text


def _promises(policy: CompiledPolicy) -> Iterator[tuple[Promise, object]]:
    """Each promise with what it means."""

    def meaning(value: object, names: Iterable[str | None]) -> object:
        used = set(names)
        features = {one.name: (one.default, one.derived) for one in policy.features if one.name in used}
        return meaning_of(value, policy.catalog), features

    for constraint in policy.constraints:
        conditions = (constraint.when, constraint.require)
        names = constraint.when.names | constraint.require.names
        yield Promise("constraint", constraint.name), meaning(conditions, names)
    for assertion in policy.assertions:
        condition = assertion.condition
        name = assertion.name or f"{assertion.kind} {render_expr(condition.source)}"
        yield Promise("assertion", name), meaning((assertion.kind, condition), condition.names)
    for quota in policy.quotas:
        yield Promise("quota", quota.name), meaning(replace(quota, reserves=()), [quota.for_each])
        for reserve in quota.reserves:
            kept = (quota.name, reserve.share, reserve.when)
            yield Promise("reserve", reserve.name), meaning(kept, reserve.when.names)
    for field in fields(policy.limits):
        value = getattr(policy.limits, field.name)
        if isinstance(value, TaskCost):
            # The name of its control is no part of it, as those of other limits are not.
            yield Promise("limit", "max_cost per request"), meaning(replace(value, control=""), ())
        elif value is not None:
            features = policy.limits.cache_by or () if field.name == "cache_by" else ()
            yield Promise("limit", field.name.removesuffix("_ms")), meaning(value, features)
    for feature in policy.features:
        if feature.sensitive:
            yield Promise("sensitive feature", feature.name), True
