"""Reads sample tasks and prompts of steps, and finds the files of Routewright's in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from routewright.backends.executing import PromptError, Prompts, read_prompts
from routewright.engine.policy import parse_yaml, shape_problems
from routewright.engine.report import PolicyError, Problem
from routewright.tasks import Samples

from .loading import file_kind, is_ours, read_text


def load_samples(path: str | os.PathLike[str]) -> Samples:
    """Return the sample tasks in the file at ``path``. Raises PolicyError."""
    name = os.fspath(path)
    document = parse_yaml(read_text(name), name)
    try:
        return Samples.model_validate(document.root.plain())
    except ValidationError as error:
        raise PolicyError(shape_problems(error, document, Samples)) from None


def load_prompts(path: str | os.PathLike[str]) -> Prompts:
    """Return the prompts of steps in the file at ``path``. Raises PolicyError."""
    name = os.fspath(path)
    text = read_text(name)
    try:
        return read_prompts(text)
    except PromptError as error:
        raise PolicyError([Problem("bad-prompts", str(error), source=name)]) from None


def routewright_files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """The YAML files in ``folder`` and below that are Routewright's, sorted, with those that cannot be read.

    Hidden files and folders are passed over.
    """
    root = Path(folder)
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.suffix not in (".yaml", ".yml") or hidden or not path.is_file():
            continue
        try:
            if file_kind(path) in ("samples", "prompts") or is_ours(read_text(str(path)), str(path)):
                yield path
        except PolicyError:
            yield path
