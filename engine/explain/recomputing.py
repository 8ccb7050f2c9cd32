"""Makes recorded decisions again, and says where that comes to another result."""

from __future__ import annotations

from dataclasses import replace

from ..canonical import canonical_bytes
from ..decision import Decision, decide
from ..policy import CompiledPolicy
from ..record import (
    DecisionRecord,
    Record,
    arm_of,
    record_of_version,
    state_of,
    task_of,
    without_later_fields,
)
from ..report import ErasedError, FeatureError, RecordError, TaskError
from ..version import ENGINE_VERSION
from .erased import lost_features, what_needs, without_lost


def check_same(policy: CompiledPolicy, policy_digest: str, catalog_digest: str) -> None:
    """Raise RecordError unless ``policy`` is the one that decided: another would explain what was not so."""
    for kind, here, there in (
        ("policy", policy.digest, policy_digest),
        ("catalog", policy.catalog.digest, catalog_digest),
    ):
        if here != there:
            raise RecordError(
                f"the record was made under the {kind} {there}, this one is {here}",
                help="if the ledger keeps this policy's text under the record's digest, an older version made that "
                "digest: use `as_recorded(policy, record)`",
            )


def as_recorded(policy: CompiledPolicy, record: Record) -> CompiledPolicy:
    """Return ``policy`` with the digests that ``record`` names, its own and its catalog's.

    For texts that were found under those digests: a ledger keeps the digests that it recorded, and a later engine may
    compute different ones for the same texts. Decisions explained or recomputed under the result are still compared
    with the record byte by byte.
    """
    catalog = replace(policy.catalog, digest=record.catalog.digest)
    return replace(policy, digest=record.policy.digest, catalog=catalog)


def recompute(policy: CompiledPolicy, record: Record) -> Decision:
    """Return the decision behind ``record``, made again.

    A value that was erased is unknown in it. Raises RecordError when the policy or its catalog is not the one that
    decided, when a value that was erased could have changed the decision, or when this engine comes to another result.
    """
    return recomputed(policy, record)[0]


def recomputed(policy: CompiledPolicy, record: Record) -> tuple[Decision, frozenset[str]]:
    """The decision made again, and the features whose values were erased."""
    check_same(policy, record.policy.digest, record.catalog.digest)
    task, erased = task_of(record), frozenset(record.erased or ())
    lost = lost_features(policy, task, erased)
    if lost:  # unknown, whatever their defaults
        task = replace(task, features={**task.features, **dict.fromkeys(lost)})
    try:
        decision = decide(
            policy, task, state_of(record), decision_id=record.id, strict=False, arm=arm_of(record)
        )
    except (FeatureError, TaskError) as error:
        raise RecordError(f"the record's task cannot be decided: {error}") from None
    if (needs := what_needs(decision, lost, erased)) is not None:
        raise ErasedError(f"{needs[0]} was erased, and {needs[1]} reads it")
    if isinstance(record, DecisionRecord) and record.salts:
        decision = replace(decision, salts=record.salts)
    again = made_again(decision, record)
    # Bytes, not values: in Python 1 equals true.
    if not erased and again.canonical() == record.canonical():
        return decision, lost
    made, recorded = (one.model_dump(mode="json") for one in (again, record))
    if erased:
        made, recorded = (without_lost(one, policy, lost, erased) for one in (made, recorded))
    differing = [
        name for name in recorded if canonical_bytes(made.get(name)) != canonical_bytes(recorded[name])
    ]
    if differing or not erased:
        raise RecordError(
            f"engines {record.engine} and {ENGINE_VERSION} decide differently: {', '.join(differing)} differ",
            help="the policy given to `as_recorded` must be the text that the ledger keeps under the record's digest",
        )
    # What a rule came to is recorded, also where the value that it read is gone.
    return replace(decision, verdicts=_verdicts(record)), lost


def _verdicts(record: Record) -> tuple[bool | None, ...]:
    if isinstance(record, DecisionRecord):
        return tuple(record.verdicts)
    return tuple(rule.verdict for rule in record.rules)


def made_again(decision: Decision, record: Record) -> Record:
    """The record of a decision that was made again, as the engine of ``record`` would have written it.

    Its features are in the policy's order, those of a record that was read in the alphabet's.
    """
    made = without_later_fields(record_of_version(decision, record.record), record)
    return made.model_copy(update={"engine": record.engine})
