"""Opens the backends of a policy's catalog, or simulated ones in their place, so that they are ready to be called.

No connection is made and no model is loaded until the first call. ``${NAME}`` in keys and paths is resolved now, from
the given environment, if the policy may read the variable (see ``permissions``); a missing or forbidden variable is an
error, never ignored.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from routewright.backends import (
    Backend,
    BackendError,
    Fault,
    UnopenedBackend,
    open_backend,
    simulated_backend,
)
from routewright.engine.policy import CompiledPolicy, kinds
from routewright.loading import Permissions, refusals, user_permissions


def open_backends(
    policy: CompiledPolicy,
    *,
    only: Collection[str] | None = None,
    environment: Mapping[str, str] = os.environ,
    permissions: Permissions | None = None,
    faults: Mapping[str, Sequence[Fault]] | None = None,
) -> Mapping[str, Backend]:
    """The backends that the policy's models run on, by id; ``only`` limits them to these ids.

    ``faults`` are by model id, one for each call, of models on backends of kind `simulated`; others fail by themselves.

    One that cannot be opened is an ``UnopenedBackend`` that says why: its models are not eligible, and the others can
    be used. Without ``permissions`` the user's configuration says which variables they may read and where keys may
    go. Raises ConfigurationError if that cannot be used.
    """
    permitted = user_permissions() if permissions is None else permissions
    opened: dict[str, Backend] = {}
    for id, shape in policy.catalog.backends.items():
        models = [model for model in policy.catalog.models if model.backend == id and model.disabled is None]
        if not models or (only is not None and id not in only):
            continue
        try:
            for refused in refusals(id, shape, {model.id: model.shape for model in models}, permitted):
                message = f"backend `{id}` is not opened: {refused.message}"
                raise BackendError(message, error_class="unauthorized", help=refused.help)
            if faults and isinstance(shape, kinds.SimulatedShape):
                opened[id] = simulated_backend(models, faults=faults)
            else:
                opened[id] = open_backend(id, shape, models, environment)
        except BackendError as error:
            opened[id] = UnopenedBackend(error)
    return opened


def unopened(backends: Mapping[str, Backend]) -> Mapping[str, UnopenedBackend]:
    """Those that could not be opened."""
    return {id: one for id, one in backends.items() if isinstance(one, UnopenedBackend)}


def simulated_backends(
    policy: CompiledPolicy,
    *,
    seed: int = 0,
    faults: Mapping[str, Sequence[Fault]] | None = None,
    sleep: bool = False,
) -> Mapping[str, Backend]:
    """A simulated backend for each backend of the catalog. ``faults`` are by model id, one for each call."""
    return {
        backend_id: simulated_backend(
            [model for model in policy.catalog.models if model.backend == backend_id],
            seed=seed,
            faults=faults,
            sleep=sleep,
        )
        for backend_id in policy.catalog.backends
    }
