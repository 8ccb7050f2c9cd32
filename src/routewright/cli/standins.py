"""What this machine has in, who stands in for the models that it lacks out: for ``demo``, which asks nobody first."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from routewright.backends.executing import Prompts
    from routewright.engine.policy import CompiledModel, CompiledPolicy


EMBEDDED = "llamacpp:smollm2"
"""The model that needs no server: SmolLM2-135M, which the set-up installs."""

_SMALL = "smollm2"

_PATIENCE_S: Final = 3.0
"""How long an Ollama server may take to list its models: the demo has others to ask."""

_AT_ONCE_S: Final = 1.0
"""Whoever refuses a connection does so within this time."""


@dataclass(frozen=True, slots=True)
class OllamaHere:
    """What was found at ``url``: the server's ``tags``, or ``why`` it is not used; ``silent`` if calls would wait.

    ``url`` is None where nobody could be asked.
    """

    url: str | None
    tags: Sequence[str] = ()
    why: str | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True)
class StandIns:
    """Mappings and hosts for ``load_policy``; ``maps`` is None where no model is here.

    ``told`` is what to say of them, a sentence each. ``left_out`` are backends that are not to be called, since
    whoever answers for them would only be waited for. ``short`` says that all answers come from a small model,
    which seldom stops by itself.
    """

    maps: Mapping[str, str] | None
    hosts: Mapping[str, str] = field(default_factory=dict)
    told: Sequence[str] = ()
    left_out: frozenset[str] = frozenset()
    short: bool = False


def stand_ins(policy: CompiledPolicy) -> StandIns:
    """Who answers for the chat models of ``policy`` here: Ollama's own models, then a small one for all others."""
    given = os.environ.get("OLLAMA_HOST")
    found = find_ollama(given)
    kinds = policy.catalog.backends
    ollamas = [id for id, shape in kinds.items() if shape.kind == "ollama"]
    there = [m for m in policy.catalog.models if m.backend in ollamas and _full(m.tag) in found.tags]
    chats = [model for model in there if "chat" in model.operations]
    small = min((tag for tag in found.tags if tag.startswith(f"{_SMALL}:")), default=None)
    told = [_of_ollama(found, there)]
    local = [model for model in chats if model.location == "local"]
    if small is not None:
        target, what = f"ollama:{small}", f"Its `{small}`"
    elif embedded_is_installed():
        target, what = EMBEDDED, "The embedded model SmolLM2-135M"
    elif local:
        target, what = f"{local[0].backend}:{local[0].tag}", f"Its `{local[0].tag}`"
    else:
        return StandIns(
            None, told=(*told, "No model was asked, as the embedded one is not installed either.")
        )
    told.append(f"{what} stands in for the{' other' if chats else ''} chat models that this machine lacks.")
    # An address that was given is the one to speak of, also where nobody answers there.
    hosts = {id: found.url for id in ollamas if found.url is not None and (given or found.why is None)}
    return StandIns(
        {"*": target} | {m.id: f"{m.backend}:{m.tag}" for m in chats},
        hosts,
        told,
        frozenset(ollamas) if found.silent else frozenset(),
        short=not chats,
    )


def _of_ollama(found: OllamaHere, there: Sequence[CompiledModel]) -> str:
    if found.why is not None:
        return f"No Ollama server is used: {found.why}."
    count = len(found.tags)
    has = f"{count} model{'' if count == 1 else 's'}" if count else "no models"
    theirs = f"of the catalog's {', '.join(m.id for m in there)}" if there else "none of the catalog's"
    return f"The Ollama server at {found.url} has {has}{f', {theirs}' if count else ''}."


def short_prompts(most_tokens: int) -> Prompts:
    """The shipped templates of steps, with no answer longer than ``most_tokens``: a small model seldom stops."""
    from routewright.backends.executing import Prompts, shipped_prompts

    prompts = shipped_prompts()
    short = {
        name: replace(
            prompt,
            max_output_tokens=min(prompt.max_output_tokens or most_tokens, most_tokens),
            thinking_tokens=None,
        )
        for name, prompt in prompts.by_name.items()
    }
    return Prompts(short, f"{prompts.digest}, at most {most_tokens} tokens")


def embedded_is_installed() -> bool:
    """Whether the embedded model and what runs it are there."""
    from importlib.util import find_spec

    from routewright.backends import BackendError, embedded_model

    if find_spec("xllamacpp") is None or find_spec("aiohttp") is None:
        return False
    try:
        embedded_model()
    except BackendError:
        return False
    return True


def find_ollama(host: str | None, *, patience_s: float = _PATIENCE_S) -> OllamaHere:
    """The Ollama server at ``host``, by default this machine's, and its tags; or why it is not used."""
    from importlib.util import find_spec

    from routewright.backends import install_command
    from routewright.engine.policy import client_address

    try:
        url = client_address(host)
    except ValueError:
        return OllamaHere(None, why=f"OLLAMA_HOST is no address of one: `{host}`")
    if find_spec("aiohttp") is None or find_spec("ollama") is None:
        return OllamaHere(None, why=f"its client library is not installed ({install_command('ollama')})")
    from routewright.backends import BackendError, OllamaBackend

    async def ask() -> Sequence[str]:
        backend = OllamaBackend(url)
        try:
            async with asyncio.timeout(patience_s):
                return [_full(listing.tag) for listing in await backend.models()]
        finally:
            await backend.close()

    begun_s = time.monotonic()
    try:
        return OllamaHere(url, asyncio.run(ask()))
    except (BackendError, TimeoutError) as error:
        # A port without a server refuses at once; one that takes connections and says nothing is no server either.
        silent = time.monotonic() - begun_s >= min(_AT_ONCE_S, patience_s)
        if isinstance(error, BackendError) and not error.error_class.startswith("timeout."):
            return OllamaHere(url, why=str(error), silent=True)
        why = f"{url} took too long to answer" if silent else f"nothing answers at {url}"
        return OllamaHere(url, why=why, silent=silent)


def _full(tag: str) -> str:
    return tag if ":" in tag else f"{tag}:latest"
