"""What is to be carried out, as plain values: models in order, steps around the answer, limits.

Nothing is called that a ``Work`` does not hold. Times are integer milliseconds, money integer nano-units (10⁻⁹).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from routewright.engine.policy import STEPS, Role, TaskLimits

from ..cost import PriceFacts
from ..protocol import (
    NO_LIMITS,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    Limits,
    RerankAnswer,
    RerankRequest,
)

if TYPE_CHECKING:
    from ..control import QuotaLimit


DEFAULT_LEASE_MS: Final = 60_000
"""How long a lease holds by itself where no policy says."""

Request = ChatRequest | EmbedRequest | RerankRequest
Answer = ChatAnswer | EmbedAnswer | RerankAnswer

AttemptRole = Annotated[str, "`answer`, `fallback`, `retry`, `member`, `judge`, or that of a step"]
Combine = Literal["first", "vote", "judge", "consensus_or_override"]


@dataclass(frozen=True, slots=True)
class Target:
    """A model to call: where it is, what it costs, how long it may take, which quotas bind it.

    The ``amount`` of each of ``quotas`` is estimated when the call is made. ``max_output_tokens`` is the most
    that the model writes: it bounds estimates, and every chat. ``may_load`` says that a call may have to load the
    model first: then, without a limit for loading, only the backend can tell a slow start from a slow model.
    ``think`` and ``keep_alive`` hold where the request says nothing of them. ``prompt_tokens`` is the length of the
    request's prompt where somebody stated it, or counted it with this model's tokenizer.
    ``expected_ms`` is how long the catalog expects an answer to take.
    ``window`` is the most tokens that a local model can hold, where its server has to be told how many it should.
    ``endpoint`` is what is really called, under which its breaker and its latency are kept; without it, its id.
    ``location`` (``local``, ``cloud``, ``unknown``) and ``host`` are what attempts say of where the model runs.
    """

    model_id: str
    backend_id: str
    tag: str
    role: Literal["answer", "fallback"] = "answer"
    price: PriceFacts | None = None
    limits: Limits = NO_LIMITS
    quotas: tuple[QuotaLimit, ...] = ()
    max_output_tokens: int | None = None
    may_load: bool = True
    think: bool | Literal["low", "medium", "high"] | None = None
    keep_alive: str | None = None
    prompt_tokens: int | None = None
    window: int | None = None
    expected_ms: float | None = None
    endpoint: str | None = None
    location: str | None = None
    host: str | None = None

    @property
    def kept_under(self) -> str:
        """What the state store knows the model by."""
        return self.endpoint or self.model_id

    @property
    def may_think(self) -> bool:
        """Whether the model may think before it speaks: unless the catalog says that it does not."""
        return self.think is not False


@dataclass(frozen=True, slots=True)
class Step:
    """One step around the answer; ``options`` are what the policy says of it beside its model.

    A step that fails is left out and reported; with ``required`` its failure is the failure of the work.
    """

    role: Role
    target: Target
    required: bool = False
    options: Mapping[str, str | int] = field(default_factory=dict)

    def option(self, name: str) -> Any:
        """The value of an option, or its default."""
        return self.options.get(name, STEPS[self.role].model_fields[name].default)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Members that answer side by side, and how their answers become one.

    ``quorum`` of them must give a usable answer; ``first`` needs only one. ``label`` is a regular expression and
    ``label_of`` gives the label that it finds in an answer: the caller compiles it, so that a pattern which
    would take for ever cannot get here. ``override`` is the model id of the member that decides without a
    consensus.
    """

    members: tuple[Target, ...]
    combine: Combine
    quorum: int
    judge: Target | None = None
    override: str | None = None
    label: str | None = None
    label_of: Callable[[str], str | None] | None = None

    def __post_init__(self) -> None:
        if self.combine == "judge" and self.judge is None:
            raise ValueError("`judge` needs a judge")
        if self.combine == "vote" and self.label_of is None:
            raise ValueError("`vote` needs `label_of`")
        if self.combine == "consensus_or_override" and all(m.model_id != self.override for m in self.members):
            raise ValueError("`override` must be a member")


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Answers may be cached for ``ttl_ms``, and are never shared between calls that differ in the other fields.

    ``given`` is what the caller has to say for an answer to be his, as JSON can say it; ``constraints`` are the names
    of the constraints in force, and ``policy`` is a digest.
    """

    ttl_ms: int
    given: object = None
    constraints: tuple[str, ...] = ()
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that may be done for one request.

    ``targets`` are tried in order: the answer's model, then its fallbacks. With an ensemble they are what is
    tried when it gives no answer. ``limits`` hold whatever is called: ``max_attempts`` counts the calls for an answer,
    not those of steps; without ``backoff_ms`` no model is asked twice after a failure, with it up to ``retries`` times;
    ``first_token_within_ms`` is how long a model may take for its first token, loading not counted; ``lease_ms`` is
    how long a reservation holds by itself. While its call is under way it is renewed, so that this is how long a
    killed process keeps its places among the calls at once. ``observed_ms`` are the mean times to the first token that
    are known, by model id: of the time until the deadline a target leaves to those behind it what they usually take.
    """

    targets: tuple[Target, ...]
    steps: tuple[Step, ...] = ()
    ensemble: Ensemble | None = None
    limits: TaskLimits = TaskLimits()
    cache: CacheUse | None = None
    retries: int = 2
    observed_ms: Mapping[str, float] = field(default_factory=dict)
