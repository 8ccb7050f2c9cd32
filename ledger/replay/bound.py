"""Binds recorded features to a candidate's declarations in SQL, as ``Binder`` does it for one task.

What a task gave is taken as it was recorded; what the candidate derives is derived again, and its own defaults apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from routewright.engine.condition import (
    BOOLEAN,
    INTEGER,
    LARGEST,
    NUMBER,
    STRING,
    ListType,
    sql_name,
    sql_text,
    sql_type,
    sql_value,
)
from routewright.engine.decision import SESSION, feature_column
from routewright.engine.policy import MAX_EXACT, CompiledFeature, CompiledPolicy, FeatureSource

_INTEGERS: Final = tuple(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64, 128))
_KINDS: Final[Mapping[Any, Sequence[str]]] = {
    BOOLEAN: ("BOOL_TRUE", "BOOL_FALSE"),
    INTEGER: _INTEGERS,
    NUMBER: (*_INTEGERS, "DOUBLE", "FLOAT"),
    STRING: ("VARCHAR",),
}
"""What DuckDB calls the values of a VARIANT that a declaration takes."""

QUARTER_US: Final = 900_000_000
"""Every zone's hours begin at a quarter of an hour of UTC."""

TIMES: Final = "replay_times"
"""The temporary table of hours and weekdays: ``quarter``, and columns as ``time_column`` names them."""

_REQUEST: Final = (
    "prompt_tokens",
    "prompt_tokens_source",
    "tokenizer",
    "max_output_tokens",
    "images",
    "tools",
    "json_schema",
)


class NotDecidableInSql(Exception):
    """Rows of one policy that have to be decided one by one."""


