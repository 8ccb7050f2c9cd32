"""The server of the examples in docs/python.md: speaks OpenAI's protocol, and says what a model would.

``writer`` asks for the tool `weather` where a request has tools, and answers with what came back; ``reviewer`` finds
fault with every answer that a `verify` step shows it, unless ``writer`` has mended it. Whatever else they are asked,
they say that they are here.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["LAB_URL", "lab_server"]

LAB_URL = "http://127.0.0.1:8000"
"""Where pages say that it is."""

_NOTES = "it does not say how the services find each other"
_MENDED = "and now how the services find each other"


@contextmanager
def lab_server() -> Iterator[str]:
    """The server's address while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            data = [{"index": at, "embedding": [1.0, 0.0]} for at in range(len(asked["input"]))]
            self._send(
                "application/json", json.dumps({"model": asked["model"], "data": data, "usage": _used(asked)})
            )
            return
        message = _answer(asked)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        if not asked.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            body = {"model": asked["model"], "choices": [choice], "usage": _used(asked)}
            self._send("application/json", json.dumps(body))
            return
        words = re.findall(r"\S+\s*", message["content"] or "")
        deltas: list[tuple[Mapping[str, Any], str | None]] = [({"content": word}, None) for word in words]
        deltas.append(({} if words else message, reason))
        chunks = [
            {"model": asked["model"], "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
            for delta, end in deltas
        ]
        chunks.append({"model": asked["model"], "choices": [], "usage": _used(asked)})
        lines = [*map(json.dumps, chunks), "[DONE]"]
        self._send("text/event-stream", "".join(f"data: {line}\n\n" for line in lines))

    def _send(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def _answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    last, model = asked["messages"][-1], asked["model"]
    if last["role"] == "tool":
        return _said(f"In Ulm it is like this: {last['content']}.")
    if asked.get("tools"):
        function = {"name": "weather", "arguments": '{"town": "Ulm"}'}
        return {**_said(None), "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    told = json.dumps(asked["messages"])
    if model == "reviewer" and "verdict" in told:
        rejected = {"verdict": "reject", "notes": _NOTES}
        return _said(json.dumps({"verdict": "accept"} if _MENDED in told else rejected))
    if model == "writer" and _NOTES in told:
        return _said(f"This is what writer says, {_MENDED}.")
    return _said(f"This is what {model} says.")


def _used(asked: Mapping[str, Any]) -> dict[str, int]:
    characters = sum(len(one["content"] or "") for one in asked.get("messages", ()))
    return {"prompt_tokens": max(20, characters // 3), "completion_tokens": 10}


def _said(content: str | None) -> dict[str, Any]:
    return {"role": "assistant", "content": content}
