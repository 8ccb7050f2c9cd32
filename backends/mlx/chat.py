"""Answers a chat with a loaded model, step by step. Blocks, in the model's thread."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from routewright.engine.report import suggest

from ..errors import BackendError
from ..protocol import ChatAnswer, ChatRequest, FinishReason, TextDelta, ThinkingDelta, Timings, Usage
from .prompt import prompt_tokens
from .runtime import LoadedModel, Sampling
from .text import AnswerText, transitions_of

_OPTIONS: Final = tuple(sorted({field.name for field in fields(Sampling)} - {"temperature", "seed"}))
_DEFAULTED: Final = ("min_p", "top_k", "top_p")


@dataclass(frozen=True, slots=True)
class Progress:
    """The tokens used so far, and what can be shown since the last step."""

    usage: Usage
    deltas: tuple[TextDelta | ThinkingDelta, ...] = ()


def chat_steps(
    loaded: LoadedModel, request: ChatRequest, *, tag: str, window: int | None, stopped: Callable[[], bool]
) -> Generator[Progress | ChatAnswer, None, None]:
    """A step once the prompt is counted, one for each token, and the answer, whose timings are for the caller to set.

    Ends early without an answer once ``stopped()``. An answer that fills the window or ``max_output_tokens`` finishes
    with ``length``. Raises BackendError, for a prompt that leaves no room in the window ``context_overflow``.
    """
    sampling = sampling_of(request, loaded.defaults)
    prompt = prompt_tokens(loaded.tokenizer, request, tag=tag)
    usage = Usage(len(prompt), 0, 0, 0, "reported")
    yield Progress(usage)
    transitions, start = transitions_of(loaded.tokenizer, prompt, request, channels=loaded.channels)
    answer = AnswerText(loaded.machine(transitions), start)
    most = _most_tokens(len(prompt), request.max_output_tokens, window, tag)
    reasoning = 0
    finish: FinishReason | None = None
    with closing(loaded.generate(prompt, max_tokens=most, sampling=sampling, stopped=stopped)) as pieces:
        for piece in pieces:
            thought = answer.reasoning
            deltas = list(answer.feed(piece.text))
            reasoning += thought or answer.reasoning
            finish = "stop" if answer.stopped else piece.finish
            if finish is not None:
                deltas += answer.finish()
            usage = replace(usage, output_tokens=piece.tokens, reasoning_tokens=reasoning)
            yield Progress(usage, tuple(deltas))
            if finish is not None:
                break
    if finish is None:
        return
    calls = answer.tool_calls(loaded.tokenizer.tool_parser, request, whole=finish == "stop", tag=tag)
    yield ChatAnswer(
        answer.text,
        "tool_calls" if calls and finish == "stop" else finish,
        usage,
        tag,
        Timings(None, None, 0),
        thinking=answer.thinking or None,
        tool_calls=calls,
    )


def sampling_of(request: ChatRequest, defaults: Mapping[str, Any]) -> Sampling:
    """How the request wants tokens drawn; ``defaults`` are those of the model's makers.

    Raises BackendError ``invalid_request`` for an option that is unknown or has a value that cannot be meant.
    """
    words: dict[str, Any] = {name: defaults[name] for name in _DEFAULTED if name in defaults}
    asked = {} if request.top_p is None else {"top_p": request.top_p}
    for name, value in (asked | dict(request.options)).items():
        if name not in _OPTIONS:
            raise BackendError(
                f"the mlx backend does not know the option `{name[:100]}`",
                error_class="invalid_request",
                help=suggest(name, _OPTIONS, label="known"),
            )
        kinds = (int,) if name == "top_k" else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not -1e6 < value < 1e6:
            raise BackendError(
                f"the option `{name}` cannot be `{str(value)[:100]}`",
                error_class="invalid_request",
                help="it is a whole number" if name == "top_k" else "it is a number",
            )
        words[name] = value
    temperature = request.temperature
    if temperature is None:
        temperature = float(defaults.get("temperature", 0.0))
    if not 0 <= temperature < 1e6:
        raise BackendError(f"the temperature cannot be `{temperature}`", error_class="invalid_request")
    return Sampling(temperature, request.seed, **words)


def _most_tokens(prompt: int, asked: int | None, window: int | None, tag: str) -> int:
    """How many tokens may be generated, at least one; -1 for any number."""
    if window is None:
        return -1 if asked is None else max(1, asked)
    if prompt >= window:
        raise BackendError(
            f"the prompt has {prompt} tokens, and `{tag}` has a window of {window}, answer included",
            error_class="context_overflow",
            help="shorten the conversation, or choose a model with a longer window",
        )
    room = window - prompt
    return room if asked is None else max(1, min(asked, room))
