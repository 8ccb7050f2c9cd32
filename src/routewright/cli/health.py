"""``routewright health``: who can take work now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .exit_codes import ExitCode
from .options import Map, Root, StatePath
from .writer import writer

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from routewright.backends import BackendError, HealthReport
    from routewright.backends.control import Breaker
    from routewright.engine.policy import Backend, CompiledModel


def health(
    policy: Annotated[
        Path | None,
        typer.Argument(metavar="POLICY", readable=False, help="The policy file.  [default: the shipped one]"),
    ] = None,
    map: Map = None,
    state: StatePath = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long a backend may take.")
    ] = 5.0,
    close_breaker: Annotated[
        list[str] | None,
        typer.Option(
            "--close-breaker",
            metavar="MODEL",
            help="Let this model be called again at once: what it failed at is mended. Repeatable.",
        ),
    ] = None,
    root: Root = None,
    format: Annotated[
        Literal["table", "json"], typer.Option("--format", help="How it is written.")
    ] = "table",
) -> None:
    """Check every backend, and show the breakers of models.

    All are checked at the same time, and no model is loaded. A model whose breaker is open is not called until the
    time that is shown. A backend that cannot be opened, because a key is missing or may not be used, is shown as not
    usable. Exits with status 1 if a backend is not usable or not healthy, or a breaker is not closed.

    \b
    Example:
      routewright health policies/hybrid.yaml
      routewright health policies/hybrid.yaml --close-breaker kimi-k2-cloud
    """
    import asyncio

    from routewright.backends.control import StateStore
    from routewright.gateway import ModelGateway, open_each, open_each_of_candidate
    from routewright.loading import load_policy, parse_maps, shipped

    from .state_store import state_to_look_at

    compiled = load_policy(policy or shipped("hybrid.yaml"), maps=parse_maps(map or []), root=root)
    backends, unusable = open_each(compiled)
    own, own_unusable = open_each_of_candidate(compiled)
    unusable = {**unusable, **{f"{id} (candidate)": error for id, error in own_unusable.items()}}
    gateway = ModelGateway(
        compiled, backends=backends, candidate_backends=own, store=StateStore(state_to_look_at(state))
    )
    kinds, known = gateway.admin.declared()

    async def ask() -> tuple[Mapping[str, HealthReport], Mapping[str, Breaker], Mapping[str, float]]:
        async with gateway:  # closes the store even if a model is refused
            for model in close_breaker or []:
                gateway.admin.close_breaker(model)
            asked = await gateway.admin.check_health(timeout_s=timeout)
            found = {
                id: asked.get(id) or _not_usable(unusable[id]) for id in kinds if id in {*asked, *unusable}
            }
            return found, gateway.admin.breakers(), gateway.admin.latencies()

    reports, breakers, latencies = asyncio.run(ask())
    if format == "json":
        import json

        writer.json(
            json.dumps(_values(kinds, known, reports, unusable, breakers, latencies), indent=2) + "\n"
        )
    else:
        header = ["backend", "kind", "state", "version", "detail"]
        writer.table(header, [_line(id, kinds[id].kind, report, unusable) for id, report in reports.items()])
        writer.text()
        models = [model.id for model in known.values() if model.disabled is None]
        header = ["model", "breaker", "until (UTC)", "failures", "last failure", "latency"]
        writer.table(header, [_row(id, breakers.get(id), latencies.get(id)) for id in models])
    ill = [id for id, report in reports.items() if report.healthy is False]
    ill += [id for id, breaker in breakers.items() if id in known and breaker.state != "closed"]
    if ill:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _not_usable(error: BackendError) -> HealthReport:
    from routewright.backends import HealthReport

    return HealthReport(False, f"{error}; {error.help}" if error.help else str(error))


def _line(id: str, kind: str, report: HealthReport, unusable: Container[str]) -> list[str]:
    words = {True: "healthy", False: "not healthy", None: "not known"}
    state = "not usable" if id in unusable else words[report.healthy]
    return [id, kind, state, report.version or "", report.detail]


def _row(id: str, breaker: Breaker | None, latency_ms: float | None) -> list[str]:
    latency = "" if latency_ms is None else f"{latency_ms:.0f} ms"
    if breaker is None:
        return [id, "closed", "", "0", "", latency]
    until = _time(breaker.until_us) or "" if breaker.state == "open" else ""
    state = breaker.state.replace("_", " ")
    return [id, state, until, str(breaker.failures), breaker.error_class or "", latency]


def _values(
    kinds: Mapping[str, Backend],
    known: Mapping[str, CompiledModel],
    reports: Mapping[str, HealthReport],
    unusable: Container[str],
    breakers: Mapping[str, Breaker],
    latencies: Mapping[str, float],
) -> dict[str, object]:
    models: dict[str, object] = {}
    for model in known.values():
        breaker = breakers.get(model.id)
        models[model.id] = {
            "backend": model.backend,
            "disabled": model.disabled,
            "breaker": "closed" if breaker is None else breaker.state,
            "until": None if breaker is None or breaker.state != "open" else _time(breaker.until_us),
            "failures": 0 if breaker is None else breaker.failures,
            "error_class": None if breaker is None else breaker.error_class,
            "latency_ms": latencies.get(model.id),
        }
    backends = {
        id: {
            "kind": kinds[id].kind,
            "usable": id not in unusable,
            "healthy": report.healthy,
            "detail": report.detail,
            "version": report.version,
        }
        for id, report in reports.items()
    }
    return {"backends": backends, "models": models}


def _time(at_us: int | None) -> str | None:
    from routewright.engine.report import iso_time

    return None if at_us is None else iso_time(at_us)
