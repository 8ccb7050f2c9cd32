"""Reads the task that a command line describes: its flags, its prompt, standard input and the files it names."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from routewright.backends import IMAGE_TYPES, image_type
from routewright.engine.policy import CompiledPolicy
from routewright.engine.report import TaskError
from routewright.tasks import (
    AskedTask,
    Attached,
    WrittenTask,
    asked_by,
    features_from_flags,
    shape_of_values,
    texts_from_flags,
)

from .options import TaskFlags, spelled
from .writer import writer

_MAX_FILE_BYTES = 32 * 1024 * 1024
"""Images and schemas that are larger are not sent."""

_PATIENCE_S = 2.0
"""After this time it is said that standard input has not ended: nobody can see why nothing happens."""


def asked_by_flags(flags: TaskFlags, prompt: str | None, policy: CompiledPolicy) -> AskedTask:
    """The task of a command line. Raises TaskError and FeatureError with what is wrong with it."""
    features = features_from_flags(flags.feature or [], policy)
    values: dict[str, Any] = {
        "operation": flags.operation or "chat",
        "documents": flags.document or [],
        "metadata": texts_from_flags(flags.metadata or [], "--metadata"),
        "tags": texts_from_flags(flags.tag or [], "--tag"),
        "prompt": prompt_text(prompt, flags.operation),
    }
    plain = {one.name for one in fields(flags)} & WrittenTask.model_fields.keys() - {*values, "json_schema"}
    values |= {name: getattr(flags, name) for name in plain}
    _check_text(values)
    written = shape_of_values(values, WrittenTask).model_copy(update={"features": features})
    schema = None if flags.json_schema is None else _schema(flags.json_schema)
    attached = Attached(tuple(map(_image, flags.image or [])), schema)
    return asked_by(written, attached, spelled=spelled)


def prompt_text(prompt: str | None, operation: str | None = None) -> str | None:
    """The prompt, with what standard input holds before it; ``-`` is standard input alone.

    Nothing is read from a terminal. Raises TaskError if the input is not UTF-8 text, or if the
    operation does not take it.
    """
    if prompt is None:
        return None
    if prompt == "-" and sys.stdin is None:
        raise TaskError("standard input is closed")
    if prompt != "-" and (sys.stdin is None or sys.stdin.isatty()):
        return prompt
    with _told_to_wait():
        content = sys.stdin.buffer.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TaskError("standard input is not UTF-8 text") from None
    if prompt == "-" or not text.strip():
        return text if prompt == "-" else prompt
    if operation == "rerank":
        raise TaskError(
            "a rerank has no place for standard input beside its query",
            help="give the query as -, or documents with --document",
        )
    return f"{text.rstrip()}\n\n{prompt}"


@contextmanager
def _told_to_wait() -> Iterator[None]:
    """Say that standard input is awaited, if it does not end soon."""
    note = "waiting for the end of standard input, which goes before the prompt (`< /dev/null` for none)"
    timer = threading.Timer(_PATIENCE_S, writer.note, [note])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check_text(values: dict[str, Any]) -> None:
    """Raise TaskError for arguments that are not UTF-8: they arrive with halves of surrogate pairs."""
    for name, value in values.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            what = "the prompt" if name == "prompt" else spelled(name)
            raise TaskError(f"{what} is not UTF-8 text") from None


def _image(path: Path) -> bytes:
    content = _content(path)
    if image_type(content) is None:
        raise TaskError(f"`{path}` is no image that can be sent", help=f"send a {IMAGE_TYPES} file")
    return content


def _schema(path: Path) -> dict[str, Any]:
    try:
        schema = json.loads(_content(path))
    except (ValueError, RecursionError) as error:
        raise TaskError(f"`{path}` is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise TaskError(f"`{path}` is not a JSON Schema: expected an object")
    return schema


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TaskError(f"cannot read `{path}`: {(error.strerror or str(error)).lower()}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise TaskError(f"`{path}` is larger than {_MAX_FILE_BYTES // 1024**2} MiB")
    return content
