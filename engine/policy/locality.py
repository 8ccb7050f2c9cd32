"""Decides where a model's work is done: on this machine, in a cloud, or unknown.

Nothing else judges hosts and cloud tags. A catalog is judged when it is compiled; the gateway passes the judgement to
the backends, which follow it. Pure: names are not resolved here, so the backend checks the peer of a connection to
``localhost``, with ``is_loopback``.

In doubt a model is not local. Unknown are only the models of a server on this machine that may forward.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

Location = Literal["local", "cloud"]
Rule = Literal["in_process", "ollama", "openai"]
"""How locality is judged: of work in this process, of an Ollama server, of a server that has to declare it."""

DEFAULT_OLLAMA: Final = "http://127.0.0.1:11434"
"""The default address of an Ollama server."""

MAY_FORWARD: Final = (
    "its server may forward it; say `stays: true` for its backend if the server does the work itself, "
    "`location: cloud` if it does not"
)
"""Why a model's location is unknown, and what to do about it."""

_PORT: Final = re.compile(r"(:[0-9]{0,5})?")
_LISTENING: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one model of a server runs; ``location`` is None if unknown."""

    location: Location | None
    name: str
    """The name that the server is asked for: the tag as it reads it, at ollama.com without the cloud suffix."""
    is_cloud_name: bool
    """Whether an Ollama server forwards the model because of its name."""

    @property
    def local_name(self) -> str:
        """The name under which an Ollama server runs the model itself or refuses it.

        The suffix ``:local`` came with ``internal/modelref/modelref.go``. An older server takes the part after the
        last colon as the tag; since the name already has a tag before it, no model has that name there.

        >>> [Place("local", name, False).local_name for name in ("qwen3", "qwen3:8b", "qwen3:8b:local")]
        ['qwen3:latest:local', 'qwen3:8b:local', 'qwen3:8b:local']
        """
        if _suffix(self.name) == "local":
            return self.name
        tagged = ":" in self.name.rpartition("/")[2]
        return f"{self.name}:local" if tagged else f"{self.name}:latest:local"


@dataclass(frozen=True, slots=True)
class Server:
    """What is known about a backend's location before any request.

    ``url`` is its address; None if the work is done in this process or no address is given. ``here`` says that the
    address is this machine; ``declared`` and ``stays`` are the catalog's declarations.
    """

    rule: Rule
    url: str | None
    here: bool
    declared: Literal["cloud"] | None
    stays: bool

    @property
    def host(self) -> str | None:
        """The host of its address in lower case, with the port where the address has one; None without an address.

        >>> judge("ollama").host, judge("openai", "https://API.example.com/v1").host, judge("in_process").host
        ('127.0.0.1:11434', 'api.example.com', None)
        """
        if self.url is None:
            return None
        try:
            _, name, port, _ = address_parts(self.url)
        except ValueError:
            return None
        return f"{_bracketed(name)}{port}"

    @property
    def is_local(self) -> bool:
        """Whether its models are local unless their names say otherwise."""
        return self.here and self.declared is None and (self.rule != "openai" or self.stays)

    @property
    def may_forward(self) -> bool:
        """Whether it is on this machine without a declaration of where it does the work."""
        return self.here and self.declared is None and not self.is_local

    @property
    def is_ollama_com(self) -> bool:
        """Whether this is Ollama's own service over TLS, the only one that may get its API key."""
        if self.rule != "ollama" or self.url is None:
            return False
        try:
            parts = urlsplit(self.url)
        except ValueError:
            return False
        return parts.scheme == "https" and parts.hostname in (
            "ollama.com",
            "www.ollama.com",
            "api.ollama.com",
        )

    def place(self, tag: str) -> Place:
        """Where the model with ``tag`` runs.

        An Ollama server speaks OpenAI's protocol too, and forwards the same names whichever way it is asked.
        """
        if self.rule == "in_process":
            return Place("local" if self.is_local else "cloud", tag, False)
        name = _trimmed(tag)
        base = _cloud_base(name)
        location: Location | None
        if self.declared == "cloud" or not self.here or base is not None:
            location = "cloud"
        else:
            location = "local" if self.is_local else None
        if self.is_ollama_com:
            return Place(location, base or name, False)
        return Place(location, name, base is not None)


def judge(
    rule: Rule,
    host: str | None = None,
    *,
    location: Literal["cloud"] | None = None,
    stays: bool = False,
    proxy: str | None = None,
) -> Server:
    """The judgement on a server at ``host``, with what is declared of it.

    What is sent by way of a proxy leaves this machine, wherever the proxy is: it may pass a request on to anybody.

    An Ollama client without a host talks to this machine; other servers have no default. An invalid address is not this
    machine; it is kept as written, for the backend to refuse.
    """
    written = (host or "").strip() or None
    if rule == "ollama":
        written = _ollama_url(written)
    here = rule == "in_process" if written is None else proxy is None and is_this_machine(written)
    return Server(rule, written, here, location, stays)


