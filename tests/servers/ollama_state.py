"""What the test server knows and what it was told to do: its models in memory, its sign-in, its faults."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from ollama_faults import FAULTS, STREAM_FAULTS
from ollama_library import CONTEXT_LENGTH, base_name
from ollama_runner import Runner, start_runner

__all__ = ["STATE", "Knobs", "State"]

DEFAULT_NUM_CTX = 4096


@dataclass
class Knobs:
    """What a test may turn, by `POST /_control/knobs`; `POST /_control/reset` turns all back.

    ``fault`` is one for the next ``fault_times`` requests to ``fault_path``; a model named
    ``fault-NAME`` (or ``fault-NAME:cloud``) has that fault whatever the knobs say.
    """

    version: str = "0.33.0"
    signed_in: bool = True
    reachable: bool = True
    cloud_disabled: bool = False
    has_status_route: bool = True
    knows_local_names: bool = True
    fault: str | None = None
    fault_times: int = 1
    fault_path: str = "/api/chat"
    max_queue: int = 512
    load_delay_s: float = 0.0


@dataclass
class State:
    """One server's memory."""

    cloud: bool
    api_key: str | None
    session: aiohttp.ClientSession
    knobs: Knobs = field(default_factory=Knobs)
    requests: list[dict[str, Any]] = field(default_factory=list)
    runners: dict[bool, Runner] = field(default_factory=dict)
    loading: dict[str, int] = field(default_factory=dict)
    names: dict[str, tuple[bool, float]] = field(default_factory=dict)
    loads: int = 0
    waiting: int = 0
    _load_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def runner(
        self, name: str, *, embeds: bool, num_ctx: int | None, delay_s: float = 0
    ) -> tuple[Runner, int]:
        """The model in memory and how long loading it took in nanoseconds: 0 when it was there already.

        Another ``num_ctx`` than the loaded one loads the model anew, as Ollama does. While it loads, the model
        is listed as running, as with Ollama.
        """
        wanted = min(num_ctx or DEFAULT_NUM_CTX, CONTEXT_LENGTH)
        async with self._load_lock:
            known = self.runners.get(embeds)
            alive = known is not None and known.process.returncode is None
            if known is not None and alive and name in self.names and known.num_ctx == wanted:
                return known, 0
            started = time.monotonic_ns()
            self.loading[name] = wanted
            try:
                await asyncio.sleep(delay_s + self.knobs.load_delay_s)
                if known is None or not alive or known.num_ctx != wanted:
                    if known is not None:
                        del self.runners[embeds]
                        await known.stop()
                    known = self.runners[embeds] = await start_runner(num_ctx=wanted, embeds=embeds)
                    self.loads += 1
            finally:
                del self.loading[name]
            self.names[name] = (embeds, time.time() + 300)
            return known, time.monotonic_ns() - started

    def forget(self, name: str) -> None:
        """Hold a model for not loaded, though its process lives on."""
        self.names.pop(name, None)

    async def unload(self, name: str) -> None:
        """Forget a model; its process ends when no other name uses it."""
        embeds, _ = self.names.pop(name, (False, 0.0))
        if not any(kind == embeds for kind, _ in self.names.values()) and embeds in self.runners:
            await self.runners.pop(embeds).stop()

    def running(self) -> list[tuple[str, int, float]]:
        """Name, window and end of each model that `/api/ps` lists: also those that are still loading."""
        now = time.time()
        listed = [(name, window, now + 300) for name, window in self.loading.items()]
        for name, (embeds, until) in self.names.items():
            runner = self.runners.get(embeds)
            if runner is not None and runner.process.returncode is None and name not in self.loading:
                listed.append((name, runner.num_ctx, until))
        return listed

    def next_fault(self, path: str, model: str) -> str | None:
        """The fault that this request has, if it has one."""
        name = base_name(model).removesuffix(":local").removesuffix(":latest")
        if name.startswith("fault-"):
            return name.removeprefix("fault-").replace("-", "_")
        knobs = self.knobs
        if knobs.fault is None or knobs.fault_times < 1 or path != knobs.fault_path:
            return None
        knobs.fault_times -= 1
        return knobs.fault

    async def reset(self) -> None:
        """As after the start, but for the models in memory."""
        self.knobs = Knobs()
        self.requests.clear()

    def control(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Turn knobs; raises ValueError for one that is not there."""
        for name, value in wanted.items():
            if name not in Knobs.__dataclass_fields__:
                raise ValueError(f"no knob `{name}`")
            if name == "fault" and value is not None and value not in FAULTS and value not in STREAM_FAULTS:
                raise ValueError(f"no fault `{value}`")
            setattr(self.knobs, name, value)
        return asdict(self.knobs)

    def report(self) -> dict[str, Any]:
        """What is going on, for tests."""
        return {
            "loads": self.loads,
            "busy": sum(runner.busy for runner in self.runners.values()),
            "runner_pids": [runner.process.pid for runner in self.runners.values()],
            "running": [name for name, _, _ in self.running()],
        }


STATE: web.AppKey[State] = web.AppKey("STATE", State)
