"""Opens the backends of catalogs. The package named like a kind opens the backends of that kind.

No connection is made and no model is loaded until the first call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from routewright.engine.policy import Backend as BackendShape
from routewright.engine.policy import CompiledModel, with_variables

from .errors import BackendError
from .protocol import Backend


@dataclass(frozen=True, slots=True)
class Opening:
    """What a backend is opened with: its id, and the environment that its variables are read from."""

    id: str
    environment: Mapping[str, str]

    def key(self, written: str | None) -> str | None:
        """The value of an ``api_key``. Raises BackendError ``unauthorized`` for a variable that is not set."""
        return (
            None
            if written is None
            else with_variables(written, lambda name: self._value(name, "unauthorized"))
        )

    def path(self, written: str) -> str:
        """A path with its variable replaced. Raises BackendError ``not_found`` for one that is not set."""
        return with_variables(written, lambda name: self._value(name, "not_found"))

    def _value(self, name: str, error_class: Any) -> str:
        if value := self.environment.get(name):
            return value
        raise BackendError(
            f"backend `{self.id}` needs the environment variable `{name}`, which is not set",
            error_class=error_class,
            help=f"set {name}, or take it out of the catalog",
        )


class Opener(Protocol):
    """What the package of a kind offers as ``open_backend``; ``models`` are those that are not disabled."""

    def __call__(self, shape: Any, models: Sequence[CompiledModel], opening: Opening, /) -> Backend: ...


def opener_of(kind: str) -> Opener:
    """What opens backends of ``kind``; loads its package, but none of the libraries that its calls need."""
    opener: Opener = import_module(f".{kind}", __package__).open_backend
    return opener


def open_backend(
    id: str, shape: BackendShape, models: Sequence[CompiledModel], environment: Mapping[str, str]
) -> Backend:
    """The backend that ``shape`` declares, ready to be called. Raises BackendError if it cannot be opened."""
    try:
        return opener_of(shape.kind)(shape, models, Opening(id, environment))
    except ValueError as error:  # an address or a key that cannot be one, or that must not meet
        raise BackendError(f"backend `{id}` cannot be opened: {error}", error_class="not_found") from error
