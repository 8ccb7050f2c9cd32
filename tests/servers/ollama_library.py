"""The models of the test server, and what `/api/tags`, `/api/show` and `/api/ps` say of them.

All of them are SmolLM2-135M underneath; they differ in what they claim to be able to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "LIBRARY",
    "LibraryModel",
    "base_name",
    "details",
    "find",
    "full_name",
    "is_cloud_name",
    "is_local_name",
    "show",
    "tag",
]

SIZE_BYTES: Final = 98_362_432
CONTEXT_LENGTH: Final = 8192
EMBEDDING_LENGTH: Final = 576
DIGEST: Final = "9077fe9d2ae1a4a41a868836b56b8163731a8fe16621397028c2c76f838c6907"
MODIFIED_AT: Final = "2026-11-02T09:30:00.123456789+01:00"


@dataclass(frozen=True)
class LibraryModel:
    """A pulled model; with ``remote_host`` it is a stub whose work is done elsewhere."""

    name: str
    capabilities: tuple[str, ...]
    remote_model: str | None = None
    remote_host: str | None = None

    @property
    def embeds(self) -> bool:
        return "embedding" in self.capabilities


LIBRARY: Final = (
    LibraryModel("smollm2:135m", ("completion", "tools")),
    LibraryModel("smollm2:latest", ("completion", "tools")),
    LibraryModel("smollm2-plain:135m", ("completion",)),
    LibraryModel("smollm2-think:135m", ("completion", "thinking")),
    LibraryModel("smollm2-eyes:135m", ("completion", "vision")),
    LibraryModel("smollm2-embed:135m", ("embedding",)),
    LibraryModel(
        "gpt-oss-stub:latest", ("completion", "tools", "thinking"), "gpt-oss:120b", "https://ollama.com:443"
    ),
)

CLOUD_MODELS: Final = ("kimi-k2:1t", "gpt-oss:120b", "qwen3-coder:480b")


def full_name(name: str) -> str:
    """The name with its tag: `latest` where none is given."""
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def find(name: str) -> LibraryModel | None:
    """The pulled model of that name."""
    return next((model for model in LIBRARY if model.name == full_name(name)), None)


def is_cloud_name(name: str) -> bool:
    """Whether the name alone says that the work is done in the cloud (``internal/modelref/modelref.go``)."""
    last = name.rsplit(":", 1)[-1].strip().lower()
    return ":" in name and (last == "cloud" or ("/" not in last and last.endswith("-cloud")))


def is_local_name(name: str) -> bool:
    """Whether the name says that the work may not be done in the cloud (the same file)."""
    return name.rpartition(":")[2].strip().lower() == "local" and ":" in name


def base_name(name: str) -> str:
    """A cloud model's name at ollama.com: without what marks it as one."""
    before, _, last = name.strip().rpartition(":")
    if last.strip().lower() == "cloud":
        return before
    return name.strip()[: -len("-cloud")] if is_cloud_name(name) else name


def details(model: LibraryModel) -> dict[str, Any]:
    if model.remote_host is not None:
        return {"parent_model": "", "format": "", "family": "", "families": None, "parameter_size": ""}
    return {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "134.52M",
        "quantization_level": "Q4_1",
    }


def tag(model: LibraryModel) -> dict[str, Any]:
    """An entry of `/api/tags`."""
    return {
        "name": model.name,
        "model": model.name,
        **_remote(model),
        "modified_at": MODIFIED_AT,
        "size": 384 if model.remote_host else SIZE_BYTES,
        "digest": DIGEST,
        "details": {**details(model), "context_length": CONTEXT_LENGTH, "embedding_length": EMBEDDING_LENGTH},
        "capabilities": list(model.capabilities),
    }


def show(model: LibraryModel) -> dict[str, Any]:
    """The answer of `/api/show`."""
    info: dict[str, Any] = {
        "general.architecture": "llama",
        "general.parameter_count": 134515008,
        "llama.context_length": CONTEXT_LENGTH,
        "llama.embedding_length": EMBEDDING_LENGTH,
    }
    return {
        "license": "Apache License, Version 2.0",
        "modelfile": f"FROM {model.name}\n",
        "parameters": 'stop                           "<|im_start|>"\nstop                           "<|im_end|>"',
        "template": "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}",
        "details": details(model),
        **_remote(model),
        "model_info": {} if model.remote_host else info,
        "capabilities": list(model.capabilities),
        "modified_at": MODIFIED_AT,
    }


def _remote(model: LibraryModel) -> dict[str, Any]:
    if model.remote_host is None:
        return {}
    return {"remote_model": model.remote_model, "remote_host": model.remote_host}
