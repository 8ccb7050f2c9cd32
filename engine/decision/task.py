"""What is decided about: a task, and the state that deciding may know beyond it. Values only.

Each is checked when it is made, so that deciding can trust it and a record can hold it. What does not fit
raises TaskError; feature values are checked against their declarations when the task is decided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from ..policy import MAX_EXACT, Operation
from ..report import TaskError

Health = Literal["healthy", "unhealthy"]
Breaker = Literal["closed", "open", "half_open"]

Source = Literal["given", "derived", "default", "unknown"]
"""Where the value of a feature came from. A feature given as null has no value but counts as ``given``."""
PromptTokensSource = Literal["stated", "counted", "estimated"]

SESSION = "session"
"""The name under which a request's metadata holds the conversation that it belongs to."""

_NOTHING: Mapping[str, str] = MappingProxyType({})
_OPERATIONS: tuple[str, ...] = get_args(Operation)


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What is known of a request without its text. None where it is not known.

    ``messages``, ``images`` and ``tools`` are counts; ``prompt_tokens`` and ``max_output_tokens`` are tokens.
    ``prompt_tokens_source`` says how the first of them came about: ``stated`` by the caller, which it is where
    nobody says otherwise, ``counted`` with ``tokenizer``, or ``estimated`` from the size of the text. The names in
    ``metadata`` are kept in lower case, as those of HTTP headers are compared without case.
    """

    prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    messages: int | None = None
    images: int | None = None
    tools: int | None = None
    json_schema: bool | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    prompt_tokens_source: PromptTokensSource | None = None
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        if self.prompt_tokens_source not in (None, "stated", "counted", "estimated"):
            raise TaskError(f"`{self.prompt_tokens_source}` is no source of a prompt's length")
        if self.tokenizer is not None and not _is_text(self.tokenizer):
            raise TaskError("the request's `tokenizer` is not a name")
        if (self.prompt_tokens is None) is not (self.prompt_tokens_source is None):
            object.__setattr__(self, "prompt_tokens_source", None if self.prompt_tokens is None else "stated")
        if self.prompt_tokens_source != "counted" and self.tokenizer is not None:
            raise TaskError("a length has a tokenizer only where it was counted")
        counts = (self.prompt_tokens, self.max_output_tokens, self.messages, self.images, self.tools)
        for position, count in enumerate(counts):
            if count is not None and not (type(count) is int and 0 <= count <= MAX_EXACT):
                name = ("prompt_tokens", "max_output_tokens", "messages", "images", "tools")[position]
                raise TaskError(f"the request's `{name}` is not a whole number from 0 to {MAX_EXACT}")
        if self.json_schema is not None and type(self.json_schema) is not bool:
            raise TaskError("the request's `json_schema` is true, false or not known")
        if self.metadata is not _NOTHING:
            check_labels(self.metadata, "the request's `metadata`")
            if any(name != name.lower() for name in self.metadata):
                object.__setattr__(self, "metadata", _in_lower_case(self.metadata))


def _in_lower_case(metadata: Mapping[str, str]) -> Mapping[str, str]:
    lowered: dict[str, str] = {}
    for name, text in metadata.items():
        if name.lower() in lowered:
            raise TaskError(f"the request's `metadata` has `{name.lower()}` twice, in two spellings")
        lowered[name.lower()] = text
    return lowered


NO_REQUEST = RequestFacts()


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work to route.

    A feature that is None was given as null: its value is unknown, and neither the request nor a default replaces it.
    ``pin`` is the only model to use. ``draw`` is the random number, at least 0 and below 1, that ``choose: split``
    without a key needs: the caller draws it, so that deciding stays a pure function.
    """

    features: Mapping[str, object] = field(default_factory=dict)
    operation: Operation = "chat"
    request: RequestFacts = NO_REQUEST
    pin: str | None = None
    draw: float | None = None

    def __post_init__(self) -> None:
        if self.operation not in _OPERATIONS:
            raise TaskError(f"unknown operation `{self.operation}`", help=f"one of: {', '.join(_OPERATIONS)}")
        if type(self.features) is not dict:
            _check_mapping(self.features, "the task's `features`")
        if type(self.request) is not RequestFacts:
            raise TaskError("the task's `request` is not RequestFacts")
        if self.pin is not None and not _is_text(self.pin):
            raise TaskError("the pin is not the name of a model")
        if self.draw is not None and not (type(self.draw) in (int, float) and 0 <= self.draw < 1):
            raise TaskError("the draw is not a number from 0 to below 1")

    @property
    def session(self) -> str | None:
        """The conversation that the task belongs to; None where the request's metadata names none, or an empty one."""
        return self.request.metadata.get(SESSION) or None


@dataclass(frozen=True, slots=True)
class ModelState:
    """What is known of one model now; None where nothing is.

    ``breaker_until_us`` is when an open breaker closes, in microseconds since 1970, UTC; ``breaker_after`` the
    class of the failure that opened it, such as ``quota_exhausted``. ``health_detail`` says why it is unhealthy.
    ``loaded`` is whether it is in memory, ``load_ms`` how long loading took of late, in whole milliseconds, and
    ``memory_bytes`` what it takes in memory, as its backend says.
    """

    health: Health | None = None
    breaker: Breaker | None = None
    latency_ms: float | None = None
    breaker_until_us: int | None = None
    breaker_after: str | None = None
    health_detail: str | None = None
    loaded: bool | None = None
    load_ms: int | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.health not in (None, "healthy", "unhealthy"):
            raise TaskError(f"unknown health `{self.health}`", help="one of: healthy, unhealthy")
        if self.breaker not in (None, "closed", "open", "half_open"):
            raise TaskError(f"unknown breaker `{self.breaker}`", help="one of: closed, open, half_open")
        if self.latency_ms is not None:
            object.__setattr__(self, "latency_ms", _number(self.latency_ms, "a model's latency", math.inf))
        if self.breaker_until_us is not None and not _is_count(self.breaker_until_us):
            raise TaskError("a breaker's time is not in whole microseconds within 285 years after 1970")
        if self.health_detail is not None and not _is_text(self.health_detail):
            raise TaskError("what a model's health was told by is not a text")
        if self.breaker_after is not None and not _is_text(self.breaker_after):
            raise TaskError("what opened a breaker is not the class of a failure")
        if self.loaded is not None and type(self.loaded) is not bool:
            raise TaskError("whether a model is loaded is true, false or not known")
        if self.load_ms is not None:
            _check_count(self.load_ms, "how long loading a model takes", "milliseconds")
        if self.memory_bytes is not None:
            _check_count(self.memory_bytes, "what a model takes in memory", "bytes")


