"""Names what is really called for a model: its server or file, its tag, and the credential that it is called with.

Breakers and latencies are kept under these names, so that policies which call one model share what is known of it,
whatever they call it, and two models never share it for having one id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from routewright import backends
from routewright.engine.policy import (
    Backend,
    CompiledModel,
    CompiledPolicy,
    FolderBackend,
    HttpWay,
    ServerBackend,
    with_variables,
)


def endpoints_of(policy: CompiledPolicy, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The endpoint of each model of the catalog, in its order.

    >>> endpoints_of(policy, {"OLLAMA_API_KEY": "a secret"})  # doctest: +SKIP
    ('ollama http://127.0.0.1:11434 qwen3:8b', 'ollama https://ollama.com kimi-k2:1t key 8f07a4e1')
    """
    places = {id: _place(id, shape, environment) for id, shape in policy.catalog.backends.items()}
    credentials = {id: _credential(shape, environment) for id, shape in policy.catalog.backends.items()}
    return tuple(
        f"{places[model.backend]} {_name(model, environment)}{credentials[model.backend]}"
        for model in policy.catalog.models
    )


def _name(model: CompiledModel, environment: Mapping[str, str]) -> str:
    if model.kind == "ollama":
        return backends.full_name(model.tag)
    source = model.shape.source if model.kind == "mlx" else None
    return _file(model.shape.path, environment) or source or model.tag


def _place(id: str, shape: Backend, environment: Mapping[str, str]) -> str:
    if isinstance(shape, ServerBackend):
        where = _address(shape.server.url or "") + _way(shape.way)
    elif isinstance(shape, FolderBackend):
        where = _file(shape.path, environment) or ""
    else:
        # What is simulated is nowhere else: two catalogs simulate the same backend if they call it the same.
        where = id if shape.kind == "simulated" else ""
    return f"{shape.kind} {where}".rstrip()


def _way(way: HttpWay) -> str:
    """A fingerprint of what else decides who answers, and nothing where there is nothing else."""
    said = json.dumps([way.headers, way.query, way.proxy], sort_keys=True)
    plain = not (way.headers or way.query or way.proxy)
    return "" if plain else f" way {hashlib.sha256(said.encode()).hexdigest()[:8]}"


def _address(url: str) -> str:
    """An address in one spelling: the host in lower case, without the port that its scheme has anyway."""
    parts = urlsplit(url)
    default = ":443" if parts.scheme == "https" else ":80"
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(default)}{parts.path.rstrip('/')}"


def _file(path: str | None, environment: Mapping[str, str]) -> str | None:
    return path and with_variables(path, lambda name: environment.get(name, f"${{{name}}}"))


def _credential(shape: Backend, environment: Mapping[str, str]) -> str:
    """A fingerprint of a backend's key: enough to tell keys apart, and too little to find one by."""
    if not isinstance(shape, ServerBackend) or shape.api_key is None:
        return ""
    key = with_variables(shape.api_key, lambda name: environment.get(name, ""))
    return f" key {hashlib.sha256(f'routewright {key}'.encode()).hexdigest()[:8]}" if key else ""
