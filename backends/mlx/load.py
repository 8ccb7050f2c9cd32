"""Loads mlx_lm, and models from their folders. Blocks, in the model's thread.

Importing mlx_lm takes a second, or many on a cold disk, so it happens with the first load and not before.
"""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import json
import os
import resource
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from routewright.engine.report import install_command

from ..errors import BackendError
from .failures import first_line, is_out_of_memory
from .runtime import LoadedModel

_FILES_WANTED: Final = 2_048
_importing = threading.Lock()


def library_version() -> str | None:
    """The version of the installed ``mlx-lm``; ``None`` when it or ``mlx`` is missing. Imports neither."""
    try:
        if importlib.util.find_spec("mlx.core") is None:
            return None
        return importlib.metadata.version("mlx-lm")
    except (ImportError, importlib.metadata.PackageNotFoundError):
        return None


def import_library() -> Any:
    """The module ``mlx_lm.utils``. Raises BackendError ``not_found`` when it is not installed for this machine."""
    with _importing, _file_limit_kept():
        try:
            from mlx_lm import utils
        except ImportError as error:
            raise BackendError(
                "the packages `mlx-lm` and `mlx` are not installed, or not for this machine",
                error_class="not_found",
                help=install_command("mlx"),
            ) from error
    return utils


def load_folder(folder: Path, tag: str, architecture: str) -> LoadedModel:
    """The model of a folder, in memory; ``architecture`` is its configuration's ``model_type``.

    Takes seconds to minutes; runs no code of the folder, reaches no network.

    Raises BackendError: ``not_found`` without the library or for an architecture that it does not know,
    ``overloaded`` when memory does not suffice, ``bad_response`` when the files cannot be read.
    """
    library = import_library()
    free_memory()
    try:
        ours = {"get_model_classes": _qwen3_classes} if architecture == "qwen3" else {}
        model, config = library.load_model(folder, **ours)
        tokenizer = library.load_tokenizer(
            folder,
            {"local_files_only": True, "trust_remote_code": False},
            eos_token_ids=config.get("eos_token_id"),
        )
        loaded = LoadedModel(model, tokenizer, _generation_defaults(folder))
        loaded.warm_up()
    except Exception as error:  # whatever a folder can be wrong in
        raise _load_failure(tag, folder, error) from error
    return loaded


def free_memory() -> None:
    """Let go of models that nothing refers to any more, and of the buffers that MLX keeps for later."""
    gc.collect()  # models hold themselves in cycles
    if "mlx.core" in sys.modules:
        import mlx.core as mx

        mx.clear_cache()


def machine_bytes() -> int | None:
    """The memory of this machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def end_thread() -> None:
    """Tell MLX that the current thread ends."""
    if "mlx.core" in sys.modules:
        import mlx.core as mx

        mx.clear_streams()


def _qwen3_classes(config: Mapping[str, Any]) -> tuple[type, type]:
    """The classes of Qwen3, reading weights also without the prefix ``model.``.

    So are those of Qwen3-Embedding, as its makers publish them.
    """
    from mlx_lm.models import qwen3

    base: Any = qwen3.Model

    def sanitize(self: Any, weights: Mapping[str, Any]) -> Any:
        known = ("model.", "lm_head.")
        whole = {k if k.startswith(known) else f"model.{k}": v for k, v in weights.items()}
        return base.sanitize(self, whole)

    return type("Model", (base,), {"sanitize": sanitize}), qwen3.ModelArgs


def _generation_defaults(folder: Path) -> Mapping[str, Any]:
    """What ``generation_config.json`` says of sampling; nothing where the makers meant none."""
    try:
        config = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(config, dict) or config.get("do_sample") is not True:
        return {}
    return {name: value for name, value in config.items() if isinstance(value, int | float)}


def _load_failure(tag: str, folder: Path, error: Exception) -> BackendError:
    said = first_line(error, folder=folder)
    if is_out_of_memory(error):
        return BackendError(f"there is not enough memory to load `{tag}`", error_class="overloaded")
    if isinstance(error, ValueError) and "not supported" in said:
        return BackendError(
            f"mlx-lm cannot run `{tag}`: {said}", error_class="not_found", help="a newer mlx-lm may know it"
        )
    return BackendError(
        f"`{tag}` cannot be loaded: {said}",
        error_class="bad_response",
        help="check that the files in its folder are complete; models are never downloaded",
    )


@contextmanager
def _file_limit_kept() -> Iterator[None]:
    """Importing ``mlx_lm`` sets the process's limit of open files to 2,048, and for good, as it also lowers how
    far it can be raised again. A gateway may need more: here the import may raise the limit and not lower it.
    """
    if "mlx_lm.utils" in sys.modules:
        yield
        return
    set_limit = resource.setrlimit

    def only_raise(which: int, limits: tuple[int, int], /) -> None:
        if which != resource.RLIMIT_NOFILE:
            return set_limit(which, limits)
        soft, hard = resource.getrlimit(which)
        wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(_FILES_WANTED, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            set_limit(which, (wanted, hard))

    resource.setrlimit = only_raise
    try:
        yield
    finally:
        resource.setrlimit = set_limit
