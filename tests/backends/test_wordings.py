"""Answers of servers that failed, as people reported them: each has its class and its wait, however it is asked for."""

from __future__ import annotations

import asyncio
import doctest
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from support.scripted_http import ScriptedHttp, Send, Step, events, reply

from routewright.backends import ERROR_CLASSES, NO_LIMITS, Backend, BackendError, ChatRequest, Message
from routewright.backends.ollama.backend import OllamaBackend
from routewright.backends.ollama.errors import failure as ollama_failure
from routewright.backends.openai.backend import OpenAIBackend
from routewright.backends.phases import CallClock
from routewright.backends.wire import ROWS, complaint_in
from routewright.backends.wire.complaints import STREAM, Complaint, meaning, meaning_of, times
from routewright.backends.wire.complaints.meaning import fits, own_words
from routewright.backends.wire.untrusted import Gate

REQUEST = ChatRequest((Message("user", "Hello?"),))
CLOUD = "m:1b-cloud"
"""A model that an Ollama server forwards: of others it is asked first where they run."""


@dataclass(frozen=True)
class Wording:
    """One entry of ``wordings.yaml``."""

    source: str
    status: int
    error_class: str
    row: str | None
    body: Any = None
    text: str | None = None
    event: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_ms: int | None = None
    dialects: tuple[str, ...] = ("openai", "ollama")

    def steps(self, dialect: str, how: str) -> list[Step]:
        """What the server sends; an event in the body of its own where nothing is streamed."""
        body = self.body if self.text is None else self.text
        if not self.event or (dialect, how) == ("openai", "chat"):
            return reply(self.status, body, self.headers)
        if dialect == "openai":
            return events(body)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
        return [Send(head + json.dumps(body).encode() + b"\n")]

    def occurs(self, dialect: str, how: str) -> bool:
        """Whether a server of that dialect can say it."""
        return dialect in self.dialects and not (how == "chat" and self.event and self.text is not None)


@cache
def wordings() -> tuple[Wording, ...]:
    """All of them, in the order of the file."""
    entries = YAML(typ="safe").load((Path(__file__).parent / "wordings.yaml").read_text(encoding="utf-8"))
    found = []
    for entry in entries:
        entry.pop("note", None)
        entry["error_class"] = entry.pop("class")
        found.append(Wording(**{**entry, "dialects": tuple(entry.get("dialects", ("openai", "ollama")))}))
    return tuple(found)


@pytest.mark.parametrize(
    "wording", [wording for wording in wordings() if wording.text is None], ids=lambda wording: wording.source
)
def test_a_reported_wording_has_its_class_its_wait_and_its_row(wording: Wording) -> None:
    complaint = complaint_in(wording.body)
    assert complaint is not None
    headers = {name.lower(): value for name, value in wording.headers.items()}
    found = meaning_of(complaint, status=None if wording.event else wording.status, headers=headers)
    assert (found.error_class, found.wait_ms, found.row.name if found.row else None) == (
        wording.error_class,
        wording.wait_ms,
        wording.row,
    )


@pytest.mark.parametrize("how", ["chat", "stream"])
@pytest.mark.parametrize("dialect", ["openai", "ollama"])
def test_every_wording_means_the_same_in_both_dialects_whole_and_streamed(dialect: str, how: str) -> None:
    asked = [wording for wording in wordings() if wording.occurs(dialect, how)]
    wrong = []

    async def run() -> None:
        async with ScriptedHttp(*(wording.steps(dialect, how) for wording in asked)) as server:
            backend: Backend = OpenAIBackend(server.url) if dialect == "openai" else OllamaBackend(server.url)
            for wording in asked:
                error = await failing(backend, how)
                came = (error.error_class, error.retry_after_ms)
                if came != (wording.error_class, wording.wait_ms):
                    wrong.append((wording.source, came, str(error)))
            await backend.close()
            assert len(server.requests) == len(asked), "no backend repeats a call"

    asyncio.run(run())
    assert wrong == []


async def failing(backend: Backend, how: str) -> BackendError:
    """The error of a call."""
    with pytest.raises(BackendError) as caught:
        if how == "chat":
            await backend.chat(CLOUD, REQUEST)
        else:
            async for _ in backend.stream(CLOUD, REQUEST):
                pass
    return caught.value


