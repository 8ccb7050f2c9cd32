"""A backend and a tag in, where the model truly runs out: ``local`` is only what stays on this machine.

The rule for cloud tags is the Ollama server's own: the part after the last ``:`` is ``cloud`` or ends in
``-cloud`` (ollama/ollama, ``internal/modelref/modelref.go``). Whatever is in doubt is not local.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from .catalog import Backend
from .compiled import Location

__all__ = ["has_cloud_tag", "is_this_machine", "location_of"]


def location_of(backend: Backend, tag: str) -> Location:
    """Where a model with ``tag`` on ``backend`` runs."""
    if backend.location == "cloud":
        return "cloud"
    if backend.kind in ("mlx", "llamacpp", "simulated"):
        return "local"
    if backend.kind == "ollama" and has_cloud_tag(tag):
        return "cloud"
    # An Ollama client without a host talks to this machine; other servers have no such default.
    host = backend.host or ("localhost" if backend.kind == "ollama" else "")
    return "local" if is_this_machine(host) else "cloud"


def has_cloud_tag(tag: str) -> bool:
    """Whether an Ollama server would forward this model to the cloud.

    >>> [has_cloud_tag(t) for t in ("kimi-k2:1t-cloud", "glm-4.6:cloud", "my-cloud-model", "qwen3-coder:30b")]
    [True, True, False, False]
    """
    last = tag.rsplit(":", 1)[-1]
    return "/" not in last and (last == "cloud" or last.endswith("-cloud"))


def is_this_machine(host: str) -> bool:
    """Whether an address is a loopback one. A host that an environment variable decides is not known to be."""
    name = urlsplit(host if "//" in host else f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
