"""The error of the embedded state store."""

from __future__ import annotations

from routewright.engine.errors import RoutewrightError

__all__ = ["StateError"]


class StateError(RoutewrightError):
    """The state store could not be opened or used."""

    def __init__(self, message: str, *, help: str | None = None) -> None:
        super().__init__(message)
        self.help = help
