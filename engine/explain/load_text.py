"""Words for whether the models of a plan are in memory, and what loading them takes."""

from __future__ import annotations

from collections.abc import Mapping

from ..decision import Estimate
from ..record import DecisionRecord, ModelStateRecord


def load_words(record: DecisionRecord, expected: Mapping[str, Estimate]) -> Mapping[str, str]:
    """What is told of each candidate's place in memory; nothing of one where that is not known."""
    told = {model: _words(record.state.models[model], estimate) for model, estimate in expected.items()}
    return {model: words for model, words in told.items() if words is not None}


def _words(known: ModelStateRecord, expected: Estimate) -> str | None:
    if known.loaded is None:
        return None
    if known.loaded:
        return "in memory"
    took = "" if known.load_ms is None else f" (took {known.load_ms} ms of late)"
    unloads = f", and unloads {', '.join(expected.unloads)} for it" if expected.unloads else ""
    return f"is loaded first{took}{unloads}"
