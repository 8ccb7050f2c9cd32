"""What this machine has in, who stands in for the models that it lacks out: for ``demo``, which asks nobody first."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from routewright.backends.executing import Prompts
    from routewright.engine.policy.compiled import CompiledPolicy

__all__ = ["EMBEDDED", "StandIns", "embedded_is_installed", "find_ollama", "short_prompts", "stand_ins"]

EMBEDDED = "llamacpp:smollm2"
"""The model that needs no server: SmolLM2-135M, which the set-up installs."""

_SMALL = "smollm2"


@dataclass(frozen=True, slots=True)
class StandIns:
    """Mappings and hosts for ``load_policy``, and what to say of them; ``maps`` is None where no model is here."""

    maps: Mapping[str, str] | None
    hosts: Mapping[str, str]
    told: str


def stand_ins(policy: CompiledPolicy) -> StandIns:
    """Who answers for the chat models of ``policy`` here: Ollama's own models, then a small one for all others."""
    url, tags = find_ollama(os.environ.get("OLLAMA_HOST"))
    chats = [model for model in policy.catalog.models if "chat" in model.operations]
    kinds = policy.catalog.backends
    there = [m for m in chats if kinds[m.backend].kind == "ollama" and _full(m.tag) in tags]
    hosts = {id: url for id, shape in kinds.items() if url and shape.kind == "ollama"}
    small = min((tag for tag in tags if tag.startswith(f"{_SMALL}:")), default=None)
    if small is not None:
        target, what = f"ollama:{small}", f"`{small}` of the Ollama server at {url}"
    elif embedded_is_installed():
        target, what = EMBEDDED, "the embedded model SmolLM2-135M"
    else:
        return StandIns(None, {}, "simulated: no model was asked, as the embedded one is not installed")
    maps = {"*": target} | {m.id: f"{m.backend}:{m.tag}" for m in there}
    told = f"real answers; {what} stands in for the chat models that this machine lacks"
    if there:
        told += f"; {', '.join(m.id for m in there)} answered through the Ollama server at {url}"
    return StandIns(maps, hosts, told)


def short_prompts(most_tokens: int) -> Prompts:
    """The shipped templates of steps, with no answer longer than ``most_tokens``: a small model seldom stops."""
    from routewright.backends.executing import Prompts, shipped_prompts

    prompts = shipped_prompts()
    short = {
        name: replace(prompt, max_output_tokens=min(prompt.max_output_tokens or most_tokens, most_tokens))
        for name, prompt in prompts.by_name.items()
    }
    return Prompts(short, f"{prompts.digest}, at most {most_tokens} tokens")


def embedded_is_installed() -> bool:
    """Whether the embedded model and what runs it are there."""
    from importlib.util import find_spec

    from routewright.backends import BackendError
    from routewright.backends.llamacpp_process import embedded_model

    if find_spec("xllamacpp") is None or find_spec("aiohttp") is None:
        return False
    try:
        embedded_model()
    except BackendError:
        return False
    return True


def find_ollama(host: str | None) -> tuple[str | None, Sequence[str]]:
    """The address of the Ollama server at ``host``, by default this machine's, and its tags; None if none answers."""
    from importlib.util import find_spec

    if find_spec("aiohttp") is None or find_spec("ollama") is None:
        return None, ()
    from routewright.backends import BackendError
    from routewright.backends.ollama import OllamaBackend
    from routewright.backends.ollama_names import server_url

    async def ask() -> Sequence[str]:
        backend = OllamaBackend(host)
        try:
            return [_full(listing.tag) for listing in await backend.models()]
        finally:
            await backend.close()

    try:
        return server_url(host), asyncio.run(ask())
    except (BackendError, ValueError):
        return None, ()


def _full(tag: str) -> str:
    return tag if ":" in tag else f"{tag}:latest"
