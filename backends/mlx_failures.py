"""What a library's exception says, in a line, and whether it means that memory ran out."""

from __future__ import annotations

__all__ = ["first_line", "is_out_of_memory"]


def first_line(error: BaseException) -> str:
    """The first line of what the error says, shortened; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own error, or one of MLX's, which are told by their words alone."""
    said = first_line(error)
    return isinstance(error, MemoryError) or "memory" in said.lower() or "malloc" in said
