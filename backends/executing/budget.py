"""Keeps a request within one deadline, one cap on the calls for its answer and one cap on money.

Every call asks here first, whatever its role, so that retries, fallbacks, steps and members share one budget.
"""

from __future__ import annotations

from collections.abc import Callable

from routewright.engine.policy import DEFAULT_DEADLINE_MS, TaskLimits
from routewright.engine.report import money_text

from ..cost import PriceFacts, cost_nano
from ..protocol import Usage


class Timeline:
    """The request's own clock, in microseconds since 1970: it never goes back, whatever the wall clock does.

    ``advance_to`` is for durations that were reported and not waited for, as simulated backends do.
    """

    __slots__ = ("_ahead_us", "_clock", "_last_us", "start_us")

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.start_us = self._last_us = clock()
        self._ahead_us = 0

    def now_us(self) -> int:
        """The time now."""
        now_us = self._clock() + self._ahead_us
        if now_us > self._last_us:
            self._last_us = now_us
        return self._last_us

    def advance_to(self, at_us: int) -> None:
        """Make it ``at_us`` at least."""
        self._ahead_us += max(0, at_us - self.now_us())


class Budget:
    """What is left of a request's limits.

    # INVARIANT: what is reserved and what is spent never exceed the cost cap when a reservation is made.
    """

    def __init__(self, limits: TaskLimits, time: Timeline, loop_time: Callable[[], float]) -> None:
        self._limits, self._time, self._loop_time = limits, time, loop_time
        written = limits.deadline_ms
        self.deadline_ms = DEFAULT_DEADLINE_MS if written is None else written
        self._deadline_us = time.start_us + self.deadline_ms * 1_000
        self._ends_s = loop_time() + self.deadline_ms / 1_000
        self._spent_nano = self._held_nano = 0
        self.calls = 0

    def left_us(self) -> int:
        """How long until the deadline; 0 when it is less than a millisecond.

        By both clocks: the wall clock may be put back, and the event loop's knows nothing of simulated time.
        """
        by_loop_us = int((self._ends_s - self._loop_time()) * 1e6)
        left_us = min(self._deadline_us - self._time.now_us(), by_loop_us)
        return left_us if left_us >= 1_000 else 0

    def exhausted(self, *, counted: bool) -> str | None:
        """Why no further call may be made, in words; None while one may. ``counted`` says that it is for the answer."""
        if counted and not self.leaves(0):
            return f"`max_attempts: {self._limits.max_attempts}` is reached"
        if self.left_us() == 0:
            by_default = " (by default)" if self._limits.deadline_ms is None else ""
            return f"the deadline of {self.deadline_ms} ms{by_default} has passed"
        return None

    def calls_left(self) -> int | None:
        """How many more calls for the answer may be made; None for any number."""
        most = self._limits.max_attempts
        return None if most is None else most - self.calls

    def leaves(self, spare: int) -> bool:
        """Whether one more call for the answer leaves ``spare`` others."""
        left = self.calls_left()
        return left is None or left > spare

    def hold(
        self, price: PriceFacts | None, input_tokens: int, output_tokens: int, *, counted: bool
    ) -> int | str:
        """Reserve what a call may cost, and count it where it is ``counted``; or why its cost does not fit, in words.

        Without a cost cap nothing is reserved. A call of unknown cost reserves nothing where that is allowed.
        """
        cap, cost = self._limits.cost, 0
        if cap is not None:
            known = price is not None and price.currency == cap.currency
            if known:
                cost = cost_nano(Usage(input_tokens, 0, output_tokens, 0, "estimated"), price) or 0
            elif cap.refuses_unknown:
                return f"its price in {cap.currency} is unknown, and the request's cost is limited"
            taken = self._spent_nano + self._held_nano
            if taken + cost > cap.limit:
                most, currency = cap.limit, cap.currency
                shorter = "; ask for a shorter answer (`max_output_tokens`)" if output_tokens else ""
                return (
                    f"it may cost {money_text(cost)} {currency}, and of the {money_text(most)} {currency} for the"
                    f" request {money_text(max(0, most - taken))} {currency} are left{shorter}"
                )
        self._held_nano += cost
        self.calls += counted
        return cost

    def give_back(self, held_nano: int, *, counted: bool) -> None:
        """The call was not made."""
        self._held_nano -= held_nano
        self.calls -= counted

    def uncount(self) -> None:
        """The call did not leave: it does not count."""
        self.calls -= 1

    def settle(self, held_nano: int, cost_nano: int | None, currency: str | None) -> None:
        """Replace a reservation by what the call cost; where nobody knows, by what was reserved."""
        self._held_nano -= held_nano
        cap = self._limits.cost
        known = cap is not None and currency == cap.currency
        self._spent_nano += cost_nano if known and cost_nano is not None else held_nano
