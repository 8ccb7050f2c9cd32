"""The entries of a spool: encodes rows as text, and reads the text back. What was said before is not said again.

An entry names the parts of records by their digests, and holds those that its file does not have yet. Of the state it
holds what has changed since the writer's last entry in the file. So a file can be read by itself, from its beginning.

Values stand in the order of the fields of `RecordRow` and `RecordedDecision`, and of the tuples of names below. These
are the format: a new field goes to the end, and lists of older files are shorter.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from routewright.engine.decision import MemoryState, ModelState
from routewright.engine.record import Attempt, Intent, RecordParts, RecordRow, memory_text, model_text

from .errors import LedgerError
from .rows import DecisionRow, LedgerEntry, PolicyRow

BEGINNING: Final = b'{"entry":2'
"""How every entry begins."""

ATTEMPT: Final = tuple(name for name in Attempt._fields if name != "message")
INTENT: Final = Intent._fields
POLICY: Final = PolicyRow._fields


class Changes(NamedTuple):
    """How the state has changed since the writer's last entry: ``number`` counts changes within a file.

    ``anew`` says that nothing else is known. ``models`` and ``memory`` hold canonical JSON by model and by backend,
    None for one of which nothing is known any more.
    """

    number: int
    anew: bool
    models: Mapping[str, str | None]
    memory: Mapping[str, str | None]


class RecordedDecision(NamedTuple):
    """A decision: its row, the digests of its parts, how many changes of the state came before it, what is beside."""

    row: RecordRow
    policy: str
    plan: str
    arm: str | None
    state: int
    mode: str
    tags: Mapping[str, str] | None
    trace_id: str | None
    deciding_ns: int | None
    shadow_of: str | None
    answered_attempt: int | None
    simulated: bool | None = None


class Entry(NamedTuple):
    """What one entry says, as plain values by the names above; a decision of version 1 by names too."""

    parts: Mapping[str, str]
    changes: Changes | None
    decision: RecordedDecision | Mapping[str, Any] | None
    attempts: Sequence[tuple[str, Mapping[str, Any]]]
    intents: Sequence[tuple[str, Mapping[str, Any]]]
    end: tuple[str, int | None] | None
    policies: Sequence[Mapping[str, Any]]

    @property
    def decision_id(self) -> str | None:
        """The decision that the entry is of; None where it holds policies alone."""
        if isinstance(self.decision, RecordedDecision):
            return self.decision.row.id
        if self.decision is not None:
            return str(self.decision["id"])
        if self.end is not None:
            return self.end[0]
        calls = (*self.intents, *self.attempts)
        return calls[0][0] if calls else None


RESTATE_BYTES: Final = 256 * 1024
"""After so many bytes all is said anew, so that damage in what entries refer to costs no more than these."""

_BESIDE: Final = DecisionRow._fields.index("tags") + 1
"""Where the fields of a row begin that stand in an entry as they are, up to the last."""

_ROW: Final = RecordRow._fields.index("salts")
"""How many fields of a record's row stand before those of the decision; salts have a name of their own."""

_attempt_values = itemgetter(*map(Attempt._fields.index, ATTEMPT))


class EntryEncoder:
    """Encodes the entries of one writer. Not safe in several threads: whoever writes the file has a lock."""

    def __init__(self) -> None:
        self._file = -1
        self._begin()

    def forget(self) -> None:
        """What was encoded last was not written: say all anew."""
        self._file = -1

    def encode(self, file: int, entry: LedgerEntry) -> bytes:
        """The entry's text for the writer's file with that number. Raises LedgerError for what JSON cannot hold."""
        if file != self._file:
            self._file = file
            self._begin()
        values: dict[str, Any] = {"entry": 2}
        decision, attempts, policies, intents, end = entry
        if decision is not None:
            self._add_decision(values, decision)
        if attempts:
            values["a"] = [(id, *_attempt_values(attempt)) for id, attempt in attempts]
        if intents:
            values["i"] = [(id, *intent) for id, intent in intents]
        if end is not None:
            values["e"] = (*end,)  # JSON of a named tuple takes as long as all the rest
        if policies:
            values["t"] = policies
        try:
            text = to_json(values)
            # One letter is found ten times as fast as a word, and most entries have neither.
            if (b"N" in text or b"I" in text) and (b"NaN" in text or b"Infinity" in text):
                json.loads(text, parse_constant=_refuse)  # it lets numbers through that are none in JSON
        except ValueError as error:  # what it raises, and what Unicode raises, are such
            raise unstorable(error) from error
        self._bytes += len(text)
        if self._bytes >= RESTATE_BYTES:
            self.forget()
        return text

    def _begin(self) -> None:
        self._bytes = 0
        self._parts: set[str] = set()
        self._models: dict[str, ModelState] = {}
        self._memory: dict[str, MemoryState] = {}
        self._number = 0

    def _add_decision(self, values: dict[str, Any], row: DecisionRow) -> None:
        record = row.record
        about, (policy, _), (plan, _), arm, models, memory = record
        known = self._parts
        arm_digest = None if arm is None else arm.digest
        if not (policy in known and plan in known and (arm is None or arm_digest in known)):
            values["p"] = self._new_parts(record)
        if self._number == 0 or models != self._models or memory != self._memory:
            self._add_changes(values, record)
        if row.tags:
            _check_tags(row.tags)
        beside = row.mode, row.tags or None, *row[_BESIDE:]
        values["d"] = (*about[:_ROW], policy, plan, arm_digest, self._number, *beside)
        if about.salts:
            values["z"] = about.salts

    def _new_parts(self, record: RecordParts) -> dict[str, str]:
        found = [part for part in (record.policy, record.plan, record.arm) if part is not None]
        new = {part.digest: part.text for part in found if part.digest not in self._parts}
        self._parts.update(new)
        return new

    def _add_changes(self, values: dict[str, Any], record: RecordParts) -> None:
        anew = self._number == 0
        models = _changed(self._models, record.models, model_text)
        memory = _changed(self._memory, record.memory, memory_text)
        self._models, self._memory = dict(record.models), dict(record.memory)
        if models or memory or anew:
            self._number += 1
            values["s"] = (self._number, anew, models, memory)


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], text: Any) -> dict[str, str | None]:
    changed: dict[str, str | None] = {
        id: text(one) for id, one in now.items() if before.get(id) is not one and before.get(id) != one
    }
    changed.update((id, None) for id in before.keys() - now.keys())
    return changed