NOTHING_KNOWN = ModelState()


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that is in memory: its id, or the backend's name for one that the catalog does not have.

    ``memory_bytes`` is what it takes; None where nobody says.
    """

    model: str
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if not _is_text(self.model):
            raise TaskError("a model in memory is not named by a text")
        _check_count(self.memory_bytes, f"what `{self.model}` takes in memory", "bytes")


@dataclass(frozen=True, slots=True)
class MemoryState:
    """What is known of the memory of a backend.

    All its models together take ``limit_bytes`` at most; None where nobody says. ``loaded`` are those in memory, in
    the order in which they are unloaded when another one needs the room.
    """

    limit_bytes: int | None = None
    loaded: tuple[Resident, ...] = ()

    def __post_init__(self) -> None:
        _check_count(self.limit_bytes, "what the models of a backend may take in memory", "bytes")
        if type(self.loaded) is not tuple or not all(type(one) is Resident for one in self.loaded):
            raise TaskError("the models in memory are not a tuple of Resident")


@dataclass(frozen=True, slots=True)
class State:
    """What the decision may know beyond the task.

    ``at_us`` is the time in microseconds since 1970, UTC: whole, and within 285 years of 1970, as further away
    JSON has no exact number for it. ``load`` is from 0 to 1. ``models`` holds the models of which something is
    known, by id. ``quota_used`` holds, by control, what is used of a quota in its own unit (money in
    nano-units), already read for the task's own team or user where the quota is for each. ``session_model`` is the
    id of the model that last answered the task's session. ``memory`` holds what is known of the memory of backends, by
    their ids.
    """

    at_us: int
    load: float | None = None
    models: Mapping[str, ModelState] = field(default_factory=dict)
    quota_used: Mapping[str, int] = field(default_factory=dict)
    session_model: str | None = None
    memory: Mapping[str, MemoryState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if type(self.at_us) is not int or not -MAX_EXACT <= self.at_us <= MAX_EXACT:
            raise TaskError("the time is not in whole microseconds within 285 years of 1970")
        if self.load is not None:
            object.__setattr__(self, "load", _number(self.load, "the load", 1.0))
        if type(self.models) is not dict or self.models:
            _check_mapping(self.models, "the state's `models`")
            if not all(type(known) is ModelState for known in self.models.values()):
                raise TaskError("the state's `models` are not ModelState by model id")
        if type(self.quota_used) is not dict or self.quota_used:
            _check_mapping(self.quota_used, "the state's `quota_used`")
            for name, used in self.quota_used.items():
                if not _is_count(used):
                    message = f"what is used of quota `{name}` is not a whole number from 0 to {MAX_EXACT}"
                    raise TaskError(message)
        if self.session_model is not None and not _is_text(self.session_model):
            raise TaskError("the state's `session_model` is not the id of a model")
        if type(self.memory) is not dict or self.memory:
            _check_mapping(self.memory, "the state's `memory`")
            if not all(_is_text(id) and type(one) is MemoryState for id, one in self.memory.items()):
                raise TaskError("the state's `memory` is not MemoryState by backend id")


def _check_count(value: object, what: str, unit: str) -> None:
    if value is not None and not _is_count(value):
        raise TaskError(f"{what} is not in whole {unit} from 0 to {MAX_EXACT}")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_EXACT


def _is_text(value: object) -> bool:
    """Whether a value is text that UTF-8 can hold: half of a surrogate pair is none."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(value: object, what: str, most: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most:
        if _is_count(value) or (isinstance(value, float) and math.isfinite(value)):
            return float(value) + 0.0  # -0.0 + 0.0 is 0.0
    raise TaskError(f"{what} is not a number from 0" + ("" if most == math.inf else f" to {most:g}"))


def check_task(task: object) -> None:
    """Raise TaskError for anything that is not a Task."""
    if not isinstance(task, Task):
        help = 'write `Task({"name": value})`, with the features by name'
        raise TaskError(f"a task is a Task, not {type(task).__name__}", help=help)


def check_labels(labels: Mapping[str, str], what: str) -> None:
    """Raise TaskError for what is no mapping of texts to texts, named ``what``."""
    _check_mapping(labels, what)
    for name, value in labels.items():
        if not (_is_text(name) and _is_text(value)):
            raise TaskError(f"{what} is text by name")


def check_label(label: str, what: str) -> None:
    """Raise TaskError, which calls the label ``what``, unless it is a text that is not empty."""
    if not _is_text(label) or not label:
        raise TaskError(f"{what} is not a text of at least one character")


def _check_mapping(value: object, what: str) -> None:
    if type(value) is not dict and not isinstance(value, Mapping):
        raise TaskError(f"{what} is not a mapping")
