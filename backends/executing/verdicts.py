"""Reads the verdicts of models: a word on the first line, or one JSON object that is the whole text.

Small models add fences, labels and reasons; those are accepted. The judged text may be written to look like a verdict,
so JSON among other words does not count, and a verdict that other parts of the text contradict is unreadable: neither
yes nor no.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..protocol import ChatAnswer

MAX_NOTES: Final = 2_000
"""Notes are cut here."""

MAX_VERDICT: Final = 2**16
"""The longest text that is read as a verdict. A judge writes a few hundred words; parsing a megabyte takes a second."""

_ACCEPTS = frozenset({"accept", "accepted", "approve", "approved", "pass", "passed"})
_REJECTS = frozenset({"reject", "rejected", "fail", "failed"})
_SAFE = frozenset({"safe", "clean", "ok", "allow", "allowed"})
_FLAGGED = frozenset({"flagged", "unsafe", "harmful", "block", "blocked", "refuse", "refused"})
_DENIALS = frozenset({"no", "not", "false", "none", "never", "nope", "0"})
"""Words that turn the word before them into a label: ``safe: no``."""

# ASCII only: otherwise `ſ` and the Kelvin sign match letters, and digits of other scripts count as numbers.
_FLAGS: Final = re.IGNORECASE | re.ASCII
_MARKS = r"[\s*_#]*"
_LABEL = r"(?:verdict|safety|answer|result|best)[\s*_`\"']*[:=][\s*_`\"']*"

# A single word, optionally after a label and before reasons; "accept or reject", "not safe" and "safe-ish" do not
# match. A quoted word is a verdict only if nothing follows it.
_LINE = re.compile(
    rf"{_MARKS}(?P<quote>[`\"']*)(?P<label>{_LABEL})?(?:answer\s+)?(?P<word>[a-z]+|\d{{1,3}})(?P<end>[*_`\"']*)"
    r"\s*(?:$|(?::|[.;,!]+(?=\s|$)|(?<=\s)-+|-+(?=\s)|[\u2013\u2014])(?P<notes>.*))",
    _FLAGS,
)
_STATED = re.compile(rf"\b{_LABEL}(?:answer\s+)?(?P<word>[a-z]+|\d+)", _FLAGS)
_CLAUSES = re.compile(r"[.:;,!?()\n\u2013\u2014]|\s-+\s")
_FILLERS = re.compile(r"(?:(?:or|no|but|and|rather|actually|instead|then|wait|i|answer)\s+)*", _FLAGS)
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_THOUGHT_END = re.compile(r"</think", _FLAGS)
_FENCE = re.compile(r"\A```\w*\n(.*?)\n?```\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``yes`` is None where the words were neither yes nor no; ``notes`` are the model's."""

    yes: bool | None
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


def read_choice(answer: ChatAnswer, count: int) -> int | None:
    """Which of ``count`` answers a judge takes, from 1; None where that cannot be read."""
    said = _said(answer, "best")
    if said is None:
        return None
    word, _, others = said
    number = _number(word)
    denied = any(other in _DENIALS or _number(other) not in (0, number) for other in others)
    return number if 1 <= number <= count and not denied else None


def without_thoughts(text: str) -> str | None:
    """``text`` without its leading thoughts; None if thoughts and text cannot be told apart.

    Thoughts may quote a closing tag from the judged text, so an unmatched one does not end them.
    """
    text = _THOUGHT.sub("", text)
    return None if _THOUGHT_END.search(text) else text.strip()


def _verdict(answer: ChatAnswer, yes: frozenset[str], no: frozenset[str]) -> Verdict:
    said = _said(answer, "verdict")
    if said is None or said[0] not in yes | no:
        return Verdict(None, _cut(answer.text))
    word, notes, others = said
    against = (no if word in yes else yes) | _DENIALS
    if any(other in against for other in others):
        return Verdict(None, _cut(answer.text))
    return Verdict(word in yes, notes)


def _plain(answer: ChatAnswer) -> str | None:
    """The answer's text without thoughts and fences; None if it cannot be trusted.

    A truncated answer may hold half a verdict, and a truncated prompt makes it a verdict on something else. Only
    thoughts may be long.
    """
    if answer.finish_reason != "stop" or answer.truncated:
        return None
    text = without_thoughts(answer.text)
    if text is None or len(text) > MAX_VERDICT:
        return None
    if not text.startswith("```"):
        return text
    fenced = _FENCE.match(text)
    return None if fenced is None or "```" in fenced[1] else fenced[1].strip()


def _said(answer: ChatAnswer, key: str) -> tuple[str, str, list[str]] | None:
    """The verdict word in lower case, the notes, and the other words in the text that are phrased like a verdict."""
    text = _plain(answer)
    if text is None:
        return None
    if text.startswith("{"):
        word, notes = (stated := _object(text)).get(key), stated.get("notes")
        if isinstance(word, bool) or not isinstance(word, str | int):
            return None
        return str(word).strip().lower(), _cut(notes if isinstance(notes, str) else ""), []
    first, _, rest = text.partition("\n")
    found = _LINE.match(first)
    if found is None:
        return None
    reasons = "\n".join(filter(None, [found["notes"] or "", rest]))
    if re.search(r"[`\"']", found["quote"] + found["end"]) and reasons.strip():
        return None
    return found["word"].lower(), _cut(reasons.strip(" *_`")), list(_others(found["notes"] or "", rest))


def _others(notes: str, rest: str) -> Iterator[str]:
    """The words after a verdict that are phrased like one: labelled, on a line of their own, or a whole clause."""
    for stated in _STATED.finditer(f"{notes}\n{rest}"):
        yield stated["word"].lower()
    for line in rest.split("\n"):
        found = _LINE.match(line)
        # `1. The first …` is a numbered reason, `answer 1: …` one about an answer.
        if found is not None and (not found["word"].isdigit() or not (found["notes"] or "").strip()):
            yield found["word"].lower()
    for clause in _CLAUSES.split(notes):
        yield _FILLERS.sub("", clause.strip(" *_`\"'"), count=1).lower()


def _number(word: str) -> int:
    """The number that ``word`` spells; 0 for any other word."""
    return int(word) if len(word) <= 3 and word.isascii() and word.isdigit() else 0


def _object(text: str) -> dict[str, Any]:
    """The whole text as a JSON object; empty if the text is not one or repeats a key."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)


def _cut(text: str) -> str:
    text = text.strip()
    return text if len(text) <= MAX_NOTES else text[: MAX_NOTES - 1] + "…"
