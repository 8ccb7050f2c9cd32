"""Makes the prompt tokens of a conversation, by the chat template that comes with a model's tokenizer."""

from __future__ import annotations

from typing import Any

from ..errors import BackendError
from ..protocol import ChatRequest, Message
from .failures import first_line


def prompt_tokens(tokenizer: Any, request: ChatRequest, *, tag: str) -> list[int]:
    """The tokens that the model reads for ``request``, up to where its answer begins.

    ``tokenizer`` is a ``TokenizerWrapper`` of mlx_lm. Raises BackendError ``invalid_request`` when the model was not
    made for what the request asks (chat, tools, thinking, images, a JSON schema), and ``bad_response`` when
    its template refuses the conversation.
    """
    if not tokenizer.has_chat_template:
        raise _lacks(f"`{tag}` has no chat template", "it continues texts only; choose an instruct model")
    if any(message.images for message in request.messages):
        raise _lacks(f"`{tag}` takes no images", "the mlx backend runs language models only")
    if request.json_schema is not None:
        raise _lacks(
            f"`{tag}` cannot be held to a JSON schema", "the mlx backend has no constrained decoding"
        )
    if request.tools and not tokenizer.has_tool_calling:
        raise _lacks(
            f"`{tag}` was not made for tools, or in a form that mlx-lm cannot read",
            "choose a model whose chat template knows tools",
        )
    words = {"tools": [dict(tool) for tool in request.tools]} if request.tools else {}
    try:
        tokens = tokenizer.apply_chat_template(
            [_turn(message) for message in request.messages],
            add_generation_prompt=True,
            **words,
            **_thinking(tokenizer, request, tag),
        )
    except BackendError:
        raise
    except Exception as error:  # templates are programs, and raise what they like
        raise BackendError(
            f"the chat template of `{tag}` refuses this conversation: {first_line(error)}",
            error_class="invalid_request",
            help="templates may ask for an order of roles, or know no system turn",
        ) from error
    return [int(token) for token in tokens]


def _thinking(tokenizer: Any, request: ChatRequest, tag: str) -> dict[str, object]:
    think = request.think
    if think is None:
        return {}  # mlx_lm lets a model think that was made for it
    template = tokenizer.chat_template
    has_effort = isinstance(template, str) and "reasoning_effort" in template
    if think is not False and not (tokenizer.has_thinking or has_effort):
        raise _lacks(f"`{tag}` was not made to think", "leave `think` out for this model")
    words: dict[str, object] = {"enable_thinking": think is not False}
    if isinstance(think, str) and has_effort:
        words["reasoning_effort"] = think
    return words


def _turn(message: Message) -> dict[str, object]:
    turn: dict[str, object] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": dict(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _lacks(message: str, help: str) -> BackendError:
    return BackendError(message, error_class="invalid_request", help=help)
