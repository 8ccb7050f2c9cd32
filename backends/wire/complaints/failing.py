"""A failure of a server as BackendError: in the words of its dialect, with advice, and without the key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from routewright.engine.report import duration_text

from ...errors import BackendError
from ...phases import CallClock
from ..untrusted import Gate
from .meaning import Meaning, meaning_of
from .shapes import Complaint, complaint_in, plain

UNKNOWN_WORDING: Final = (
    "no known wording: {decided}. If another class fits, report the wording (docs/backends.md)"
)

_MOVED: Final = "write the final address into the catalog: redirects are not followed"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure on its way to the user: of the model ``tag``, with what it means and the words it came in."""

    tag: str
    meaning: Meaning
    complaint: Complaint | None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How failures of one kind of server are told.

    ``sentence`` holds ``{did}`` and ``{tag}``. ``advice`` is the help for a failure of which no row has any.
    """

    sentence: str
    advice: Callable[[Failure], str | None]


def failed(
    dialect: Dialect,
    clock: CallClock,
    gate: Gate,
    complaint: Complaint | None,
    *,
    status: int | None,
    headers: Mapping[str, str],
    text: str = "",
) -> BackendError:
    """The error for a reply of ``status``, or for an error in mid-stream (``status`` is ``None`` then).

    ``text`` is the beginning of a body that holds no complaint in JSON. What no row knows is said to be classed by its
    status alone.
    """
    if complaint is None and (said := plain(text).strip()):
        # Some send their errors as an event even under another status.
        data = next((line[5:] for line in said.splitlines() if line.startswith("data:")), "")
        complaint = complaint_in(gate.parse_or_none(data.encode())) or Complaint(said.strip('"'))
    meaning = meaning_of(complaint, status=status, headers=headers)
    said = gate.message(complaint.message) if complaint else ""
    did = "broke off with an error" if status is None else f"answered {status}"
    help: str | None
    if status is not None and 300 <= status < 400:
        did, said, help = f"{did}: it sends callers to another address", "", _MOVED
    elif meaning.status == 503 and said.lower().startswith("loading"):
        did, said, help = "is still loading the model", "", None
    else:
        advice = meaning.row.help if meaning.row is not None else None
        help = advice or dialect.advice(Failure(clock.who, meaning, complaint))
        if meaning.row is None and said:
            decided = (
                "the status alone decided" if meaning.status is not None else "it counts as a broken stream"
            )
            unknown = UNKNOWN_WORDING.format(decided=decided)
            help = f"{help}; {unknown}" if help else unknown
    if meaning.wait_ms:
        help = "; ".join(filter(None, (f"ask again in {_wait_text(meaning.wait_ms)}", help)))
    message = dialect.sentence.format(did=did, tag=clock.who)
    return clock.error(
        f"{message}: {said}" if said else message,
        meaning.error_class,
        retry_after_ms=meaning.wait_ms,
        # A refusal under 200 is one; a failure under 200 may have come after the prompt was read.
        begun=status is None and meaning.error_class == "overloaded",
        help=None if help is None else gate.message(help),
    )


def _wait_text(ms: int) -> str:
    """How long to wait, rounded up: to minutes from ten minutes on, else to seconds."""
    unit = 60_000 if ms >= 600_000 else 1_000
    return duration_text(-(-ms // unit) * unit)
