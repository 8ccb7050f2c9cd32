"""A process whose children each make one call and are killed in it.

Each line that it reads is the folder of a policy, a place and a delay in seconds. It forks a child for it and, when
that is gone, prints how far it had come: `b` when it began, `l` once its quotas were reserved, `i` once its intent was
recorded, `e` when its call had ended. At the place `lease` or `intent` the child kills itself where it is there, at
`sent` the server kills it, and at one of the letters it is killed so long after it has come to that.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from functools import cache
from pathlib import Path

import aiohttp
import duckdb

from routewright import ChatRequest, Ledger, ModelGateway, Task, load_policy
from routewright.backends import Message
from routewright.backends.control import StateStore
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.record import Intent
from routewright.gateway.opening import open_backends
from routewright.gateway.recorder import Pending, Recorder


def call(folder: Path, place: str, told: int) -> None:
    """Make one call, in a child that is killed at ``place``; say in ``told`` how far it came."""
    announce, policy = Recorder.announce, policy_in(folder)

    def come_to(letter: bytes, where: str) -> None:
        os.write(told, letter)
        if where == place:
            os.kill(os.getpid(), signal.SIGKILL)

    async def watched(recorder: Recorder, one: Pending, intent: Intent) -> None:
        come_to(b"l", "lease")
        await announce(recorder, one, intent)
        come_to(b"i", "intent")

    async def run() -> None:
        async with ModelGateway(
            policy,
            backends=open_backends(policy),
            store=StateStore(folder / "state.db"),
            ledger=Ledger.open(folder / "ledger.duckdb", lock_timeout_s=60),
        ) as gateway:
            come_to(b"b", "")
            await gateway.run(Task(), ChatRequest((Message("user", str(os.getpid())),), max_output_tokens=8))
            come_to(b"e", "")

    Recorder.announce = watched  # type: ignore[assignment,method-assign]  # nothing in the product stops there
    asyncio.run(run())


@cache
def policy_in(folder: Path) -> CompiledPolicy:
    """Compiled once, for all children."""
    return load_policy(folder / "policy.yaml")


def crash(folder: Path, place: str, delay_s: float) -> str:
    """What a child had come to that was killed, or had ended by itself before."""
    policy_in(folder)
    read, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            call(folder, place, told)
        finally:
            os._exit(0)
    os.close(told)
    came = ""
    while letter := os.read(read, 1).decode():
        came += letter
        if letter == place:
            time.sleep(delay_s)
            os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read)
    return came


if __name__ == "__main__":
    # Nothing is opened and no thread begun before they are forked; what is heavy is loaded.
    assert aiohttp and duckdb
    for line in sys.stdin:
        where_from, where, delay = line.rsplit(maxsplit=2)
        print(crash(Path(where_from), where, float(delay)), flush=True)
