"""Whether a model fits into the memory of its backend, and what has to be unloaded for it.

Said only of what is known: of a backend whose bound nobody knows, nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

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


class InMemory(Protocol):
    """A model in memory."""

    @property
    def model(self) -> str: ...
    @property
    def memory_bytes(self) -> int | None: ...


class Memory(Protocol):
    """The memory of a backend: a state's, or a record's of it."""

    @property
    def limit_bytes(self) -> int | None: ...
    @property
    def loaded(self) -> Sequence[InMemory]: ...


def memory_fit(model: CompiledModel, state: State) -> Fit:
    """Whether ``model`` fits into memory as ``state`` knows it."""
    known = state.models.get(model.id, NOTHING_KNOWN)
    if not state.memory and not known.loaded:
        return _UNKNOWN
    return fit_into(
        needed_bytes(model, known.memory_bytes), bool(known.loaded), state.memory.get(model.backend)
    )


def fit_into(needed: int | None, loaded: bool, memory: Memory | None) -> Fit:
    """Whether a model that needs so many bytes fits into the ``memory`` of its backend."""
    limit = None if memory is None else memory.limit_bytes
    if loaded:
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
    return bytes_to_load(catalog_bytes(model.shape.memory_gb), said_bytes, model.shape.size_bytes)


def bytes_to_load(in_catalog: int | None, said: int | None, size: int | None) -> int | None:
    """The first of them that is known."""
    return next((one for one in (in_catalog, said, size) if one is not None), None)


def catalog_bytes(memory_gb: float | None) -> int | None:
    """What a catalog says in gigabytes."""
    return None if memory_gb is None else round(memory_gb * BYTES_PER_GB)


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
