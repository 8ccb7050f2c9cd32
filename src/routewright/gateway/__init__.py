"""Puts a policy, backends, state and a ledger together; decides and executes with them."""

from __future__ import annotations

from .arms import open_candidate, simulated_candidate
from .canaries import canary_digests, canary_end_text
from .costs import Cost
from .gateway import ModelGateway, now_us
from .opening import open_backends, simulated_backends, unopened
from .preloading import Preloaded
from .presence import Listed, Presence, listed_models, model_presence
from .results import ChatResult, DecisionResult, EmbedResult, NoTargetError, NotStoredError, RunResult
from .status import QuotaUsage
from .streams import ChatStream, ChatStreamSync

__all__ = [
    "ChatResult",
    "ChatStream",
    "ChatStreamSync",
    "Cost",
    "DecisionResult",
    "EmbedResult",
    "Listed",
    "ModelGateway",
    "NoTargetError",
    "NotStoredError",
    "Preloaded",
    "Presence",
    "QuotaUsage",
    "RunResult",
    "canary_digests",
    "canary_end_text",
    "listed_models",
    "model_presence",
    "now_us",
    "open_backends",
    "open_candidate",
    "simulated_backends",
    "simulated_candidate",
    "unopened",
]
