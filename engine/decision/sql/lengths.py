"""Says in SQL how long a request is, and which windows it exceeds, as `token_limits` does for one task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...condition import sql_text
from ...policy import CompiledModel, CompiledPolicy
from ..token_limits import TOO_HIGH, TOO_LOW
from .keys import KeyPart


def request_columns(policy: CompiledPolicy) -> Iterator[tuple[str, str]]:
    """Columns that the others and ``key_parts`` go by, over those of the request, as texts are slow to compare: the
    operation (0 is a chat), how exactly the prompt's length is known, and how long an answer is asked for."""
    yield "op", "(CASE operation WHEN 'chat' THEN 0 WHEN 'embed' THEN 1 ELSE 2 END)::TINYINT"
    counted = "".join(
        f" WHEN tokenizer = {sql_text(name)} THEN {at}" for at, name in enumerate(_tokenizers(policy), 2)
    )
    by_tokenizer = f"(CASE{counted} ELSE 0 END)" if counted else "0"
    yield (
        "exactness",
        "(CASE prompt_tokens_source WHEN 'stated' THEN 1"
        f" WHEN 'counted' THEN {by_tokenizer} ELSE 0 END)::TINYINT",
    )
    yield "wants", "(CASE WHEN operation = 'chat' THEN coalesce(max_output_tokens, 0) ELSE 0 END)"


def _tokenizers(policy: CompiledPolicy) -> list[str]:
    return sorted({str(model.tokenizer) for model in policy.catalog.models if model.tokenizer is not None})


def exact_sql(policy: CompiledPolicy, model: CompiledModel) -> str:
    """Whether the prompt's length is known exactly for the model, as ``is_exact`` has it."""
    if model.tokenizer is None:
        return "(exactness = 1)"
    return f"(exactness = 1 OR exactness = {2 + _tokenizers(policy).index(str(model.tokenizer))})"


def _wanted(model: CompiledModel) -> str:
    """How long an answer is asked of the model: 0 where nobody says."""
    most = model.shape.max_output_tokens
    return "wants" if most is None else f"least(wants, {most})"


class _Fitting(NamedTuple):
    """Models whose prompts are counted alike and whose answers are cut alike, with their windows."""

    number: int
    model: CompiledModel
    windows: list[int]


def _fittings(models: Sequence[CompiledModel]) -> list[_Fitting]:
    alike: dict[tuple[object, object], tuple[CompiledModel, set[int]]] = {}
    for model in models:
        if model.context_length is not None:
            key = model.tokenizer, model.shape.max_output_tokens
            alike.setdefault(key, (model, set()))[1].add(model.context_length)
    return [_Fitting(at, model, sorted(windows)) for at, (model, windows) in enumerate(alike.values())]


def length_columns(policy: CompiledPolicy, models: Sequence[CompiledModel]) -> Iterator[tuple[str, str]]:
    """Columns that ``key_parts`` goes by, over those of ``request_columns``.

    For models alike: twice the least length of the prompt, that with the answer, and with it the greatest one, as
    ``fit_of`` compares them with a window.
    """
    # Everything twice, since half of an estimate may be no whole number; the greatest length is 2.5 times an estimate.
    doubled = int(TOO_LOW * TOO_HIGH)
    for number, model, _ in _fittings(models):
        exact, wanted = exact_sql(policy, model), _wanted(model)
        # Multiplied, as CASE takes several times as long.
        least = f"((1 + {exact}::BIGINT) * prompt_tokens)"
        most = f"(({doubled} - {doubled - TOO_HIGH} * {exact}::BIGINT) * prompt_tokens)"
        yield f"least_{number}", f"coalesce({least}, 0)"
        yield f"with_answer_{number}", f"(coalesce({least}, 0) + {TOO_HIGH} * {wanted})"
        yield f"most_{number}", f"({most} + {TOO_HIGH} * {wanted})"


def length_parts(models: Sequence[CompiledModel]) -> Iterator[KeyPart]:
    """How many windows are exceeded: of windows in order, that says which."""
    yield KeyPart("length_known", "(prompt_tokens IS NOT NULL)::INTEGER", 2)
    for number, _, windows in _fittings(models):
        for name in ("least", "with_answer", "most"):
            column = f"{name}_{number}"
            exceeded = " + ".join(f"({column} > {TOO_HIGH * window})::INTEGER" for window in windows)
            sql = f"coalesce({exceeded}, 0)" if name == "most" else f"({exceeded})"
            yield KeyPart(f"exceeds_{column}", sql, len(windows) + 1)