def decode(text: str) -> Entry:
    """What an entry says. Raises LedgerError for a text that is none."""
    try:
        return _entry(json.loads(text))
    except _UNREADABLE as error:
        raise LedgerError(f"an entry cannot be read: {error}") from error


def decode_all(texts: Sequence[str]) -> Iterator[Entry | LedgerError]:
    """What each of the entries says; an error, which is not raised, for a text that is none."""
    # All texts at once take half as long. Between them stands what no text can hold, as nobody knew it, so that what is
    # no value by itself is none together with another.
    between = random.getrandbits(62)
    try:
        found = json.loads(f"[{f',{between},'.join(texts)}]")
    except (ValueError, RecursionError):
        found = []
    is_whole = found[1::2] == [between] * (len(texts) - 1) and len(found) == 2 * len(texts) - 1
    for text, values in zip(texts, found[::2] if is_whole else repeat(None), strict=False):
        try:
            yield decode(text) if values is None else _entry(values)
        except LedgerError as error:
            yield error
        except _UNREADABLE as error:
            yield LedgerError(f"an entry cannot be read: {error}")


_UNREADABLE: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)
_ATTEMPT: Final = ("decision_id", *ATTEMPT)
_INTENT: Final = ("decision_id", *INTENT)


def _entry(values: Mapping[str, Any]) -> Entry:
    get = values.get
    return Entry(
        get("p") or {},
        _changes(*values["s"]) if "s" in values else None,
        _decision(values["d"], get("z")) if "d" in values else None,
        [_call(_ATTEMPT, *one) for one in get("a", ())],
        [_call(_INTENT, *one) for one in get("i", ())],
        _end(*values["e"]) if get("e") else None,
        [dict(zip(POLICY, one, strict=False)) for one in get("t", ())],
    )


def _changes(number: int, anew: bool, models: Mapping[str, Any], memory: Mapping[str, Any]) -> Changes:
    for text in (*models.values(), *memory.values()):
        if text is not None:
            _text(text)
    return Changes(_whole(number), anew, models, memory)


def _call(names: Sequence[str], id: str, number: int, *more: Any) -> tuple[str, Mapping[str, Any]]:
    return _text(id), dict(zip(names, (id, _whole(number), *more), strict=False))


def _end(id: str, answered: int | None) -> tuple[str, int | None]:
    return _text(id), answered


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"`{value!r}` is not text")
    return value


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"`{value!r}` is not a whole number")
    return value


def _decision(values: list[Any], salts: Mapping[str, str] | None) -> RecordedDecision:
    _text(values[0])
    return RecordedDecision(RecordRow._make([*values[:_ROW], salts, None]), *values[_ROW:])


def says_more(text: str) -> bool:
    """Whether an entry may hold parts, or changes of the state: they come first in it."""
    return text.startswith(('{"entry":2,"p"', '{"entry":2,"s"'))


def unstorable(error: ValueError) -> LedgerError:
    """What to say of rows that JSON cannot hold."""
    why = str(error).removeprefix("Error serializing to JSON: ")
    return LedgerError(f"a row holds what the ledger cannot store: {why}; nothing was written")


def _check_tags(tags: Mapping[str, str]) -> None:
    for name, tag in tags.items():
        if type(name) is not str or type(tag) is not str:
            raise LedgerError(
                f"a row holds what the ledger cannot store: the tag `{name!r}: {tag!r}` is not text; "
                "nothing was written"
            )


def _refuse(number: str) -> None:
    raise ValueError(f"`{number}` is no number in JSON")
