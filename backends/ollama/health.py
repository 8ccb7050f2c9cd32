"""The health of an Ollama server: is it there, is the cloud allowed and signed in to, is a model there.

Three questions that people ask with ``ollama list``, ``ollama run`` and ``ollama whoami``, put to the API. No
model is loaded for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import BackendError
from ..phases import CallClock
from ..protocol import HealthReport
from ..wire import PROBE_LIMITS, words
from .connection import Connection
from .names import full_name, full_names, is_older
from .places import remote_host


@dataclass(slots=True)
class _Findings:
    """What was found out so far; ``unknown`` is what could not be."""

    good: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    version: str | None = None


class _Ill(Exception):
    """A finding that settles it; the text is the detail."""


async def check_health(
    connection: Connection, *, min_version: str | None, needs_signin: bool, tag: str | None = None
) -> HealthReport:
    """The report on the server and, with ``tag``, on that model; ``needs_signin``: its models are in the cloud."""
    found = _Findings()
    in_cloud = tag is not None and connection.server.place(tag).is_cloud_name
    try:
        if not connection.direct:
            await _check_version(connection, found, min_version)
            if needs_signin or in_cloud:
                await _check_cloud(connection, found)
        if connection.direct or needs_signin or in_cloud:
            await _check_account(connection, found)
        if tag is not None and in_cloud and not connection.direct:
            await _check_shown(connection, found, tag)
        elif tag is not None or connection.direct:
            await _check_listed(connection, found, tag)
    except _Ill as finding:
        return HealthReport(False, str(finding), found.version)
    except BackendError as error:
        return HealthReport(False, f"{error}: {error.help}" if error.help else str(error), found.version)
    return HealthReport(None if found.unknown else True, "; ".join(found.good + found.unknown), found.version)


async def _check_version(connection: Connection, found: _Findings, min_version: str | None) -> None:
    status, said = await _ask(connection, "GET", "/api/version")
    if not isinstance(said.get("version"), str):
        raise _Ill(f"what answers at {connection.url} is no Ollama server: status {status} for its version")
    found.version = connection.gate.message(said["version"])
    if min_version is not None and is_older(found.version, min_version):
        raise _Ill(f"the server is version {found.version}, and {min_version} is wanted")
    found.good.append("the server answers")


async def _check_cloud(connection: Connection, found: _Findings) -> None:
    _, said = await _ask(connection, "GET", "/api/status")
    cloud = said.get("cloud")
    # Servers that do not know this question are asked the next one: signed in says as much.
    if isinstance(cloud, Mapping):
        if cloud.get("disabled") is True:
            raise _Ill(
                f"the server has its cloud switched off (source: {connection.gate.message(words(cloud.get('source')))})"
            )
        found.good.append("the cloud is allowed")


async def _check_account(connection: Connection, found: _Findings) -> None:
    status, _ = await _ask(connection, "POST", "/api/me")
    if status == 200:
        found.good.append("signed in")
    elif status == 401:
        raise _Ill(
            "ollama.com does not accept the API key, or got none"
            if connection.direct
            else "the server is not signed in: run `ollama signin`"
        )
    elif status in (502, 503):
        raise _Ill("ollama.com cannot be reached from the server")
    else:
        found.unknown.append(f"whether it is signed in cannot be told (status {status})")


async def _check_listed(connection: Connection, found: _Findings, tag: str | None) -> None:
    status, said = await _ask(connection, "GET", "/api/tags")
    models = said.get("models")
    if status != 200 or not isinstance(models, list):
        raise _Ill(f"the server does not list its models (status {status})")
    if tag is None:
        return
    place = connection.server.place(tag)
    wanted = full_name(place.name)
    for entry in models:
        if wanted in full_names(entry):
            host = remote_host(entry)
            if host is not None and place.location == "local":
                raise _Ill(
                    f"`{tag}` would not run on this machine: its server forwards it to {connection.gate.message(host)}"
                )
            found.good.append(f"`{tag}` is there")
            return
    raise _Ill(f"`{tag}` is not there" + ("" if connection.direct else f": run `ollama pull {tag}`"))


async def _check_shown(connection: Connection, found: _Findings, tag: str) -> None:
    """Whether a cloud model exists: the server asks ollama.com, as it would for a chat."""
    clock = CallClock(PROBE_LIMITS, who=tag)
    body = {"model": connection.server.place(tag).name}
    async with connection.http.request("POST", "/api/show", clock, body=body, in_turn=False) as reply:
        if reply.status != 200:
            raise await connection.refusal(clock, reply)
    found.good.append(f"`{tag}` is there")


async def _ask(connection: Connection, method: str, path: str) -> tuple[int, Mapping[str, Any]]:
    return await connection.ask(CallClock(PROBE_LIMITS, who=connection.url), method, path)
