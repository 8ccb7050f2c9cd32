"""Backends without a model, for planning, load and tests."""

from __future__ import annotations

from .backend import (
    CALLS_KEPT,
    DEFAULT_LATENCY_MS,
    Fault,
    SimulatedBackend,
    SimulatedModel,
    open_backend,
    simulated_backend,
)

__all__ = [
    "CALLS_KEPT",
    "DEFAULT_LATENCY_MS",
    "Fault",
    "SimulatedBackend",
    "SimulatedModel",
    "open_backend",
    "simulated_backend",
]
