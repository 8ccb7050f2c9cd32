"""The error of the embedded state store."""

from __future__ import annotations

from routewright.engine.report import RoutewrightError


class StateError(RoutewrightError):
    """The state store could not be opened or used."""
