"""Says where the recorded tasks are that a candidate binds in SQL: what a task gave is taken as it was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from routewright.engine.condition import LARGEST, sql_text, sql_type
from routewright.engine.decision import SESSION, Bindings, GivenColumn, TaskColumns, sql_of_bindings
from routewright.engine.policy import CompiledFeature, CompiledPolicy
from routewright.engine.record import REQUEST_FIELDS


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the rows of one recorded policy hold of features: the names in the order of ``sources``, and that policy,
    where the ledger has it.

    Imported rows have none: then there are no names, and all that a row has was given though no policy declares it.
    """

    names: Sequence[str]
    policy: CompiledPolicy | None = None

    def declared(self, name: str) -> CompiledFeature | None:
        """How a feature was declared; None where it was not, or nobody knows."""
        slot = None if self.policy is None else self.policy.slots.get(name)
        return None if self.policy is None or slot is None else self.policy.features[slot]


def bindings(
    policy: CompiledPolicy, recorded: Recorded, during_us: tuple[int, int], load: float | None = None
) -> Bindings:
    """The SQL that binds rows ``d`` of decisions, made in the time ``during_us``, to ``policy``.

    ``load`` is assumed, whatever was recorded.
    """
    features = {one.name: _given(policy, one, recorded) for one in policy.features}
    request = {name: f"d.request.{name}" for name in REQUEST_FIELDS}
    known_load = "d.load" if load is None else f"({load!r}::DOUBLE)"
    bound = sql_of_bindings(policy, TaskColumns("d.at_us", features, request, known_load, during_us))
    # Bound as before, a feature has the value that is recorded, its default too. DuckDB compares texts that it reads
    # from the table several times as fast as those that come out of a CASE.
    for feature in policy.features:
        if _is_unchanged(policy, feature, recorded):
            bound.values[feature.name] = features[feature.name].sql
            bound.refused.pop(feature.name, None)
    return bound


def unsaid(recorded: Recorded, name: str) -> str:
    """Whether a row says nothing of a feature."""
    return f"(NOT {_was_given(recorded, name)})"


def session() -> str:
    """The session that a row names; NULL where it names none, or an empty one."""
    return f"nullif(d.request.metadata[{sql_text(SESSION)}], '')"


def _given(policy: CompiledPolicy, feature: CompiledFeature, recorded: Recorded) -> GivenColumn:
    # Field by field from the table: DuckDB then reads the fields that are asked for, and no others.
    value, given = f"d.features[{sql_text(feature.name)}]", _was_given(recorded, feature.name)
    before = recorded.declared(feature.name)
    if before is None or (kind := sql_type(before.declaration.type)) is None:
        return GivenColumn(f"CAST({value} AS JSON)", None, given)
    is_checked = _is_as_wide(policy, feature, recorded, before)
    return GivenColumn(f"CAST({value} AS {kind})", before.declaration.type, given, is_checked)


def _was_given(recorded: Recorded, name: str) -> str:
    if name in recorded.names:
        return f"(d.sources[{list(recorded.names).index(name) + 1}] = 'g')"
    return f"coalesce(list_contains(d.ignored, {sql_text(name)}), false)"


def _is_unchanged(policy: CompiledPolicy, feature: CompiledFeature, recorded: Recorded) -> bool:
    """Whether the recorded policy bound the feature just as ``policy`` does."""
    before = recorded.declared(feature.name)
    if before is None or recorded.policy is None or recorded.policy.sizes != policy.sizes:
        return False
    return replace(before, needs=(), sensitive=None) == replace(feature, needs=(), sensitive=None)


def _is_as_wide(
    policy: CompiledPolicy, feature: CompiledFeature, recorded: Recorded, before: CompiledFeature
) -> bool:
    """Whether all that the recorded declaration allows is allowed now."""
    if before.declaration.type != feature.declaration.type:
        return False
    enum, enum_before = feature.declaration.enum, before.declaration.enum
    if enum is not None and (enum_before is None or not set(enum_before) <= set(enum)):
        return False
    if feature.minimum is not None and (before.minimum is None or before.minimum < feature.minimum):
        return False
    if feature.maximum is not None and (before.maximum is None or before.maximum > feature.maximum):
        return False
    if policy.sizes == LARGEST:
        return True
    known = None if recorded.policy is None else recorded.policy.sizes
    return known is not None and all(small <= large for small, large in zip(known, policy.sizes, strict=True))
