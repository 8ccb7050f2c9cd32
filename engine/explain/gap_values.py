"""Chooses one value for each that a feature is compared with, and one for each gap between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise

from ..condition import INTEGER
from ..policy import MAX_EXACT, CompiledFeature


def other_numbers(
    current: float | None, compared: set[int | float], feature: CompiledFeature
) -> list[object]:
    """The numbers compared with, and from each gap between them the one nearest to ``current``, ascending.

    Only numbers within the feature's limits. Integers next to a number are its neighbours; numbers are a short
    decimal away, as 0.71 is above 0.7.
    """
    whole = feature.declaration.type == INTEGER
    low = -math.inf if feature.minimum is None else feature.minimum
    high = math.inf if feature.maximum is None else feature.maximum
    if whole:
        low, high = max(math.ceil(max(low, -MAX_EXACT)), -MAX_EXACT), math.floor(min(high, MAX_EXACT))
    inside = sorted({number for number in compared if low <= number <= high})
    if not inside:
        anything = min(max(0, low), high)
        return [int(anything) if whole else float(anything)] if current is None else []
    # Each gap is open at a number compared with, and closed at a limit of the feature.
    found: list[object] = [int(n) if whole else float(n) for n in inside if not whole or n == math.floor(n)]
    for below, above in pairwise([None, *inside, None]):
        bottom, top = (low if below is None else below), (high if above is None else above)
        if current is not None and bottom <= current <= top and current not in (below, above):
            continue
        upwards = below is not None and (above is None or current is None or current <= below)
        start = below if upwards else above
        assert start is not None  # there is a number at one end of every gap
        number = _beside(start, 1 if upwards else -1, whole=whole)
        for candidate in number:
            past_bottom = candidate >= bottom if below is None else candidate > below
            before_top = candidate <= top if above is None else candidate < above
            if past_bottom and before_top:
                found.append(candidate)
                break
    return sorted(found, key=lambda value: float(value))  # type: ignore[arg-type]  # they are numbers


def _beside(start: int | float, sign: int, *, whole: bool) -> Iterator[int | float]:
    """Numbers past ``start``: the next integer, or ever closer short decimals and at last the closest of all."""
    if whole:
        yield math.floor(start) + 1 if sign > 0 else math.ceil(start) - 1
        return
    exact = Decimal(repr(float(start))).normalize()
    exponent = exact.as_tuple().exponent
    digits = max(0, -exponent) if isinstance(exponent, int) else 0
    for more in range(1, 4):
        number = float(exact + sign * Decimal(1).scaleb(-digits - more))
        if number != start:
            yield number
    closest = math.nextafter(float(start), sign * math.inf)
    if math.isfinite(closest):
        yield closest


def other_texts(current: str | None, compared: set[str]) -> list[object]:
    """The texts compared with, and one from each gap between them.

    A gap is told from another by ``<`` only, but then it has to be: after ``m`` comes ``m\\x00``.
    """
    inside = sorted(compared)
    found: list[object] = [*inside]
    anything = next(
        text for text in ("other", *(f"other_{n}" for n in range(len(compared) + 1))) if text not in compared
    )
    found.append(anything)
    found += [text for text in ("", *(f"{text}\0" for text in inside)) if text not in compared]
    return found


def other_arrays(current: Sequence[object] | None, compared: set[object]) -> list[object]:
    """The empty array, and the current one with and without each value that conditions look for."""
    have = tuple(current or ())
    found: dict[object, None] = {(): None}
    for value in sorted((v for v in compared if not isinstance(v, tuple)), key=repr):
        found[tuple(one for one in have if one != value)] = None
        if value not in have:
            found[(*have, value)] = None
    return list(found)
