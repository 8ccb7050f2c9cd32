"""How much properties and hunts try: a sample in `make test`, all of it in `make thorough`."""

from __future__ import annotations

import os
from typing import Final

__all__ = [
    "ANSWERS",
    "APPENDED",
    "APPENDED_AT_ONCE",
    "CLIENT_SITS_S",
    "CRASHES",
    "CUT_POSITIONS",
    "CUT_THROUGH_GATEWAY",
    "ESTIMATED_LOGS",
    "EXAMPLES",
    "KILLED_WRITERS",
    "LEAK_POLICIES",
    "LOOKED_AT",
    "MADE_AGAIN",
    "MUTATED_LOGS",
    "MUTATED_POLICIES",
    "ONE_OF",
    "REPLAYED",
    "REPLAYED_LOGS",
    "ROLLOUTS",
    "ROUNDS",
    "SOAK_REQUESTS",
    "SPOOL_FILES",
    "STALLS",
    "THOROUGH",
    "WRONG_VALUES",
]

THOROUGH: Final = os.environ.get("ROUTEWRIGHT_THOROUGH", "") not in ("", "0")

EXAMPLES: Final = 1_000 if THOROUGH else 24
"""Of each property, by hypothesis."""

ROUNDS: Final = 20 if THOROUGH else 1
"""How often something is done that fails only at times."""

ESTIMATED_LOGS: Final = 1_000 if THOROUGH else 3
"""Whose truth is known, and which intervals have to cover as often as they claim."""

REPLAYED_LOGS: Final = 200 if THOROUGH else 1
"""Ledgers of prompts of which one model's answer is hidden, each replayed."""

MADE_AGAIN: Final = 12_000 if THOROUGH else 80
"""Decisions of each example that are made again by their own policies: a million of them in all."""

REPLAYED: Final = 2_000 if THOROUGH else 0
"""Decisions of each example that are replayed under a changed policy, beside those that are drawn by themselves."""

ROLLOUTS: Final = 1_000 if THOROUGH else 10
LOOKED_AT: Final = 3_000 if THOROUGH else 600
"""Canaries that are no different from their control, and how many requests each has, with a look after each."""

LEAK_POLICIES: Final = 20_000 if THOROUGH else 150
MUTATED_LOGS: Final = 5_000 if THOROUGH else 80
"""Entries of a foreign log, of each source."""

MUTATED_POLICIES: Final = 16_000 if THOROUGH else 120
ONE_OF: Final = 1 if THOROUGH else 4
"""Of so many places or names that are alike, one is tried."""

WRONG_VALUES: Final = 10 if THOROUGH else 1
"""For each key of a policy, of those that there are."""

ANSWERS: Final = 10_000 if THOROUGH else 400
SPOOL_FILES: Final = 2_500 if THOROUGH else 30
CRASHES: Final = 100 if THOROUGH else 12

CUT_POSITIONS: Final = None if THOROUGH else 150
STALLS: Final = None if THOROUGH else 3
"""Of each recorded stream: damages at its bytes, and stalls; None for one of each kind at every byte."""

CUT_THROUGH_GATEWAY: Final = 60 if THOROUGH else 6
"""Damages of each recorded stream that go through real sockets, the whole gateway and a ledger."""

SOAK_REQUESTS: Final = 100_000 if THOROUGH else 500
"""Simulated requests through a whole gateway, 16 at once."""

APPENDED: Final = 50_000 if THOROUGH else 100
"""By each of four processes into one ledger, from which some are killed and others read."""

APPENDED_AT_ONCE: Final = 100 if THOROUGH else 40
"""By each of two processes that make the ledger, five with each commit."""

KILLED_WRITERS: Final = 200 if THOROUGH else 3
CLIENT_SITS_S: Final = 60.0 if THOROUGH else 0.5
"""How many of them are killed, and how long another client holds the ledger meanwhile."""
