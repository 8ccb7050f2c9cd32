"""Every field of an attempt, said once: the executor fills them, and the ledger makes columns of them."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from .field import NotStored, Ordinal

# What is known of a call before it is made.
_Number = Annotated[Ordinal, "its place among the attempts of the decision, from 1"]
_Role = Annotated[str, "`answer`, `fallback`, `retry`, a step's (`draft`, `verify`, …), `member` or `judge`"]
_ModelId = Annotated[str, "the model called, by its id in the catalog"]
_BackendId = Annotated[str, "the backend called, by its id in the catalog"]
_StartedAtUs = Annotated[int, "when the call began"]
_Streamed = Annotated[bool, "whether text was passed on as it came"]
_Currency = Annotated[str | None, "the currency of the cost, such as `USD`"]
_PriceSince = Annotated[str | None, "since when the price used is the price; NULL where none was used"]
_Simulated = Annotated[bool, "whether the answer was simulated and no model was called"]
_Location = Annotated[
    str | None,
    "where the model runs: `local` on this machine, `cloud`, or `unknown`; NULL where an earlier version recorded it",
]
_Host = Annotated[
    str | None, "the server that was called, such as `127.0.0.1:11434`; NULL for a model in our own process"
]


class Intent(NamedTuple):
    """A call that is about to be made: the fields of its attempt that are known before."""

    number: _Number
    role: _Role
    model_id: _ModelId
    backend_id: _BackendId
    started_at_us: _StartedAtUs
    streamed: _Streamed
    currency: _Currency
    price_since: _PriceSince
    simulated: _Simulated
    location: _Location = None
    host: _Host = None


class Attempt(NamedTuple):
    """One call of one backend, whatever came of it; or a call that was not made, and why.

    Token counts and cost are None when unknown: an unknown cost is never 0.
    """

    number: _Number
    role: _Role
    model_id: _ModelId
    backend_id: _BackendId
    model_said: Annotated[str | None, "the model's name in the server's own words"]
    started_at_us: _StartedAtUs
    load_us: Annotated[int | None, "how long loading the model took"]
    first_token_us: Annotated[int | None, "from the call's beginning to the first token, loading included"]
    total_us: Annotated[int, "from the call's beginning to its end; NULL where it was lost"]
    status: Annotated[
        str,
        "`ok`, `failed`, `partial` (failed after text had been shown), `skipped`, `cached`; `lost` where its process "
        "was gone before it said how the call ended",
    ]
    error_class: Annotated[str | None, "the kind of failure, such as `rate_limited`"]
    finish_reason: Annotated[str | None, "why the answer ended, such as `stop` or `length`"]
    streamed: _Streamed
    input_tokens: Annotated[int | None, "all tokens of the input, the cached ones included"]
    cached_input_tokens: Annotated[int | None, "input tokens that the server read from its cache"]
    output_tokens: Annotated[int | None, "all tokens of the output, reasoning included"]
    reasoning_tokens: Annotated[int | None, "output tokens spent on reasoning"]
    tokens_source: Annotated[
        str | None,
        "`reported` by the server, `estimated`, or a `lower_bound` of what came where the server said less",
    ]
    cost_nano: Annotated[int | None, "cost in nano-units (10⁻⁹) of the currency; NULL is unknown, never free"]
    currency: _Currency
    cost_source: Annotated[
        str | None,
        "`billed` if the server named the cost, else whether the tokens behind it were `reported`, `estimated` or a"
        " `lower_bound`",
    ]
    price_since: _PriceSince
    simulated: _Simulated
    location: _Location = None
    host: _Host = None
    cached_answer: Annotated[bool, "whether the answer came from a cache and no model was called"] = False
    reason: Annotated[str | None, "why the call was not made, where it was skipped"] = None
    saved_nano: Annotated[int | None, "what a cached answer had cost to make"] = None
    cache_write_tokens: Annotated[int | None, "input tokens that the server wrote to its cache"] = None
    message: Annotated[
        str | None, "the text of a failure: a server may repeat the prompt in it", NotStored()
    ] = None