def is_this_machine(host: str) -> bool:
    """Whether an address, as a catalog spells it, is this machine: ``localhost`` or a loopback address.

    A listen address (``0.0.0.0``, ``::``) is not. Spellings that only some resolvers read as
    addresses (``127.1``, ``0x7f.1``, ``2130706433``) count as names.

    >>> [is_this_machine(h) for h in ("http://localhost:11434", "127.0.0.1", "::1", "[::FFFF:7f00:1]:80")]
    [True, True, True, True]
    >>> [is_this_machine(h) for h in ("http://192.168.1.9:11434", "0.0.0.0", "127.1", "localhost.example")]
    [False, False, False, False]
    """
    try:
        _, name, _, _ = address_parts(host)
    except ValueError:
        return False
    return _is_localhost(name) or is_loopback(name)


def is_loopback(address: str) -> bool:
    """Whether a numeric address is in 127.0.0.0/8, also in its IPv6 form, or is ``::1``.

    >>> [is_loopback(a) for a in ("127.8.8.8", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1", "::1%eth0", "localhost")]
    [True, True, True, False, False]
    """
    if "%" in address:  # scoped to an interface, and so to whatever is behind it
        return False
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    # Python versions disagree on whether an IPv4-mapped loopback address is a loopback address.
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


def callable_instead(host: str | None) -> str | None:
    """What to write instead of a ``host`` that is a listen address; None for any other.

    >>> [callable_instead(host) for host in ("http://0.0.0.0:8000/v1", "[::]:80", "localhost", None)]
    ['http://127.0.0.1:8000/v1', 'http://[::1]:80', None, None]
    """
    try:
        scheme, name, port, path = address_parts(host or "")
    except ValueError:
        return None
    return f"{scheme}://{_bracketed(_LISTENING[name])}{port}{path}" if name in _LISTENING else None


def client_address(listening: str | None) -> str:
    """The address at which to call this machine's Ollama server if its ``OLLAMA_HOST`` is ``listening``.

    A server may listen on all addresses; Ollama's own client then calls it on a loopback one (ollama/ollama,
    ``envconfig/config.go``). Raises ValueError for an invalid address.

    >>> [client_address(host) for host in (None, ":5000", "0.0.0.0", "[::]:80")]
    ['http://127.0.0.1:11434', 'http://127.0.0.1:5000', 'http://127.0.0.1:11434', 'http://[::1]:80']
    """
    scheme, name, port, path = address_parts(_ollama_url((listening or "").strip() or None))
    return f"{scheme}://{_bracketed(_LISTENING.get(name, name))}{port}{path}"


def _ollama_url(host: str | None) -> str:
    """Parses the address of an Ollama server; without a scheme the default port is 11434."""
    if host is None:
        return DEFAULT_OLLAMA
    if host.startswith(":") and host[1:].isdecimal():
        host = f"127.0.0.1{host}"
    try:
        scheme, name, port, path = address_parts(host)
    except ValueError:
        return host
    if "://" not in host and port in ("", ":"):
        port = ":11434"
    if _is_localhost(name):
        name = "localhost"  # few resolvers know it with the trailing dot
    return f"{scheme}://{_bracketed(name)}{port}{path.rstrip('/')}"


def address_parts(address: str) -> tuple[str, str, str, str]:
    """Scheme, host name in lower case, port with its colon, and path. Raises ValueError for an invalid address."""
    if not address.isprintable() or any(map(str.isspace, address)):
        raise ValueError("an address must not contain blanks")
    text = address
    if "://" not in text:
        # A bare IPv6 address, which a URL would have in brackets.
        bare = text.count(":") > 1 and "/" not in text and "[" not in text
        text = f"http://[{text}]" if bare else f"http://{text}"
    parts = urlsplit(text)
    name = parts.hostname or ""
    rest = parts.netloc.lower().removeprefix(_bracketed(name))
    # Python ignores some characters in an address that other programs may not ignore.
    if (
        parts.scheme not in ("http", "https")
        or not name
        or parts.query
        or parts.fragment
        or _PORT.fullmatch(rest) is None
    ):
        raise ValueError("an address looks like http://localhost:11434")
    if parts.port == 0:  # reading an invalid one raises
        raise ValueError("no server has port 0")
    return parts.scheme, name, rest, parts.path


def _is_localhost(name: str) -> bool:
    return name.removesuffix(".") == "localhost"


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _trimmed(tag: str) -> str:
    """A model's name as an Ollama server reads it (``ParseRef`` in ``internal/modelref/modelref.go``)."""
    name, colon, last = tag.strip().rpartition(":")
    return f"{name}{colon}{last.strip()}"


def _suffix(name: str) -> str | None:
    """``cloud`` or ``local`` if a trimmed name ends that way (``parseSourceSuffix``, the same file)."""
    _, colon, last = name.rpartition(":")
    folded = last.lower()
    if not colon:
        return None
    if folded in ("cloud", "local"):
        return folded
    return "cloud" if folded.endswith("-cloud") and "/" not in last else None


def _cloud_base(name: str) -> str | None:
    """The name at ollama.com of a model whose name has a cloud suffix; None for other names.

    A name with two suffixes, which the server refuses, is not local either.
    """
    suffix = _suffix(name)
    if suffix is None:
        return None
    before, _, last = name.rpartition(":")
    base = before if last.lower() == suffix else name[: -len("-cloud")]
    if _suffix(base) is not None:
        return name
    return base if suffix == "cloud" else None


IN_PROCESS: Final = judge("in_process")
"""Work that is done in this process."""
