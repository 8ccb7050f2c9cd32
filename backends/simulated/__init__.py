"""Backends without a model, for planning, load and tests."""

from __future__ import annotations

from .backend import Fault, SimulatedBackend, SimulatedModel, open_backend, simulated_backend

__all__ = ["Fault", "SimulatedBackend", "SimulatedModel", "open_backend", "simulated_backend"]
