"""The hunt itself: policies are loaded, tasks run, files reloaded; then it is looked at who was asked what."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from routewright import ModelGateway, Task, request_for
from routewright.backends import BackendError
from routewright.backends.control import StateError
from routewright.engine.decision.task import RequestFacts
from routewright.engine.report.errors import PolicyError, TaskError
from routewright.gateway.results import NoTargetError

from .policies import Made, maps_for, random_policy
from .world import Asked, World, world

__all__ = ["ENVIRONMENT", "Found", "Leak", "hunt", "hunt_in_processes"]

ENVIRONMENT = {
    "OLLAMA_API_KEY": "key-of-ollama",
    "OPENAI_API_KEY": "key-of-openai",
    "AWS_SECRET_ACCESS_KEY": "key-of-aws",
}
AT_HOME = {("ollama.com", "key-of-ollama"), ("api.openai.com", "key-of-openai")}
"""Which key may be seen where."""


_CANARY = re.compile(r"canary\d+x\d+")


@dataclass(frozen=True)
class Leak:
    """Something that was where it must not be. ``seed`` makes the policy again that it came from."""

    seed: int
    kind: str
    host: str
    model: str
    path: str
    task: str
    policy: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.kind}: `{self.model}` at {self.host}{self.path}; {self.task}"


@dataclass
class Found:
    """What a hunt did, and what it found."""

    leaks: list[Leak] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def summary(self) -> str:
        counted = ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items()))
        return f"{counted}; {len(self.leaks)} leaks; {self.seconds:.0f} s"


async def hunt(seeds: Iterable[int], *, enough: Callable[[Found], bool] = lambda _: False) -> Found:
    """Hunt with each of ``seeds``, until it is ``enough``. The policies of one seed are always the same."""
    found = Found()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, ENVIRONMENT):
        async with world() as made:
            for seed in seeds:
                await _Hunt(Random(seed), seed, Path(folder), made, found).run()
                if enough(found):
                    break
    found.seconds = time.monotonic() - started
    return found


def hunt_in_processes(seeds: range) -> Found:
    """``hunt``, with all processors. The leaks of a seed do not depend on how the seeds are shared out."""
    parts = os.cpu_count() or 1
    whole = Found()
    with ProcessPoolExecutor(parts, mp_context=get_context("spawn")) as pool:
        for found in pool.map(_hunt_part, [seeds[part::parts] for part in range(parts)]):
            whole.leaks += found.leaks
            whole.counts += found.counts
            whole.seconds = max(whole.seconds, found.seconds)
    return whole


def _hunt_part(seeds: range) -> Found:
    return asyncio.run(hunt(seeds))


@dataclass
class _Hunt:
    random: Random
    seed: int
    folder: Path
    world: World
    found: Found
    canaries: int = 0
    private: set[str] = field(default_factory=set)
    maps: dict[str, str] | None = None
    defaults: list[bool | None] = field(default_factory=list)

    async def run(self) -> None:
        self.found.counts["policies"] += 1
        self.world.asked.clear()
        self.world.random, self.world.moody = self.random, self.random.choice([0.0, 0.0, 0.3])
        policy = random_policy(self.random)
        self.defaults = self._write(policy)
        self.maps = maps_for(self.random, policy) if self.random.random() < 0.2 else None
        state = self.folder / f"{self.seed}.sqlite" if self.random.random() < 0.1 else None
        try:
            gateway = ModelGateway.from_policy(self.folder / "policy.yaml", maps=self.maps, state=state)
        except (PolicyError, TaskError, BackendError, StateError) as error:
            self.found.counts[f"refused: {type(error).__name__}"] += 1
            return
        async with gateway:
            await self._tasks(gateway, policy)
            if self.random.random() < 0.25:
                other = random_policy(self.random)
                defaults = self._write(other)
                try:
                    await gateway.reload()
                except (PolicyError, TaskError, BackendError):
                    self.found.counts["reloads refused"] += 1
                else:
                    self.found.counts["reloads"] += 1
                    policy, self.defaults = other, defaults
                await self._tasks(gateway, policy)

    def _write(self, policy: Made) -> list[bool | None]:
        """Write the policy's files; what a task that is silent about `private` is by it, and by its candidate."""
        values, defaults = policy.values, [_default(policy)]
        if self.random.random() < 0.2:
            candidate = random_policy(self.random, "next")
            (self.folder / "next.yaml").write_text(json.dumps(candidate.values))
            defaults.append(_default(candidate))
            mode = self.random.choice(
                [{"mode": "shadow"}, {"mode": "full"}, {"mode": "canary", "percent": "50%"}]
            )
            values = {**values, "rollout": {"candidate": "next.yaml", **mode}}
        (self.folder / "policy.yaml").write_text(json.dumps(values))
        return defaults

    async def _tasks(self, gateway: ModelGateway, policy: Made) -> None:
        for _ in range(self.random.randint(1, 3)):
            await self._task(gateway, policy)

    async def _task(self, gateway: ModelGateway, policy: Made) -> None:
        """One task; a private one must not have been anywhere else when it is done."""
        random = self.random
        given = random.choice(["yes", "yes", "yes", "null", "no", "left out"])
        known: dict[str, object] = {"yes": True, "null": None, "no": False}
        features = {"private": known[given]} if given in known else {}
        # A feature that is left out is its default; without one nobody knows, and what may be private is.
        stays = given in ("yes", "null") or (given == "left out" and False not in self.defaults)
        if random.random() < 0.5:
            features = {**features, "level": random.randint(0, 9)}
        metadata = {
            "team": random.choice(["secret", "open"]),
            **({"session": "s"} if random.random() < 0.3 else {}),
        }
        operation: Any = "embed" if policy.embeds and random.random() < 0.25 else "chat"
        models = policy.embeds if operation == "embed" else policy.chats
        pin = random.choice(models) if random.random() < 0.15 else None
        self.canaries += 1
        canary = f"canary{self.seed}x{self.canaries}"
        task = Task(features, operation=operation, pin=pin, request=RequestFacts(metadata=metadata))
        before = len(self.world.asked)
        pieces: list[str] = []
        try:
            ran = await gateway.run(
                task,
                request_for(task, f"{canary} keep this to yourself"),
                on_text=pieces.append if random.random() < 0.3 else None,
            )
        except (TaskError, NoTargetError, BackendError) as error:
            self.found.counts[f"tasks: {type(error).__name__}"] += 1
        else:
            answered = ran.execution is not None and ran.execution.answer is not None
            self.found.counts["tasks answered" if answered else "tasks not answered"] += 1
        self.found.counts["private tasks"] += stays
        if stays:
            self.private.add(canary)
        for one in self.world.asked[before:]:
            self.found.counts["requests"] += 1
            said = f"private: {given} (default {self.defaults[0]}), {operation}, pin {pin}, maps {self.maps}"
            # Also those of tasks before: what is kept of them must not come up in another.
            if one.side == "elsewhere" and not self.private.isdisjoint(_CANARY.findall(one.body)):
                self._leak("prompt", one, said, policy)
            for name in ENVIRONMENT.values():
                if name in one.key and (one.host.partition(":")[0], name) not in AT_HOME:
                    self._leak("key", one, said, policy)

    def _leak(self, kind: str, one: Asked, said: str, policy: Made) -> None:
        text = json.dumps(policy.values, ensure_ascii=False)
        self.found.leaks.append(Leak(self.seed, kind, one.host, one.model, one.path, said, text))


def _default(policy: Made) -> bool | None:
    default: bool | None = policy.values["features"]["private"].get("default")
    return default