def test_there_are_sixty_reports_of_the_last_two_years_and_more() -> None:
    reports = {wording.source for wording in wordings() if "#" in wording.source}
    assert len(reports) >= 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_hit_by_a_reported_wording_and_by_its_example(row: Any) -> None:
    assert row.name in {wording.row for wording in wordings()}
    example = row.example.removeprefix("code ")
    codes = frozenset({example.lower()}) if example != row.example else frozenset()
    said = "" if codes else own_words(example)
    status = max(row.statuses)
    assert next(known.name for known in ROWS if fits(known, status, codes, said)) == row.name


def test_the_names_of_rows_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_the_examples_in_the_reader_hold() -> None:
    assert doctest.testmod(meaning).failed == doctest.testmod(times).failed == 0


PROMPTS = [
    "why is my weekly usage limit and quota reached, and the maximum context length too?",
    "content filter: this prompt was flagged as potentially violating our usage policy",
    "model 'x' not found, API key not valid, credit balance is too low",
    "rate limit exceeded, retry after 3 seconds; out of memory",
    'what does "maximum context length" mean, and "usage limit"?',
]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, "invalid_request"), (403, "unauthorized"), (429, "rate_limited"), (500, "overloaded")],
)
def test_the_words_of_a_prompt_that_a_server_repeats_decide_nothing(
    prompt: str, status: int, expected: str
) -> None:
    shapes: list[Any] = [
        {"error": {"message": f'cannot read the message "{prompt}"', "input": prompt}},
        {"error": f"invalid value: `{prompt}`"},
        {"detail": [{"loc": ["body", "messages"], "msg": "Field required", "input": {"message": prompt}}]},
        {"error": {"code": status, "message": f"Failed to parse input at pos 12: {prompt}"}},
        {"detail": f"1 validation error\nmessages.0.content [type=string_type, input_value={prompt}]"},
        {"error": f'no such shape; messages = [\n  {{"role": "user", "content": "{prompt}"}}\n]'},
        {"error": {"message": "bad request", "metadata": {"flagged_input": prompt}, "prompt": prompt}},
    ]
    for shape in shapes:
        found = meaning_of(complaint_in(shape), status=status, headers={})
        assert (found.error_class, found.row) == (expected, None), shape


def test_words_in_addresses_are_no_words() -> None:
    said = "slow down. Please go here: https://aka.ms/oai/quotaincrease or aka.ms/oai/weekly-usage-limit"
    assert meaning_of(Complaint(said), status=429, headers={}).error_class == "rate_limited"


@pytest.mark.parametrize(
    ("headers", "body", "wait_ms"),
    [
        ({"retry-after": "7"}, {"error": {"message": "wait 20s", "retry_after": 3}}, 7_000),
        ({}, {"error": {"message": "slow down, try again in 6m0s"}}, 360_000),
        ({}, {"error": {"message": "Please retry in 1 minute."}}, 60_000),
        ({}, {"error": {"message": "Rate limit exceeded, retry in 350 ms"}}, 350),
        ({}, {"error": {"message": "Come back in 3h 47m"}}, 13_620_000),
        ({}, {"error": {"message": "please try again in an hour"}}, 3_600_000),
        ({}, {"error": {"message": "within the last 5 minutes, please wait a moment"}}, None),
        ({}, {"error": {"message": "retry after lunch"}}, None),
        (
            {},
            {"error": {"message": "50 per 86400s exceeded. Please wait 42077 seconds before retrying."}},
            42_077_000,
        ),
        (
            {"x-ratelimit-remaining-requests-day": "0", "x-ratelimit-reset-requests-day": "33011.38"},
            {"message": "Requests per day limit exceeded - too many requests sent."},
            33_011_380,
        ),
        ({}, {"message": "Out of call volume. It will be replenished in 01:23:45."}, 5_025_000),
        ({}, {"error": {"message": "x", "details": [{"retryDelay": "2.4s"}]}}, 2_400),
        (
            {},
            {"error": {"message": "x", "details": [{"metadata": {"quotaResetDelay": "54m22.5s"}}]}},
            3_262_500,
        ),
        (
            {"date": "Sun, 22 Nov 2026 10:00:00 GMT"},
            {"error": {"message": "x", "available_at": 1795341630}},
            30_000,
        ),
        (
            {"date": "Sun, 22 Nov 2026 10:00:00 GMT"},
            {"error": {"message": "x", "resets_at": 1795341630000}},
            30_000,
        ),
        (
            {"date": "Sun, 22 Nov 2026 10:00:00 GMT"},
            {"error": {"message": "x", "reset_at": "2026-11-22T10:01:00Z"}},
            60_000,
        ),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "7.66s"}, {"error": "x"}, 7_660),
        (
            {
                "x-ratelimit-remaining-requests": "9",
                "x-ratelimit-reset-requests": "2h",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "6ms",
            },
            {"error": "x"},
            6,
        ),
        ({"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"}, {"error": "x"}, None),
        (
            {"date": "Sun, 22 Nov 2026 10:00:00 GMT", "x-ratelimit-reset": "1795349400000"},
            {"error": "x"},
            7_800_000,
        ),
        ({}, {"error": {"message": "x", "retry_after": -5}}, None),
        ({"retry-after": "1.797693134862316e+305"}, {"error": "x"}, 366 * 24 * 3_600_000),
        ({}, {"error": {"message": "x", "retry_after": "1e400", "reset_at": "9" * 400}}, None),
    ],
)
def test_when_a_limit_ends(headers: dict[str, str], body: Any, wait_ms: int | None) -> None:
    found = meaning_of(complaint_in(body), status=429, headers=headers)
    assert found.wait_ms == wait_ms
    assert found.error_class == ("quota_exhausted" if (wait_ms or 0) >= 3_600_000 else "rate_limited")


