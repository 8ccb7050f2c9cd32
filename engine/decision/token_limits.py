"""Compares the length of a request with what a model can take.

A length is *exact* where somebody stated it or where it was counted with the model's own tokenizer. Any other is
an estimate, which may be too low by ``TOO_LOW`` and, for text of long words or of blanks, too high by ``TOO_HIGH``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from ..policy import CompiledModel, CompiledPolicy, Operation, TaskCost, nano_units
from .task import RequestFacts

TOO_LOW: Final = Fraction(5, 2)
"""A quarter of a token for each byte is too low by up to this for JSON full of numbers and for Chinese."""

TOO_HIGH: Final = 2
"""What an estimate has to be halved by before it refuses a model."""

Fit = Literal["fits", "unverified", "prompt_too_long", "answer_too_long"]


def is_exact(model: CompiledModel, request: RequestFacts) -> bool:
    """Whether the prompt's length is known exactly, for this model."""
    if request.prompt_tokens_source == "counted":
        return request.tokenizer is not None and request.tokenizer == model.tokenizer
    return request.prompt_tokens_source == "stated"


def least_tokens(model: CompiledModel, request: RequestFacts) -> int | Fraction | None:
    """How long the prompt is for certain: half of an estimate. None where nobody knows."""
    tokens = request.prompt_tokens
    return tokens if tokens is None or is_exact(model, request) else Fraction(tokens, TOO_HIGH)


class Lengths(NamedTuple):
    """What has to fit into a window, in tokens: ``prompt`` is at least that long, half of an estimate (rounded up)
    unless it is ``exact``."""

    prompt: int | None
    answer: int
    exact: bool


def lengths_of(model: CompiledModel, request: RequestFacts, operation: Operation) -> Lengths:
    """The lengths that ``fit_of`` compares with the model's window."""
    least = least_tokens(model, request)
    answer = _wanted(model, request.max_output_tokens) if operation == "chat" else 0
    return Lengths(None if least is None else math.ceil(least), answer, is_exact(model, request))


def fit_of(model: CompiledModel, request: RequestFacts, operation: Operation) -> Fit:
    """Whether the prompt fits into the model's window, and beside it the answer that a chat asks for.

    An estimate refuses only where half of it would be too much, and fits only where 2.5 times of it would.
    """
    window, tokens = model.context_length, request.prompt_tokens
    if window is None:
        return "unverified"
    room = window - (_wanted(model, request.max_output_tokens) if operation == "chat" else 0)
    if tokens is None:
        return "unverified" if room >= 0 else "answer_too_long"
    exact = is_exact(model, request)
    least = tokens if exact else Fraction(tokens, TOO_HIGH)
    if least > room:
        return "prompt_too_long" if least > window else "answer_too_long"
    most = tokens if exact else tokens * TOO_LOW
    return "fits" if most <= room else "unverified"


def longest_answer(model: CompiledModel, max_output_tokens: int | None, operation: Operation) -> int | None:
    """How long an answer may get, and be charged for; None where nobody says. Only chats write."""
    if operation != "chat":
        return 0
    known = [most for most in (max_output_tokens, model.shape.max_output_tokens) if most is not None]
    return min(known, default=None)


def affordable_tokens(model: CompiledModel, cost: TaskCost, answer: int = 0) -> int | None:
    """How long a prompt one task may pay for beside an ``answer``: negative if the answer alone costs too much.

    None where length costs nothing, or the price is unknown. As executing reserves it, a cost is rounded half up to
    nano-units.
    """
    price = model.shape.price
    if price is None:
        return None
    left = cost.limit * 1_000_000 + 499_999 - answer * nano_units(price.output)
    nano = nano_units(price.input)
    return left // nano if nano else -1 if left < 0 else None


def closing_lengths(policy: CompiledPolicy, max_output_tokens: int | None) -> list[int]:
    """Every length of a prompt beyond which a gate says something else of some model, ascending."""
    exact: set[int] = set()
    for model in policy.catalog.models:
        if model.context_length is not None:
            exact.add(model.context_length)
            exact.add(model.context_length - _wanted(model, max_output_tokens))
        if policy.limits.cost is not None:
            answer = longest_answer(model, max_output_tokens, "chat") or 0
            affordable = (affordable_tokens(model, policy.limits.cost, tokens) for tokens in (0, answer))
            exact.update(most for most in affordable if most is not None)
    estimated = {length * TOO_HIGH for length in exact} | {int(length // TOO_LOW) for length in exact}
    return sorted(length for length in exact | estimated if length >= 0)


def _wanted(model: CompiledModel, max_output_tokens: int | None) -> int:
    """How long an answer is asked of the model: no longer than it writes at most; 0 where nobody says."""
    if max_output_tokens is None:
        return 0
    most = model.shape.max_output_tokens
    return max_output_tokens if most is None else min(max_output_tokens, most)
