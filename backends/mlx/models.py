"""Finds the folders of MLX models on this disk. Downloads nothing, ever.

A folder is what ``mlx_lm`` reads: ``config.json``, ``tokenizer.json`` and ``model*.safetensors``. Folders of the
Hugging Face cache (``models--org--name``) are followed to the snapshot that their ``refs/main`` names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routewright.engine.policy import with_variables

from ..errors import BackendError


@dataclass(frozen=True, slots=True)
class MlxModel:
    """A model to run: what the catalog says of it, as far as it matters here.

    ``path`` is its folder and may start with ``${NAME}``; without one the folder is looked for under the
    backend's path, by the model's tag, then by ``source`` (a repository such as ``org/name``).
    ``memory_gb`` (1 GB is 10^9 bytes) is what it takes in memory; without it, the size of its weights counts.
    ``context_length`` narrows the window of the model's own configuration. ``dimensions`` shortens vectors.
    ``keep_alive`` is how long it stays in memory after a call that does not say it; without it, until others need the
    room.
    """

    path: str | None = None
    source: str | None = None
    operations: frozenset[str] = frozenset({"chat"})
    memory_gb: float | None = None
    context_length: int | None = None
    dimensions: int | None = None
    keep_alive: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A model's folder and what is known of it before it is loaded; the size is that of its weights on disk.

    ``window`` is how many tokens prompt and answer may have together; ``None`` when nobody says.
    """

    folder: Path
    config: Mapping[str, Any]
    size_bytes: int
    window: int | None


class Folders:
    """The folders of ``models`` by tag, looked up when asked for, under the backend's own path ``root``."""

    def __init__(self, models: Mapping[str, MlxModel], root: str | None, env: Mapping[str, str]) -> None:
        self._models, self._root, self._env = models, root, env
        self._found: dict[str, Found] = {}

    def find(self, tag: str, *, anew: bool = False) -> Found:
        """The folder of a model. One that was found before is kept unless it has gone, or it is asked for anew.

        Raises BackendError like ``find_folder``, and ``bad_response`` for a configuration that cannot be read.
        """
        found = self._found.get(tag)
        if anew or found is None or not found.folder.is_dir():
            model = self._models[tag]
            folder, written = find_folder(tag, model, self._root, self._env)
            config = _read_config(folder, tag, written)
            found = Found(folder, config, _weights_bytes(folder), _window_of(config, model))
            self._found[tag] = found
        return found

    def problem(self, tag: str) -> str | None:
        """Why a model cannot be found, if so."""
        try:
            self.find(tag)
        except BackendError as error:
            return str(error)
        return None

    def sizes(self, tags: Iterable[str]) -> Mapping[str, int]:
        """The size of the weights of each of these models that is on this disk."""
        found = {}
        for tag in tags:
            with suppress(BackendError):
                found[tag] = self.find(tag).size_bytes
        return found


def find_folder(tag: str, model: MlxModel, root: str | None, env: Mapping[str, str]) -> tuple[Path, str]:
    """The folder with the model's files, ``root`` being the backend's own path; and how the catalog spells it.

    Messages name the variable of a path, never its value. Raises BackendError ``not_found`` when an environment
    variable has no value, or no such folder exists.
    """
    looked: list[str] = []
    for written, place in _places(tag, model, root, env):
        folder = _snapshot(place)
        if (folder / "config.json").is_file():
            return folder, written
        looked.append(written)
    raise BackendError(
        f"the model `{tag}` is not on this disk",
        error_class="not_found",
        help=f"looked for its `config.json` in: {', '.join(looked)}; models are never downloaded"
        if looked
        else "give the model a `path` in the catalog, or its backend one; models are never downloaded",
    )


def _read_config(folder: Path, tag: str, written: str) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackendError(
            f"the configuration of `{tag}` cannot be read",
            error_class="bad_response",
            help=f"check its `config.json` in {written}, or download the model again",
        ) from error
    return config if isinstance(config, dict) else {}


def _window_of(config: Mapping[str, Any], model: MlxModel) -> int | None:
    text_config = config.get("text_config")
    known = [model.context_length, config.get("max_position_embeddings")]
    if isinstance(text_config, dict):
        known.append(text_config.get("max_position_embeddings"))
    lengths = [length for length in known if isinstance(length, int) and length > 0]
    return min(lengths, default=None)


def _weights_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("model*.safetensors"))


def _places(
    tag: str, model: MlxModel, root: str | None, env: Mapping[str, str]
) -> Iterator[tuple[str, Path]]:
    """Where the model may be: the path as the catalog spells it, with its variable, and the folder it stands for."""
    if model.path is not None:
        yield model.path, _expanded(model.path, env)
        return
    if root is None:
        return
    base = _expanded(root, env)
    for name in (tag, model.source):
        if name is not None:
            cached = "models--" + name.replace("/", "--")
            for below in (name, cached, f"hub/{cached}"):
                yield os.path.join(root, below), base / below


def _expanded(path: str, env: Mapping[str, str]) -> Path:
    """A path with its variable replaced."""

    def value_of(name: str) -> str:
        if value := env.get(name):
            return value
        raise BackendError(
            f"the environment variable `{name}` of the path `{path}` is not set",
            error_class="not_found",
            help=f"set `{name}` to the folder that holds the MLX models",
        )

    return Path(with_variables(path, value_of)).expanduser()


def _snapshot(folder: Path) -> Path:
    """The current snapshot where ``folder`` is one of the Hugging Face cache, else ``folder``."""
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return folder
    try:
        return snapshots / (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        # Without the ref there is no telling which of several is current, but one alone is.
        found = sorted(os.scandir(snapshots), key=lambda entry: entry.name)
        return Path(found[0].path) if len(found) == 1 else folder