@pytest.mark.parametrize(
    "said", ["you have reached your weekly usage limit", "You exceeded your current quota"]
)
def test_a_stated_time_wins_over_what_the_words_let_one_guess(said: str) -> None:
    complaint = Complaint(said)
    classes = [
        meaning_of(complaint, status=429, headers=headers).error_class
        for headers in ({}, {"retry-after": "1"}, {"retry-after": "7200"})
    ]
    assert classes == ["quota_exhausted", "rate_limited", "quota_exhausted"]


def test_a_time_belongs_to_what_passes_and_to_nothing_else() -> None:
    complaint = Complaint("model 'm' not found, please retry in 20 seconds")
    assert meaning_of(complaint, status=404, headers={}).wait_ms is None
    assert meaning_of(complaint, status=503, headers={}).wait_ms == 20_000


def test_an_error_in_mid_stream_has_the_status_that_it_names_and_a_reply_its_own() -> None:
    def helped(status: int | None) -> str:
        clock, complaint = CallClock(NO_LIMITS, who="m"), complaint_in({"error": "no", "status": 502})
        return ollama_failure(clock, Gate(), complaint, status=status, headers={}).help or ""

    assert "cannot reach ollama.com" in helped(None)
    assert "its queue is full" in helped(503)


def test_more_than_the_limit_never_fits_and_less_does_later() -> None:
    def asked(requested: int) -> str:
        said = f"tokens per minute: Limit 12000, Requested {requested}. try again in 9s"
        return meaning_of(Complaint(said), status=429, headers={}).error_class

    assert [asked(14_137), asked(12_000)] == ["context_overflow", "rate_limited"]


@pytest.mark.parametrize("how", ["chat", "stream"])
@pytest.mark.parametrize("dialect", ["openai", "ollama"])
def test_a_header_counts_also_under_a_status_of_200(dialect: str, how: str) -> None:
    async def run() -> BackendError:
        said = reply(200, {"error": {"message": "slow down", "code": 429}}, {"Retry-After": "7"})
        async with ScriptedHttp(said) as server:
            backend: Backend = OpenAIBackend(server.url) if dialect == "openai" else OllamaBackend(server.url)
            error = await failing(backend, how)
            await backend.close()
            return error

    error = asyncio.run(run())
    assert (error.error_class, error.retry_after_ms) == ("rate_limited", 7_000)


