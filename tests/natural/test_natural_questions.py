"""No natural phrasing of a question gives a silently wrong number, with any client in any time zone.

The suite asks each phrasing once, with a client and a zone that rotate; `make thorough` asks all with all.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.sizes import THOROUGH

from routewright.ledger import Ledger, LedgerError

from .questions import QUESTIONS, Asking, Refused
from .world import World, make_world

Way = tuple[str, str]
"""A client and a zone."""

ZONES = ("UTC", "Europe/Berlin", "America/Los_Angeles")
CLIENTS = ("duckdb", "pandas", "polars")
OURS: Way = ("ledger sql", "UTC")
"""Our own client has no zone of the machine."""

WAYS: Sequence[Way] = (
    [OURS, *((client, zone) for client in CLIENTS for zone in ZONES)]
    if THOROUGH
    else [OURS, ("pandas", "UTC"), ("duckdb", "Europe/Berlin"), ("polars", "America/Los_Angeles")]
)
PHRASINGS = [(question, sql) for question in QUESTIONS for sql in question.phrasings]
ASKED = [
    (way, number)
    for number in range(len(PHRASINGS))
    for way in (WAYS if THOROUGH else [WAYS[number % len(WAYS)]])
]
CASES = [
    pytest.param(way, number, id=f"{PHRASINGS[number][0].name}, {number % 3 + 1}, {' '.join(way)}")
    for way, number in ASKED
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(
        tmp_path_factory.mktemp("world") / "ledger.duckdb", datetime.now(UTC).replace(microsecond=0)
    )


@pytest.fixture(scope="module")
def answers(world: World) -> Mapping[tuple[Way, int], Any]:
    """What each client says to the phrasings that are its own: rows, or an error as text."""
    found: dict[tuple[Way, int], Any] = {}
    for way in WAYS:
        numbers = [number for one, number in ASKED if one == way]
        asked = [str(PHRASINGS[number][1]) for number in numbers]
        said = ours(world, asked) if way == OURS else theirs(way, world, asked)
        found |= {(way, number): one for number, one in zip(numbers, said, strict=True)}
    return found


def ours(world: World, asked: Iterable[str]) -> list[Any]:
    ledger, said = Ledger.open(world.path), list[Any]()
    for sql in asked:
        try:
            said.append([list(map(plain, row)) for row in ledger.query(sql).rows])
        except LedgerError as error:
            said.append(str(error))
    return said


def theirs(way: Way, world: World, asked: Sequence[str]) -> list[Any]:
    client, zone = way
    ran = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("asker.py")), client, str(world.path)],
        input=json.dumps(asked),
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    said: list[Any] = json.loads(ran.stdout)
    return said


def plain(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case date():
            return value.isoformat()
    return value


def same(given: Sequence[Any], expected: Sequence[Any]) -> bool:
    return len(given) == len(expected) and all(
        math.isclose(one, other, rel_tol=1e-9)
        if isinstance(one, float | int) and other is not None
        else one == other
        for one, other in zip(given, expected, strict=True)
    )


@pytest.mark.parametrize(("way", "number"), CASES)
def test_a_question_as_people_write_it_gives_the_right_rows_or_an_error(
    world: World, answers: Mapping[tuple[Way, int], Any], way: Way, number: int
) -> None:
    question, sql = PHRASINGS[number]
    said = answers[way, number]
    if isinstance(sql, Refused):
        assert isinstance(said, str), said
        return
    asking = Asking(world, datetime.now(UTC), ZoneInfo(way[1]))
    expected = [[plain(value) for value in row] for row in question.answer(asking)]
    assert not isinstance(said, str), said
    left = list(expected)
    for row in said:
        found = next((one for one in left if same(row, one)), None)
        assert found is not None, (said, expected)
        left.remove(found)
    assert not left, (said, expected)


def test_there_are_forty_questions_in_three_phrasings_each() -> None:
    assert len(QUESTIONS) >= 40
    assert all(len(question.phrasings) == 3 for question in QUESTIONS)
    assert sum(not isinstance(sql, Refused) for _, sql in PHRASINGS) > 80
