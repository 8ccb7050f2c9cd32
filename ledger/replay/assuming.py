"""Makes of a policy what it is under assumptions, and says what they change of the state."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import assert_never

from routewright.engine.policy import (
    MAX_EXACT,
    CompiledModel,
    CompiledPolicy,
    Control,
    Model,
    PolicyChanges,
    amount_of,
    limit_of,
    new_price,
    scaled_price,
    with_changes,
    with_limit,
)
from routewright.engine.report import suggest

from .assumed import AssumedModel, AssumedState
from .assumptions import Assumption, Latency, Limit, Load, Prices, Status, Times, Used


@dataclass(frozen=True, slots=True)
class Assumed:
    """A policy as it is under assumptions, with a digest of its own where they change it, and what they change of the
    state of each task."""

    policy: CompiledPolicy
    state: AssumedState


def assume(policy: CompiledPolicy, assumptions: Sequence[Assumption]) -> Assumed:
    """``policy`` and the state under all assumptions together.

    Raises AssumptionError for one that names nothing of the policy, does not fit what it names, or contradicts another.
    """
    assuming = _Assuming(policy)
    # A share of a quota is one of the limit that is assumed.
    for one in sorted(assumptions, key=lambda one: isinstance(one.change, Used)):
        assuming.add(one)
    changes = PolicyChanges(assuming.models, assuming.controls)
    return Assumed(
        with_changes(policy, changes), AssumedState(assuming.known, assuming.load, assuming.quota_used)
    )


def is_named(policy: CompiledPolicy, assumption: Assumption) -> bool:
    """Whether ``policy`` has what the assumption is about."""
    if isinstance(assumption.change, Load):
        return True
    if assumption.subject == "quota":
        return assumption.name in _controls(policy)
    is_backend = assumption.subject in (None, "backend") and assumption.name in policy.catalog.backends
    return is_backend or (assumption.subject != "backend" and assumption.name in policy.catalog.names)


def _controls(policy: CompiledPolicy) -> dict[str, Control]:
    """The controls that limit how much is used, by name."""
    limited = (one for one in policy.shape.controls if not one.disabled and limit_of(one) is not None)
    return {one.name: one for one in limited}


class _Assuming:
    """Collects what assumptions change."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self._policy, self._catalog = policy, policy.catalog
        self._said: dict[Hashable, Assumption] = {}
        self.models = dict[str, Model]()
        self.controls = dict[str, Control]()
        self.known = dict[str, AssumedModel]()
        self.load: float | None = None
        self.quota_used = dict[str, int]()

    def add(self, one: Assumption) -> None:
        match one.change:
            case Load(share):
                self._say(one, "load", "the load")
                self.load = share
            case "down" | "up" | "retired" as status:
                self._status(one, status)
            case Prices():
                self._price(one, one.change)
            case Latency(ms):
                self._latency(one, AssumedModel(latency_ms=float(ms)))
            case Limit(text):
                self._limit(one, lambda control, _: amount_of(control, text))
            case Used(of):
                self._used(one, of)
            case Times(factor):
                self._times(one, factor)
            case _:
                assert_never(one.change)

    def _times(self, one: Assumption, factor: Fraction) -> None:
        if one.subject == "quota":
            self._limit(one, lambda _, limit: int(limit * factor))
        elif one.subject == "price":
            self._price(one, factor)
        else:
            model = self._latency(one, AssumedModel(latency_factor=float(factor)))
            expected = model.shape.expected_latency
            if expected is not None:
                self._change(model.id, expected_latency=min(MAX_EXACT, round(expected * factor)))

    def _status(self, one: Assumption, status: Status) -> None:
        model = None if one.subject == "backend" else self._found(one)
        backend = None if one.subject == "model" else self._catalog.backends.get(one.name)
        if model is not None and backend is not None:
            help = f"write `model:{one.name}={status}` or `backend:{one.name}={status}`"
            raise one.wrong_name(f"`{one.name}` is a model and a backend", help)
        if model is None and backend is None:
            raise self._unknown(one)
        models = [model] if model is not None else [m for m in self._catalog.models if m.backend == one.name]
        if status == "retired":
            switched_off = {"disabled": True, "disabled_reason": "assumed to be retired"}
            for each in models:
                self._change(each.id, **switched_off)
            return
        for each in models:
            self._say(one, ("health", each.id), f"the health of `{each.id}`")
            self._know(each.id, health="unhealthy" if status == "down" else "healthy")

    def _price(self, one: Assumption, to: Prices | Fraction) -> None:
        model = self._model(one)
        self._say(one, ("price", model.id), f"the price of `{model.id}`")
        price = model.shape.price
        try:
            if isinstance(to, Prices):
                currency = to.currency or ("USD" if price is None else price.currency)
                changed = new_price(to.input, to.output, currency)
            elif price is None:
                help = f"say what it costs: `price:{one.name}=0.5,2`"
                raise one.wrong_name(f"the catalog has no price of `{one.name}`", help)
            else:
                changed = scaled_price(price, to)
        except ValueError as error:
            raise one.wrong_change(str(error)) from None
        self._change(model.id, price=changed)

    def _latency(self, one: Assumption, known: AssumedModel) -> CompiledModel:
        model = self._model(one)
        self._say(one, ("latency", model.id), f"the latency of `{model.id}`")
        self._know(model.id, latency_ms=known.latency_ms, latency_factor=known.latency_factor)
        return model

    def _limit(self, one: Assumption, changed: Callable[[Control, int], int]) -> None:
        control, limit = self._control(one)
        self._say(one, ("limit", control.name), f"the limit of `{control.name}`")
        try:
            self.controls[control.name] = with_limit(control, changed(control, limit))
        except ValueError as error:
            raise one.wrong_change(str(error)) from None

    def _used(self, one: Assumption, of: Fraction | str) -> None:
        control, limit = self._control(one)
        if not any(quota.name == control.name for quota in self._policy.quotas):
            message = f"`{control.name}` limits each task by itself: nothing of it is used"
            raise one.wrong_change(message, f"assume another limit: `quota:{one.name}/2`")
        self._say(one, ("used", control.name), f"what is used of `{control.name}`")
        try:
            used = amount_of(control, of) if isinstance(of, str) else int(limit * of)
        except ValueError as error:
            raise one.wrong_change(str(error), "or a percentage of the limit") from None
        if used > MAX_EXACT:
            raise one.wrong_change(f"expected an amount up to {MAX_EXACT}")
        self.quota_used[control.name] = used

    def _control(self, one: Assumption) -> tuple[Control, int]:
        """The control that is named, as it is assumed to be so far, and its limit."""
        controls = _controls(self._policy) | self.controls
        if one.name not in controls:
            raise one.wrong_name(f"unknown quota `{one.name}`", suggest(one.name, controls, label="quotas"))
        limit = limit_of(controls[one.name])
        assert limit is not None
        return controls[one.name], limit[1]

    def _model(self, one: Assumption) -> CompiledModel:
        model = self._found(one)
        if model is None:
            raise one.wrong_name(f"unknown model `{one.name}`", self._catalog.hint(one.name))
        return model

    def _found(self, one: Assumption) -> CompiledModel | None:
        meant = self._catalog.names.get(one.name, ())
        if len(meant) > 1:
            ids = ", ".join(self._catalog.models[at].id for at in meant)
            raise one.wrong_name(f"`{one.name}` names {len(meant)} models", f"one of: {ids}")
        return self._catalog.find(one.name)

    def _unknown(self, one: Assumption) -> Exception:
        kinds: dict[str | None, tuple[str, Iterable[str], Iterable[str]]] = {
            "model": ("model", self._catalog.names, self._catalog.shape.models),
            "backend": ("backend", self._catalog.backends, self._catalog.backends),
            None: (
                "model or backend",
                [*self._catalog.names, *self._catalog.backends],
                [*self._catalog.shape.models, *self._catalog.backends],
            ),
        }
        what, names, listed = kinds[one.subject]
        return one.wrong_name(
            f"unknown {what} `{one.name}`", suggest(one.name, names, label="in the catalog", listed=listed)
        )

    def _say(self, one: Assumption, about: Hashable, what: str) -> None:
        """Note that ``one`` is about something. Raises AssumptionError where another says otherwise of it."""
        other = self._said.setdefault(about, one)
        if other.change != one.change:
            raise one.wrong_name(f"{what} is assumed twice", f"`{other.text}` says otherwise")

    def _know(self, id: str, **changes: object) -> None:
        self.known[id] = replace(self.known.get(id, AssumedModel()), **changes)  # type: ignore[arg-type]  # its fields

    def _change(self, id: str, **changes: object) -> None:
        shape = self.models.get(id, self._catalog.shape.models[id])
        self.models[id] = shape.model_copy(update=changes)
