"""A target in, leave to call it or the reason why not; afterwards what came of it is counted.

Quotas hold even where the state cannot be read: then nothing that they bind is called. Breakers and latencies
only advise: without the state every breaker counts as closed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Final, Literal

from routewright.engine.errors import RoutewrightError

from ..control import Breakers, Lease, QuotaLimit, Quotas, Refusal, StateStore
from ..control.latencies import Latencies
from ..cost import PriceFacts, cost_nano
from ..errors import BackendError
from ..protocol import Timings, Usage
from .actions import ACTIONS
from .budget import amount_text
from .work import Target

__all__ = ["Admission", "Denied", "Ticket"]

COLD_LOAD_US: Final = 500_000
"""A call that loaded its model for longer is a cold start: it says nothing of the model's latency."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a call may not be made, in words; ``until_us`` is when it may be, where that is known."""

    by: Literal["breaker", "quota", "cost"]
    reason: str
    until_us: int | None = None


class Ticket:
    """Leave for one call. Exactly one of ``used`` and ``unused`` is called in the end.

    ``note`` is what a reader of the attempt should know: why an open breaker was passed, what was not counted.
    """

    __slots__ = ("_admission", "_lease", "_model", "_probe", "note")

    def __init__(
        self, admission: Admission, model: str, lease: Lease | None, note: str | None, probe: bool
    ) -> None:
        self._admission, self._model, self._lease, self._probe = admission, model, lease, probe
        self.note = note

    def unused(self) -> None:
        """The call was not made."""
        self._admission.give_back(self._model, self._lease, self._probe)

    def used(
        self,
        error: BackendError | None,
        *,
        usage: Usage | None,
        cost: int | None,
        timings: Timings,
        simulated: bool,
        at_us: int,
    ) -> None:
        """The call was made, and this came of it."""
        state = self._admission.state
        if state is None:
            return
        try:
            if self._lease is not None:
                state.quotas.settle(self._lease, {"requests": 1, "tokens": _total(usage), "cost": cost})
            self._judge(state, error, at_us)
            cold = (timings.load_us or 0) > COLD_LOAD_US
            if error is None and timings.first_token_us is not None and not cold and not simulated:
                first_ms = (timings.first_token_us - (timings.load_us or 0)) / 1_000
                state.latencies.observed(self._model, first_ms, at_us=at_us)
        except RoutewrightError as state_error:
            # What came of the call stands; an unsettled lease holds its reservation until it lapses.
            note = f"its use could not be counted: {state_error}"
            self.note = note if self.note is None else f"{self.note}; {note}"

    def _judge(self, state: _State, error: BackendError | None, at_us: int) -> None:
        """Tell the breaker how it went."""
        if error is None:
            state.breakers.succeeded(self._model, at_us=at_us)
            return
        action = ACTIONS[error.error_class]
        if action.breaker == "ignore":
            if self._probe:
                state.breakers.released(self._model)
            return
        cool_ms = None
        if action.breaker == "cool":
            cool_ms = action.cool_ms if error.retry_after_ms is None else error.retry_after_ms
        state.breakers.failed(self._model, at_us=at_us, error_class=error.error_class, cool_ms=cool_ms)


@dataclass(frozen=True, slots=True)
class _State:
    breakers: Breakers
    quotas: Quotas
    latencies: Latencies


