"""A backend and a tag in, where the model truly runs out: ``local`` is only what stays on this machine.

The rule for cloud tags is the Ollama server's own: the part after the last ``:`` is ``cloud`` or ends in
``-cloud`` (ollama/ollama, ``internal/modelref/modelref.go``). Whatever is in doubt is not local.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from .catalog import Backend
from .compiled import Location

__all__ = ["has_cloud_tag", "is_this_machine", "location_of"]


def location_of(backend: Backend, tag: str) -> Location:
    """Where a model with ``tag`` on ``backend`` runs."""
    # An Ollama server also speaks OpenAI's protocol, and forwards the same tags whichever way it is asked.
    if backend.location == "cloud" or (backend.kind in ("ollama", "openai") and has_cloud_tag(tag)):
        return "cloud"
    if backend.host is not None:
        return "local" if is_this_machine(backend.host) else "cloud"
    # MLX and llama.cpp run in this process, and an Ollama client without a host talks to this machine. Other
    # servers have no such default.
    return "cloud" if backend.kind == "openai" else "local"


def has_cloud_tag(tag: str) -> bool:
    """Whether an Ollama server would forward this model to the cloud.

    >>> [has_cloud_tag(t) for t in ("kimi-k2:1t-cloud", "glm-4.6:cloud", "my-cloud-model", "qwen3-coder:30b")]
    [True, True, False, False]
    """
    last = tag.rsplit(":", 1)[-1].lower()
    return "/" not in last and (last == "cloud" or last.endswith("-cloud"))


def is_this_machine(host: str) -> bool:
    """Whether an address is a loopback one. A host that an environment variable decides is not known to be.

    >>> [is_this_machine(h) for h in ("http://localhost:11434", "127.0.0.1", "::1", "http://192.168.1.9:11434")]
    [True, True, True, False]
    """
    try:
        name = urlsplit(host if "//" in host else f"//{host}").hostname or ""
    except ValueError:
        return False
    if host.count(":") > 1 and "/" not in host and "[" not in host:
        # A bare IPv6 address, which a URL would have in brackets.
        name = host
    if name == "localhost":
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    # Pythons differ in whether an IPv4 loopback address inside an IPv6 one counts.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
