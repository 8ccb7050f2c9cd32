"""Routewright decides which model does which piece of LLM work, and can prove why.

The names here are the public ones; each is loaded when it is first used, so that ``import routewright`` costs
next to nothing and loads neither a database nor a backend's library.

>>> import routewright
>>> routewright.evaluate("requires_moe || complex_reasoning", {"requires_moe": False, "complex_reasoning": True})
True
"""

from __future__ import annotations

from importlib import import_module

# Loading `typing` would take longer than all else that the command line loads before it hears Ctrl-C.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from routewright.backends import BackendError as BackendError
    from routewright.backends import ChatRequest as ChatRequest
    from routewright.backends import EmbedRequest as EmbedRequest
    from routewright.backends import Message as Message
    from routewright.backends import RerankRequest as RerankRequest
    from routewright.backends import ToolCall as ToolCall
    from routewright.backends.control import StateError as StateError
    from routewright.backends.control import StateStore as StateStore
    from routewright.engine.condition import UNKNOWN as UNKNOWN
    from routewright.engine.condition import evaluate as evaluate
    from routewright.engine.decision import Decision as Decision
    from routewright.engine.decision import MemoryState as MemoryState
    from routewright.engine.decision import ModelState as ModelState
    from routewright.engine.decision import RequestFacts as RequestFacts
    from routewright.engine.decision import Resident as Resident
    from routewright.engine.decision import State as State
    from routewright.engine.decision import Task as Task
    from routewright.engine.decision import decide as decide
    from routewright.engine.explain import explain as explain
    from routewright.engine.policy import CompiledPolicy as CompiledPolicy
    from routewright.engine.record import DecisionRecord as DecisionRecord
    from routewright.engine.record import record_of as record_of
    from routewright.engine.report import ConditionError as ConditionError
    from routewright.engine.report import FeatureError as FeatureError
    from routewright.engine.report import NotBuiltError as NotBuiltError
    from routewright.engine.report import PolicyError as PolicyError
    from routewright.engine.report import Problem as Problem
    from routewright.engine.report import ProblemsError as ProblemsError
    from routewright.engine.report import RecordError as RecordError
    from routewright.engine.report import RoutewrightError as RoutewrightError
    from routewright.engine.report import TaskError as TaskError
    from routewright.gateway import ChatResult as ChatResult
    from routewright.gateway import ChatStream as ChatStream
    from routewright.gateway import Cost as Cost
    from routewright.gateway import DecisionResult as DecisionResult
    from routewright.gateway import EmbedResult as EmbedResult
    from routewright.gateway import ModelGateway as ModelGateway
    from routewright.gateway import NoTargetError as NoTargetError
    from routewright.gateway import NotStoredError as NotStoredError
    from routewright.gateway import RunResult as RunResult
    from routewright.ledger import Ledger as Ledger
    from routewright.ledger import LedgerError as LedgerError
    from routewright.loading import ConfigurationError as ConfigurationError
    from routewright.loading import Permissions as Permissions
    from routewright.loading import load_policy as load_policy
    from routewright.tasks import request_for as request_for

__version__ = "0.1.0"
"""The same as ``engine.version.ENGINE_VERSION`` and the project's version: a test compares them."""

_NAMES = {
    "backends": "BackendError ChatRequest EmbedRequest Message RerankRequest ToolCall",
    "backends.control": "StateError StateStore",
    "engine.condition": "UNKNOWN evaluate",
    "engine.decision": "Decision MemoryState ModelState RequestFacts Resident State Task decide",
    "engine.explain": "explain",
    "engine.policy": "CompiledPolicy",
    "engine.record": "DecisionRecord record_of",
    "engine.report": "ConditionError FeatureError NotBuiltError PolicyError "
    "Problem ProblemsError RecordError RoutewrightError TaskError",
    "gateway": "ChatResult ChatStream Cost DecisionResult EmbedResult "
    "ModelGateway NoTargetError NotStoredError RunResult",
    "ledger": "Ledger LedgerError",
    "loading": "ConfigurationError Permissions load_policy",
    "tasks": "request_for",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return list(__all__)
