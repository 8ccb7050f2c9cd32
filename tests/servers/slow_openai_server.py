"""Run a server that speaks OpenAI's protocol and takes its time, until it is killed: ``slow_openai_server.py``.

It prints the port that it listens on. The model ``wait-1.5`` answers after a second and a half, and says that
it read 10 tokens and wrote 20. ``GET /calls`` tells how many chats were asked of it.
"""

from __future__ import annotations

import asyncio

from aiohttp import web


class Slow:
    """The server's two handlers."""

    def __init__(self) -> None:
        self.calls = 0

    async def chat(self, request: web.Request) -> web.Response:
        self.calls += 1
        model = (await request.json())["model"]
        await asyncio.sleep(float(model.removeprefix("wait-")))
        message = {"role": "assistant", "content": "Here I am."}
        return web.json_response(
            {
                "id": "chat",
                "object": "chat.completion",
                "model": model,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
            }
        )

    async def count(self, _: web.Request) -> web.Response:
        return web.json_response(self.calls)


async def serve() -> None:
    """Never returns."""
    slow, app = Slow(), web.Application()
    app.router.add_post("/v1/chat/completions", slow.chat)
    app.router.add_get("/calls", slow.count)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
