"""The limits of a whole policy: named numbers, no code.

`condition.limits` bounds each condition; these bound the sum, so that loading a policy takes at most a few seconds and
200 MB, and one decision a quarter of a second, whoever wrote it. All are checked before the work is done.
`docs/policies.md` lists them for authors.
"""

from __future__ import annotations

from ..condition import Sizes

MAX_DECISION_WORK = 50_000_000
"""Steps that the conditions of a policy may take for one decision. A step is 5 ns or less."""

MAX_LOAD_WORK = 100_000_000
"""Steps that the constraints of a policy may take over all models of its catalog, once, when it is loaded."""

MAX_SEARCH_WORK = 500_000_000
"""Steps that the search of an explanation for what would have led elsewhere may take."""

LEAST_SIZES = Sizes(elements=100, characters=1_000)
"""Sizes of arrays and strings that every policy accepts; one that is too much work even for these is refused."""

MAX_POLICY_PARTS = 80_000
"""Names, literals and operators in all conditions of a policy."""

MAX_POLICY_PROGRAM = 100_000
"""Instructions of the different patterns of `matches` in a policy."""

MAX_LISTED_CANDIDATES = 250_000
"""Candidates of all rules: a chain counts in each rule that falls back to it."""
