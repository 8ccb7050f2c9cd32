"""What a library's exception says, in a line, and whether it means that memory ran out."""

from __future__ import annotations

from pathlib import Path


def first_line(error: BaseException, *, folder: Path | None = None) -> str:
    """The first line of the error's message, shortened; its type if the message is empty.

    The model's ``folder`` is left out: it may be the value of a variable.
    """
    said = str(error).strip() or type(error).__name__
    if folder is not None:
        said = said.replace(str(folder), "its folder")
    return said.splitlines()[0][:200]


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own error, or one of MLX's, which are told by their words alone."""
    said = first_line(error)
    return isinstance(error, MemoryError) or "memory" in said.lower() or "malloc" in said