def time_column(zone: str, fact: str) -> str:
    """The column of ``TIMES`` with the hour or the weekday in a zone, as a quoted name."""
    return sql_name(f"{fact} {zone}")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the rows of one recorded policy hold of features: the names in the order of ``sources``, and, where they
    are known, how they were declared.

    Imported rows have no ``sources``: then ``names`` is None, and all that a row has was given.
    """

    names: Sequence[str] | None
    declared: Mapping[str, CompiledFeature] = field(default_factory=dict)
    sizes: Any = None


class BoundSql:
    """Columns with their expressions: ``features`` over a row ``d`` of decisions and a row ``t`` of
    ``TIMES``; ``facts`` of the request, over those and ``d.request``.

    A column ``misfit_SLOT`` says of each feature of ``misfits`` whether it has a value that its declaration does not
    allow, a column ``unsaid_SLOT`` of each that is ``lacked`` whether nothing is known of it. Raises NotDecidableInSql
    for an array whose declaration is another one now.
    """

    def __init__(self, policy: CompiledPolicy, recorded: Recorded, lacked: Set[str] = frozenset()) -> None:
        self._policy, self._recorded = policy, recorded
        self.misfits: dict[int, str] = {}
        self._unsaid: dict[int, str] = {}
        self._given: dict[int, str] = {}
        self.uses_time = any(
            one.derived is not None and one.derived.zone is not None for one in policy.features
        )
        self.features = [
            (feature_column(slot), self._feature(slot, one)) for slot, one in enumerate(policy.features)
        ]
        self.features += [(f"misfit_{slot}", sql) for slot, sql in self.misfits.items()]
        self.features += [(f"said_{slot}", self._given[slot]) for slot, _ in policy.stated]
        unsaid = [slot for slot, feature in enumerate(policy.features) if feature.name in lacked]
        self.features += [(f"unsaid_{slot}", self._unsaid[slot]) for slot in unsaid]
        self.facts = list(self._request_columns())

    def _feature(self, slot: int, feature: CompiledFeature) -> str:
        given = self._given_sql(feature.name)
        self._unsaid[slot] = f"(NOT {given})"
        kind = sql_type(feature.declaration.type) or "VARIANT"
        # Field by field from the table: DuckDB then reads the fields that are asked for, and no other.
        value = f"d.features[{sql_text(feature.name)}]"
        misfits = []
        if self._fits_surely(feature):
            value = f"CAST({value} AS {kind})"
        else:
            fits = self._fits(feature, value)
            misfits.append(f"({given} AND NOT {fits})")
            value = f"(CASE WHEN {fits} THEN TRY_CAST({value} AS {kind}) END)"
        if kind == "DOUBLE":
            value = f"({value} + 0.0)"
        otherwise = sql_value(feature.default, feature.declaration.type)
        if feature.derived is not None:
            raw = _derived(feature.derived)
            fits = self._derived_fits(feature, raw)
            if feature.refuses_other:
                misfits.append(f"((NOT {given}) AND {raw} IS NOT NULL AND NOT {fits})")
            derived = f"(CASE WHEN {fits} THEN TRY_CAST({raw} AS {kind}) END)"
            otherwise = f"(CASE WHEN {raw} IS NOT NULL THEN {derived} ELSE {otherwise} END)"
        if misfits:
            self.misfits[slot] = f"({' OR '.join(misfits)})"
        self._given[slot] = f"({given} AND {value} IS NOT NULL)"
        return f"(CASE WHEN {given} THEN {value} ELSE {otherwise} END)"

    def _given_sql(self, name: str) -> str:
        names = self._recorded.names
        if names is None:
            return f"coalesce(list_contains(map_keys(d.feature_sources), {sql_text(name)}), false)"
        if name in names:
            return f"(d.sources[{list(names).index(name) + 1}] = 'g')"
        return f"coalesce(list_contains(d.ignored, {sql_text(name)}), false)"

    def _fits_surely(self, feature: CompiledFeature) -> bool:
        """Whether all that the recorded declaration allows is allowed now."""
        before = self._recorded.declared.get(feature.name)
        if before is None or before.declaration.type != feature.declaration.type:
            return False
        enum, enum_before = feature.declaration.enum, before.declaration.enum
        if enum is not None and (enum_before is None or not set(enum_before) <= set(enum)):
            return False
        if feature.minimum is not None and (before.minimum is None or before.minimum < feature.minimum):
            return False
        if feature.maximum is not None and (before.maximum is None or before.maximum > feature.maximum):
            return False
        sizes, sizes_before = self._policy.sizes, self._recorded.sizes
        return sizes == LARGEST or (sizes_before is not None and _within(sizes_before, sizes))

    def _fits(self, feature: CompiledFeature, value: str) -> str:
        """Whether a VARIANT is null, or a value that the declaration allows."""
        kind = feature.declaration.type
        if isinstance(kind, ListType):
            raise NotDecidableInSql(f"the array `{feature.name}` was recorded under another declaration")
        kinds = ", ".join(map(sql_text, _KINDS[kind]))
        cast = f"TRY_CAST({value} AS {sql_type(kind)})"
        allowed = self._allowed(feature, cast)
        of_type = f"variant_typeof({value}) IN ({kinds})"
        return f"({value} IS NULL OR variant_typeof({value}) = 'VARIANT_NULL' OR ({of_type} AND {allowed}))"

    def _allowed(self, feature: CompiledFeature, value: str) -> str:
        """Whether a value of the right type is within the bounds of its declaration."""
        kind, enum = feature.declaration.type, feature.declaration.enum
        checks = [f"({value} IS NOT NULL)"]
        if kind in (INTEGER, NUMBER):
            if kind == INTEGER:
                checks.append(f"({value} BETWEEN {-MAX_EXACT} AND {MAX_EXACT})")
            if feature.minimum is not None:
                checks.append(f"({value} >= {sql_value(feature.minimum, kind)})")
            if feature.maximum is not None:
                checks.append(f"({value} <= {sql_value(feature.maximum, kind)})")
        if enum is not None:
            checks.append(f"({value} IN ({', '.join(sql_value(one, kind) for one in enum)}))")
        elif kind == STRING:
            checks.append(f"(length({value}) <= {self._policy.sizes.characters})")
        return f"coalesce({' AND '.join(checks)}, false)"

    def _derived_fits(self, feature: CompiledFeature, raw: str) -> str:
        """Whether a value of the request or of the time is one that the declaration allows."""
        kind = feature.declaration.type
        has = {"metadata": STRING, "json_schema": BOOLEAN}.get(
            feature.derived.fact if feature.derived else "", INTEGER
        )
        if kind != has and (kind, has) != (NUMBER, INTEGER):
            return "false"
        return self._allowed(feature, f"TRY_CAST({raw} AS {sql_type(kind)})")

    def _request_columns(self) -> Iterator[tuple[str, str]]:
        """What is known of the request, features that speak for it included, as ``request_facts`` has it."""
        facts = {name: f"d.request.{name}" for name in _REQUEST}
        for slot, fact in self._policy.stated:
            value, said = feature_column(slot), f"said_{slot}"
            known = facts[fact]
            if fact == "json_schema":
                facts[fact] = (
                    f"(CASE WHEN {said} THEN ({value} OR coalesce({known}, false)) ELSE {known} END)"
                )
                continue
            whole = f"least(ceil({value}), {MAX_EXACT})::BIGINT"
            if fact == "prompt_tokens":
                longer = f"({said} AND {whole} >= coalesce({known}, 0))"
                for name, instead in (("prompt_tokens_source", "'stated'"), ("tokenizer", "NULL")):
                    facts[name] = f"(CASE WHEN {longer} THEN {instead} ELSE {facts[name]} END)"
            facts[fact] = f"(CASE WHEN {said} THEN greatest(coalesce({known}, 0), {whole}) ELSE {known} END)"
        # A length of which nobody says where it is from was stated.
        tokens, source = facts["prompt_tokens"], facts["prompt_tokens_source"]
        facts["prompt_tokens_source"] = (
            f"(CASE WHEN {tokens} IS NOT NULL THEN coalesce({source}, 'stated') END)"
        )
        yield from facts.items()
        yield "session", f"nullif({_metadata(SESSION)}, '')"


def _derived(source: FeatureSource) -> str:
    if source.zone is not None:
        return f"t.{time_column(str(source.zone), source.fact)}"
    if source.fact == "metadata":
        return _metadata(source.key or "")
    return f"d.request.{source.fact}"


def _metadata(name: str) -> str:
    return f"d.request.metadata[{sql_text(name)}]"


def _within(smaller: Any, larger: Any) -> bool:
    return bool(smaller.elements <= larger.elements and smaller.characters <= larger.characters)
