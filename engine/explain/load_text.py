"""Words for whether the models of a plan are in memory, and what loading them takes."""

from __future__ import annotations

from collections.abc import Mapping

from ..record import CandidateRecord, DecisionRecord


def load_words(record: DecisionRecord) -> Mapping[str, str]:
    """What is told of each candidate's place in memory; nothing of one where that is not known."""
    told = {candidate.model: _words(candidate, record) for candidate in record.candidates}
    return {model: words for model, words in told.items() if words is not None}


def _words(candidate: CandidateRecord, record: DecisionRecord) -> str | None:
    known = record.state.models[candidate.model]
    if known.loaded is None:
        return None
    if known.loaded:
        return "in memory"
    took = "" if known.load_ms is None else f" (took {known.load_ms} ms of late)"
    unloads = f", and unloads {', '.join(candidate.unloads)} for it" if candidate.unloads else ""
    return f"is loaded first{took}{unloads}"
