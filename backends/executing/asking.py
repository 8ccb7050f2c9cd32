"""What one target is asked and what comes of it, and what requests are carried out with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from routewright.engine.record import Attempt

from ..errors import BackendError
from ..protocol import Backend
from .admission import AdmissionControl
from .cache import AnswerCache
from .outcomes import Then
from .prompts import Prompts
from .rejections import Rejection
from .work import Answer, AttemptRole, Request, Target


@dataclass(frozen=True, slots=True)
class Services:
    """What requests are carried out with: what ``Executor`` says of it, for all of them."""

    backends: Mapping[str, Backend]
    admission: AdmissionControl
    clock: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]]
    random: Random
    cache: AnswerCache | None
    prompts: Callable[[], Prompts]


COUNTED_ROLES: Final = frozenset[AttemptRole](("answer", "fallback", "retry", "member"))
"""The calls that ``max_attempts`` counts: those for the answer, not those of steps around it."""


class TargetRequest(NamedTuple):
    """What one target is asked, in which role, and where the text goes as it comes.

    ``behind`` are the targets that could still be asked instead of it, and ``after`` those without which its answer is
    none: all keep their share of the time.
    """

    target: Target
    request: Request
    role: AttemptRole
    on_text: Callable[[str], None] | None = None
    behind: Sequence[Target] = ()
    after: Sequence[Target] = ()


class Result(NamedTuple):
    """An attempt with its answer or its error, and who is asked after it; with ``denied`` where no call was made.

    ``held`` is the number of the retry that would follow, where it was left to other models' calls.
    """

    attempt: Attempt
    answer: Answer | None = None
    error: BackendError | None = None
    then: Then = "next"
    denied: Rejection | None = None
    held: int | None = None


class Exhausted(Exception):
    """Nothing more may be called for the request: its deadline has passed, its calls are used up, or no call can be
    put on record.
    """

    def __init__(self, error: BackendError) -> None:
        super().__init__(str(error))
        self.error = error
