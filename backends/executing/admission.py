"""Admits calls: gives leave to call a target or the reason why not, and counts what came of the call.

Quotas hold even where the state cannot be read: then nothing that they bind is called. Breakers and latencies
only advise: without the state every breaker counts as closed, and the attempt says so.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Final, NamedTuple

from routewright.engine.record import Attempt
from routewright.engine.report import RoutewrightError

from ..control import (
    COLD_LOAD_US,
    Breaker,
    Breakers,
    Latencies,
    Lease,
    LoadTimes,
    QuotaLimit,
    Quotas,
    Refusal,
    StateStore,
    Unit,
)
from ..cost import PriceFacts, cost_nano
from ..errors import BackendError
from ..protocol import Usage
from .outcomes import Outcome
from .rejections import Rejection, no_room, resting
from .work import Target

_log = logging.getLogger("routewright")

LONGEST_COOLING_MS: Final = 7 * 24 * 3_600_000
"""No model is left alone for longer, whatever a server asks for: weekly limits are the longest there are."""


@dataclass(frozen=True, slots=True)
class _State:
    store: StateStore
    breakers: Breakers
    quotas: Quotas
    latencies: Latencies
    loads: LoadTimes


class Admission(NamedTuple):
    """Leave for one call, which is then made; ``AdmissionControl.used`` ends it.

    ``reason`` is what its attempt says of it: why an open breaker was passed, or that the breaker is not known.
    """

    model: str
    at_us: int
    lease: Lease | None = None
    probe: bool = False
    reason: str | None = None


class AdmissionControl:
    """Breakers, quotas and latencies of one state store; without one, whatever no quota binds is admitted.

    The store may be locked by another process: then a thread waits for it, and the event loop goes on.
    """

    def __init__(self, store: StateStore | None) -> None:
        self._state = (
            None
            if store is None
            else _State(store, Breakers(store), Quotas(store), Latencies(store), LoadTimes(store))
        )
        self._lease_ids = _lease_ids()

    async def admit(
        self,
        target: Target,
        *,
        input_tokens: int,
        output_tokens: int,
        at_us: int,
        expires_us: int,
        forced: str | None = None,
    ) -> Admission | Rejection:
        """Leave to call ``target`` now. ``forced`` is why an open breaker does not matter; quotas always do.

        Who is cancelled while waiting has no lease.
        """
        state, model = self._state, target.kept_under
        if state is None:
            if target.quotas:
                control = target.quotas[0].control
                return Rejection(
                    "quota", f"`{control}` cannot be counted: there is no state store (`state=`)"
                )
            return Admission(model, at_us, reason=forced)
        known, reason = None, forced
        if forced is None:
            try:
                known = state.breakers.all(at_us=at_us).get(model)
            except RoutewrightError as error:
                reason = _unread(target, error)
        if known is not None and known.state == "open":
            return resting(known, at_us)
        wanted = Admission(model, at_us, reason=reason)
        if known is None and not target.quotas:
            return wanted
        limits = tuple(_sized(limit, target.price, input_tokens, output_tokens) for limit in target.quotas)
        try:
            return await state.store.run_in_thread(
                lambda: self._take(state, wanted, known, limits, expires_us), undo=self._take_back
            )
        except RoutewrightError as error:
            if target.quotas:
                return Rejection("quota", f"its quotas cannot be counted: {error}")
            return wanted._replace(reason=reason or _unread(target, error))

    async def used(
        self,
        ticket: Admission,
        made: Attempt,
        outcome: Outcome,
        error: BackendError | None,
        *,
        queued_us: int,
        at_us: int,
    ) -> str | None:
        """The call was ``made``, and ``error`` is why it has no answer: count it. What could not be counted, in words.

        ``queued_us`` is how long it has waited in our own queue, which is no part of the model's latency. Is done also
        when the caller is cancelled meanwhile.
        """
        state = self._state
        if state is None:
            return None
        sample_ms, load_ms = _latency_ms(made, queued_us), _load_ms(made)
        healthy = outcome.breaker in ("close", "ignore")
        # Most calls need no more than this: no lease, nothing new of the model.
        news = ticket.lease is not None or ticket.probe or sample_ms is not None or load_ms is not None
        if healthy and not news:
            if self._breaker(state, ticket.model, at_us) is None:
                return None

        def settle() -> None:
            with state.store.change():
                if ticket.lease is not None and not outcome.request:
                    state.quotas.release(ticket.lease)
                elif ticket.lease is not None:
                    state.quotas.settle(ticket.lease, _actual(made, ticket.lease))
                self._judge(state, ticket, outcome, error, at_us)
                if sample_ms is not None:
                    state.latencies.observed(ticket.model, sample_ms, at_us=at_us)
                if load_ms is not None:
                    state.loads.observed(ticket.model, load_ms, at_us=at_us)

        try:
            await state.store.run_in_thread(settle)
        except RoutewrightError as refused:
            # What came of the call stands; an unsettled lease holds its reservation until it lapses.
            return f"its use could not be counted: {refused}"
        return None

    async def unused(self, ticket: Admission) -> None:
        """The call was not made: what it had reserved is free again. Is done also when the caller is cancelled."""
        state = self._state
        if state is None or (ticket.lease is None and not ticket.probe):
            return
        try:
            await state.store.run_in_thread(lambda: self._take_back(ticket))
        except RoutewrightError as error:
            _log.warning("what was reserved for a call of `%s` was not given back: %s", ticket.model, error)

    async def renew(self, ticket: Admission, *, expires_us: int) -> None:
        """Its call is still under way: its lease holds until ``expires_us``.

        Where the state cannot be written now, it may be the next time.
        """
        state, lease = self._state, ticket.lease
        if state is None or lease is None:
            return
        try:
            await state.store.run_in_thread(lambda: state.quotas.renew(lease, expires_us=expires_us))
        except RoutewrightError as error:
            _log.warning("the lease of a call of `%s` was not renewed: %s", ticket.model, error)

    def resting(self, model: str, at_us: int) -> Breaker | None:
        """The breaker of a model that is left alone; None while it may be called."""
        known = None if self._state is None else self._breaker(self._state, model, at_us)
        return None if known is None or known.state != "open" else known

    def _breaker(self, state: _State, model: str, at_us: int) -> Breaker | None:
        """What is known of a model that has failed."""
        try:
            return state.breakers.all(at_us=at_us).get(model)
        except RoutewrightError:  # `admit` meets the same error, and tells it
            return None

    def _judge(
        self, state: _State, ticket: Admission, outcome: Outcome, error: BackendError | None, at_us: int
    ) -> None:
        """Tell the breaker how it went."""
        if error is None:
            state.breakers.succeeded(ticket.model, at_us=at_us, began_us=ticket.at_us)
            return
        if outcome.breaker == "ignore":
            if ticket.probe:
                state.breakers.released(ticket.model)
            return
        cool_ms = None
        if outcome.breaker == "cool":
            asked_ms = error.retry_after_ms
            cool_ms = outcome.cool_ms if asked_ms is None else min(asked_ms, LONGEST_COOLING_MS)
        state.breakers.failed(
            ticket.model,
            at_us=at_us,
            error_class=error.error_class,
            cool_ms=cool_ms,
            began_us=ticket.at_us,
        )

    def _take(
        self,
        state: _State,
        wanted: Admission,
        known: Breaker | None,
        limits: tuple[QuotaLimit, ...],
        expires_us: int,
    ) -> Admission | Rejection:
        # One change, so that a probe is not taken for a call that a quota refuses.
        with state.store.change():
            passed = "free" if known is None else state.breakers.admit(wanted.model, at_us=wanted.at_us)
            if passed is None:
                return resting(known, wanted.at_us)
            lease = state.quotas.reserve(
                next(self._lease_ids), limits, at_us=wanted.at_us, expires_us=expires_us
            )
            if isinstance(lease, Refusal):
                if passed == "probe":
                    state.breakers.released(wanted.model)
                return no_room(lease)
            return wanted._replace(lease=lease, probe=passed == "probe")

    def _take_back(self, ticket: Admission | Rejection) -> None:
        state = self._state
        if state is None or isinstance(ticket, Rejection):
            return
        with state.store.change():
            if ticket.lease is not None:
                state.quotas.release(ticket.lease)
            if ticket.probe:
                state.breakers.released(ticket.model)


def _unread(target: Target, error: RoutewrightError) -> str:
    """What an attempt says where the breaker is not known; it counts as closed then."""
    _log.warning("the breaker of `%s` could not be read and counts as closed: %s", target.model_id, error)
    return f"its breaker could not be read: {error}"


def _latency_ms(made: Attempt, queued_us: int) -> float | None:
    """A sample of the time to the first token: of an answer that was not a cold start, and not simulated."""
    load_us = made.load_us or 0
    if made.status != "ok" or made.simulated or made.first_token_us is None or load_us > COLD_LOAD_US:
        return None
    return max(0, made.first_token_us - load_us - queued_us) / 1_000


def _load_ms(made: Attempt) -> float | None:
    """How long a cold start took to load the model, also where its call failed afterwards."""
    load_us = made.load_us or 0
    return None if made.simulated or load_us <= COLD_LOAD_US else load_us / 1_000


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


def _actual(made: Attempt, lease: Lease) -> dict[Unit, int | None]:
    """What the call has used of each unit; None where nobody knows."""
    return {"requests": 1, "tokens": _total_tokens(made), "cost": _cost_in(made, lease)}


def _total_tokens(made: Attempt) -> int | None:
    if made.input_tokens is None or made.output_tokens is None:
        return None
    return made.input_tokens + made.output_tokens


def _cost_in(made: Attempt, lease: Lease) -> int | None:
    """What the call cost in the currency of the limits on money; None if it is in another: nothing is converted."""
    currencies = {limit.currency for limit in lease.limits if limit.unit == "cost"}
    return made.cost_nano if currencies <= {made.currency} else None


def _lease_ids() -> Iterator[str]:
    """Ids that no other process or executor uses, also after a fork."""
    own = uuid.uuid4().hex
    return (f"{own}-{os.getpid()}-{number}" for number in count())
