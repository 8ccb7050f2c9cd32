"""One gateway under many event loops: what belonged to a loop ends with it."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from routewright import BackendError, ModelGateway
from routewright.backends.control import StateStore
from routewright.backends.openai.backend import OpenAIBackend
from routewright.loading.loading import load_policy

SERVER = Path(__file__).parent / "servers" / "slow_openai_server.py"

POLICY = """\
routewright: 1
name: served
catalog:
  routewright: 1
  backends: {{ served: {{ kind: openai, host: "{url}" }} }}
  models: {{ quick: {{ backend: served, tag: wait-0 }} }}
rules:
  - {{ name: all, use: [quick] }}
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.kill()


@pytest.fixture
def gateway(url: str, tmp_path: Path) -> Iterator[ModelGateway]:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(url=url), encoding="utf-8")
    policy = load_policy(path)
    with ModelGateway(policy, backends={"served": OpenAIBackend(url)}) as gateway:
        yield gateway


def asked(gateway: ModelGateway) -> Coroutine[Any, Any, Any]:
    return gateway.generate_chat(messages=[{"role": "user", "content": "hello"}])


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def kept_loops(gateway: ModelGateway) -> int:
    backend = gateway.backends["served"]
    assert isinstance(backend, OpenAIBackend)
    return len(backend.http._rooms)


def test_a_loop_for_each_of_six_hundred_calls_leaves_nothing_open(gateway: ModelGateway) -> None:
    before = descriptors()
    for _ in range(600):
        assert asyncio.run(asked(gateway)).text == "Here I am."
    assert (descriptors(), kept_loops(gateway)) == (before, 0)


def test_a_loop_for_each_of_two_hundred_threads_leaves_nothing_open(gateway: ModelGateway) -> None:
    before = descriptors()
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: said.append(asyncio.run(asked(gateway)).text)) for _ in range(200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["Here I am."] * 200
    assert (descriptors(), kept_loops(gateway)) == (before, 0)


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_a_loop_that_is_closed_without_its_generators_is_dropped_by_the_next(gateway: ModelGateway) -> None:
    before = descriptors()
    for _ in range(20):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(asked(gateway))
        loop.close()
        assert kept_loops(gateway) == 1
    asyncio.run(asked(gateway))
    assert (descriptors(), kept_loops(gateway)) == (before, 0)
    gc.collect()  # the transports of these loops warn that nobody closed them


def test_closing_in_one_loop_closes_the_connections_of_another_that_runs(gateway: ModelGateway) -> None:
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(asked(gateway), other).result()
    assert kept_loops(gateway) == 1
    gateway.close_sync()
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), other).result()
    assert kept_loops(gateway) == 0
    other.call_soon_threadsafe(other.stop)
    thread.join()
    other.close()


def test_a_process_without_room_for_another_socket_blames_no_model(url: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(url=url), encoding="utf-8")
    backends = {"served": OpenAIBackend(url)}
    store = StateStore(tmp_path / "state.sqlite")
    with ModelGateway(load_policy(path), backends=backends, store=store) as gateway:
        gateway._own_loop.run(lambda: asyncio.sleep(0))  # which needs descriptors of its own
        gateway.admin.breakers()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/dev/fd"))), hard))
        try:
            held = [os.open(os.devnull, os.O_RDONLY) for _ in range(free_descriptors())]
            for _ in range(4):
                with pytest.raises(BackendError) as caught:
                    gateway.generate_chat_sync([{"role": "user", "content": "hello"}])
                assert caught.value.error_class == "timeout.queue", caught.value
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in held:
            os.close(one)
        assert str(caught.value) == "this process cannot open another connection: too many open files"
        assert gateway.admin.breakers() == {}
        assert gateway.generate_chat_sync([{"role": "user", "content": "hello"}]).text == "Here I am."


def free_descriptors() -> int:
    """How many more descriptors this process may open."""
    opened: list[int] = []
    try:
        while True:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return len(opened)
    finally:
        for one in opened:
            os.close(one)


def test_a_forked_process_leaves_the_connections_of_its_parent_alone(url: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(url=url), encoding="utf-8")
    program = f"""
import gc, os, sys
from routewright import ModelGateway
from routewright.backends.openai import OpenAIBackend
from routewright.loading import load_policy

gateway = ModelGateway(load_policy({str(path)!r}), backends={{"served": OpenAIBackend({url!r})}})

def ask():
    return gateway.generate_chat_sync([{{"role": "user", "content": "hello"}}]).text

assert ask() == "Here I am."
child = os.fork()
assert ask() == "Here I am."
rooms = gateway.backends["served"].http._rooms
assert len(rooms) == 1, "the child has its own alone"
gateway.close_sync()
if child:
    assert os.waitpid(child, 0)[1] == 0
gc.collect()
"""
    # A fork beside threads is deprecated since Python 3.12, and done by web servers all the same.
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program]
    ended = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
