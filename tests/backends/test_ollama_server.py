"""The test server is an Ollama server as far as the official client, and a stranger, can tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from support import ollama_process
from support.ollama_process import OllamaProcess

if TYPE_CHECKING:
    import ollama
else:
    ollama = pytest.importorskip("ollama")

ollama_server = ollama_process.ollama_server

ASKED = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
BRIEF = {"temperature": 0, "num_predict": 12}


@pytest.fixture
def client(ollama_server: OllamaProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[ollama.Client]:
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)
    ollama_server.reset()
    with ollama.Client(ollama_server.url) as client:
        yield client


def test_the_official_client_lists_and_shows(client: ollama.Client) -> None:
    names = [model.model for model in client.list().models]
    assert "smollm2:135m" in names
    shown = client.show("smollm2:135m")
    assert shown.modelinfo
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo["llama.context_length"] == 8192


def test_the_official_client_chats(client: ollama.Client) -> None:
    answer = client.chat("smollm2:135m", ASKED, options=BRIEF)
    assert answer.message.content
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert answer.eval_count and answer.eval_count <= 12
    assert answer.prompt_eval_count and answer.prompt_eval_count > 20
    assert [model.model for model in client.ps().models] == ["smollm2:135m"]
    assert client.ps().models[0].context_length == 4096


def test_the_official_client_streams_what_it_would_have_got_at_once(client: ollama.Client) -> None:
    whole = client.chat("smollm2:135m", ASKED, options=BRIEF)
    steps = list(client.chat("smollm2:135m", ASKED, options=BRIEF, stream=True))
    assert "".join(step.message.content or "" for step in steps) == whole.message.content
    assert [step.done for step in steps] == [False] * (len(steps) - 1) + [True]


def test_the_official_client_embeds(client: ollama.Client) -> None:
    answer = client.embed("smollm2-embed:135m", ["one", "two"])
    assert [len(vector) for vector in answer.embeddings] == [576, 576]
    assert answer.embeddings[0] != answer.embeddings[1]


def test_the_official_client_loads_and_unloads(client: ollama.Client) -> None:
    assert client.chat("smollm2:latest", []).done_reason == "load"
    assert "smollm2:latest" in [model.model for model in client.ps().models]
    assert client.chat("smollm2:latest", [], keep_alive=0).done_reason == "unload"
    assert "smollm2:latest" not in [model.model for model in client.ps().models]


def test_the_official_client_pulls(client: ollama.Client) -> None:
    assert [step.status for step in client.pull("smollm2:135m", stream=True)][-1] == "success"
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        list(client.pull("nowhere", stream=True))


def test_the_official_client_sees_errors_as_they_are(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'nowhere' not found") as caught:
        client.chat("nowhere", ASKED)
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        client.chat("smollm2:135m", ASKED, think=True)


def test_a_long_conversation_loses_its_oldest_turns(client: ollama.Client) -> None:
    long = [{"role": "user", "content": "old words " * 1_000}, *ASKED]
    answer = client.chat("smollm2:135m", long, options={**BRIEF, "num_ctx": 1024})
    assert answer.prompt_eval_count and answer.prompt_eval_count < 100
    assert client.ps().models[0].context_length == 1024


def test_a_foreign_host_is_refused_with_an_empty_403(ollama_server: OllamaProcess) -> None:
    request = Request(f"{ollama_server.url}/api/tags", headers={"Host": "example.com"})
    with pytest.raises(HTTPError) as caught:
        urlopen(request, timeout=10)
    with caught.value as error:
        assert (error.code, error.read()) == (403, b"")
