"""What all calls for one task cost together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from routewright.engine.record import Attempt
from routewright.engine.report import money_text

_NANO: Final = Decimal(1_000_000_000)

_WEAKEST_FIRST: Final = ("lower_bound", "estimated", "reported", "billed")


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money, and how it is known.

    ``source`` is that of the least certain call, as the ``cost_source`` of attempts: ``lower_bound`` says that it is
    at least so much. ``currency`` is None where nothing was paid and no one currency is known: 0 in any.
    """

    amount: Decimal
    currency: str | None
    source: str

    @property
    def is_lower_bound(self) -> bool:
        """Whether it may have been more."""
        return self.source == "lower_bound"

    def __str__(self) -> str:
        least = "at least " if self.is_lower_bound else ""
        nano = int(self.amount * _NANO)
        return f"{least}{money_text(nano, 6 if nano else None)} {self.currency or ''}".rstrip()


def total_cost(attempts: Sequence[Attempt]) -> Cost | None:
    """What ``attempts`` cost together; None as soon as one is unknown, or if they were paid in two currencies.

    Steps, members, retries and failed calls count as the answer does.
    """
    known = [attempt.cost_nano for attempt in attempts if attempt.cost_nano is not None]
    # Nothing is free of a unit: without a currency only 0 says anything, and a 0 has no say in the others' currency.
    paid = {attempt.currency for attempt in attempts if attempt.cost_nano}
    if len(known) < len(attempts) or len(paid) > 1 or None in paid:
        return None
    named = paid or {attempt.currency for attempt in attempts} - {None}
    sources = {attempt.cost_source for attempt in attempts}
    source = next((one for one in _WEAKEST_FIRST if one in sources), "reported")
    return Cost(Decimal(sum(known)) / _NANO, next(iter(named)) if len(named) == 1 else None, source)