@pytest.mark.parametrize(
    ("status", "error_class", "decided"),
    [
        (418, "invalid_request", "the status alone decided"),
        (200, "broken_stream", "it counts as a broken stream"),
    ],
)
def test_what_no_row_knows_is_classed_by_its_status_and_says_so(
    status: int, error_class: str, decided: str
) -> None:
    async def run() -> BackendError:
        async with ScriptedHttp(reply(status, {"error": "short and stout"})) as server:
            backend = OpenAIBackend(server.url)
            error = await failing(backend, "chat")
            await backend.close()
            return error

    error = asyncio.run(run())
    assert (error.error_class, error.help) == (
        error_class,
        f"no known wording: {decided}. If another class fits, report the wording (docs/backends.md)",
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [("7200", "2h"), ("7141", "2h"), ("3601", "61m"), ("3599", "1h"), ("599", "599s"), ("20", "20s")],
)
@pytest.mark.parametrize("advised", [True, False])
def test_the_help_says_how_long_the_server_refuses(seconds: str, said: str, advised: bool) -> None:
    words = "You exceeded your current quota" if advised else "short and stout"

    async def run() -> BackendError:
        headers = {"Retry-After": seconds}
        async with ScriptedHttp(reply(429, {"error": words}, headers=headers)) as server:
            backend = OpenAIBackend(server.url)
            error = await failing(backend, "chat")
            await backend.close()
            return error

    error = asyncio.run(run())
    assert error.help is not None and error.help.split("; ")[0] == f"ask again in {said}"


@pytest.mark.parametrize(
    "text",
    [
        "\"model 'm' not found\"",
        'event: error\ndata: {"error": {"code": "model_not_found"}}\n\n',
        "unknown model",
    ],
)
def test_a_body_that_is_no_json_object_has_its_words_too(text: str) -> None:
    async def run() -> BackendError:
        async with ScriptedHttp(reply(400, text)) as server:
            backend = OpenAIBackend(server.url)
            error = await failing(backend, "chat")
            await backend.close()
            return error

    assert asyncio.run(run()).error_class == "not_found"


def test_reasons_are_those_of_a_moderation_in_metadata_alone() -> None:
    said = {"message": "bad request", "details": {"reasons": ["two tools have one name"]}}
    assert meaning_of(complaint_in({"error": said}), status=400, headers={}).error_class == "invalid_request"


@pytest.mark.parametrize("deep", [[], {}])
def test_any_nesting_is_read_or_is_no_complaint(deep: Any) -> None:
    for _ in range(300):
        deep = {"error": deep} if isinstance(deep, dict) else [deep]
    assert complaint_in({"error": {"message": deep}}) == complaint_in({"error": {"message": deep}})


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (
            {"error": "model_not_found", "message": "The model `m` is gone"},
            "The model `m` is gone",
            "model_not_found",
        ),
        ({"error": "invalid_client", "error_description": "who are you"}, "who are you", "invalid_client"),
        (
            {"statusCode": 429, "error": "Too Many Requests", "message": "Throttled"},
            "Too Many Requests",
            None,
        ),
        (
            {"error": "unauthorized", "signin_url": "https://ollama.com/connect"},
            "unauthorized",
            "unauthorized",
        ),
        ({"success": False, "errors": [{"message": "no", "code": 5021}]}, "no", None),
        ({"error": {"message": {"detail": "deep"}}}, "deep", None),
    ],
)
def test_the_words_of_a_complaint_stand_beside_its_code(body: Any, message: str, code: str | None) -> None:
    found = complaint_in(body)
    assert found is not None
    assert (found.message, code is None or code in found.codes) == (message, True)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [], "error": None, "message": "ok"},
        {"data": [], "message": "ok"},
        {"message": {"role": "assistant", "content": "x"}},
        {"model": "m", "done": True, "detail": "x"},
        {"results": [], "message": "ok"},
        [{"index": 0, "score": 0.5}],
        {"type": "ping"},
        {},
        [],
        "text",
        None,
    ],
)
def test_an_answer_is_no_complaint(body: Any) -> None:
    assert complaint_in(body) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(PROMPTS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "status", "metadata", "raw", "headers", "detail", "retryDelay"]
            )
            | st.sampled_from([*times.FIELDS])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["error", "message", "errors"]), JSON | JSON.map(repr), min_size=1),
    st.none() | st.integers(300, 599),
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "retry-after-ms", "date", "x-ratelimit-reset", "x-ratelimit-remaining"]
        ),
        st.text(max_size=12) | st.floats().map(str),
    ),
)
def test_anything_that_a_server_says_has_a_class_and_a_wait_within_a_year(
    body: Any, status: int | None, headers: dict[str, str]
) -> None:
    found = meaning_of(complaint_in(body), status=status, headers=headers)
    assert found.error_class in ERROR_CLASSES
    assert found.wait_ms is None or 0 <= found.wait_ms <= 366 * 24 * 3_600_000


def test_rows_of_an_error_in_mid_stream_need_no_status() -> None:
    assert all(
        STREAM in row.statuses for row in ROWS if row.error_class in ("quota_exhausted", "context_overflow")
    )
