"""What a decision does and with which chances, as estimates tell actions apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import Final, NamedTuple

from routewright.engine.decision import Decision
from routewright.engine.record import DecisionRecord, Record

from .groups import Came, came_of

Chances = tuple[tuple[str, float], ...]
"""Actions with their probabilities, which are above 0 and add up to 1, in the order of the actions' names.

An action is the target with the models that the plan calls beside it whatever happens, such as
`qwen3, verify by glm-4.5`; fallbacks are none of them. A decision without a target has its outcome in parentheses.
"""


class Choice(NamedTuple):
    """The action that was chosen, among which, by which rule, and the feature whose value fell into a bucket if a split
    had such a key, with the bucket's salt. The action is None where nothing says what was done."""

    action: str | None
    chances: Chances
    rule: str | None = None
    key: str | None = None
    salt: str | None = None


def is_dead_end(action: str) -> bool:
    """Whether nothing is called."""
    return action.startswith("(")


def choice_of(
    came: Came, chances: Iterable[tuple[str, float]], key: str | None = None, salt: str | None = None
) -> Choice:
    """The choice of a decision that came out so, where ``chances`` are those of its candidates."""
    if came.target is None:
        place = f"({came.outcome})"
        return Choice(place, ((place, 1.0),), came.rule)
    beside = "".join(f", {part}" for part in came.parts)
    found = tuple(sorted((model + beside, chance) for model, chance in chances if chance > 0))
    return Choice(came.target + beside, found, came.rule, key, salt)


def choice_of_record(came: Came, record: Record) -> Choice:
    """The choice in a record of either version."""
    chances = ((one.model, one.probability) for one in record.candidates)
    return choice_of(came, chances, *_bucket(record))


def _bucket(record: Record) -> tuple[str | None, str | None]:
    """The feature whose value fell into a bucket of a split, and the bucket's salt."""
    if record.choice is None:
        return None, None
    if isinstance(record, DecisionRecord):
        return record.choice.key, record.choice.salt
    inputs = record.choice.inputs if record.choice.how == "split" else {}
    key, salt = inputs.get("key"), inputs.get("salt")
    return None if key is None else str(key), None if salt is None else str(salt)


def choice_of_decision(decision: Decision, strangers: Set[str] = frozenset()) -> Choice:
    """The choice in a decision; models by these ids are others than the log's, and what they do is another action."""

    def named(id: str) -> str:
        return f"{id} ({_STRANGER})" if id in strangers else id

    models, came = decision.policy.catalog.models, came_of(decision)
    chances = ((named(models[one.model].id), one.probability) for one in decision.candidates)
    if came.target is not None:
        beside = {models[at].id for at in _beside(decision)}
        parts = came.parts if beside.isdisjoint(strangers) else (*came.parts, _STRANGER)
        came = came._replace(target=named(came.target), parts=parts)
    inputs = decision.choice.inputs if decision.choice is not None and decision.choice.how == "split" else {}
    return choice_of(came, chances, inputs.get("key"), inputs.get("salt"))


_STRANGER: Final = "not the recorded one"


def _beside(decision: Decision) -> Iterator[int]:
    """The models that a plan calls beside the target whatever happens."""
    if decision.plan is not None:
        yield from (step.model for step in decision.plan.steps)
        if (ensemble := decision.plan.ensemble) is not None:
            yield from (
                *ensemble.members,
                *(at for at in (ensemble.judge, ensemble.override) if at is not None),
            )


def mixed(share: float, control: Chances, candidate: Chances) -> Chances:
    """The chances under a canary in which the candidate decides with the probability ``share``."""
    if control == candidate:
        return control
    found: dict[str, float] = {}
    for part, chances in ((1 - share, control), (share, candidate)):
        for action, chance in chances:
            found[action] = found.get(action, 0.0) + part * chance
    return tuple(sorted((action, _whole(chance)) for action, chance in found.items() if chance > 0))


def _whole(chance: float) -> float:
    """1 for what is 1 but for rounding: what both arms do is not left to chance."""
    return 1.0 if chance > 1 - 1e-12 else chance
