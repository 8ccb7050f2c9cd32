"""What a catalog may add to the requests of a backend: headers, a query, a proxy. None of it holds a secret.

A header's name is a token of RFC 9110, section 5.6.2; its value is printable ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from .base import Form

HeaderName = Annotated[
    str, Form(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", "the name of a header, such as `HTTP-Referer`")
]
HeaderText = Annotated[str, Form(r"[!-~]([ -~]{0,998}[!-~])?", "printable ASCII, at most 1,000 characters")]
QueryName = Annotated[str, Form(r"[A-Za-z0-9_.~-]{1,100}", "the name of a parameter, such as `api-version`")]
QueryText = Annotated[str, Form(r"[ -~]{0,1000}", "printable ASCII, at most 1,000 characters")]

Headers = Annotated[dict[HeaderName, HeaderText], Field(max_length=32)]
Query = Annotated[dict[QueryName, QueryText], Field(max_length=32)]

_OURS: Final = frozenset(
    "accept accept-encoding connection content-encoding content-length content-type expect host keep-alive"
    " proxy-authenticate proxy-connection te trailer transfer-encoding upgrade".split()
)
"""Headers that say how a request is sent, which is not for a catalog to say."""

_SECRET_NAME: Final = re.compile(
    r"(^|[-_.])(api-?key|keys?|tokens?|secrets?|passwords?|auth|authorization|credentials?|cookies?|sig|signature)"
    r"($|[-_.])",
    re.IGNORECASE,
)
_SECRET_VALUE: Final = re.compile(
    r"(bearer|basic)\s|(sk|pk|rk|gsk|xai|hf|ghp|gho|glpat|nvapi)[-_][\w-]{12}|AKIA\w{12}|AIza\w{12}|eyJ\w{12}",
    re.IGNORECASE,
)
"""How keys of well-known services begin, and what stands before one."""


@dataclass(frozen=True, slots=True)
class HttpWay:
    """How an HTTP server is reached besides its address.

    ``headers`` and ``query`` are sent with each request. ``proxy`` is the address of an HTTP proxy. A key is sent in
    ``key_header``, by default as ``Authorization: Bearer``.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    proxy: str | None = None
    key_header: str | None = None


class PartProblem(NamedTuple):
    """What is wrong with one header or parameter. A ``secret`` is never shown."""

    name: str
    message: str
    help: str
    secret: bool = False


def header_problems(headers: Mapping[str, str]) -> Iterator[PartProblem]:
    """The headers that are not for a catalog to set."""
    seen: set[str] = set()
    for name, value in headers.items():
        if name.lower() in _OURS:
            said = f"`{name}` says how a request is sent, and is set where that happens"
            yield PartProblem(name, said, "leave it out")
        elif name.lower() in seen:
            yield PartProblem(name, f"the header `{name}` is given twice", "names compare without case")
        else:
            yield from _secret_problems(name, value)
        seen.add(name.lower())


def query_problems(query: Mapping[str, str]) -> Iterator[PartProblem]:
    """The parameters that are not for a catalog to set."""
    for name, value in query.items():
        yield from _secret_problems(name, value)


def _secret_problems(name: str, value: str) -> Iterator[PartProblem]:
    by_name, by_value = _SECRET_NAME.search(name), _SECRET_VALUE.match(value)
    if by_name or by_value:
        said = f"`{name}` would hold a secret" if by_name else f"the value of `{name}` looks like a key"
        help = "catalogs are stored and shown: put a key into `api_key`; `key_header` names its header"
        yield PartProblem(name, said, help, secret=True)
