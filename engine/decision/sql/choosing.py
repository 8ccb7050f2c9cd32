"""Says in SQL in which order a rule's models are, and where a task falls in a split, as `choose` does for one task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import nextafter
from typing import Final

from ...condition import BOOLEAN, INTEGER, STRING, sql_text
from ...policy import MAX_EXACT, CompiledModel, CompiledPolicy, CompiledRule, CompiledSplit, nano_units
from ..choose import NOMINAL_TOKENS
from .keys import RULE, KeyPart, feature_column, point_column

_MOST_SPLIT: Final = 12
"""So many members of a split can be told apart by where a point falls: each one more doubles the sets of members that
may be eligible. How many places that makes depends on the weights: 45 for twelve equal ones, and 2,470 for odd ones."""

_MOST_PLACES: Final = 1_000
_TOGETHER: Final = 50
"""Comparisons in one sum: DuckDB takes no expression that is nested more than 1,000 deep."""


def order_parts(policy: CompiledPolicy) -> Iterator[KeyPart]:
    """In which order the models of each rule that chooses the cheapest are."""
    for rule in policy.rules:
        if rule.choose == "cheapest":
            costs = {at: _cost(policy.catalog.models[at]) for at in own_models(rule)}
            for one, other in combinations(costs, 2):
                sql = precedes(costs[one], costs[other])
                yield KeyPart(
                    f"order_{rule.index}_{one}_{other}",
                    f"(CASE WHEN {RULE} = {2 * rule.index + 1} AND {sql} THEN 1 ELSE 0 END)",
                    2,
                )


def own_models(rule: CompiledRule) -> list[int]:
    """The models that a rule chooses among, in its order."""
    return [candidate.model for candidate in rule.candidates[: rule.chosen_from]]


def precedes(one: str, other: str) -> str:
    """Whether of two numbers the one comes first: the smaller one does, the first of equal ones, and NULL is last."""
    return f"({other} IS NULL OR coalesce({one} <= {other}, false))"


def _cost(model: CompiledModel) -> str:
    """What a request is expected to cost, as ``cost_estimate`` has it."""
    price = model.shape.price
    if price is None:
        return "NULL"
    tokens_in = f"coalesce(prompt_tokens, {NOMINAL_TOKENS})"
    tokens_out = f"(CASE WHEN op = 0 THEN coalesce(max_output_tokens, {NOMINAL_TOKENS}) ELSE 0 END)"
    rates = nano_units(price.input), nano_units(price.output)
    total = f"(({rates[0]}::HUGEINT * {tokens_in} + {rates[1]}::HUGEINT * {tokens_out}) // 1000000)"
    return f"(CASE WHEN {total} <= {MAX_EXACT} THEN {total} END)"


def split_parts(policy: CompiledPolicy) -> Iterator[KeyPart]:
    """Between which of the places a task falls at which one or another model would be chosen."""
    for rule, split in _split_rules(policy):
        matched, name = f"{RULE} = {2 * rule.index + 1}", f"split_{rule.index}"
        if not _has_point(policy, split):
            key = "NULL" if split.key is None else feature_column(split.key)
            yield KeyPart(name, f"(CASE WHEN {matched} THEN {key}::VARCHAR END)", None)
            yield KeyPart(f"{name}_draw", f"(CASE WHEN {matched} AND {key} IS NULL THEN draw END)", None)
            continue
        point, places = point_column(rule.index), split_places(split)
        # A task without the draw that it needs cannot be decided, and is a class of its own.
        fallen = f"2 + {places_reached(point, places)}"
        sql = f"(CASE WHEN NOT ({matched}) THEN 0 WHEN {point} IS NULL THEN 1 ELSE {fallen} END)"
        yield KeyPart(name, sql, 3 + len(places))
        if split.key is not None:
            # Whether a key or a draw decided is told of the choice.
            keyed = f"({matched} AND {feature_column(split.key)} IS NOT NULL)::INTEGER"
            yield KeyPart(f"{name}_keyed", keyed, 2)


def places_reached(point: str, places: Sequence[float]) -> str:
    """How many of the places a point has reached."""
    reached = [f"({point} >= {place!r}::DOUBLE)::INTEGER" for place in places]
    while len(reached) > 1:
        pieces = (reached[at : at + _TOGETHER] for at in range(0, len(reached), _TOGETHER))
        reached = [f"({' + '.join(piece)})" for piece in pieces]
    return reached[0] if reached else "0"


def points(policy: CompiledPolicy) -> Iterator[tuple[str, str]]:
    """The columns that ``point_column`` names, with their expressions over the columns of features and ``draw``."""
    for rule, split in _split_rules(policy):
        if _has_point(policy, split):
            sql = "draw" if split.key is None else _bucket(policy, split)
            yield point_column(rule.index), f"(CASE WHEN {RULE} = {2 * rule.index + 1} THEN {sql} END)"


def _split_rules(policy: CompiledPolicy) -> Iterator[tuple[CompiledRule, CompiledSplit]]:
    return ((rule, rule.split) for rule in policy.rules if rule.choose == "split" and rule.split is not None)


def _has_point(policy: CompiledPolicy, split: CompiledSplit) -> bool:
    """Whether SQL can say where a key falls, and there are few places to tell apart."""
    if sum(map(bool, split.weights)) > _MOST_SPLIT or len(split_places(split)) > _MOST_PLACES:
        return False
    return split.key is None or policy.features[split.key].declaration.type in (STRING, INTEGER, BOOLEAN)


def _bucket(policy: CompiledPolicy, split: CompiledSplit) -> str:
    """Where a key falls, as ``bucket_of`` has it; the draw where there is no key."""
    key = feature_column(split.key or 0)
    text = f"(CASE WHEN {key} THEN 'true' ELSE 'false' END)"
    if policy.features[split.key or 0].declaration.type != BOOLEAN:
        text = f"{key}::VARCHAR"
    digest = f"sha256({sql_text(split.salt)} || chr(0) || {text})"
    bucket = f"((('0x' || substr({digest}, 1, 16))::UBIGINT >> 11)::DOUBLE / {2**53}::DOUBLE)"
    return f"(CASE WHEN {key} IS NULL THEN draw ELSE {bucket} END)"


def split_places(split: CompiledSplit) -> list[float]:
    """Every point from 0 to 1 at which the choice changes, whichever members are eligible, ascending.

    The least point that is not below a share, as ``choose`` compares them in floating-point numbers.
    """
    places: set[float] = set()
    weights = [weight for weight in split.weights if weight]
    for size in range(1, len(weights) + 1):
        for members in combinations(weights, size):
            total, reached = sum(members), 0
            for weight in members:
                reached += weight
                if 0 < reached < total:
                    places.add(_least_not_below(reached, total))
    return sorted(places)


def _least_not_below(reached: int, total: int) -> float:
    """The least point for which ``point * total < reached`` is false."""
    point = reached / total
    while point * total < reached:
        point = nextafter(point, 1.0)
    while nextafter(point, 0.0) * total >= reached:
        point = nextafter(point, 0.0)
    return point
