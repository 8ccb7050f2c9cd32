"""What an Ollama server is called, and its models: addresses and tags in, facts about them out. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

__all__ = [
    "DEFAULT_URL",
    "cloud_base_name",
    "full_name",
    "is_loopback",
    "is_older",
    "is_ollama_com",
    "server_url",
]

DEFAULT_URL: Final = "http://127.0.0.1:11434"
_DEFAULT_PORT: Final = 11434


def server_url(host: str | None) -> str:
    """The address of a server as people write it, also in ``OLLAMA_HOST``; raises ValueError for what is none.

    Without a scheme the port is 11434 unless given; an address to listen on means this machine.

    >>> [server_url(host) for host in (None, "box", ":5000", "0.0.0.0", "https://ollama.com/")]
    ['http://127.0.0.1:11434', 'http://box:11434', 'http://127.0.0.1:5000', 'http://127.0.0.1:11434', 'https://ollama.com']
    """
    text = (host or "").strip().rstrip("/")
    if not text:
        return DEFAULT_URL
    bare = "://" not in text
    parts = urlsplit(f"http://{text}" if bare else text)
    name, port = parts.hostname or "127.0.0.1", parts.port
    if parts.username is not None or parts.query or parts.fragment or parts.scheme not in ("http", "https"):
        raise ValueError("the address of an Ollama server must be like http://localhost:11434")
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)
    if bare and port is None:
        port = _DEFAULT_PORT
    shown = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{parts.path}"


def is_ollama_com(url: str) -> bool:
    """Whether an address is Ollama's own service, over TLS: the only place for its API key.

    >>> [is_ollama_com(u) for u in ("https://ollama.com", "http://ollama.com", "https://ollama.com.example.org")]
    [True, False, False]
    """
    parts = urlsplit(url)
    return parts.scheme == "https" and parts.hostname in ("ollama.com", "www.ollama.com", "api.ollama.com")


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own.

    >>> [is_loopback(url) for url in ("http://localhost:11434", "http://127.0.0.1", "http://box:11434")]
    [True, True, False]
    """
    name = urlsplit(url).hostname or ""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def cloud_base_name(tag: str) -> str | None:
    """The name at ollama.com of a model whose tag says that it runs there; ``None`` for other tags.

    The rule is the server's own (ollama/ollama, ``internal/modelref/modelref.go``): the part after the last
    colon is ``cloud`` or ends in ``-cloud``.

    >>> [cloud_base_name(t) for t in ("kimi-k2:1t-cloud", "gpt-oss:20b:cloud", "kimi-k2.5:cloud", "my-cloud")]
    ['kimi-k2:1t', 'gpt-oss:20b', 'kimi-k2.5', None]
    """
    name, colon, last = tag.rpartition(":")
    if not colon or not name or "/" in last:
        return None
    if last == "cloud":
        return name
    return tag.removesuffix("-cloud") if last.endswith("-cloud") and last != "-cloud" else None


def full_name(tag: str) -> str:
    """A tag as servers list it: with ``latest`` where nothing else is said, in lower case.

    >>> full_name("Qwen3"), full_name("qwen3:8b")
    ('qwen3:latest', 'qwen3:8b')
    """
    whole = tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"
    return whole.lower()


def is_older(version: str, wanted: str) -> bool | None:
    """Whether a server of ``version`` is too old; ``None`` when that cannot be told.

    A release candidate counts as its release; ``0.0.0`` is a server built by hand, which says nothing.

    >>> is_older("0.9.5", "0.12.0"), is_older("0.12.3-rc1", "0.12.3"), is_older("0.0.0", "0.12.0")
    (True, False, None)
    """
    has, needs = _numbers(version), _numbers(wanted)
    return None if has is None or needs is None or not any(has) else has < needs


def _numbers(version: str) -> tuple[int, int, int] | None:
    match = re.match(r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", version.strip())
    if match is None:
        return None
    major, minor, patch = (int(number or 0) for number in match.groups())
    return major, minor, patch
