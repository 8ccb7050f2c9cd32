"""Shows which backends answer, and which models can take work now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from routewright.backends import HealthReport
from routewright.backends.control import Breaker
from routewright.engine.policy import Backend, CompiledModel, CompiledPolicy
from routewright.engine.report import iso_time
from routewright.gateway import (
    ModelGateway,
    Presence,
    listed_models,
    model_presence,
    open_backends,
    open_candidate,
    unopened,
)
from routewright.loading import load_policy, parse_maps

from .exit_codes import ExitCode
from .models import presence_lines
from .opened import shown_policy, state_store
from .options import HealthFlags
from .writer import counted, writer


def show_health(how: HealthFlags) -> None:
    """Close the breakers that are named, and print what is found. Raises typer.Exit if something is ill."""
    shown = shown_policy(how.policy)
    compiled = load_policy(shown.path, maps=parse_maps(how.map or []), root=how.root)
    found = _found(compiled, how.state, how.timeout, how.close_breaker or [])
    shown.announce(json=how.format == "json")
    if how.format == "json":
        writer.json_value(_values(found))
    else:
        _print(found, compiled)
    if found.is_ill():
        raise typer.Exit(ExitCode.CHECK_FAILED)


@dataclass(frozen=True)
class _Found:
    """What was found of the backends and models of both arms of a policy."""

    kinds: Mapping[str, Backend]
    models: Mapping[str, CompiledModel]
    reports: Mapping[str, HealthReport]
    unusable: frozenset[str]
    presence: Mapping[str, Presence]
    breakers: Mapping[str, Breaker]
    latencies: Mapping[str, float]

    def is_ill(self) -> bool:
        return (
            any(report.healthy is False for report in self.reports.values())
            or any(one.state == "missing" for one in self.presence.values())
            or any(self.breakers[id].state != "closed" for id in self.breakers if id in self.models)
        )


def _found(policy: CompiledPolicy, state: Path | None, timeout_s: float, close: Sequence[str]) -> _Found:
    """Close the breakers that are named, and ask everybody. Raises TaskError and StateError."""
    backends, own = open_backends(policy), open_candidate(policy)
    unusable = frozenset((*unopened(backends), *(f"{id} (candidate)" for id in unopened(own))))
    gateway = ModelGateway(
        policy, backends=backends, candidate_backends=own, store=state_store(state, must_exist=True)
    )
    admin = gateway.admin

    async def ask() -> _Found:
        async with gateway:  # closes the store even if a model is refused
            for model in close:
                admin.close_breaker(model)
            kinds, models = admin.declared()
            asked, listed = await asyncio.gather(
                admin.check_health(timeout_s=timeout_s),
                listed_models(backends, timeout_s=timeout_s),
            )
            reports = {id: asked[id] for id in kinds if id in asked}
            there = model_presence(policy, listed)
            return _Found(kinds, models, reports, unusable, there, admin.breakers(), admin.latencies())

    return asyncio.run(ask())


def _print(found: _Found, policy: CompiledPolicy) -> None:
    words = {True: "healthy", False: "not healthy", None: "not known"}
    rows = [
        [
            id,
            found.kinds[id].kind,
            "not usable" if id in found.unusable else words[report.healthy],
            report.version or "",
            report.detail,
        ]
        for id, report in found.reports.items()
    ]
    writer.table(["backend", "kind", "state", "version", "detail"], rows)
    enabled = [model.id for model in found.models.values() if model.disabled is None]
    told = [id for id in enabled if id in found.breakers or id in found.latencies]
    writer.text()
    if told:
        header = ["model", "breaker", "until (UTC)", "failures", "last failure", "latency"]
        writer.table(header, [_row(id, found) for id in told])
        writer.text()
    states = [one.state for one in found.presence.values()]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    if len(told) < len(enabled):
        counts.append("no failure of the others is known" if told else "no failure is known")
    writer.text(f"{counted(len(enabled), 'model')}: {', '.join(counts)}")
    for line in presence_lines(found.presence, policy.catalog):
        writer.text(line)


def _row(id: str, found: _Found) -> list[str]:
    breaker, latency_ms = found.breakers.get(id), found.latencies.get(id)
    latency = "" if latency_ms is None else f"{latency_ms:.0f} ms"
    if breaker is None:
        return [id, "closed", "", "0", "", latency]
    until = _time(breaker.until_us) or "" if breaker.state == "open" else ""
    state = breaker.state.replace("_", " ")
    return [id, state, until, str(breaker.failures), breaker.error_class or "", latency]


def _values(found: _Found) -> dict[str, object]:
    models: dict[str, object] = {}
    for model in found.models.values():
        breaker, there = found.breakers.get(model.id), found.presence.get(model.id)
        models[model.id] = {
            "backend": model.backend,
            "disabled": model.disabled,
            "presence": None if there is None else there.state,
            "breaker": "closed" if breaker is None else breaker.state,
            "until": None if breaker is None or breaker.state != "open" else _time(breaker.until_us),
            "failures": 0 if breaker is None else breaker.failures,
            "error_class": None if breaker is None else breaker.error_class,
            "latency_ms": found.latencies.get(model.id),
        }
    backends = {
        id: {
            "kind": found.kinds[id].kind,
            "usable": id not in found.unusable,
            "healthy": report.healthy,
            "detail": report.detail,
            "version": report.version,
        }
        for id, report in found.reports.items()
    }
    return {"backends": backends, "models": models}


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else iso_time(at_us)
