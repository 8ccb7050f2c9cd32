"""Finds who can answer on this machine for the models of a policy: for ``demo``, which needs no set-up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Final

from routewright.backends import BackendError, OllamaBackend, embedded_model
from routewright.backends.executing import Prompts, shipped_prompts
from routewright.engine.policy import CompiledModel, CompiledPolicy, client_address
from routewright.engine.report import install_command
from routewright.gateway import Listed, listed_models, model_presence, open_backends

EMBEDDED = "llamacpp:smollm2"
"""The model that needs no server: SmolLM2-135M, which the set-up installs."""

_SMALL = "smollm2"

_SERVER = "the Ollama server"

_PATIENCE_S: Final = 3.0
"""How long a server may take to list its models: the demo has others to ask."""


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
    url, listed = _asked(policy)
    presence = model_presence(policy, listed)
    ollamas = [id for id, shape in policy.catalog.backends.items() if shape.kind == "ollama"]
    enabled = [model for model in policy.catalog.models if model.disabled is None]
    there = [model for model in enabled if presence[model.id].state == "present"]
    chats = [model for model in there if "chat" in model.operations]
    tags = listed[ollamas[0]]
    told = [_of_ollama(url, tags, [model.id for model in there if model.backend in ollamas])]
    smalls = () if isinstance(tags, str) else sorted(tag for tag in tags if tag.startswith(f"{_SMALL}:"))
    local = [model for model in chats if model.location == "local"]
    if smalls:
        target, what = f"ollama:{smalls[0]}", f"Its `{smalls[0]}`"
    elif embedded_is_installed():
        target, what = EMBEDDED, "The embedded model SmolLM2-135M"
    elif local:
        target, what = f"{local[0].backend}:{local[0].tag}", f"Its `{local[0].tag}`"
    else:
        return StandIns(
            None, told=(*told, "No model was asked, as the embedded one is not installed either.")
        )
    told.append(f"{what} stands in for the{' other' if chats else ''} chat models that this machine lacks.")
    lacking = {
        model.id: presence[model.id].get
        for model in enabled
        if model not in there and "chat" not in model.operations
    }
    maps, declared = _in_place(policy, there, target, url)
    declared |= {id: {"host": url} for id in ollamas if url is not None}
    return StandIns(maps | dict.fromkeys(lacking), declared, told, lacking, short=not chats)


def _asked(policy: CompiledPolicy) -> tuple[str | None, Listed]:
    """The address of the Ollama server to use, and what every backend says that it has.

    That server stands for all backends of its kind: $OLLAMA_HOST, by default this machine's.
    """
    kinds = {id: shape.kind for id, shape in policy.catalog.backends.items()}
    host = os.environ.get("OLLAMA_HOST")
    url, why = None, f"OLLAMA_HOST is no address of one: `{host}`"
    with suppress(ValueError):
        url = client_address(host)
    if find_spec("aiohttp") is None or find_spec("ollama") is None:
        url, why = None, f"its client library is not installed ({install_command('ollama')})"

    async def ask() -> Listed:
        every = dict(open_backends(policy, only=[id for id, kind in kinds.items() if kind != "ollama"]))
        if url is not None:
            every |= {_SERVER: OllamaBackend(url)}
        try:
            return await listed_models(every, timeout_s=_PATIENCE_S)
        finally:
            for backend in every.values():
                await backend.close()

    listed = dict(asyncio.run(ask()))
    ours = listed.pop(_SERVER, why)
    return url, listed | {id: ours for id, kind in kinds.items() if kind == "ollama"}


def _in_place(
    policy: CompiledPolicy, there: Sequence[CompiledModel], target: str, url: str | None
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
            declared[id] = {"kind": "llamacpp"} if target == EMBEDDED else {"kind": "ollama", "host": url}
            maps |= {
                model.id: f"{id}:{tag}"
                for model in policy.catalog.models
                if model.backend == id and "chat" in model.operations
            }
    return maps, declared


def _of_ollama(url: str | None, listed: frozenset[str] | str, ours: Sequence[str]) -> str:
    if isinstance(listed, str):
        return f"No Ollama server is used: {listed}."
    count = len(listed)
    has = f"{count} model{'' if count == 1 else 's'}" if count else "no models"
    theirs = f"of the catalog's {', '.join(ours)}" if ours else "none of the catalog's"
    return f"The Ollama server at {url} has {has}{f', {theirs}' if count else ''}."


def short_prompts(most_tokens: int) -> Prompts:
    """The shipped templates of steps, with no answer longer than ``most_tokens``: a small model seldom stops."""
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
    if find_spec("xllamacpp") is None or find_spec("aiohttp") is None:
        return False
    try:
        embedded_model()
    except BackendError:
        return False
    return True