class Admission:
    """Breakers, quotas and latencies of one state store; without one, whatever no quota binds is admitted."""

    def __init__(self, store: StateStore | None) -> None:
        self.state = None if store is None else _State(Breakers(store), Quotas(store), Latencies(store))
        self._lease_ids = _lease_ids()

    def admit(
        self,
        target: Target,
        *,
        input_tokens: int,
        output_tokens: int,
        at_us: int,
        expires_us: int,
        forced: str | None = None,
    ) -> Ticket | Denied:
        """Leave to call ``target`` now. ``forced`` is why an open breaker does not matter; quotas always do."""
        state, model = self.state, target.model_id
        if state is None:
            if target.quotas:
                control = target.quotas[0].control
                return Denied("quota", f"`{control}` cannot be counted: there is no state store")
            return Ticket(self, model, None, forced, probe=False)
        probe = False
        if forced is None:
            admitted = _pass_breaker(state.breakers, model, at_us)
            if isinstance(admitted, Denied):
                return admitted
            probe = admitted
        if not target.quotas:
            return Ticket(self, model, None, forced, probe)
        limits = tuple(_sized(limit, target.price, input_tokens, output_tokens) for limit in target.quotas)
        try:
            lease = state.quotas.reserve(next(self._lease_ids), limits, at_us=at_us, expires_us=expires_us)
        except RoutewrightError as error:
            self.give_back(model, None, probe)
            return Denied("quota", f"its quotas cannot be counted: {error}")
        if isinstance(lease, Refusal):
            self.give_back(model, None, probe)
            return _refused(lease)
        return Ticket(self, model, lease, forced, probe)

    def open_until_us(self, model: str, at_us: int) -> int | None:
        """Until when a model is left alone; None while it may be called."""
        if self.state is None:
            return None
        try:
            known = self.state.breakers.all(at_us=at_us).get(model)
        except RoutewrightError:
            return None
        return known.until_us if known is not None and known.state == "open" else None

    def give_back(self, model: str, lease: Lease | None, probe: bool) -> None:
        """End what a call that was not made had taken."""
        if self.state is None:
            return
        try:
            if lease is not None:
                self.state.quotas.release(lease)
            if probe:
                self.state.breakers.released(model)
        except RoutewrightError:
            # The lease lapses by itself, and so does the probe.
            return


def _pass_breaker(breakers: Breakers, model: str, at_us: int) -> Denied | bool:
    """Whether the call that may be made is a probe; or why it may not be made."""
    try:
        known = breakers.all(at_us=at_us).get(model)
        if known is None or known.state == "closed":
            return False
        if breakers.admit(model, at_us=at_us):
            return True
    except RoutewrightError:
        return False
    if known.state == "half_open":
        return Denied("breaker", "its breaker is half open, and another call is trying it", at_us)
    why = "" if known.error_class is None else f" after {known.error_class}"
    until = "" if known.until_us is None else f" until {_time_text(known.until_us)}"
    return Denied("breaker", f"its breaker is open{until}{why}", known.until_us)


def _sized(limit: QuotaLimit, price: PriceFacts | None, input_tokens: int, output_tokens: int) -> QuotaLimit:
    """The limit with what one call may take of it."""
    match limit.unit:
        case "tokens":
            amount = input_tokens + output_tokens
        case "cost":
            # Without a price only `unknown_cost: allow` lets a call come here, and nothing can be reserved.
            amount = cost_nano(Usage(input_tokens, 0, output_tokens, 0, "estimated"), price) or 0
        case _:
            amount = 1
    return replace(limit, amount=amount)


def _total(usage: Usage | None) -> int | None:
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    return usage.input_tokens + usage.output_tokens


def _refused(refusal: Refusal) -> Denied:
    limit = refusal.limit
    if limit.unit == "cost":
        taken = f"{amount_text(refusal.taken)} of {amount_text(limit.limit)}, and {amount_text(limit.amount)} more"
    else:
        unit = "calls at once" if limit.unit == "concurrent" else limit.unit
        taken = f"{refusal.taken} of {limit.limit} {unit}, and {limit.amount} more"
    who = f" for `{limit.key}`" if limit.key else ""
    until = "" if refusal.until_us is None else f" until {_time_text(refusal.until_us)}"
    return Denied("quota", f"`{limit.control}`{who} has no room{until}: {taken} wanted", refusal.until_us)


def _time_text(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def _lease_ids() -> Iterator[str]:
    """Ids that no other process or executor uses, also after a fork."""
    own = uuid.uuid4().hex
    return (f"{own}-{os.getpid()}-{number}" for number in count())
