"""A gate and how a model failed it: what was asked as data, and its wording in one place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self

from ..request import StatedFacts
from ..task import State, Task

if TYPE_CHECKING:
    from ...policy import CompiledModel, CompiledPolicy
    from .context import GateContext


class Mark(NamedTuple):
    """What could not be checked of a model, which passed all the same.

    ``name`` stands in records, ``unknown`` says in the docs what was not known, ``label`` in a report tree.
    """

    name: str
    unknown: str
    label: str


class Call(Protocol):
    """What a failure is worded with; a decision has it, and so has what the gates know of a task."""

    @property
    def policy(self) -> CompiledPolicy: ...
    @property
    def task(self) -> Task: ...
    @property
    def request(self) -> StatedFacts: ...
    @property
    def state(self) -> State: ...


@dataclass(frozen=True, slots=True)
class GateFailure(ABC):
    """A gate that a model did not pass. A subclass is a gate, an instance one failure of it.

    A subclass says ``gate``, its name in records, and ``remembered``: whether the key of a remembered plan holds all
    that it goes by. Else no plan is remembered. Its docstring says in the docs what it refuses.

    INVARIANT: an instance holds only what follows from the policy and from what plans are remembered by. What differs
    from call to call (tokens, what is used of a quota) is taken from the call when it is worded.
    """

    gate: ClassVar[str]
    remembered: ClassVar[bool] = False
    varies: ClassVar[bool] = False
    """Whether the recorded text depends on the call."""
    mark: ClassVar[Mark | None] = None
    """What a model is marked with that could not be checked."""

    def __init_subclass__(cls, gate: str | None = None, *, remembered: bool = False) -> None:
        if gate is not None:  # a class with slots is made twice, the second time without arguments
            cls.gate, cls.remembered = gate, remembered

    @classmethod
    @abstractmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        """The ways in which ``model`` fails this gate; none if it passes."""

    @classmethod
    def is_unverified(cls, model: CompiledModel, context: GateContext) -> bool:
        """Whether ``model`` gets this gate's ``mark``."""
        return False

    def facts(self, call: Call) -> Mapping[str, object]:
        """What the model was judged by, such as ``limit``, ``value`` and ``until_us``; None where unknown."""
        values = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: value for name, value in values if value is None or isinstance(value, str | int)}

    @abstractmethod
    def recorded(self, call: Call) -> str:
        """Why, as a record keeps it.

        INVARIANT: records of version 1 hold these texts, so they stay byte for byte what they are.
        """

    def explained(self, call: Call) -> str:
        """Why, with the numbers of the call."""
        return self.recorded(call)
