"""The order of frames: copies give one row, and numbers beyond what a file can hold are not believed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from routewright.ledger.frames import Damage, Frame, Texts
from routewright.ledger.sequence import Missing, in_order

SIZE = 100


def ordered(*numbers: int, after: int | None = 0, most: int = 10) -> list[int | str]:
    """What comes of frames with these numbers, each with an entry named for its number."""
    frames = [
        Frame(number, Texts(f"entry {number}", None), at * SIZE, SIZE) for at, number in enumerate(numbers)
    ]

    def scan(start: int | None) -> Iterator[Frame | Damage]:
        yield from frames[0 if start is None else start // SIZE :]

    def told(one: Frame | Damage | Missing) -> int | str:
        match one:
            case Frame(number, entry, _, size):
                assert (entry, size) == (Texts(f"entry {number}", None), SIZE)
                return number
            case Damage(size):
                assert size == SIZE
                return "damage"
            case Missing(entries):
                return f"{entries} missing"

    return [told(one) for one in in_order(scan, after=after, most=most)]


@pytest.mark.parametrize("after", [0, None])
@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1, 1, 2), [1, "damage", 2]),
        ((1, 2, 2), [1, 2, "damage"]),
        ((1, 2, 2, 3), [1, 2, "damage", 3]),
        ((2, 2, 3), [2, "damage", 3]),
        ((1, 3, 3, 4), [1, "1 missing", 3, "damage", 4]),
    ],
)
def test_of_two_copies_of_a_frame_side_by_side_one_is_taken(
    numbers: tuple[int, ...], expected: list[int | str], after: int | None
) -> None:
    if after is not None and numbers[0] > 1:
        expected = [f"{numbers[0] - 1} missing", *expected]  # nobody knows otherwise
    assert ordered(*numbers, after=after) == expected


@pytest.mark.parametrize("after", [0, None])
def test_the_highest_number_that_the_file_can_hold_is_the_last_that_is_believed(after: int | None) -> None:
    assert ordered(1, 2, 3, after=after, most=3) == [1, 2, 3]
    assert ordered(1, 2, 3, after=after, most=2) == [1, 2, "damage"]
    assert ordered(1, 3, 4, after=after, most=3) == [1, "1 missing", 3, "damage"]


def test_a_number_beyond_the_highest_decides_nothing_about_the_others() -> None:
    assert ordered(90, 101, 1, most=100) == [1, "damage", "damage"]
    assert ordered(90, 100, 1, most=100) == ["damage", "89 missing", 90, "9 missing", 100]
