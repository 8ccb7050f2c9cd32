"""Orders a writer's frames by their numbers, which count from 1 without gaps, and finds missing ones.

A frame with a valid checksum may still be out of place: repeated, moved, or with a wrong number. Trusting a number
that is far too high would skip every entry up to it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .frames import Damage, Frame

Scan = Callable[[int | None], Iterator[Frame | Damage]]
"""Finds the frames of a file from an offset, or from its beginning."""


class Missing(NamedTuple):
    """A number of consecutive entries that are missing."""

    entries: int


def in_order(scan: Scan, *, after: int | None, most: int) -> Iterator[Frame | Damage | Missing]:
    """The frames of a complete file with numbers above ``after``, ascending, with all damage.

    ``after`` is the number up to which the writer's entries have been ingested, None if unknown; ``most`` is the
    highest number that the file can hold. Copies of a frame, and frames with impossible numbers, are damage.
    """
    last = after
    for one in scan(None):
        if isinstance(one, Damage):
            yield one
        elif after is not None and one.number <= after:
            continue
        elif last is not None and one.number == last + 1 <= most:
            yield one
            last = one.number
        else:
            yield from _sorted(scan, one.at, after=after, last=last, most=most)
            return


def continuing(scan: Scan, *, after: int | None) -> Iterator[Frame]:
    """The frames of a file still being written that continue from ``after`` without a gap.

    Frames after damage or a gap wait until the file is complete: half a frame may be whole in a moment.
    """
    last = after
    for one in scan(None):
        if isinstance(one, Damage):
            return
        if last is not None and one.number <= last:
            continue
        if last is not None and one.number != last + 1:
            return
        yield one
        last = one.number


def _sorted(
    scan: Scan, at: int, *, after: int | None, last: int | None, most: int
) -> Iterator[Frame | Damage | Missing]:
    """The frames from ``at`` on, sorted by number; copies, and numbers far from the ascending ones, as damage."""
    numbers, places, sizes = array("Q"), array("Q"), array("Q")
    for one in scan(at):
        if isinstance(one, Damage):
            yield one
        elif after is None or one.number > after:
            numbers.append(one.number)
            places.append(one.at)
            sizes.append(one.size)
    above = last or 0
    ascending = _longest_ascent(numbers, above=above, most=most)
    believed = [number for number, is_in_place in zip(numbers, ascending, strict=True) if is_in_place]
    if not believed:
        yield from map(Damage, sizes)
        return
    # Frames that do not ascend may have been moved, so numbers may reach that far below and above the others.
    lowest, highest = believed[0] - len(numbers), min(most, believed[-1] + len(numbers))
    previous: Frame | None = None
    for position in sorted(range(len(numbers)), key=numbers.__getitem__):
        number = numbers[position]
        frame = next(scan(places[position]), None) if max(above + 1, lowest) <= number <= highest else None
        if not isinstance(frame, Frame) or (previous is not None and frame.entry == previous.entry):
            yield Damage(sizes[position])
            continue
        # Two different entries with the same number are both stored: one number is wrong, and nothing tells which.
        before = above if previous is None else previous.number
        if number > before + 1 and not (previous is None and last is None):
            yield Missing(number - before - 1)
        yield frame
        previous = frame


def _longest_ascent(numbers: array[int], *, above: int, most: int) -> bytearray:
    """For each number, 1 if it belongs to the longest ascending subsequence of those in range, otherwise 0.

    By patience sorting: https://en.wikipedia.org/wiki/Longest_increasing_subsequence. Among several of that length it
    is the one with the lowest numbers, since a wrong number is mostly too high.
    """
    lowest_end, its_position = array("Q"), array("Q")  # for each length of a subsequence
    before = array("q", bytes(8 * len(numbers)))
    for position, number in enumerate(numbers):
        if above < number <= most:
            length = bisect_left(lowest_end, number)
            before[position] = its_position[length - 1] if length else -1
            if length == len(lowest_end):
                lowest_end.append(number)
                its_position.append(position)
            else:
                lowest_end[length], its_position[length] = number, position
    chosen = bytearray(len(numbers))
    position = its_position[-1] if its_position else -1
    while position >= 0:
        chosen[position] = 1
        position = before[position]
    return chosen
