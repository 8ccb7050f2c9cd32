"""Routewright decides which model does which piece of LLM work, and can prove why.

The names here are the public ones; each is loaded when it is first used, so that ``import routewright`` costs
next to nothing and loads neither a database nor a backend's library.

>>> import routewright
>>> routewright.evaluate("requires_moe || complex_reasoning", {"requires_moe": False, "complex_reasoning": True})
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from routewright.engine.condition import UNKNOWN as UNKNOWN
    from routewright.engine.condition import evaluate as evaluate
    from routewright.engine.decision.decide import decide as decide
    from routewright.engine.decision.decision import Decision as Decision
    from routewright.engine.decision.explain import explain as explain
    from routewright.engine.decision.record import DecisionRecord as DecisionRecord
    from routewright.engine.decision.record import record_of as record_of
    from routewright.engine.decision.task import ModelState as ModelState
    from routewright.engine.decision.task import RequestFacts as RequestFacts
    from routewright.engine.decision.task import State as State
    from routewright.engine.decision.task import Task as Task
    from routewright.engine.errors import ConditionError as ConditionError
    from routewright.engine.errors import FeatureError as FeatureError
    from routewright.engine.errors import PolicyError as PolicyError
    from routewright.engine.errors import Problem as Problem
    from routewright.engine.errors import RecordError as RecordError
    from routewright.engine.errors import RoutewrightError as RoutewrightError
    from routewright.engine.errors import TaskError as TaskError
    from routewright.engine.policy.compiled import CompiledPolicy as CompiledPolicy
    from routewright.gateway import ModelGateway as ModelGateway
    from routewright.loading import load_policy as load_policy

__version__ = "0.1.0"
"""The same as ``engine.version.ENGINE_VERSION`` and the project's version: a test compares them."""

_HOMES = {
    "CompiledPolicy": "engine.policy.compiled",
    "ConditionError": "engine.errors",
    "Decision": "engine.decision.decision",
    "DecisionRecord": "engine.decision.record",
    "FeatureError": "engine.errors",
    "ModelGateway": "gateway",
    "ModelState": "engine.decision.task",
    "PolicyError": "engine.errors",
    "Problem": "engine.errors",
    "RecordError": "engine.errors",
    "RequestFacts": "engine.decision.task",
    "RoutewrightError": "engine.errors",
    "State": "engine.decision.task",
    "Task": "engine.decision.task",
    "TaskError": "engine.errors",
    "UNKNOWN": "engine.condition",
    "decide": "engine.decision.decide",
    "evaluate": "engine.condition",
    "explain": "engine.decision.explain",
    "load_policy": "loading",
    "record_of": "engine.decision.record",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
