"""Mappings: YAML that says which column of a foreign table is which field of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, create_model

from routewright.engine.policy import Path, Shape, kind_of, parse_yaml, place_problem, shape_problems
from routewright.engine.report import PolicyError, Problem

from .calls import CallPlan, Get, Named, Plan, Take, constant, inside
from .shape import CALL_FIELDS, DECISION_FIELDS, CallField
from .source import Source
from .values import Money, Read, duration_us, number, parsed, text, time_us, truth

_Text = Annotated[str, Field(min_length=1, max_length=500)]
_Scalar = bool | int | float | str

_TYPES: Final[Mapping[str, Read]] = {
    "boolean": truth,
    "number": lambda value: None if number(value) is None else float(number(value) or 0),
    "text": text,
}


class ColumnPlace(Shape):
    """Where a value comes from, and how it is written there."""

    column: _Text | None = Field(None, description="the name of the column")
    path: list[_Text] | None = Field(
        None, min_length=1, description="a column, and keys of the objects in it"
    )
    value: _Scalar | None = Field(None, description="the same value in every row, instead of a column")
    values: dict[str, _Scalar] | None = Field(
        None, min_length=1, description="what each value of the column means"
    )
    unit: Literal["s", "ms", "us", "ns"] | None = Field(
        None, description="what a number counts; times since 1970"
    )
    zone: _Text | None = Field(None, description="the zone of times that name none, such as `UTC`")
    type: Literal["boolean", "number", "text"] | None = Field(
        None, description="of a feature; without it, as it is"
    )


Place = _Text | list[_Text] | ColumnPlace
"""The name of a column, a column and keys of the objects in it, or all that is to be said."""


def _with(title: str, fields: tuple[CallField, ...], **more: Any) -> type[Shape]:
    """A shape with a key for each field."""
    keys: dict[str, Any] = {field.name: (Place | None, Field(None)) for field in fields}
    return create_model(title, __base__=Shape, **keys, **more)


MappedCall: Final = _with(
    "MappedCall", CALL_FIELDS, outcomes=(dict[_Text, Place], Field(default_factory=dict))
)
MappingFile: Final = _with(
    "MappingFile",
    DECISION_FIELDS,
    routewright=(Literal[1], ...),
    name=(_Text | None, Field(None)),
    table=(_Text | None, Field(None)),
    tags=(dict[_Text, Place], Field(default_factory=dict)),
    features=(dict[_Text, Place], Field(default_factory=dict)),
    calls=(list[MappedCall], Field(min_length=1)),  # type: ignore[valid-type]  # a class that is made
)


def read_mapping(written: str, source: str) -> tuple[Source, str | None]:
    """How a mapping's tables are read, and the name that it gives to imports.

    ``source`` is the name under which problems are reported. Raises PolicyError with all of them.
    """
    document = parse_yaml(written, source)
    if document.problems:
        raise PolicyError(document.problems)
    try:
        found = MappingFile.model_validate(document.root.plain())
    except ValidationError as error:
        kind = kind_of(written)
        if kind != "mapping" and (kind != "policy" or "rules" in document.root.children):
            message = f"this is a file of the kind `{kind}`, not a mapping of an import"
            raise PolicyError([Problem("not-an-import-mapping", message, source=source)]) from None
        raise PolicyError(shape_problems(error, document, MappingFile)) from None
    reader = _Reader()
    plan = reader.plan(found)
    if reader.problems:
        raise PolicyError([place_problem(problem, document) for problem in reader.problems])
    formats = frozenset({"sqlite"}) if found.table else frozenset({"csv", "json", "parquet"})  # type: ignore[attr-defined]
    name: str | None = found.name  # type: ignore[attr-defined]
    table: str | None = found.table  # type: ignore[attr-defined]
    return Source("table", plan, formats, table=table, required=plan.columns(), mapping=written), name  # type: ignore[arg-type]


class _Reader:
    """Makes the plan of a mapping, and gathers what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def plan(self, file: Any) -> Plan:
        takes = self._takes(file, DECISION_FIELDS, ())
        return Plan(
            takes,
            [
                CallPlan(
                    self._takes(call, CALL_FIELDS, ("calls", index)),
                    self._named(call.outcomes, ("calls", index, "outcomes")),
                )
                for index, call in enumerate(file.calls)
            ],
            tags=self._named(file.tags, ("tags",)),
            features=self._named(file.features, ("features",)),
            needs_id=any(take.field.name == "id" for take in takes),
        )

    def _takes(self, shape: Any, fields: tuple[CallField, ...], above: Path) -> list[Take]:
        found = []
        for field in fields:
            place = getattr(shape, field.name)
            if place is None:
                continue
            if field.name == "cost" and shape.currency is None:
                self._problem(
                    "a `cost` needs its `currency`", (*above, "cost"), help="such as `{value: USD}`"
                )
            whole = _whole(place)
            path = (*above, field.name)
            self._check_values(field, whole, path)
            if whole.value is not None:
                self._check_alone(whole, path)
                found.append(constant(field.name, whole.value))
                continue
            label, get, columns = self._get(whole, path)
            found.append(Take(field, label, get, self._read(field, whole, path), columns))
        return found

    def _named(self, places: Mapping[str, Any], above: Path) -> list[Named]:
        found = []
        for name, place in places.items():
            whole, path = _whole(place), (*above, name)
            label, get, columns = self._get(whole, path)
            if whole.value is not None:
                self._check_alone(whole, path)
                get = _same(whole.value)
            elif whole.type is not None:
                get = _typed(get, _TYPES[whole.type])
            if whole.type is not None and above != ("features",):
                self._problem("only a feature has a `type`", path)
            if whole.unit is not None or whole.zone is not None:
                self._problem("only a time or a duration has a `unit` or a `zone`", path)
            found.append(Named(name, label, get, columns))
        return found

    def _get(self, place: ColumnPlace, path: Path) -> tuple[str, Get, frozenset[str]]:
        said = [key for key in ("column", "path", "value") if getattr(place, key) is not None]
        if len(said) != 1:
            self._problem("one of `column`, `path` and `value` says where a value comes from", path)
            return "", _same(None), frozenset()
        if place.value is not None:
            return str(path[-1]), _same(place.value), frozenset()
        first, *keys = place.path or [place.column or ""]
        get = _below(first, keys) if keys else (lambda row: row.get(first))
        if place.values is not None:
            get = _translated(get, place.values)
        return ".".join((first, *keys)), get, frozenset({first})

    def _read(self, field: CallField, place: ColumnPlace, path: Path) -> Read:
        is_time, is_duration = field.column in ("at_us", "started_at_us"), field.name.endswith("_ms")
        if place.type is not None:
            self._problem("only a feature has a `type`", path)
        if place.zone is not None and not is_time:
            self._problem("only a time has a `zone`", path)
        if place.unit is not None and not (is_time or is_duration):
            self._problem("only a time or a duration has a `unit`", path)
        if is_time:
            return time_us(unit=place.unit, zone=self._zone(place.zone, path))
        return duration_us(place.unit) if is_duration and place.unit else field.read

    def _zone(self, zone: str | None, path: Path) -> ZoneInfo | None:
        try:
            return ZoneInfo(zone) if zone is not None else None
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._problem(f"`{zone}` is no time zone", path, help="such as `UTC` or `Europe/Berlin`")
            return None

    def _check_values(self, field: CallField, place: ColumnPlace, path: Path) -> None:
        """Values that the mapping itself states have to fit."""
        stated = [] if place.value is None else [place.value]
        for value in (*stated, *(place.values or {}).values()):
            try:
                Money()(value) if field.name == "cost" else field.read(value)
            except ValueError as error:
                self._problem(f"`{value}` is no `{field.name}`: {error}", path)

    def _check_alone(self, place: ColumnPlace, path: Path) -> None:
        if any(getattr(place, key) is not None for key in ("values", "unit", "zone", "type")):
            self._problem("a `value` that is the same in every row stands alone", path)

    def _problem(self, message: str, path: Path, help: str | None = None) -> None:
        self.problems.append(Problem("bad-mapping", message, help, path=path))


def _whole(place: Any) -> ColumnPlace:
    if isinstance(place, ColumnPlace):
        return place
    return ColumnPlace(column=place) if isinstance(place, str) else ColumnPlace(path=place)


def _same(value: Any) -> Get:
    return lambda row: value


def _below(column: str, keys: list[str]) -> Get:
    """What stands below a column that holds objects, or the JSON of them."""

    def get(row: Mapping[str, Any]) -> Any:
        value = row.get(column)
        return inside(parsed(value) if isinstance(value, str) and value.strip() else value, *keys)

    return get


def _translated(get: Get, values: Mapping[str, Any]) -> Get:
    def translated(row: Mapping[str, Any]) -> Any:
        found = text(get(row))
        if found is None:
            return None
        if found not in values:
            raise ValueError(f"`values` of the mapping has no such value: {', '.join(values)}")
        return values[found]

    return translated


def _typed(get: Get, read: Read) -> Get:
    return lambda row: read(get(row))
