"""Opens the backends of a policy's catalog, so that they are ready to be called.

No connection is made and no model is loaded until the first call. ``${NAME}`` in keys and paths is resolved now, from
the given environment, if the policy may read the variable (see ``permissions``); a missing or forbidden variable is an
error, never ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from routewright.backends import Backend, BackendError
from routewright.engine.policy import Backend as BackendShape
from routewright.engine.policy import CompiledModel, CompiledPolicy, server_of
from routewright.loading import VARIABLE, Permissions, refusals, user_permissions

from .targets import simulated_backend


def open_backends(
    policy: CompiledPolicy,
    *,
    only: Collection[str] | None = None,
    environment: Mapping[str, str] = os.environ,
    permissions: Permissions | None = None,
) -> Mapping[str, Backend]:
    """The backends that the policy's models run on, by id; ``only`` limits them to these ids.

    Raises BackendError for the first that does not open, and what ``open_each`` raises.
    """
    backends, failed = open_each(policy, only=only, environment=environment, permissions=permissions)
    for error in failed.values():
        raise error
    return backends


def open_each(
    policy: CompiledPolicy,
    *,
    only: Collection[str] | None = None,
    environment: Mapping[str, str] = os.environ,
    permissions: Permissions | None = None,
) -> tuple[Mapping[str, Backend], Mapping[str, BackendError]]:
    """The backends that open, by id, and the errors of those that do not; ``only`` limits them to these ids.

    Without ``permissions`` the user's configuration says which variables they may read and where keys may go. Raises
    ConfigurationError if that cannot be used.
    """
    permitted = user_permissions() if permissions is None else permissions
    backends: dict[str, Backend] = {}
    failed: dict[str, BackendError] = {}
    for id, shape in policy.catalog.backends.items():
        if only is not None and id not in only:
            continue
        models = [model for model in policy.catalog.models if model.backend == id and model.disabled is None]
        if not models:
            continue
        try:
            _check_permitted(id, shape, models, permitted)
            backends[id] = _open(id, shape, models, environment)
        except BackendError as error:
            failed[id] = error
        except ValueError as error:  # an address or a key that cannot be one, or that must not meet
            failed[id] = BackendError(f"backend `{id}` cannot be opened: {error}", error_class="not_found")
    return backends, failed


def _check_permitted(
    id: str, shape: BackendShape, models: list[CompiledModel], permissions: Permissions
) -> None:
    """Raise BackendError for the first variable that the backend or one of its models may not read or send."""
    for refused in refusals(id, shape, {model.id: model.shape for model in models}, permissions):
        # As for a missing key: tasks for other backends still run.
        raise BackendError(
            f"backend `{id}` is not opened: {refused.message}",
            error_class="unauthorized",
            help=refused.help,
        )


def _open(
    id: str, shape: BackendShape, models: list[CompiledModel], environment: Mapping[str, str]
) -> Backend:
    key = None if shape.api_key is None else _resolved(shape.api_key, id, environment)
    match shape.kind:
        case "ollama":
            from routewright.backends import OllamaBackend

            return OllamaBackend(
                server_of(shape),
                api_key=key,
                min_version=shape.min_version,
                min_versions={m.tag: m.shape.min_version for m in models if m.shape.min_version is not None},
                requires_signin=shape.requires_signin,
                concurrency=shape.concurrency,
            )
        case "openai":
            from routewright.backends import OpenAIBackend

            if shape.host is None:
                raise BackendError(
                    f"backend `{id}` has no host",
                    error_class="not_found",
                    help="write `host:` in the catalog",
                )
            return OpenAIBackend(
                server_of(shape), api_key=key, concurrency=shape.concurrency, health_url=shape.health
            )
        case "mlx":
            from routewright.backends import MlxBackend, MlxModel

            return MlxBackend(
                {
                    model.tag: MlxModel(
                        path=model.shape.path,
                        source=model.shape.source,
                        operations=frozenset(model.operations),
                        memory_gb=None if model.shape.memory_gb is None else float(model.shape.memory_gb),
                        context_length=model.context_length,
                        dimensions=model.shape.dimensions,
                    )
                    for model in models
                },
                path=shape.path,
                memory_gb=None if shape.memory_gb is None else float(shape.memory_gb),
                env=environment,
            )
        case "llamacpp":
            from routewright.backends import GgufModel, LlamaCppBackend

            return LlamaCppBackend(
                {
                    model.tag: GgufModel(
                        path=_gguf(model, id, environment),
                        written=model.shape.path,
                        context_tokens=model.context_length or 8192,
                        slots=shape.concurrency or 1,
                        threads=shape.threads,
                        pooling=model.shape.pooling,
                    )
                    for model in models
                }
            )
        case "simulated":
            return simulated_backend(models)


def _gguf(model: CompiledModel, backend: str, environment: Mapping[str, str]) -> Path | None:
    """The file of a model; None for the embedded one."""
    from routewright.backends import EMBEDDED_MODEL, EMBEDDED_NAMES

    if model.shape.path is not None:
        return Path(_resolved(model.shape.path, backend, environment)).expanduser()
    if model.tag in EMBEDDED_NAMES:
        return None
    raise BackendError(
        f"the model `{model.tag}` of backend `{backend}` has no file",
        error_class="not_found",
        help=f"give it a `path` in the catalog; only `{EMBEDDED_MODEL}` (or `smollm2`) needs none",
    )


def _resolved(text: str, backend: str, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        found = environment.get(match[1])
        if not found:
            raise BackendError(
                f"backend `{backend}` needs the environment variable `{match[1]}`, which is not set",
                error_class="unauthorized" if match[0] == text else "not_found",
                help=f"set {match[1]}, or take it out of the catalog",
            )
        return found

    return VARIABLE.sub(value, text)
