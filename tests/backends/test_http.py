"""Statuses, the clock of a call, and the client they serve."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from support.scripted_http import Cut, Hang, ScriptedHttp, Send, events, reply

from routewright.backends import NO_LIMITS, BackendError, Limits, Timings
from routewright.backends.phases import CallClock
from routewright.backends.wire import retry_after_ms, status_class
from routewright.backends.wire.http import HttpClient

OK = reply(200, {"ok": True})


async def ask(client: HttpClient, path: str = "/x", limits: Limits = NO_LIMITS, body: Any = None) -> Any:
    async with client.request("POST", path, CallClock(limits, who="m"), body=body) as got:
        return await got.json()


# --- statuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "3"}, 3_000),
        ({"retry-after": "0.5"}, 500),
        ({"retry-after-ms": "20", "retry-after": "3"}, 20),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"date": "Sun, 22 Nov 2026 10:00:00 GMT", "retry-after": "Sun, 22 Nov 2026 10:01:00 GMT"}, 60_000),
        ({"date": "Sun, 22 Nov 2026 10:00:00 GMT", "retry-after": "Sun, 22 Nov 2026 09:01:00 GMT"}, 0),
        ({"retry-after": "Sun, 22 Nov 1999 10:01:00 GMT"}, 0),
        ({}, None),
    ],
)
def test_when_to_ask_again(headers: dict[str, str], wait: int | None) -> None:
    assert retry_after_ms(headers) == wait


def test_statuses_that_are_not_listed() -> None:
    assert [status_class(status) for status in (302, 400, 418, 500, 599)] == [
        *["invalid_request"] * 3,
        *["overloaded"] * 2,
    ]


# --- the clock ---------------------------------------------------------------------------------------------


def test_each_phase_has_its_own_limit_and_its_own_class() -> None:
    async def run() -> None:
        limits = Limits(connect_ms=10, load_ms=20, first_token_ms=30, idle_ms=40)
        for phase, limit in (("connect", 10), ("load", 20), ("first_token", 30), ("idle", 40), ("turn", 30)):
            # Without a limit of its own, a turn is waited for as long as a first token.
            clock = CallClock(limits, who="m")
            clock.enter(phase)  # type: ignore[arg-type]  # the literals of the table above
            with pytest.raises(BackendError) as raised:
                await clock.wait(asyncio.sleep(5))
            expected = "queue" if phase == "turn" else phase
            assert raised.value.error_class == f"timeout.{expected}"
            assert raised.value.timings is not None
            assert limit * 1_000 <= raised.value.timings.total_us < 1_000_000

    asyncio.run(run())


def test_the_total_limit_holds_across_phases() -> None:
    async def run() -> None:
        clock = CallClock(Limits(idle_ms=10_000, total_ms=70), who="m")
        with pytest.raises(BackendError) as raised:
            while True:
                clock.token()
                await clock.wait(asyncio.sleep(0.02))
        assert raised.value.error_class == "timeout.total"

    asyncio.run(run())


def test_a_timeout_of_the_work_itself_is_not_taken_for_a_limit() -> None:
    async def fails() -> None:
        raise TimeoutError("its own")

    async def run() -> None:
        with pytest.raises(TimeoutError, match="its own"):
            await CallClock(Limits(total_ms=1_000), who="m").wait(fails())

    asyncio.run(run())


def test_timings_are_measured_once_and_in_order() -> None:
    async def run() -> Timings:
        clock = CallClock(NO_LIMITS, who="m")
        clock.enter("load")
        await clock.wait(asyncio.sleep(0.01))
        clock.loaded()
        await clock.wait(asyncio.sleep(0.01))
        clock.token()
        await clock.wait(asyncio.sleep(0.01))
        clock.token()
        return clock.timings()

    timings = asyncio.run(run())
    assert timings.load_us is not None and timings.first_token_us is not None
    assert 10_000 <= timings.load_us <= timings.first_token_us - 10_000 <= timings.total_us - 20_000


# --- the client --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8080",
        "ftp://x",
        "http://",
        "http://user:word@x",
        "http://x/?a=b",
        "http://x/#a",
        "file:///etc",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address must be") as raised:
        HttpClient(url, extra="openai")
    assert "word" not in str(raised.value)


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "schlüssel"])
def test_keys_that_no_header_may_hold(key: str) -> None:
    with pytest.raises(ValueError, match="the key for the server is empty") as raised:
        HttpClient("http://x", extra="openai", api_key=key)
    assert not key.strip() or key not in str(raised.value)


def test_a_key_is_sent_and_never_shown() -> None:
    async def run() -> None:
        async with ScriptedHttp(OK) as server:
            client = HttpClient(server.url, extra="openai", api_key="sk-secret")
            assert await ask(client) == {"ok": True}
            await client.close()
        assert server.requests[0].headers["authorization"] == "Bearer sk-secret"
        assert "secret" not in repr(client)
        assert client.gate.message("bad key sk-secret!") == "bad key [key]!"

    asyncio.run(run())


def test_who_gives_up_waiting_for_a_turn_leaves_no_timer() -> None:
    async def run() -> None:
        async with ScriptedHttp([Hang()]) as server:
            client = HttpClient(server.url, extra="openai", concurrency=1)
            first = asyncio.ensure_future(ask(client))
            while not server.requests:
                await asyncio.sleep(0.001)
            clock = CallClock(Limits(first_token_ms=300_000), who="m")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02), client.request("POST", "/x", clock, body={}):
                    pass
            assert clock.phase == "turn" and clock._timer is None
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await client.close()

    asyncio.run(run())


def test_a_key_is_not_quoted_in_part_either() -> None:
    async def run() -> None:
        for before in (150, 190, 198):
            async with ScriptedHttp(reply(200, "x" * before + " sk-0123456789abcdef")) as server:
                client = HttpClient(server.url, extra="openai", api_key="sk-0123456789abcdef")
                with pytest.raises(BackendError, match="is not JSON") as caught:
                    await ask(client)
                await client.close()
            assert "sk-" not in str(caught.value)

    asyncio.run(run())


def test_a_key_does_not_follow_a_redirect() -> None:
    async def run() -> None:
        async with ScriptedHttp(OK) as other:
            async with ScriptedHttp(reply(307, "", {"Location": other.url})) as server:
                client = HttpClient(server.url, extra="openai", api_key="sk-secret")
                async with client.request("POST", "/x", CallClock(NO_LIMITS, who="m"), body={}) as got:
                    assert got.status == 307
                await client.close()
        assert other.requests == []

    asyncio.run(run())


def test_whole_addresses_must_be_of_the_same_server() -> None:
    async def run() -> None:
        client = HttpClient("http://127.0.0.1:80", extra="openai", api_key="sk-secret")
        for url in ("http://127.0.0.1:8080/x", "https://127.0.0.1:80/x", "http://127.0.0.1:80@evil.example/"):
            assert not client.owns(url)
            with pytest.raises(ValueError, match="another server"):
                await ask(client, url)
        await client.close()

    asyncio.run(run())


def test_one_connection_serves_calls_that_follow_each_other() -> None:
    async def run() -> None:
        async with ScriptedHttp(OK) as server:
            client = HttpClient(server.url, extra="openai")
            for _ in range(5):
                await ask(client)
            await client.close()
        assert (len(server.requests), server.connections) == (5, 1)

    asyncio.run(run())


def test_a_kept_connection_that_the_server_closed_costs_no_call() -> None:
    closing = [*OK, Send(b""), Cut()]

    async def run() -> None:
        async with ScriptedHttp(closing) as server:
            client = HttpClient(server.url, extra="openai")
            for _ in range(20):
                assert await ask(client) == {"ok": True}
                await asyncio.sleep(0.01)
            await client.close()
        assert len(server.requests) == 20

    asyncio.run(run())


def test_calls_wait_for_their_turn_and_no_longer_than_for_a_token() -> None:
    async def run() -> None:
        async with ScriptedHttp([Hang()]) as server:
            client = HttpClient(server.url, extra="openai", concurrency=1)
            first = asyncio.create_task(ask(client))
            while not server.requests:
                await asyncio.sleep(0.001)
            with pytest.raises(BackendError) as raised:
                await ask(client, limits=Limits(first_token_ms=40))
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            await client.close()
            assert (raised.value.error_class, str(raised.value)) == (
                "timeout.queue",
                "no turn at `m` within 40 ms",
            )
            assert len(server.requests) == 1

    asyncio.run(run())


def test_a_turn_is_given_back_whatever_happens() -> None:
    async def run() -> None:
        async with ScriptedHttp([Cut()], reply(500, {}), [Hang()], OK) as server:
            client = HttpClient(server.url, extra="openai", concurrency=1)
            with pytest.raises(BackendError):
                await ask(client)
            assert await ask(client) == {}
            with pytest.raises(BackendError):
                await ask(client, limits=Limits(total_ms=40))
            assert await ask(client) == {"ok": True}
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("body", [{"x": float("nan")}, {"x": object()}, {"x": "\ud800"}])
def test_what_is_no_json_is_not_sent(body: dict[str, Any]) -> None:
    async def run() -> None:
        async with ScriptedHttp(OK) as server:
            client = HttpClient(server.url, extra="openai")
            with pytest.raises(BackendError, match="cannot be written as JSON") as caught:
                await ask(client, body=body)
            await client.close()
            assert caught.value.error_class == "invalid_request", "no model is to blame for it"
        assert server.requests == []

    asyncio.run(run())


def test_a_client_serves_one_event_loop_after_another() -> None:
    client = HttpClient("http://127.0.0.1:1", extra="openai")

    async def once() -> Any:
        async with ScriptedHttp(OK) as server:
            client.base_url = client.root_url = server.url
            try:
                return await ask(client)
            finally:
                await client.close()

    assert [asyncio.run(once()) for _ in range(2)] == [{"ok": True}] * 2


def test_lines_come_as_they_arrive() -> None:
    async def run() -> list[list[bytes]]:
        async with ScriptedHttp(events(json.dumps(1) + "\n", "a\r\nb")) as server:
            client = HttpClient(server.url, extra="openai")
            async with client.request("GET", "/", CallClock(NO_LIMITS, who="m")) as got:
                lines = [line async for line in got.lines()]
            await client.close()
            return lines

    assert [line for lines in asyncio.run(run()) for line in lines] == [b"1", b"a", b"b", b""]
