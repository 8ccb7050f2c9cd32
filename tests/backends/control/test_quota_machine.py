"""Quotas beside a plain model of them: any sequence of reserving, settling, releasing and time passing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from routewright.backends.control import (
    Lease,
    QuotaKey,
    QuotaLimit,
    Quotas,
    Refusal,
    StateStore,
    Unit,
    window_of,
)
from routewright.backends.control.quotas import KEEP_US

START = 1_795_341_600_000_000
SECOND = 1_000_000

TEMPLATES = (
    QuotaLimit("minutely", "requests", 4, 1, "minute"),
    QuotaLimit("hourly", "tokens", 100, 0, "hour", "Asia/Kathmandu"),
    QuotaLimit("money", "cost", 1_000, 0, "day", "America/New_York", currency="USD"),
    QuotaLimit("at_once", "concurrent", 3, 1),
)


class QuotaMachine(RuleBasedStateMachine):
    """The model keeps every lease that was ever made, and adds up."""

    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = StateStore(self.folder / "state.db")
        self.quotas = Quotas(self.store)
        self.now_us = START
        self.made = 0
        self.open: dict[str, tuple[Lease, int]] = {}
        """The leases that have not ended, with when they expire."""
        self.counted: list[tuple[QuotaLimit, int, int]] = []
        """What was settled: the limit, when the attempt began, the amount."""
        self.overrun: set[tuple[str, QuotaKey, int]] = set()
        """The windows in which an attempt used more than it reserved."""

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @initialize(offset_s=st.integers(0, 86_400))
    def begin_at_any_time_of_the_day(self, offset_s: int) -> None:
        self.now_us += offset_s * SECOND

    @rule(
        target=leases,
        chosen=st.sets(st.sampled_from(TEMPLATES), min_size=1),
        amounts=st.tuples(st.integers(0, 60), st.integers(0, 400)),
        key=st.sampled_from([(), ("team", "a")]),
        held=st.integers(0, 1),
        lasts_s=st.integers(1, 90),
    )
    def reserve(
        self, chosen: set[QuotaLimit], amounts: tuple[int, int], key: QuotaKey, held: int, lasts_s: int
    ) -> Lease:
        limits = [self._sized(one, amounts, key, held) for one in TEMPLATES if one in chosen]
        self.made += 1
        expires_us = self.now_us + lasts_s * SECOND
        self.open = {id: one for id, one in self.open.items() if not self._is_forgotten(*one)}
        admission = self.quotas.reserve(f"{self.made}", limits, at_us=self.now_us, expires_us=expires_us)
        full = [one for one in limits if sum(self._taken(one)) + one.amount > one.limit]
        if full:
            assert isinstance(admission, Refusal)
            assert (admission.limit, admission.taken) == (full[0], sum(self._taken(full[0])))
            return multiple()  # type: ignore[return-value]  # no lease is added to the bundle
        assert isinstance(admission, Lease)
        self.open[admission.id] = (admission, expires_us)
        return admission

    @rule(lease=leases, factor=st.sampled_from([None, 0.0, 0.5, 1.0, 1.0, 3.0]))
    def settle(self, lease: Lease, factor: float | None) -> None:
        """Any lease, also one that has expired, or that has ended before."""
        actual: dict[Unit, int | None] = {
            one.unit: None if factor is None else int(one.amount * factor) for one in lease.limits
        }
        _, expires_us = self.open.pop(lease.id, (lease, None))
        assert self.quotas.settle(lease, actual) == (expires_us is not None)
        if expires_us is None:
            return
        for limit in lease.limits:
            amount = actual[limit.unit]
            amount = limit.amount if amount is None else amount
            if limit.unit != "concurrent":
                self.counted.append((limit, lease.at_us, amount))
                if amount > limit.amount:
                    self.overrun.add((limit.control, limit.key, self._window_end(limit, lease.at_us)))

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        self.quotas.release(lease)
        self.open.pop(lease.id, None)

    @rule(lease=consumes(leases))
    def die(self, lease: Lease) -> None:
        """Nobody will ever end it."""

    @rule(seconds=st.sampled_from([1, 5, 30, 60, 600, 3_600, 86_400, 20 * 86_400]))
    def let_time_pass(self, seconds: int) -> None:
        self.now_us += seconds * SECOND

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = StateStore(self.folder / "state.db")
        self.quotas = Quotas(self.store)

    @invariant()
    def counts_are_those_of_the_model_and_within_the_limit(self) -> None:
        for template in TEMPLATES:
            for key in ((), ("team", "a")):
                limit = self._sized(template, (0, 0), key, 0)
                use = self.quotas.use(limit, at_us=self.now_us)
                assert (use.used, use.reserved) == self._taken(limit), limit
                window = (limit.control, key, self._window_end(limit, self.now_us))
                assert window in self.overrun or use.taken <= limit.limit

    def _sized(self, one: QuotaLimit, amounts: tuple[int, int], key: QuotaKey, held: int) -> QuotaLimit:
        by_unit = {"tokens": amounts[0], "cost": amounts[1]}
        amount = by_unit.get(one.unit, one.amount)
        limit = one.limit - held
        return QuotaLimit(one.control, one.unit, limit, amount, one.per, one.timezone, key, one.currency)

    def _taken(self, limit: QuotaLimit) -> tuple[int, int]:
        end_us = self._window_end(limit, self.now_us)

        def is_same(other: QuotaLimit, at_us: int) -> bool:
            same = (other.control, other.key) == (limit.control, limit.key)
            return same and self._window_end(limit, at_us) == end_us

        used = sum(amount for other, at_us, amount in self.counted if is_same(other, at_us))
        held = [
            (other.amount, expires_us > self.now_us)
            for lease, expires_us in self.open.values()
            for other in lease.limits
            if is_same(other, lease.at_us)
        ]
        lapsed = 0 if limit.unit == "concurrent" else sum(amount for amount, holds in held if not holds)
        return used + lapsed, sum(amount for amount, holds in held if holds)

    def _is_forgotten(self, lease: Lease, expires_us: int) -> bool:
        ends = ((one, self._window_end(one, lease.at_us)) for one in lease.limits)
        kept_us = [KEEP_US[one.per] + (expires_us if one.per is None else end_us) for one, end_us in ends]
        return max(expires_us, *kept_us) <= self.now_us

    @staticmethod
    def _window_end(limit: QuotaLimit, at_us: int) -> int:
        return 0 if limit.per is None else window_of(at_us, limit.per, limit.timezone).end_us


TestQuotaMachine = QuotaMachine.TestCase
TestQuotaMachine.settings = settings(stateful_step_count=40)
