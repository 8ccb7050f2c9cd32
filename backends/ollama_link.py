"""The way to an Ollama server: where it is, what may be sent to it, and how its answers are read or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from .errors import BackendError
from .http import HttpClient, Reply
from .ollama_errors import complaint_in, failure
from .ollama_names import cloud_base_name, is_loopback, is_ollama_com, server_url
from .phases import CallClock

__all__ = ["Link"]


class Link:
    """A server at ``host``, spelled as in ``OLLAMA_HOST``. Raises ValueError for an address or key that is none.

    ``calls`` is for work and keeps to ``concurrency``; ``aside`` is for small questions, which must not wait
    behind it. ``direct`` says that the server is ollama.com itself, ``stays_here`` that models without a cloud
    tag must run at this server: it is on this machine, and nobody said ``location="cloud"``.
    """

    def __init__(
        self,
        host: str | None,
        *,
        api_key: str | None,
        location: Literal["cloud"] | None,
        concurrency: int | None,
    ) -> None:
        self.url = server_url(host)
        self.direct = is_ollama_com(self.url)
        if api_key is not None and not self.direct:
            raise ValueError(
                f"the API key is for https://ollama.com, and `{self.url}` is another host: leave the key out"
            )
        self.stays_here = location is None and is_loopback(self.url)
        self.calls = HttpClient(self.url, extra="ollama", api_key=api_key, concurrency=concurrency)
        self.aside = HttpClient(self.url, extra="ollama", api_key=api_key)
        self.redacted = self.calls.redacted

    def name(self, tag: str) -> str:
        """What the server calls a model: ollama.com knows none of the suffixes that lead to it."""
        return (cloud_base_name(tag) or tag) if self.direct else tag

    async def ask(
        self, clock: CallClock, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Mapping[str, Any]]:
        """Status and JSON object of a small question's answer; an empty one for what is none.

        Raises BackendError where nothing answered, and for 403: the server talks to nobody under this address.
        """
        async with self.aside.request(method, path, clock, body=body) as reply:
            if reply.status == 403:
                raise await self.refusal(clock, reply)
            said = _json_or_none(await reply.read())
            return reply.status, said if isinstance(said, Mapping) else {}

    async def refusal(self, clock: CallClock, reply: Reply) -> BackendError:
        """The error of a reply whose status is not 200."""
        body = await reply.read()
        return failure(
            clock,
            self.redacted,
            status=reply.status,
            headers=reply.headers,
            # Whatever the content type: a remote model's errors come as `application/x-ndjson`.
            complaint=complaint_in(_json_or_none(body)),
            text=body[:2_000].decode(errors="replace"),
            direct=self.direct,
        )

    def check(self, clock: CallClock, reply: Reply, said: Any) -> None:
        """Raise BackendError for an answer, or a line of one, that is an error in spite of its status 200."""
        complaint = complaint_in(said)
        if complaint is not None:
            raise failure(
                clock,
                self.redacted,
                status=None,
                headers=reply.headers,
                complaint=complaint,
                direct=self.direct,
            )

    async def close(self) -> None:
        """Close the connections."""
        await self.calls.close()
        await self.aside.close()


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
