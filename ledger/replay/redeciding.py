"""Decides one recorded task again, and says where the record does not have what that takes.

Nothing is guessed: a decision that needs a fact which nobody recorded is not made.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from routewright.engine.decision import Decision, State, Task, decide
from routewright.engine.explain import lost_features, open_names, what_needs
from routewright.engine.policy import CompiledPolicy
from routewright.engine.report import FeatureError, TaskError

from .assumed import NOTHING_ASSUMED, AssumedState

Reason = Literal[
    "erased",
    "feature_missing",
    "feature_refused",
    "state_missing",
    "not_decidable",
    "policy_missing",
    "unreadable",
]

REASONS: Final[Mapping[Reason, str]] = {
    "erased": "a value that the decision needs was erased",
    "feature_missing": "the candidate needs a feature that the recorded policy did not have",
    "feature_refused": "a recorded value does not fit the candidate's declaration of the feature",
    "state_missing": "the candidate goes by a model of which nothing was recorded, or whose name stood for another one",
    "not_decidable": "the candidate cannot decide the task at all, such as one whose pin names no model of it",
    "policy_missing": "the ledger lacks the text of its own policy, or this version cannot compile it any more",
    "unreadable": "the record cannot be read",
}
"""Why a row is not decided again."""

HELP: Final[Mapping[Reason, str]] = {
    "erased": "nothing: what was erased is gone",
    "feature_missing": "give the feature a default, to see what the candidate does where callers do not give it",
    "feature_refused": "such values will be refused: allow them, or change who gives them",
    "state_missing": "assume that it was up: `--assume NAME=up`, of a model or of a backend with all its models",
    "not_decidable": "such tasks will be refused: keep the model or an alias of its name",
    "policy_missing": "name a candidate to replay under",
    "unreadable": "`ledger verify` says what is wrong with the ledger",
}
"""What can be done about it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a record can tell: the names of the features that its policy declares, and of its catalog's models.

    None where everything is open: whatever is not said was not known. ``erased`` are the places of values that were
    recorded and are gone.
    """

    features: frozenset[str] | None = None
    models: frozenset[str] | None = None
    erased: frozenset[str] = frozenset()


EVERYTHING: Final = Facts()
"""Facts of rows that no policy of ours has decided: what their source does not say was not known."""


class Redecided(NamedTuple):
    """A decision made again; or the reason why there is none, and in words what was missing."""

    decision: Decision | None
    reason: Reason | None = None
    why: str | None = None


def redecide(
    policy: CompiledPolicy,
    task: Task,
    state: State,
    facts: Facts,
    *,
    decision_id: str,
    assumed: AssumedState = NOTHING_ASSUMED,
) -> Redecided:
    """What ``policy`` decides of a recorded task in the recorded state, as far as nothing else is assumed."""
    if task.draw is None:
        task = replace(task, draw=draw_of(decision_id))
    lost = lost_features(policy, task, facts.erased)
    if lost:  # unknown, whatever their defaults
        task = replace(task, features={**task.features, **dict.fromkeys(lost)})
    try:
        decision = decide(policy, task, assumed.of(state), decision_id=decision_id, strict=False)
    except FeatureError as error:
        return Redecided(None, "feature_refused", str(error))
    except TaskError as error:
        return Redecided(None, "not_decidable", str(error))
    if (needs := what_needs(decision, lost, facts.erased)) is not None:
        return Redecided(None, "erased", needs[0])
    if (name := _missing_feature(decision, facts)) is not None:
        return Redecided(None, "feature_missing", f"feature `{name}`")
    if (model := _missing_model(decision, facts, assumed.known)) is not None:
        return Redecided(None, "state_missing", f"model `{model}`")
    return Redecided(decision)


def draw_of(decision_id: str) -> float:
    """A draw for a task that was decided without one, as its policy left nothing to chance: the same each time.

    It is made of 48 bits at the end of the id, which are random; `draw_sql` says the same in SQL.
    """
    return int(decision_id[-12:], 16) / 2**48


def draw_sql(row: str) -> str:
    """The draw of a ``row`` of recorded decisions, in SQL."""
    made = f"(('0x' || right(CAST({row}.decision_id AS VARCHAR), 12))::UBIGINT / {2**48}::DOUBLE)"
    return f"coalesce({row}.draw, {made})"


def undeclared(policy: CompiledPolicy, facts: Facts) -> frozenset[str]:
    """The features of ``policy`` that a record with these facts could not hold: a caller who gave one was refused.

    A feature with a default has a value all the same, and what a request or the time says was recorded.
    """
    if facts.features is None:
        return frozenset()
    names = (one.name for one in policy.features if one.default is None and one.derived is None)
    return frozenset(names) - facts.features


def _missing_feature(decision: Decision, facts: Facts) -> str | None:
    """A feature that nobody could give, and whose value could have changed the decision."""
    policy = decision.policy
    lacked = undeclared(policy, facts)
    lacked = lacked.intersection(
        feature.name
        for feature, value, source in zip(policy.features, decision.values, decision.sources, strict=True)
        if value is None and source == "unknown"
    )
    if not lacked:
        return None
    return min(open_names(decision, lacked), default=None)


def _missing_model(decision: Decision, facts: Facts, assumed: Set[str]) -> str | None:
    """A model by whose state the decision went although nothing of it can have been recorded."""
    if facts.models is None or decision.plan is None:
        return None
    known = facts.models | assumed
    return next((id for id in models_gone_by(decision) if id not in known), None)


def models_gone_by(decision: Decision) -> list[str]:
    """The ids of the models whose state the target follows from.

    Fallbacks are not among them, nor are candidates that come after the target, unless all were compared.
    """
    policy, plan = decision.policy, decision.plan
    models = policy.catalog.models
    if plan is None:
        return []
    rule = None if decision.rule is None else policy.rules[decision.rule]
    compared = rule is not None and rule.choose == "fastest"
    own = {candidate.model for candidate in (() if rule is None else rule.candidates[: rule.chosen_from])}
    found = []
    for candidate in decision.candidates:
        if candidate.failure is None and (
            candidate.model == plan.target or (compared and candidate.model in own)
        ):
            found.append(candidate.model)
    found += [step.model for step in plan.steps]
    if plan.ensemble is not None:
        found += [*plan.ensemble.members, *([] if plan.ensemble.judge is None else [plan.ensemble.judge])]
    return [models[at].id for at in dict.fromkeys(found)]
