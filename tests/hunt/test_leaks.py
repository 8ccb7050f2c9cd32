"""Private work stays on this machine, and a key goes to its own host: hunted with random policies and real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import pytest
from support.sizes import LEAK_POLICIES, THOROUGH

from routewright import ModelGateway, Task
from routewright.backends import ChatRequest, Message
from routewright.backends.openai.backend import OpenAIBackend

from . import world
from .leaks import Found, Leak, hunt, hunt_in_processes
from .world import PLAIN


def test_no_private_prompt_and_no_key_ends_up_elsewhere() -> None:
    """Whatever the pins, maps, fallbacks, steps, ensembles, rollouts, caches, redirects and reloads."""
    found = hunt_in_processes(range(LEAK_POLICIES)) if THOROUGH else asyncio.run(hunt(range(LEAK_POLICIES)))
    print(found.summary())
    assert [str(leak) for leak in found.leaks[:20]] == []
    # A hunt in which nothing is answered, or nothing is private, finds nothing.
    assert found.counts["tasks answered"] > LEAK_POLICIES // 10
    assert found.counts["private tasks"] > LEAK_POLICIES
    assert found.counts["reloads"] > LEAK_POLICIES // 20


# --- planted leaks -----------------------------------------------------------------------------------------
#
# Where a model runs and whether a server forwards is planted in the world, not in the program: what the program takes
# for this machine's own is then another's, which is what every wrong answer of its to that question comes down to.


@contextmanager
def _foreign(address: str) -> Iterator[None]:
    """An address that counts as this machine leads elsewhere."""
    true = world.is_here
    with mock.patch.object(world, "is_here", lambda host: host != address and true(host)):
        yield


@contextmanager
def _forwarded(tag: str) -> Iterator[None]:
    """A tag that counts as this machine's is the cloud's."""
    true = world.is_forwarded
    with mock.patch.object(
        world, "is_forwarded", lambda name: name.removesuffix(":local") == tag or true(name)
    ):
        yield


@contextmanager
def _forwarding(kind: str) -> Iterator[None]:
    """A server of this machine passes everything on."""
    with mock.patch.object(world, "FORWARDERS", frozenset({"forwarder", kind})):
        yield


@contextmanager
def _look_ups_pass() -> Iterator[None]:
    """As if any answer to a look-up would do: a stub looks like a model of the server's own."""
    with (
        mock.patch.dict(world.STUBS, {name: (200, b'{"model_info": {}}') for name in world.STUBS}),
        mock.patch.object(world, "is_forwarded", lambda name: name.partition(":")[0] in world.STUBS),
    ):
        yield


@contextmanager
def _null_is_left_out() -> Iterator[None]:
    run = ModelGateway.run

    def forgetful(self: ModelGateway, task: Task, *args: Any, **more: Any) -> Any:
        known = {name: value for name, value in task.features.items() if value is not None}
        return run(self, Task(known, task.operation, task.request, task.pin), *args, **more)

    with mock.patch.object(ModelGateway, "run", forgetful):
        yield


@contextmanager
def _key_for_anybody() -> Iterator[None]:
    run = ModelGateway.run

    async def generous(self: ModelGateway, task: Task, *args: Any, **more: Any) -> Any:
        backend = OpenAIBackend("http://gpu.lan:8000", api_key="key-of-aws")
        try:
            await backend.chat("m", ChatRequest((Message("user", "hello"),)))
        finally:
            await backend.close()
        return await run(self, task, *args, **more)

    with mock.patch.object(ModelGateway, "run", generous):
        yield


PLANTS: dict[str, tuple[Callable[[], AbstractContextManager[None]], Callable[[Leak], bool]]] = {
    "a host that is not this machine": (
        lambda: _foreign("127.1.2.3"),
        lambda leak: leak.kind == "prompt" and leak.host in ("127.1.2.3:8080", "127.1.2.3:11434"),
    ),
    "a tag of the cloud": (
        lambda: _forwarded("qwen3:8b"),
        lambda leak: leak.kind == "prompt" and leak.model.startswith("qwen3:8b") and ":11434" in leak.host,
    ),
    "a stub behind a look-up": (
        _look_ups_pass,
        lambda leak: leak.kind == "prompt" and leak.model.startswith("stub-"),
    ),
    "a forwarder on loopback": (
        lambda: _forwarding("plain"),
        lambda leak: leak.kind == "prompt" and leak.host.endswith(f":{PLAIN}"),
    ),
    "a feature given as null": (
        _null_is_left_out,
        lambda leak: leak.kind == "prompt" and "private: null (default False)" in leak.task,
    ),
    "a model mapped onto a cloud's": (
        lambda: _forwarded("qwen3:8b"),
        lambda leak: (
            leak.kind == "prompt" and "'ollama:qwen3:8b'" in leak.task and leak.model.startswith("qwen3")
        ),
    ),
    "a key for another host": (
        _key_for_anybody,
        lambda leak: leak.kind == "key" and leak.host == "gpu.lan:8000",
    ),
}


FOUND_AT = {"a tag of the cloud": 134, "a stub behind a look-up": 66, "a model mapped onto a cloud's": 1_130}
"""The seeds that find those which few policies can leak, to begin with; the others follow."""


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_leak_is_found(name: str) -> None:
    plant, is_it = PLANTS[name]
    start = FOUND_AT.get(name, 0)

    def enough(found: Found) -> bool:
        return any(is_it(leak) for leak in found.leaks)

    with plant():
        found = asyncio.run(hunt([*range(start, 1_500), *range(start)], enough=enough))
    print(found.summary())
    assert enough(found)
