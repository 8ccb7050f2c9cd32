"""Finds the smallest changes of a decision's features that would have led elsewhere.

All changes of one feature are tried, then, if none leads elsewhere, all of two; state and everything else stay as they
were. A derived feature changes together with the request, so the facts that candidates are judged by change too.
``candidates`` says which values represent all others, and for which features none can.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

from ..decision import CandidateVerdict, Decision, Selection, Task, decide
from ..policy import MAX_SEARCH_WORK, CompiledPolicy
from ..report import FeatureError, TaskError
from .candidates import options_of
from .erased import what_reads
from .shapes import Change, Changed

MAX_TRIALS = 20_000
"""Decisions tried before the search stops and says so; fewer if they take more than MAX_SEARCH_WORK."""


@dataclass(frozen=True, slots=True)
class Search:
    """The changes found: to a model first, then in the features' order.

    For one feature, the nearest value for each place it leads to; for two, one pair for each place. ``not_covered`` is
    empty if the search was exact: then every place that a change of one feature leads to is here or, if there is none,
    every place for two. Otherwise it says what could not be covered.
    """

    changes: tuple[Change, ...]
    not_covered: tuple[str, ...]


NOT_SEARCHED = Search((), ("nothing was tried",))
"""Where nobody asks what would have led elsewhere."""


def search_changes(decision: Decision, lost: Set[str] = frozenset()) -> Search:
    """Return the changes of one feature that lead to another target or outcome, else those of two.

    ``lost`` are features whose values were erased, and unknown in ``decision``. A change is not among those returned if
    it leads to where one of them is read.
    """
    options = options_of(decision, lost)
    not_covered = [f"{name}: {why}" for name, why in options.uncovered.items()]
    found: dict[tuple[object, ...], Change] = {}
    trials, most = 0, min(MAX_TRIALS, MAX_SEARCH_WORK // options.work)
    for size in (1, 2):
        for names in combinations(options.values, size):
            for values in product(*(options.values[name] for name in names)):
                trials += 1
                if trials > most:
                    not_covered.append(f"the search stopped after {most} trials")
                    return Search(_sorted(found), tuple(not_covered))
                change = _try(decision, dict(zip(names, values, strict=True)), lost)
                if change is not None:
                    place = (change.outcome, change.rule, change.target, change.drawn_from)
                    found.setdefault((*place, *(names if size == 1 else ())), change)
        if found:
            break
    return Search(_sorted(found), tuple(not_covered))


def drawn_from(
    choice: Selection | None, candidates: Sequence[CandidateVerdict], policy: CompiledPolicy
) -> tuple[str, ...]:
    """The models that a random draw chose the target from; none where the choice was no draw."""
    if choice is None or choice.how != "split" or choice.inputs["key"] is not None:
        return ()
    return tuple(policy.catalog.models[c.model].id for c in candidates if c.probability > 0)


def _sorted(found: Mapping[tuple[object, ...], Change]) -> tuple[Change, ...]:
    return tuple(sorted(found.values(), key=lambda change: change.outcome != "routed"))


def _changed(decision: Decision, changed: Mapping[str, object]) -> Task:
    """The task with changed values, in its features or in the request facts that they were derived from."""
    policy, task = decision.policy, decision.task
    features = {name: value for name, value in task.features.items() if name not in changed}
    facts: dict[str, Any] = {}
    for name, value in changed.items():
        if value is None:
            continue  # left out
        slot = policy.slots[name]
        source = policy.features[slot].derived
        if source is None or source.zone is not None or decision.sources[slot] != "derived":
            features[name] = value
        elif source.fact == "metadata":
            facts["metadata"] = {**facts.get("metadata", task.request.metadata), source.key: value}
        else:
            facts[source.fact] = math.ceil(value) if isinstance(value, float) else value
    request = replace(task.request, **facts) if facts else task.request
    # A rule that splits at random is a place too; which of its models, is not drawn.
    return Task(features, task.operation, request, task.pin, 0.0 if task.draw is None else task.draw)


def _try(decision: Decision, changed: Mapping[str, object], lost: Set[str]) -> Change | None:
    task = decision.task
    try:
        other = decide(
            decision.policy,
            _changed(decision, changed),
            decision.state,
            decision_id=decision.id,
            strict=False,
        )
    except (FeatureError, TaskError):
        return None  # outside the limits of the feature or the request, so not a possible change
    models = drawn_from(other.choice, other.candidates, other.policy) if task.draw is None else ()
    target = None if models else other.target
    if (other.outcome, target) == (decision.outcome, decision.target):
        return None
    if lost and what_reads(other, lost):
        return None
    slots = decision.policy.slots
    before = {name: Changed(decision.values[slots[name]], value) for name, value in changed.items()}
    # Under a pin no rule leads anywhere.
    rule = None if task.pin is not None else other.matched
    return Change(before, other.outcome, rule, target, models)
