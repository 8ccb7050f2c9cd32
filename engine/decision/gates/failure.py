"""A gate that a model did not pass: what was asked as data, and its wording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from ..task import RequestFacts, State, Task


class Call(Protocol):
    """What a failure is worded with; a decision has it."""

    @property
    def task(self) -> Task: ...
    @property
    def request(self) -> RequestFacts: ...
    @property
    def state(self) -> State: ...


@dataclass(frozen=True, slots=True)
class GateFailure:
    """A gate that a model did not pass. Where the words depend on the call, a subclass makes them.

    INVARIANT: an instance holds only what follows from the policy and from what plans are remembered by. What differs
    from call to call (tokens, what is used of a quota) is taken from the call when it is worded. Records of version 1
    hold the recorded texts, so they stay byte for byte what they are.
    """

    gate: str
    text: str
    data: Mapping[str, object]

    varies: ClassVar[bool] = False
    """Whether the recorded text depends on the call."""

    def recorded(self, call: Call) -> str:
        """Why, as a record keeps it."""
        return self.text

    def explained(self, call: Call) -> str:
        """Why, with the numbers of the call."""
        return self.recorded(call)

    def facts(self, call: Call) -> Mapping[str, object]:
        """What the model was judged by, such as ``limit``, ``value`` and ``until_us``; None where unknown."""
        return self.data
