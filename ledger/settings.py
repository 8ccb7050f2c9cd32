"""How what is recorded waits for the ledger's tables: how safe it is, how much of it may, and what happens then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Durability = Literal["process", "power", "none"]
WhenFull = Literal["refuse", "block"]


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """What a gateway or a writer does with rows that are not in the ledger's tables yet.

    ``durability`` says what recorded rows survive before they are in the tables. ``process``: the death of the process,
    killed or not. ``power``: a loss of power too, as nothing counts as recorded before the disk has it; many callers
    share one sync. ``none``: neither, as rows are written every second, or when there is 1 MiB of them; what was
    recorded since is lost with the process, and that a call was made is then nowhere on record.

    ``room_mib`` is how many MiB may wait in the ledger's spool folder; by default 4096, or a tenth of what is free on
    its disk if that is less. ``when_full`` says what happens then: ``refuse`` lets no further call be made, ``block``
    first waits ``block_s`` seconds for room. Raises ValueError for another value.
    """

    durability: Durability = "process"
    room_mib: int | None = None
    when_full: WhenFull = "refuse"
    block_s: float = 30.0

    def __post_init__(self) -> None:
        for name, choices in (("durability", get_args(Durability)), ("when_full", get_args(WhenFull))):
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` is one of {', '.join(choices)}")
        if self.room_mib is not None and (type(self.room_mib) is not int or self.room_mib <= 0):
            raise ValueError("`room_mib` is a whole number above 0")
        if type(self.block_s) not in (int, float) or not 0 < self.block_s < float("inf"):
            raise ValueError("`block_s` is a number above 0")


DEFAULTS: Final = LedgerSettings()
