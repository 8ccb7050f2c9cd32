"""Adds up the weighed rows of a metric: by unit, over all units, and as moments of what each unit contributes.

An estimate is a ratio: the outcomes that the candidate would have had, over the rows in which they would have been
measured. Both are sums over units of a measured part and an estimated part,

    measured + model + f (residual - e weight) + e mass

where f is the estimated mass over the sum of weights and e the mean residual by weight, so that weights enter
normalised by their own sum. With a model of 0 this is the self-normalised estimate (SNIPS), and with one that was
fitted on other units the doubly robust one (DR).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .weighing import FOLDS, Weighed

Slice = Literal["all", "measured", "estimated"]
Method = Literal["measured", "snips", "dr"]

_OF_UNIT: Final = (
    "measured",  # mass whose outcome is known, for certain
    "measured_value",  # their outcomes, 0 where none was measured
    "measured_seen",  # their mass with an outcome
    "mass",  # that is open to estimates
    "weight",  # importance weights of what was taken
    "plain_value",  # weight times outcome
    "plain_seen",
    "model_value",  # mass times the model's outcome
    "model_seen",
    "rest_value",  # weight times what the outcome is above the model's
    "rest_seen",
    "beside_measured",  # what the log had, of the measured mass
    "beside_measured_seen",
    "beside_mass",  # the same of the estimated mass
    "beside_mass_seen",
)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all units: see ``_OF_UNIT`` for ``of``, and ``squares`` for the products that effective sizes need."""

    rows: float
    none: float
    of: dict[str, float]
    squares: dict[str, float]
    units: dict[Slice, int]
    outside: int
    """Outcomes that the metric's range does not have."""

    @property
    def scale(self) -> float:
        """What a weight is multiplied with, so that all weights add up to the mass that they stand for."""
        weight = self.of["weight"]
        return self.of["mass"] / weight if weight > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums of powers of what each unit contributes."""

    squares: float
    cubes: float
    fourths: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """SQL of what a unit adds to the upper and the lower side of an estimate, and both sums."""

    upper: str
    lower: str
    value: float
    seen: float
    drawn_upper: str
    drawn_lower: str
    """The part of them that another draw in the same decisions would have changed."""
    beside_upper: str
    beside_lower: str
    beside_value: float
    beside_seen: float


def add_up(weighed: Weighed, metric: int) -> Totals:
    """Write ``units`` for a metric, after ``fit``, and return its sums."""
    weighed.drop(weighed.units)
    weighed.connection.execute(f"CREATE TEMP TABLE {weighed.units} AS {_units(weighed, metric)}")
    sums = ", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in _OF_UNIT)
    row = weighed.connection.execute(
        f"SELECT {sums}, coalesce(sum(rows), 0), coalesce(sum(none), 0), count(*), "
        "count(*) FILTER (measured > 0), count(*) FILTER (mass > 0), "
        "coalesce(sum(measured * measured), 0), coalesce(sum(measured * weight), 0), coalesce(sum(weight * weight), 0) "
        f"FROM {weighed.units}"
    ).fetchone()
    assert row is not None
    of, rest = dict(zip(_OF_UNIT, row, strict=False)), row[len(_OF_UNIT) :]
    none = rest[1]
    if of["weight"] <= 0:  # nothing that could have been drawn was: it tells nothing
        none, of["mass"] = none + of["mass"], 0.0
    return Totals(
        rest[0],
        none,
        of,
        dict(zip(("measured", "both", "weight"), rest[5:], strict=True)),
        {"all": rest[2], "measured": rest[3], "estimated": rest[4]},
        _outside(weighed, metric),
    )


def _outside(weighed: Weighed, metric: int) -> int:
    range = weighed.metrics[metric].range
    if range is None:
        return 0
    found = weighed.connection.execute(
        f"SELECT count(*) FROM {weighed.pairs} WHERE v{metric} NOT BETWEEN ? AND ?", list(range)
    ).fetchone()
    return 0 if found is None else int(found[0])


def _units(weighed: Weighed, metric: int) -> str:
    measured, random = "kind = 'measured'", "kind = 'random'"
    value, seen, logged = f"coalesce(v{metric}, 0)", f"(v{metric} IS NOT NULL)::INT", f"l{metric}"

    def added(expression: str, where: str) -> str:
        if weighed.each_by_itself:
            return f"CASE WHEN {where} THEN {expression} ELSE 0 END"
        return f"coalesce(sum({expression}) FILTER ({where}), 0)"

    # The variance of what is drawn once with the probability p is its mean square less a p-th of that. Where several
    # rows share a draw, all of the square is taken, which is more.
    single = "max(weight) > 0 AND max(p.mass) = 1 AND count(*) = 1"
    left = f"CASE WHEN {single} THEN 1 - 1 / max(weight) ELSE 1 END"
    if weighed.each_by_itself:
        left = "CASE WHEN weight > 0 AND p.mass = 1 THEN 1 - 1 / weight ELSE 1 END"
    columns = {
        "undrawn": left,
        "rows": added("p.mass", "true"),
        "none": added("p.mass", "kind = 'none'"),
        "measured": added("p.mass", measured),
        "measured_value": added(f"p.mass * {value}", measured),
        "measured_seen": added(f"p.mass * {seen}", measured),
        "mass": added("p.mass", random),
        "weight": added("weight", random),
        "plain_value": added(f"weight * {value}", random),
        "plain_seen": added(f"weight * {seen}", random),
        "model_value": added("p.mass * m.value", random),
        "model_seen": added("p.mass * m.seen", random),
        "rest_value": added(f"weight * ({value} - m.value)", random),
        "rest_seen": added(f"weight * ({seen} - m.seen)", random),
        "beside_measured": added(f"p.mass * coalesce({logged}, 0)", measured),
        "beside_measured_seen": added("p.mass", f"{measured} AND {logged} IS NOT NULL"),
        "beside_mass": added(f"p.mass * coalesce({logged}, 0)", random),
        "beside_mass_seen": added("p.mass", f"{random} AND {logged} IS NOT NULL"),
    }
    assert set(_OF_UNIT) <= set(columns)
    return (
        f"SELECT unit, {', '.join(f'{what}::DOUBLE AS {name}' for name, what in columns.items())} "
        f"FROM {weighed.pairs} AS p LEFT JOIN {weighed.model} AS m "
        f"ON {random} AND m.action = p.action AND m.fold = p.unit % {FOLDS} "
        f"AND m.context IS NOT DISTINCT FROM p.context {'' if weighed.each_by_itself else 'GROUP BY unit'}"
    )


def ratio(totals: Totals, slice: Slice, method: Method) -> Ratio:
    """What units add to an estimate of this part of the rows."""
    uppers, lowers, beside_uppers, beside_lowers = ["0"], ["0"], ["0"], ["0"]
    value = seen = beside_value = beside_seen = 0.0
    drawn, of = {"value": "0", "seen": "0"}, totals.of
    if slice != "estimated":
        uppers.append("measured_value")
        lowers.append("measured_seen")
        beside_uppers.append("beside_measured")
        beside_lowers.append("beside_measured_seen")
        value, seen = of["measured_value"], of["measured_seen"]
        beside_value, beside_seen = of["beside_measured"], of["beside_measured_seen"]
    if slice != "measured" and of["weight"] > 0:
        for column, parts in (("value", uppers), ("seen", lowers)):
            rest = f"plain_{column}" if method == "snips" else f"rest_{column}"
            model = 0.0 if method == "snips" else of[f"model_{column}"]
            mean = of[rest] / of["weight"]
            parts += [] if method == "snips" else [f"model_{column}"]
            drawn[column] = f"{totals.scale!r}::DOUBLE * ({rest} - {mean!r}::DOUBLE * weight)"
            parts += [drawn[column], f"{mean!r}::DOUBLE * mass"]
            total = model + totals.scale * of[rest]
            value, seen = (value + total, seen) if column == "value" else (value, seen + total)
        beside_uppers.append("beside_mass")
        beside_lowers.append("beside_mass_seen")
        beside_value += of["beside_mass"]
        beside_seen += of["beside_mass_seen"]
    return Ratio(
        " + ".join(uppers), " + ".join(lowers), value, seen, drawn["value"], drawn["seen"],
        " + ".join(beside_uppers), " + ".join(beside_lowers), beside_value, beside_seen,
    )  # fmt: skip


def moments(weighed: Weighed, contributions: Sequence[str]) -> list[Moments]:
    """The moments of each of these expressions over units, in one pass."""
    wanted = ", ".join(f"({what}) AS c{at}" for at, what in enumerate(contributions))
    powers = [" * ".join([f"c{at}"] * power) for at in range(len(contributions)) for power in (2, 3, 4)]
    sums = ", ".join(f"coalesce(sum({power}), 0)" for power in powers)
    row = weighed.connection.execute(f"SELECT {sums} FROM (SELECT {wanted} FROM {weighed.units})").fetchone()
    assert row is not None
    return [Moments(*row[at : at + 3]) for at in range(0, len(row), 3)]
