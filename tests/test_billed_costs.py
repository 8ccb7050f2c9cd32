"""A cost that a server names itself, from its answer to the ledger and the quotas."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.scripted_http import ScriptedHttp, events, reply

from routewright import Ledger, ModelGateway
from routewright.gateway.results import NoTargetError

POLICY = """\
routewright: 1
name: billed
catalog:
  routewright: 1
  backends:
    there: { kind: openai, host: "URL", location: cloud, timeouts: { connect: 4m, total: 4m } }
  models:
    priced: { backend: there, price: { input: 1, output: 10 } }
    euros: { backend: there, price: { input: 1, output: 10, currency: EUR } }
    unpriced: { backend: there }
rules:
  - { name: otherwise, use: [MODEL] }
controls:
  - { name: cap, on: MODEL, max_cost: 0.5 CURRENCY, per: day, unknown_cost: allow }
"""
USAGE = {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15, "cost": 0.25, "cost_details": {}}
ASK = [{"role": "user", "content": "Hello?"}]


@pytest.mark.parametrize(
    ("model", "currency", "row", "calls"),
    [
        ("priced", "USD", (250_000_000, "USD", "billed", None), 2),
        ("unpriced", "USD", (250_000_000, "USD", "billed", None), 2),
        # Of another currency a limit counts what was reserved, which is nothing without a price.
        ("unpriced", "EUR", (250_000_000, "USD", "billed", None), 6),
        ("euros", "EUR", (69_000, "EUR", "reported", None), 6),
    ],
)
@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_a_cost_that_the_server_names_is_recorded_and_counted(
    model: str, currency: str, row: tuple[object, ...], calls: int, how: str, tmp_path: Path
) -> None:
    choice = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
    delta = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    whole = reply(200, {"choices": [choice], "usage": USAGE})
    stream = events({"choices": [delta]}, {"choices": [], "usage": USAGE}, "data: [DONE]\n\n")

    async def run() -> None:
        async with ScriptedHttp(whole if how == "whole" else stream) as server:
            text = POLICY.replace("URL", server.url).replace("MODEL", model).replace("CURRENCY", currency)
            (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
            gateway = ModelGateway.from_policy(
                tmp_path / "policy.yaml", ledger=tmp_path / "ledger.duckdb", state=tmp_path / "state.db"
            )
            async with gateway:
                for _ in range(6):
                    try:
                        if how == "whole":
                            await gateway.generate_chat(messages=ASK)
                        else:
                            assert [piece async for piece in gateway.stream_chat(messages=ASK)] == ["Hi"]
                    except NoTargetError:
                        break
            assert len(server.requests) == calls

    asyncio.run(run())
    rows = Ledger.open(tmp_path / "ledger.duckdb").query(
        "SELECT DISTINCT cost_nano, currency, cost_source, price_since FROM attempt_rows WHERE status = 'ok'"
    )
    assert rows.rows == (row,)
