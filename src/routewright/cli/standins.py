"""Finds who can answer on this machine for the models of a policy: for ``demo``, which needs no set-up."""

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
    from routewright.gateway import Presence


EMBEDDED = "llamacpp:smollm2"
"""The model that needs no server: SmolLM2-135M, which the set-up installs."""

_SMALL = "smollm2"

_PATIENCE_S: Final = 3.0
"""How long an Ollama server may take to list its models: the demo has others to ask."""

_AT_ONCE_S: Final = 1.0
"""Whoever refuses a connection does so within this time."""


@dataclass(frozen=True, slots=True)
class OllamaHere:
    """What was found at ``url``: the server's ``tags``, or ``why`` it is not used. ``url`` is None if it is none."""

    url: str | None
    tags: Sequence[str] = ()
    why: str | None = None


@dataclass(frozen=True, slots=True)
class StandIns:
    """What ``load_policy`` needs to run a policy here; ``maps`` is None where no model is here.

    ``declared`` are other declarations of backends. ``told`` is what to say of all this, a sentence each, and
    ``lacking`` the models that are not here and that nothing can stand in for, each with the command that fetches it.
    ``short`` says that all answers come from a small model, which seldom stops by itself.
    """

    maps: Mapping[str, str | None] | None
    declared: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    told: Sequence[str] = ()
    lacking: Mapping[str, str | None] = field(default_factory=dict)
    short: bool = False


def stand_ins(policy: CompiledPolicy) -> StandIns:
    """Who answers for the models of ``policy`` here: those that are here, then a small one for all others that chat."""
    given = os.environ.get("OLLAMA_HOST")
    found = find_ollama(given)
    kinds = {id: shape.kind for id, shape in policy.catalog.backends.items()}
    ollamas = [id for id, kind in kinds.items() if kind == "ollama"]
    there, get = _models_here(policy, found)
    ours = [model for model in there if model.backend in ollamas]
    chats = [model for model in there if "chat" in model.operations]
    told = [_of_ollama(found, ours)]
    small = min((tag for tag in found.tags if tag.startswith(f"{_SMALL}:")), default=None)
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
    maps, declared = _in_place(policy, there, target, found)
    maps |= {id: None for id in get}
    # An address that was given is the one to speak of, also where nobody answers there.
    hosts = ollamas if found.url is not None and (given or found.why is None) else []
    declared |= {id: {"host": found.url} for id in hosts}
    return StandIns(maps, declared, told, get, short=not chats)


def _models_here(
    policy: CompiledPolicy, found: OllamaHere
) -> tuple[Sequence[CompiledModel], Mapping[str, str | None]]:
    """The models that are here, and those that are not and do not chat, with the commands that fetch them."""
    from routewright.gateway import model_presence, open_each

    kinds = {id: shape.kind for id, shape in policy.catalog.backends.items()}

    async def ask() -> Mapping[str, Presence]:
        backends, unusable = open_each(policy, only=[id for id, kind in kinds.items() if kind != "ollama"])
        try:
            return await model_presence(policy, backends, unusable, ollama_tags=found.tags)
        finally:
            for backend in backends.values():
                await backend.close()

    known = asyncio.run(ask())
    enabled = [model for model in policy.catalog.models if model.disabled is None]
    return (
        [model for model in enabled if known[model.id].state == "present"],
        {
            model.id: known[model.id].get
            for model in enabled
            if known[model.id].state != "present" and "chat" not in model.operations
        },
    )


def _in_place(
    policy: CompiledPolicy, there: Sequence[CompiledModel], target: str, found: OllamaHere
) -> tuple[dict[str, str | None], dict[str, Mapping[str, object]]]:
    """Maps of all chat models that are not here, and declarations of backends that the stand-in takes over.

    It takes over a backend in this process none of whose models is here: what a policy keeps there, such as private
    work, stays on this machine, so the policy does with it what it would do with the models themselves.
    """
    backend, _, tag = target.partition(":")
    maps: dict[str, str | None] = {"*": target}
    maps |= {model.id: f"{model.backend}:{model.tag}" for model in there if "chat" in model.operations}
    declared: dict[str, Mapping[str, object]] = {}
    for id, shape in policy.catalog.backends.items():
        if shape.kind == "mlx" and backend != id and all(model.backend != id for model in there):
            declared[id] = (
                {"kind": "llamacpp"} if target == EMBEDDED else {"kind": "ollama", "host": found.url}
            )
            maps |= {
                model.id: f"{id}:{tag}"
                for model in policy.catalog.models
                if model.backend == id and "chat" in model.operations
            }
    return maps, declared


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
                return [listing.tag for listing in await backend.models()]
        finally:
            await backend.close()

    begun_s = time.monotonic()
    try:
        return OllamaHere(url, asyncio.run(ask()))
    except (BackendError, TimeoutError) as error:
        if isinstance(error, BackendError) and not error.error_class.startswith("timeout."):
            return OllamaHere(url, why=str(error))
        # A port without a server refuses at once; one that takes connections and says nothing is no server either.
        waited = time.monotonic() - begun_s >= min(_AT_ONCE_S, patience_s)
        return OllamaHere(
            url, why=f"{url} took too long to answer" if waited else f"nothing answers at {url}"
        )
