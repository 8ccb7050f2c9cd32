"""Orders a rule's own candidates, each with the probability of being the target.

Estimates of cost and latency come from the catalog and the state; each says its source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from ..policy import MAX_EXACT, CompiledModel, CompiledRule, CompiledSplit, Operation, nano_units
from ..report import TaskError
from .decision import Selection
from .fit import Fit, memory_fit
from .gates import GateContext
from .task import RequestFacts, State

NOMINAL_TOKENS = 1000
"""Tokens in and out that a cost is estimated for where the request's own number is not known."""


class Observed(Protocol):
    """What a state knows of a model, or a record of it."""

    @property
    def latency_ms(self) -> float | None: ...
    @property
    def loaded(self) -> bool | None: ...
    @property
    def load_ms(self) -> int | None: ...


class Estimate(NamedTuple):
    """What using a model is expected to cost and to take; None where nothing is known, never 0.

    ``cost_nano`` is in nano-units of ``currency``. ``cost_source`` is ``price`` (all tokens known) or
    ``price, 1000 tokens assumed``; ``latency_source`` is ``observed`` or ``catalog``. ``load_ms`` is how long it
    has to be loaded first: 0 while it is in memory. ``unloads`` names the models that have to go for it, and is empty
    where none has to.
    """

    cost_nano: int | None
    currency: str | None
    cost_source: str | None
    latency_ms: float | None
    latency_source: str | None
    load_ms: int | None = None
    unloads: tuple[str, ...] | None = None

    @property
    def answer_ms(self) -> float | None:
        """Until the answer, loading included; a load of which nothing is known adds nothing."""
        return None if self.latency_ms is None else self.latency_ms + (self.load_ms or 0)


def estimate(model: CompiledModel, operation: Operation, request: RequestFacts, state: State) -> Estimate:
    """Cost from the catalog's prices and the request's tokens, latency as observed or as the catalog expects; and what
    has to be done before, where it is known whether the model is in memory.

    Only chats have tokens out. A cost too large for an exact number is not known.
    """
    price = model.shape.price
    cost = _NO_COST
    if price is not None:
        rates = _nano(price.input), _nano(price.output)
        cost = cost_estimate(
            rates, price.currency, operation, request.prompt_tokens, request.max_output_tokens
        )
    latency = latency_estimate(
        model.shape.expected_latency, state.models.get(model.id), lambda: memory_fit(model, state)
    )
    return Estimate(*(cost + latency))


CostEstimate = tuple[int | None, str | None, str | None]
"""Nano-units, their currency, and the source."""
LatencyEstimate = tuple[float | None, str | None, int | None, tuple[str, ...] | None]
"""Milliseconds, their source, the time to load, and what is unloaded."""

_NO_COST: CostEstimate = (None, None, None)


def cost_estimate(
    rates: tuple[int, int],
    currency: str,
    operation: Operation,
    tokens_in: int | None,
    tokens_out: int | None,
) -> CostEstimate:
    """What a request costs at ``rates``, nano-units for a million tokens in and out."""
    if operation != "chat":
        tokens_out = 0
    known = tokens_in is not None and tokens_out is not None
    total = rates[0] * (NOMINAL_TOKENS if tokens_in is None else tokens_in)
    total += rates[1] * (NOMINAL_TOKENS if tokens_out is None else tokens_out)
    if total // 1_000_000 > MAX_EXACT:
        return _NO_COST
    return total // 1_000_000, currency, "price" if known else f"price, {NOMINAL_TOKENS} tokens assumed"


def latency_estimate(
    expected: float | None, observed: Observed | None, fit: Callable[[], Fit]
) -> LatencyEstimate:
    """How long a model takes as it was ``observed``, or as the catalog expects."""
    latency, source = (None, None) if expected is None else (float(expected), "catalog")
    if observed is None:
        return latency, source, None, None
    if observed.latency_ms is not None:
        latency, source = observed.latency_ms, "observed"
    if observed.loaded is None:
        return latency, source, None, None
    found = fit()
    unloads = found.unloads if found.how in ("loaded", "free", "unloads") else None
    return latency, source, 0 if observed.loaded else observed.load_ms, unloads


# Prices are few and asked for with every candidate; their decimals are not worth reading each time.
_nano = lru_cache(maxsize=4096)(nano_units)


Ordered = tuple[dict[int, float], Selection]
"""Candidates (positions in the catalog) in the order to try with the probability of each, and how they were ordered."""


def order(rule: CompiledRule, eligible: Sequence[int], context: GateContext) -> Ordered:
    """Order the ``eligible`` ones among a rule's own candidates. ``eligible`` is in the rule's order, not empty.

    Raises TaskError when a split needs a random draw and the task has none.
    """
    if rule.choose == "split" and rule.split is not None:
        return _split(rule, rule.split, eligible, context)
    catalog = context.policy.catalog.models
    estimates = {
        index: estimate(catalog[index], context.task.operation, context.request, context.state)
        for index in eligible
    }
    found = {
        index: one.answer_ms if rule.choose == "fastest" else one.cost_nano
        for index, one in estimates.items()
    }
    # What is not known comes last: a model must not win by hiding its price.
    models = sorted(eligible, key=lambda index: (found[index] is None, found[index] or 0))
    inputs = {catalog[index].id: found[index] for index in eligible}
    return {**dict.fromkeys(models, 0.0), models[0]: 1.0}, Selection(rule.choose, inputs)


def point_of(salt: str, key: object, draw: float | None) -> float | None:
    """Where a task falls, at least 0 and below 1: the bucket of its ``key``, or the random ``draw`` without a key."""
    return draw if key is None else bucket_of(salt, key_text(key))


def bucket_of(salt: str, key: str) -> float:
    """Where a sticky key falls, at least 0 and below 1: SHA-256 of salt, a zero byte and key, its first 53 bits."""
    digest = hashlib.sha256(f"{salt}\0{key}".encode()).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


def _split(
    rule: CompiledRule, split: CompiledSplit, eligible: Sequence[int], context: GateContext
) -> Ordered:
    own: list[int] = [candidate.model for candidate in rule.candidates[: rule.chosen_from]]
    weights = [split.weights[own.index(index)] for index in eligible]
    if not any(weights):
        # Only members with weight 0 are left: they are standbys, in the order of the file.
        weights[0] = 1
    total = sum(weights)
    key = None if split.key is None else context.parameters[split.key]
    point = point_of(split.salt, key, context.task.draw)
    if point is None:
        message = f"rule `{rule.name}` splits at random, and the task has no random draw"
        raise TaskError(message, help="give the task a `draw`, or the split a `key`")
    chosen = max(i for i, weight in enumerate(weights) if weight)
    reached = 0
    for i, weight in enumerate(weights):
        reached += weight
        if point * total < reached:
            chosen = i
            break
    sequence = [chosen, *sorted((i for i in range(len(weights)) if i != chosen), key=lambda i: -weights[i])]
    inputs = {"key": split.key_name if key is not None else None, "salt": split.salt, "point": point}
    return {eligible[i]: weights[i] / total for i in sequence}, Selection("split", inputs)


def key_text(value: Any) -> str:
    """A key's text, the same for equal values: ``true`` and ``1`` differ, ``a`` and ``b`` do too."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, (float, tuple)) else str(value)
