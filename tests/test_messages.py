"""Messages as callers write them: our own, answers as they are, and those in the shape of OpenAI's API."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewright import ChatRequest, Message, ModelGateway, Task, TaskError, ToolCall, load_policy
from routewright.backends import IMAGE_TYPES, ChatAnswer, Timings, image_type
from routewright.backends.openai.request import chat_body
from routewright.backends.protocol import NOTHING_USED
from routewright.loading import shipped
from routewright.tasks.messages import messages_of

IMAGES = {
    "image/png": b"\x89PNG\r\n\x1a\n..",
    "image/jpeg": b"\xff\xd8\xff\xe0..",
    "image/gif": b"GIF89a..",
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 ",
}
CALL = ToolCall("call_1", "weather", {"town": "Ulm"})
WRITTEN_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"town": "Ulm"}'},
}


def data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def answer(**facts: Any) -> ChatAnswer:
    told: dict[str, Any] = {"text": "It rains.", "finish_reason": "stop", "model_said": None, **facts}
    return ChatAnswer(usage=NOTHING_USED, timings=Timings(None, None, 0), **told)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"role": "user", "content": "hello"}, Message("user", "hello")),
        ({"role": "developer", "content": "be brief"}, Message("system", "be brief")),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            Message("user", "a\nb"),
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data("image/png", png)}}]}
            if (png := IMAGES["image/png"])
            else {},
            Message("user", "", (IMAGES["image/png"],)),
        ),
        # What the data is called is not what it is.
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": data("image/png", IMAGES["image/webp"])}],
            },
            Message("user", "", (IMAGES["image/webp"],)),
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [WRITTEN_CALL]},
            Message("assistant", "", tool_calls=(CALL,)),
        ),
        ({"role": "assistant", "tool_calls": [CALL]}, Message("assistant", "", tool_calls=(CALL,))),
        (
            {
                **dict.fromkeys(("refusal", "audio", "function_call")),
                **{"role": "assistant", "content": "hi", "annotations": [], "tool_calls": None},
            },
            Message("assistant", "hi"),
        ),
        (
            {"role": "tool", "content": "rain", "tool_call_id": "call_1", "name": "weather"},
            Message("tool", "rain", tool_call_id="call_1"),
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [{**WRITTEN_CALL, "index": 0}]},
            Message("assistant", "", tool_calls=(CALL,)),
        ),
        (answer(), Message("assistant", "It rains.")),
        (
            answer(text="", tool_calls=(CALL,), thinking="hm"),
            Message("assistant", "", tool_calls=(CALL,)),
        ),
    ],
)
def test_a_message_is_read_as_it_is_meant(written: Any, message: Message) -> None:
    assert messages_of([written]) == (message,)


@pytest.mark.parametrize(
    ("written", "said", "help"),
    [
        ("hello", "`messages` is a list of messages", "write [message], also for one"),
        ({"role": "user", "content": "a"}, "`messages` is a list of messages", "write [message]"),
        ([], "there is no message", "give at least one"),
        ([3], "message 1 is a `int`, and no message", "write a mapping"),
        ([{"content": "hello"}], "message 1 has no `role`", "roles: system, user, assistant, tool"),
        ([{"role": "robot", "content": "a"}], "`robot` is not a role of a message", "roles: "),
        ([{"role": ["user"], "content": "a"}], "`['user']` is not a role of a message", "roles: "),
        (
            [{"role": "user", "content": "a"}, {"role": "user"}],
            "the content of message 2 is missing",
            "write a",
        ),
        ([{"role": "user", "content": None}], "the content of message 1 is missing", "write a"),
        ([Message("user", None)], "the content of message 1 is a text", "images stand beside it"),  # type: ignore[arg-type]
        (
            [{"role": "tool", "content": {"rain": True}, "tool_call_id": "1"}],
            "the content of message 1 is a `dict`, and no text",
            "write it as JSON: json.dumps(…)",
        ),
        (
            [{"role": "tool", "content": "a"}],
            "message 1 answers a tool without `tool_call_id`",
            "give the id",
        ),
        ([Message("tool", "a")], "message 1 answers a tool without `tool_call_id`", "give the id"),
        (
            [{"role": "user", "contents": "a"}],
            "message 1 has the key `contents`, which",
            "did you mean `content`?",
        ),
        ([{"role": "user", "content": "a", "name": "Ann"}], "message 1 has the key `name`, which", "known: "),
        (
            [{"role": "assistant", "content": "a", "refusal": "no"}],
            "message 1 has the key `refusal`, which",
            "",
        ),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
            "the content of message 1 has a part of type `input_audio`",
            "write a text, or a list",
        ),
        (
            [{"role": "user", "content": ["a"]}],
            "the content of message 1 has a part without a text",
            "write a text, or a list",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}]}],
            "an image of message 1 is not given as data",
            "nothing is fetched from an address",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,%%"}]}],
            "the data of an image of message 1 is not base64",
            "",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image_url",
                            "image_url": {"url": data("image/gif", IMAGES["image/gif"]), "detail": "high"},
                        }
                    ],
                }
            ],
            "`detail` of an image of message 1 is not passed on",
            "leave it out",
        ),
        (
            [Message("user", "look", (b"<svg>",))],
            "an image of message 1 is of no type that can be sent",
            f"send {IMAGE_TYPES}",
        ),
        ([{"role": "user", "content": "a", "images": "b"}], "`images` of message 1 is a list", "write [...]"),
        (
            [{"role": "user", "content": "a", "images": ["b"]}],
            "`images` of message 1 are the bytes of files",
            "",
        ),
        (
            [{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}],
            "a call of a tool of message 1 has no `function`",
            "or a ToolCall",
        ),
        (
            [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}],
            "a call of a tool of message 1 has no `id`",
            "",
        ),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{a"}}],
                }
            ],
            "the arguments of a call of a tool of message 1 are not JSON: `{a`",
            "",
        ),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "[]"}}],
                }
            ],
            "the arguments of a call of a tool of message 1 are not a JSON object",
            "",
        ),
    ],
)
def test_what_would_be_lost_is_an_error(written: Any, said: str, help: str) -> None:
    with pytest.raises(TaskError) as caught:
        messages_of(written)
    assert str(caught.value).startswith(said)
    assert (caught.value.help or "").startswith(help) or help in (caught.value.help or "")


def test_an_object_of_an_sdk_is_told_what_to_write() -> None:
    class ChatCompletionMessage:
        def model_dump(self) -> dict[str, str]:
            return {"role": "assistant", "content": "hi"}

    with pytest.raises(TaskError) as caught:
        messages_of([ChatCompletionMessage()])  # type: ignore[list-item]  # that is the point
    assert caught.value.help == "write `message.model_dump()`"


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_is_sent_as_what_it_is(kind: str) -> None:
    request = ChatRequest((Message("user", "look", (IMAGES[kind],)),))
    body = chat_body("m", request, stream=False, genuine=False)
    assert body["messages"][0]["content"][1]["image_url"]["url"].startswith(f"data:{kind};base64,")
    assert image_type(IMAGES[kind]) == kind


def test_a_request_made_by_hand_is_looked_at_too() -> None:
    gateway = ModelGateway(load_policy(shipped("hybrid.yaml")))
    with gateway, pytest.raises(TaskError, match="an image of message 1 is of no type"):
        gateway.run_sync(Task(), ChatRequest((Message("user", "look", (b"BM..",)),)))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CALLS = st.builds(
    ToolCall,
    TEXTS.filter(bool),
    TEXTS.filter(bool),
    st.dictionaries(TEXTS, st.none() | st.integers() | TEXTS),
)
MESSAGES = st.one_of(
    st.builds(
        Message,
        st.sampled_from(["system", "user"]),
        TEXTS,
        st.lists(st.sampled_from(list(IMAGES.values()))).map(tuple),
    ),
    st.builds(Message, st.just("assistant"), TEXTS, tool_calls=st.lists(CALLS, max_size=2).map(tuple)),
    st.builds(Message, st.just("tool"), TEXTS, tool_call_id=TEXTS.filter(bool)),
)


@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_what_goes_to_a_server_reads_as_what_it_was_made_of(messages: list[Message]) -> None:
    body = chat_body("m", ChatRequest(tuple(messages)), stream=False, genuine=True)
    assert messages_of(body["messages"]) == tuple(messages)
    assert messages_of(messages) == tuple(messages)
