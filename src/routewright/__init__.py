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
    from routewright.backends.control import StateError as StateError
    from routewright.backends.control import StateStore as StateStore
    from routewright.backends.errors import BackendError as BackendError
    from routewright.backends.protocol import ChatRequest as ChatRequest
    from routewright.backends.protocol import EmbedRequest as EmbedRequest
    from routewright.backends.protocol import Message as Message
    from routewright.backends.protocol import RerankRequest as RerankRequest
    from routewright.configuration import ConfigurationError as ConfigurationError
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
    from routewright.engine.errors import NotBuiltError as NotBuiltError
    from routewright.engine.errors import PolicyError as PolicyError
    from routewright.engine.errors import Problem as Problem
    from routewright.engine.errors import ProblemsError as ProblemsError
    from routewright.engine.errors import RecordError as RecordError
    from routewright.engine.errors import RoutewrightError as RoutewrightError
    from routewright.engine.errors import TaskError as TaskError
    from routewright.engine.policy.compiled import CompiledPolicy as CompiledPolicy
    from routewright.gateway import ModelGateway as ModelGateway
    from routewright.ledger.errors import LedgerError as LedgerError
    from routewright.ledger.store import Ledger as Ledger
    from routewright.loading import load_policy as load_policy
    from routewright.permissions import Permissions as Permissions
    from routewright.requests import request_for as request_for
    from routewright.results import Decided as Decided
    from routewright.results import NoTargetError as NoTargetError
    from routewright.results import NotStoredError as NotStoredError
    from routewright.results import Ran as Ran

__version__ = "0.1.0"
"""The same as ``engine.version.ENGINE_VERSION`` and the project's version: a test compares them."""

_HOMES = {
    "BackendError": "backends.errors",
    "ChatRequest": "backends.protocol",
    "CompiledPolicy": "engine.policy.compiled",
    "ConditionError": "engine.errors",
    "ConfigurationError": "configuration",
    "Decided": "results",
    "Decision": "engine.decision.decision",
    "DecisionRecord": "engine.decision.record",
    "EmbedRequest": "backends.protocol",
    "FeatureError": "engine.errors",
    "Ledger": "ledger.store",
    "LedgerError": "ledger.errors",
    "Message": "backends.protocol",
    "ModelGateway": "gateway",
    "ModelState": "engine.decision.task",
    "NoTargetError": "results",
    "NotBuiltError": "engine.errors",
    "NotStoredError": "results",
    "Permissions": "permissions",
    "PolicyError": "engine.errors",
    "Problem": "engine.errors",
    "ProblemsError": "engine.errors",
    "Ran": "results",
    "RecordError": "engine.errors",
    "RequestFacts": "engine.decision.task",
    "RerankRequest": "backends.protocol",
    "RoutewrightError": "engine.errors",
    "State": "engine.decision.task",
    "StateError": "backends.control",
    "StateStore": "backends.control",
    "Task": "engine.decision.task",
    "TaskError": "engine.errors",
    "UNKNOWN": "engine.condition",
    "decide": "engine.decision.decide",
    "evaluate": "engine.condition",
    "explain": "engine.decision.explain",
    "load_policy": "loading",
    "record_of": "engine.decision.record",
    "request_for": "requests",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return list(__all__)
