"""What a row may have been before the end of its call was recorded late.

A process that seemed to be gone may record after all how a call ended: the attempt that was taken for lost then gets
its values, and its decision the number of the answer. Both get one more leaf. Any other row has a second one only where
the first was pruned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from routewright.engine.record import Intent

from .leaf import Kind, values_digest
from .logged import Values

LOST: Final = {"status": "lost", "cached_answer": False}
"""What an attempt has of its own whose end nobody has recorded; all else is its intent's."""

Price = tuple[str | None, str | None]
"""Currency and date of a price."""


def earlier_digests(kind: Kind, values: Values, prices: Iterable[Price]) -> Iterator[bytes]:
    """The digests of what a row may have been before; ``prices`` are those that calls of the attempt's model had."""
    if kind is Kind.DECISION:
        yield values_digest({**values, "answered_attempt": None})
    if kind is not Kind.ATTEMPT or values["status"] == "lost":
        return
    intended: dict[str, Any] = {name: values[name] for name in ("decision_id", *Intent._fields)}
    for currency, since in {(values["currency"], values["price_since"]), (None, None), *prices}:
        for simulated in {values["simulated"], False}:
            facts = {"currency": currency, "price_since": since, "simulated": simulated}
            yield values_digest({**intended, **facts, **LOST})
