"""A model's words in, its verdict out: from a JSON object, or from the first line; else there is none.

Small models add fences, labels and reasons; that is understood. What is not clearly one of the two words is no
verdict: neither yes nor no is ever guessed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from ..protocol import ChatAnswer

__all__ = ["MAX_NOTES", "Choice", "Verdict", "read_choice", "read_screening", "read_verification"]

MAX_NOTES: Final = 2_000
"""Notes are cut here."""

_ACCEPTS = frozenset({"accept", "accepted", "approve", "approved", "pass", "passed"})
_REJECTS = frozenset({"reject", "rejected", "fail", "failed"})
_SAFE = frozenset({"safe", "clean", "ok", "allow", "allowed"})
_FLAGGED = frozenset({"flagged", "unsafe", "harmful", "block", "blocked", "refuse", "refused"})

# A word alone, perhaps after a label and perhaps before its reasons; "accept or reject" and "not safe" are neither.
_LINE = re.compile(
    r"[\s*_#`>\"']*(?:(?:verdict|safety|answer|result|best)[\s*_`\"']*[:=][\s*_`\"']*)?"
    r"(?:answer\s+)?(?P<word>[a-z]+|\d{1,3})[*_`\"']*\s*(?:$|[.:;,!\-\u2013\u2014](?P<notes>.*))",
    re.IGNORECASE,
)
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"\A\s*```\w*\n(.*?)\n?```\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``yes`` is None where the words were neither yes nor no; ``notes`` are the model's."""

    yes: bool | None
    notes: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The number that was chosen, from 1; None where none could be read."""

    number: int | None
    notes: str


def read_verification(answer: ChatAnswer) -> Verdict:
    """Whether a reviewer accepts.

    >>> from routewright.backends import Timings, Usage
    >>> said = ChatAnswer("REJECT: the sum is wrong", "stop", Usage(1, 0, 1, 0, "reported"), None, Timings(0, 0, 1))
    >>> read_verification(said)
    Verdict(yes=False, notes='the sum is wrong')
    """
    return _verdict(answer, _ACCEPTS, _REJECTS)


def read_screening(answer: ChatAnswer) -> Verdict:
    """Whether content is safe."""
    return _verdict(answer, _SAFE, _FLAGGED)


def read_choice(answer: ChatAnswer, count: int) -> Choice:
    """Which of ``count`` answers a judge takes."""
    text = _plain(answer)
    said = None if text is None else _said(text, "best")
    if said is None:
        return Choice(None, _cut(answer.text))
    word, notes = said
    number = int(word) if word.isascii() and word.isdigit() else 0
    return Choice(number if 1 <= number <= count else None, notes)


def _verdict(answer: ChatAnswer, yes: frozenset[str], no: frozenset[str]) -> Verdict:
    text = _plain(answer)
    said = None if text is None else _said(text, "verdict")
    if said is None or said[0] not in yes | no:
        return Verdict(None, _cut(answer.text))
    return Verdict(said[0] in yes, said[1])


def _plain(answer: ChatAnswer) -> str | None:
    """What was said, without thoughts and fences; None where it cannot be trusted.

    Cut short, the verdict may be half of one; with part of the prompt left out, it is about something else.
    """
    if answer.finish_reason != "stop" or answer.truncated:
        return None
    text = _THOUGHT.sub("", answer.text)
    fenced = _FENCE.match(text)
    return (fenced[1] if fenced else text).strip()


def _said(text: str, key: str) -> tuple[str, str] | None:
    """The word of the verdict, in lower case, and the notes."""
    stated = _object(text)
    if stated is not None:
        word, notes = stated.get(key), stated.get("notes")
        if isinstance(word, bool) or not isinstance(word, str | int):
            return None
        return str(word).strip().lower(), _cut(notes if isinstance(notes, str) else "")
    first, _, rest = text.partition("\n")
    found = _LINE.match(first)
    if found is None:
        return None
    return found["word"].lower(), _cut("\n".join(filter(None, [found["notes"] or "", rest])).strip(" *_`"))


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that the text is, or that it holds and nothing else like it."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        value = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _cut(text: str) -> str:
    text = text.strip()
    return text if len(text) <= MAX_NOTES else text[: MAX_NOTES - 1] + "…"
