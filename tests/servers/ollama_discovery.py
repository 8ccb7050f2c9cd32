"""The small questions of the test server: what is there, what runs, who is signed in; and its controls."""

from __future__ import annotations

import time

from aiohttp import web
from ollama_faults import signin_url
from ollama_library import CLOUD_MODELS, DIGEST, LIBRARY, SIZE_BYTES, details, find, is_cloud_name, show, tag
from ollama_requests import Refused, json_body, pulled, resolve
from ollama_state import STATE

__all__ = ["routes"]

routes = web.RouteTableDef()


@routes.get("/")
async def root(_: web.Request) -> web.Response:
    return web.Response(text="Ollama is running")


@routes.get("/api/version")
async def version(request: web.Request) -> web.Response:
    return web.json_response({"version": request.app[STATE].knobs.version})


@routes.get("/api/status")
async def status(request: web.Request) -> web.Response:
    knobs = request.app[STATE].knobs
    if not knobs.has_status_route:
        raise web.HTTPNotFound
    source = "env" if knobs.cloud_disabled else "none"
    return web.json_response({"cloud": {"disabled": knobs.cloud_disabled, "source": source}})


@routes.post("/api/me")
async def me(request: web.Request) -> web.Response:
    state = request.app[STATE]
    if not state.knobs.reachable:
        raise Refused(503, "account unavailable")
    if not state.knobs.signed_in:
        raise Refused(401, "unauthorized", signin_url=signin_url())
    return web.json_response({"id": "a1", "email": "user@example.com", "name": "user", "plan": "free"})


@routes.get("/api/tags")
async def tags(request: web.Request) -> web.Response:
    if request.app[STATE].cloud:
        return web.json_response({"models": [{"name": n, "model": n, "size": 1} for n in CLOUD_MODELS]})
    return web.json_response({"models": [tag(model) for model in LIBRARY]})


@routes.post("/api/show")
async def show_model(request: web.Request) -> web.Response:
    state, body = request.app[STATE], await json_body(request)
    name = str(body.get("model", ""))
    if is_cloud_name(name) or state.cloud:
        model, said, _ = resolve(state, body, "show")
        return web.json_response({**show(model), "model": said})
    return web.json_response(show(pulled(state, name)))


@routes.get("/api/ps")
async def running(request: web.Request) -> web.Response:
    models = []
    for name, window, until in request.app[STATE].running():
        known = find(name) or LIBRARY[0]
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
        models.append(
            {
                "name": name,
                "model": name,
                "size": SIZE_BYTES,
                "digest": DIGEST,
                "details": details(known),
                "expires_at": expires,
                "size_vram": 0,
                "context_length": window,
            }
        )
    return web.json_response({"models": models})


@routes.post("/api/pull")
async def pull(request: web.Request) -> web.StreamResponse:
    body = await json_body(request)
    name = str(body.get("model", ""))
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    if find(name) is None:
        await response.write(
            b'{"status":"pulling manifest"}\n{"error":"pull model manifest: file does not exist"}\n'
        )
        return response
    done = b'{"status":"pulling 9077fe9d2ae1","digest":"sha256:9077fe9d2ae1","total":98362432,"completed":98362432}\n'
    await response.write(b'{"status":"pulling manifest"}\n' + done + b'{"status":"success"}\n')
    return response


@routes.post("/_control/knobs")
async def control(request: web.Request) -> web.Response:
    try:
        return web.json_response(request.app[STATE].control(await request.json()))
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from None


@routes.post("/_control/reset")
async def reset(request: web.Request) -> web.Response:
    await request.app[STATE].reset()
    return web.json_response({})


@routes.get("/_control/requests")
async def seen(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATE].requests)


@routes.get("/_control/report")
async def report(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATE].report())
