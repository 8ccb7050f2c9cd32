"""Counting tokens before anyone is asked, and saying how the number came about."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewright.backends import ChatRequest, Message, ToolCall, tokens
from routewright.backends.tokens import TokenCount, prompt_tokens, text_tokens
from routewright.engine.policy.shapes.tokenizers import Encoding, encoding_for

HELLO = ChatRequest((Message("user", "Hello there, how are you?"),))


@pytest.fixture(autouse=True)
def fresh_tokenizers() -> None:
    """The tokenizers are loaded once a process; a test may pretend that there are none."""
    tokens._tokenizer.cache_clear()


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-5.1", "o200k_base"),
        ("o3", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("gpt-oss:120b-cloud", "o200k_harmony"),
        ("llama3.2:3b", "llama3"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3"),
        ("qwen3-coder:480b-cloud", "qwen3"),
        ("mlx-community/Qwen2.5-7B-Instruct-4bit", "qwen3"),
        # Later generations have other vocabularies, and other families other ones.
        ("llama4:scout", None),
        ("qwen3.5:9b", None),
        ("glm-4.6", None),
        ("kimi-k2:1t-cloud", None),
        ("o200", None),
        ("", None),
    ],
)
def test_a_tokenizer_is_known_by_the_name_of_its_family(name: str, encoding: Encoding | None) -> None:
    assert encoding_for(name) == encoding
    assert encoding_for("local-name", name) == encoding


# The examples of https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken, with its numbers.
@pytest.mark.parametrize(
    ("text", "cl100k", "o200k"),
    [("antidisestablishmentarianism", 6, 6), ("2 + 2 = 4", 7, 7), ("お誕生日おめでとう", 9, 8)],
)
def test_openais_own_examples_have_openais_numbers(text: str, cl100k: int, o200k: int) -> None:
    pytest.importorskip("quicktok")
    assert text_tokens([text], "cl100k_base") == TokenCount(cl100k, "counted", "cl100k_base")
    assert text_tokens([text], "o200k_base") == TokenCount(o200k, "counted", "o200k_base")


@pytest.mark.parametrize("encoding", get_args(Encoding))
def test_every_tokenizer_that_is_named_is_there(encoding: Encoding) -> None:
    pytest.importorskip("quicktok")
    assert text_tokens(["Hello there, ", "how are you?"], encoding) == TokenCount(8, "counted", encoding)


def test_a_conversation_is_more_than_its_texts() -> None:
    pytest.importorskip("quicktok")
    count = prompt_tokens(HELLO, "qwen3")
    # <|im_start|>user\n … <|im_end|>\n, and <|im_start|>assistant\n
    assert count == TokenCount(7 + 5 + 3, "counted", "qwen3")


def test_without_a_tokenizer_the_number_is_an_estimate() -> None:
    count = prompt_tokens(HELLO, None)
    assert count == TokenCount(7 + 4 + 4, "estimated")


def test_without_the_package_the_number_is_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "find_spec", lambda name: None)
    assert text_tokens(["12345678"], "qwen3") == TokenCount(2, "estimated")


@pytest.mark.parametrize(
    "request_",
    [
        ChatRequest((Message("user", "What is this?", images=(b"\x89PNG",)),)),
        ChatRequest((Message("user", "Hi"),), tools=({"type": "function", "function": {"name": "f"}},)),
    ],
)
def test_what_no_tokenizer_knows_makes_an_estimate(request_: ChatRequest) -> None:
    count = prompt_tokens(request_, "qwen3")
    assert count.source == "estimated"
    assert count.tokens > prompt_tokens(ChatRequest(request_.messages[:0]), "qwen3").tokens


def test_calls_of_tools_in_a_conversation_count() -> None:
    call = ToolCall("c", "weather", {"city": "Paris"})
    said = prompt_tokens(ChatRequest((Message("assistant", "", tool_calls=(call,)),)), None)
    assert said.tokens > prompt_tokens(ChatRequest((Message("assistant", ""),)), None).tokens


@given(st.lists(st.text()))
def test_any_text_has_a_number(texts: list[str]) -> None:
    estimated = text_tokens(texts, None)
    assert estimated.tokens >= 0
    assert all(text_tokens([text], None).tokens >= 1 for text in texts if text)


def test_what_looks_like_a_special_token_is_text() -> None:
    """A prompt about tokenizers must not be refused by one."""
    pytest.importorskip("quicktok")
    assert text_tokens(["<|endoftext|> <|im_start|>"], "o200k_base").tokens > 2


def test_half_a_character_does_not_stop_the_count() -> None:
    assert text_tokens(["\ud800"], None).tokens == 1
    pytest.importorskip("quicktok")
    assert text_tokens(["\ud800"], "qwen3").source == "counted"
