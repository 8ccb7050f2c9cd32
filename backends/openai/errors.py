"""What an OpenAI-compatible server says when it fails, as BackendError; what it means is in ``wire/complaints``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..errors import BackendError, ErrorClass
from ..phases import CallClock
from ..wire import Complaint, Dialect, Gate, Reply, complaint_in, failed

_HELP: Final[dict[ErrorClass, str]] = {
    "unauthorized": "check the `api_key` of this backend, and what it may use",
    "payment_required": "the account at this server needs credit",
    "quota_exhausted": "the limit of the account lasts for hours or longer: retrying does not help",
    "context_overflow": "shorten the prompt, or route it to a model with a longer context",
    "not_found": "check the `tag` of the model, and whether the server offers what was asked for",
}

_DIALECT: Final = Dialect(
    "the server of `{tag}` {did}", advice=lambda failure: _HELP.get(failure.meaning.error_class)
)


async def refusal_of(clock: CallClock, gate: Gate, reply: Reply) -> BackendError:
    """The error for a reply whose status says that there is no answer."""
    said, text = await reply.refusal()
    return failure(clock, gate, complaint_in(said), status=reply.status, headers=reply.headers, text=text)


def failure(
    clock: CallClock,
    gate: Gate,
    complaint: Complaint | None,
    *,
    status: int | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    text: str = "",
) -> BackendError:
    """The error for a reply of ``status``, or for an error in mid-stream (``status`` is ``None`` then).

    ``text`` is the body when it holds no complaint.
    """
    return failed(_DIALECT, clock, gate, complaint, status=status, headers=headers, text=text)
