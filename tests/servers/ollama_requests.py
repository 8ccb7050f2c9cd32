"""Who does the work of a request, or why nobody does: the model behind a name, the cloud's conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from ollama_faults import signin_url
from ollama_library import (
    CLOUD_MODELS,
    LIBRARY,
    LibraryModel,
    base_name,
    find,
    is_cloud_name,
    is_local_name,
)
from ollama_state import State

__all__ = ["Refused", "json_body", "pulled", "resolve", "stored_name"]


class Refused(Exception):
    """An answer that is an error, with Ollama's body."""

    def __init__(self, status: int, error: str, **more: str) -> None:
        super().__init__(error)
        self.response = web.json_response({"error": error, **more}, status=status)


async def json_body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise Refused(
            400, "missing request body" if not await request.text() else "invalid character"
        ) from None
    if not isinstance(body, dict):
        raise Refused(400, "json: cannot unmarshal into Go value")
    return body


def _cloud_allowed(state: State) -> None:
    knobs = state.knobs
    if knobs.cloud_disabled:
        raise Refused(403, "ollama cloud is disabled: remote model is unavailable")
    if not knobs.signed_in:
        raise Refused(401, "unauthorized", signin_url=signin_url())
    if not knobs.reachable:
        raise Refused(502, "dial tcp: lookup ollama.com: no such host")


def stored_name(state: State, name: str) -> str:
    """The name under which a model is kept: without ``:local``, where the server knows that suffix."""
    known = state.knobs.knows_local_names and is_local_name(name)
    return name.rpartition(":")[0] if known else name


def pulled(state: State, name: str) -> LibraryModel:
    """The model of that name that is here. Under a name that ends in ``:local`` no stub is."""
    stored = stored_name(state, name)
    if stored.count(":") > 1:
        raise Refused(400, "invalid model name")
    model = find(stored)
    if model is None and stored.startswith("fault-"):
        model = LIBRARY[0]
    if model is None or (model.remote_host is not None and stored != name):
        raise Refused(404, f"model '{name}' not found")
    return model


def resolve(
    state: State, body: Mapping[str, Any], operation: str
) -> tuple[LibraryModel, str, dict[str, Any]]:
    """The model that does the work, the name that answers give, and their remote fields."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise Refused(400, "model is required")
    if state.cloud or is_cloud_name(name):
        if not state.cloud:
            _cloud_allowed(state)
        wanted = name if state.cloud else base_name(name)
        if wanted not in CLOUD_MODELS and not wanted.startswith("fault-"):
            raise Refused(404, f"model '{wanted}' not found")
        return LIBRARY[0], wanted, {}
    model = pulled(state, name)
    if operation == "embed" and not model.embeds:
        raise Refused(400, "this model does not support embeddings")
    if operation == "chat" and model.embeds:
        raise Refused(400, f'"{name}" does not support chat')
    if model.remote_host is not None:
        _cloud_allowed(state)
        return model, name, {"remote_model": model.remote_model, "remote_host": model.remote_host}
    return model, name, {}
