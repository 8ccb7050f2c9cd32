"""Whether a model fits into the memory of its backend, and what has to be unloaded for it.

Said only of what is known: of a backend whose bound nobody knows, nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..policy import CompiledModel
from ..report import BYTES_PER_GB
from .task import NOTHING_KNOWN, State


class Fit(NamedTuple):
    """Whether a model fits, and the numbers that say so, in bytes; None where they are not known.

    ``how`` is ``loaded``, ``free`` (there is room for it), ``unloads`` (there is once ``unloads`` have gone), ``never``
    (it needs more than all models together may take), or None where it cannot be told.
    """

    how: Literal["loaded", "free", "unloads", "never"] | None
    needed_bytes: int | None = None
    limit_bytes: int | None = None
    unloads: tuple[str, ...] = ()


_UNKNOWN = Fit(None)


def memory_fit(model: CompiledModel, state: State) -> Fit:
    """Whether ``model`` fits into memory as ``state`` knows it."""
    known = state.models.get(model.id, NOTHING_KNOWN)
    if not state.memory and not known.loaded:
        return _UNKNOWN
    memory = state.memory.get(model.backend)
    needed = needed_bytes(model, known.memory_bytes)
    limit = None if memory is None else memory.limit_bytes
    if known.loaded:
        return Fit("loaded", needed, limit)
    if memory is None or limit is None or needed is None:
        return Fit(None, needed, limit)
    if needed > limit:
        return Fit("never", needed, limit)
    sizes = [one.memory_bytes for one in memory.loaded]
    if None in sizes:
        return Fit(None, needed, limit)
    gone = to_unload([size or 0 for size in sizes], needed, limit)
    unloads = tuple(memory.loaded[position].model for position in gone)
    return Fit("unloads" if unloads else "free", needed, limit, unloads)


def is_fit_unknown(model: CompiledModel, state: State) -> bool:
    """Whether the memory of the model's backend is bounded, and still nobody can say if the model fits."""
    fit = memory_fit(model, state)
    return fit.how is None and fit.limit_bytes is not None


def needed_bytes(model: CompiledModel, said_bytes: int | None) -> int | None:
    """What a model needs: as the catalog says, else as its backend does, else the size of its files."""
    memory_gb = model.shape.memory_gb
    if memory_gb is not None:
        return round(memory_gb * BYTES_PER_GB)
    return model.shape.size_bytes if said_bytes is None else said_bytes


def to_unload(sizes: Sequence[int], needed: int, limit: int) -> list[int]:
    """The positions in ``sizes`` that have to go so that ``needed`` more stay within ``limit``.

    They go in their order, but none goes without need: a large one that comes late may do without those before it.

    >>> to_unload([2, 3, 5], 2, 10), to_unload([2, 3, 5], 5, 10), to_unload([2, 3, 5], 0, 10)
    ([0], [2], [])
    """
    too_much = sum(sizes) + needed - limit
    gone = []
    for position, size in enumerate(sizes):
        if too_much <= 0:
            break
        gone.append(position)
        too_much -= size
    for position in list(gone):
        if too_much + sizes[position] <= 0:
            gone.remove(position)
            too_much += sizes[position]
    return gone
