"""A server that answers every chat at once, with the same words: what is measured is whoever calls it.

``python benchmarks/answering.py`` listens on a free port of this machine and prints its address. It speaks as much
of HTTP/1.1 as the clients that are measured use: requests with a length, on connections that are kept.
"""

from __future__ import annotations

import asyncio
import json

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "answering",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Forty-two, as far as anybody knows."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21},
    }
).encode()

_REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
)


class Answering(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            length = 0
            for line in self._received[:end].split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            whole = end + 4 + length
            if len(self._received) < whole:
                return
            self._received = self._received[whole:]
            self._transport.write(_REPLY)


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
