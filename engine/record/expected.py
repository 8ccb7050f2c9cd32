"""What a record's candidates were expected to cost and to take: worked out from what it says of prices and state."""

from __future__ import annotations

from collections.abc import Mapping

from ..decision import (
    CostEstimate,
    Estimate,
    bytes_to_load,
    cost_estimate,
    fit_into,
    latency_estimate,
    point_of,
)
from .fields import CandidateRecord, DecisionRecord


def expected_of(record: DecisionRecord, candidate: CandidateRecord) -> Estimate:
    """The estimate that the decision went by."""
    price, request = candidate.price, record.request
    cost: CostEstimate = (None, None, None)
    if price is not None:
        rates = price.input_nano, price.output_nano
        tokens = record.prompt_tokens, request.max_output_tokens
        cost = cost_estimate(rates, price.currency, record.operation, *tokens)
    known = record.state.models[candidate.model]
    needed = bytes_to_load(candidate.memory_bytes, known.memory_bytes, candidate.size_bytes)
    memory = (record.state.memory or {}).get(candidate.backend)
    latency = latency_estimate(
        candidate.expected_latency_ms, known, lambda: fit_into(needed, bool(known.loaded), memory)
    )
    return Estimate(*(cost + latency))


def choice_inputs(record: DecisionRecord) -> Mapping[str, float | None]:
    """What each model was compared by: nano-units under `cheapest`, milliseconds with loading under `fastest`."""
    choice = record.choice
    if choice is None:
        return {}
    by_model = {candidate.model: candidate for candidate in record.candidates}
    found = {model: expected_of(record, by_model[model]) for model in choice.among}
    return {
        model: one.answer_ms if choice.how == "fastest" else one.cost_nano for model, one in found.items()
    }


def split_point(record: DecisionRecord) -> float | None:
    """Where the task fell under a split, from 0 to below 1."""
    choice = record.choice
    if choice is None or choice.how != "split":
        return None
    if choice.key is None:
        return record.draw
    feature = record.features[choice.key]
    value = tuple(feature.value) if isinstance(feature.value, list) else feature.value
    if choice.key_type == "number" and isinstance(value, int):
        value = float(value)  # JSON writes a whole one as an integer, which has another bucket
    return point_of(choice.salt or "", value, record.draw)
