"""Splits generated text into text to show, thinking and tool calls, by their markers and as it comes.

Markers are found in text, not in tokens, since a tokenizer may merge their ends with what follows. Text that may
be the beginning of a marker is held back until it is known not to be one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from ..errors import BackendError
from ..protocol import ChatRequest, TextDelta, ThinkingDelta, ToolCall
from ..wire import Gate

Transitions = dict[str, list[tuple[str, str | None]]]
"""For each state the markers that end it, each with the state after it; ``None`` ends the answer.

The states are those of mlx_lm: ``normal``, ``reasoning``, ``tool``; text of any other is not part of the answer.
"""

Machine = Any
"""A ``TextStateMachine`` of mlx_lm: ``make_state(name)``, ``split(state, text)``, ``flush(state)``."""

# The channels of gpt-oss (https://cookbook.openai.com/articles/openai-harmony), which mlx_lm does not split.
_HARMONY: Final[Transitions] = {
    "header": [
        ("<|channel|>analysis<|message|>", "reasoning"),
        ("<|channel|>commentary<|message|>", "normal"),
        ("<|channel|>final<|message|>", "normal"),
    ],
    "reasoning": [("<|end|>", "header")],
    "normal": [("<|end|>", "header")],
}


def transitions_of(
    tokenizer: Any, prompt: Sequence[int], request: ChatRequest, *, channels: bool
) -> tuple[Transitions, str]:
    """The markers that answers of this model hold, and the state in which this answer begins.

    ``channels`` is whether the model's vocabulary has those of gpt-oss. Tool markers count only where the
    request has tools: else they are text like any other. Stop strings count in text that is shown, not while
    the model thinks.
    """
    transitions: Transitions = {"normal": [], "reasoning": [], "tool": []}
    start = "normal"
    if channels:
        _add(transitions, _HARMONY)
        start = "header"
    _add(transitions, tokenizer.response_transitions)
    start = tokenizer.response_initial_state or start
    if tokenizer.has_thinking:
        transitions["normal"].append((tokenizer.think_start, "reasoning"))
        transitions["reasoning"].append((tokenizer.think_end, "normal"))
        ids = list(prompt)
        if tokenizer.rfind_think_start(ids) > tokenizer.rfind_think_end(ids):
            start = "reasoning"
    if request.tools and tokenizer.has_tool_calling:
        transitions["normal"].append((tokenizer.tool_call_start, "tool"))
        transitions["reasoning"].append((tokenizer.tool_call_start, "tool"))
        if tokenizer.tool_call_end:
            transitions["tool"].append((tokenizer.tool_call_end, "normal"))
    transitions["normal"] += [(marker, "normal") for marker in tokenizer.structural_markers]
    transitions["normal"] += [(text, None) for text in request.stop if text]
    return transitions, start


class AnswerText:
    """The text of one answer as it grows.

    ``text`` and ``thinking`` are what was given out so far, ``stopped`` is whether a stop string has come;
    it is not part of the text. ``reasoning`` is whether the model is thinking now.
    """

    def __init__(self, machine: Machine, start: str) -> None:
        self._machine = machine
        self._state = machine.make_state(start)
        self._last = start
        self._thought = start == "reasoning"
        self._calls: list[str] = []
        self._in_call = False
        self.text = self.thinking = ""
        self.stopped = False

    @property
    def reasoning(self) -> bool:
        return self._last == "reasoning"

    def feed(self, piece: str) -> Iterator[TextDelta | ThinkingDelta]:
        """What can be given out after ``piece``."""
        self._state, segments = self._machine.split(self._state, piece)
        return self._sorted(segments)

    def finish(self) -> Iterator[TextDelta | ThinkingDelta]:
        """What was held back, now that nothing more comes."""
        if self.stopped:
            return iter(())
        self._state, rest, name = self._machine.flush(self._state)
        return self._sorted([(name, rest)])

    def tool_calls(
        self,
        parse: Callable[[str, list[Mapping[str, Any]]], Any],
        request: ChatRequest,
        *,
        whole: bool,
        tag: str,
    ) -> tuple[ToolCall, ...]:
        """The calls that the model asked for, in order; ``parse`` is the parser of mlx_lm for this model.

        Raises BackendError ``bad_response`` for one that cannot be read, unless the answer was cut off (not
        ``whole``) and it is the last: that one is left out.
        """
        gate = Gate()
        found: list[ToolCall] = []
        for number, call in enumerate(self._calls, start=1):
            try:
                parsed = parse(call, list(request.tools))
                for one in parsed if isinstance(parsed, list) else [parsed]:
                    arguments = one["arguments"]
                    if not isinstance(arguments, Mapping):
                        raise ValueError("the arguments are not an object")
                    id = gate.identifier(str(one.get("id") or f"call_{uuid4().hex}"))
                    found.append(ToolCall(id, gate.name(str(one["name"])), gate.arguments(arguments)))
            except Exception as error:  # the parsers are many, and raise what they like
                if not whole and number == len(self._calls):
                    break
                raise BackendError(
                    f"`{tag}` asked for a tool in a form that cannot be read", error_class="bad_response"
                ) from error
        return tuple(found)

    def _sorted(self, segments: Sequence[tuple[str | None, str]]) -> Iterator[TextDelta | ThinkingDelta]:
        for state, text in segments:
            if state is None:
                self.stopped = True
                return
            if state == "tool":
                if not self._in_call:
                    self._calls.append("")
                self._calls[-1] += text
            self._in_call = state == "tool"
            self._last = state
            if state == "reasoning" and text:
                self._thought = True
                self.thinking += text
                yield ThinkingDelta(text)
            elif state == "normal":
                if self._thought and not self.text:
                    text = text.lstrip()  # templates set the answer off from the thinking by empty lines
                if text:
                    self.text += text
                    yield TextDelta(text)


def _add(transitions: Transitions, more: Mapping[str, Sequence[tuple[str, str | None]]]) -> None:
    for state, edges in more.items():
        transitions.setdefault(state, []).extend(edges)
