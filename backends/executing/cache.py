"""Keeps answers in memory for a while, for exactly the same model, work around it, and request.

Nothing is written to a disk and nothing outlives the process: prompts and answers are people's words. What is kept
is complete, unrefused and went through every step; a caller never gets less from here than from a model.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Final, NamedTuple

from cachetools import TLRUCache

from routewright.engine.canonical import digest_of

from ..protocol import Backend, ChatAnswer, EmbedAnswer, RerankAnswer, Timings, Usage
from .work import Answer, Ensemble, Request, Target, Work

DEFAULT_MAX_BYTES: Final = 64 * 1024 * 1024
"""How much the answers of a cache take together, about."""

_OVERHEAD_BYTES: Final = 1_000
"""What an entry takes beside its text or vectors, about."""


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer, what it cost to make (None: unknown), until when it may be used, and whether it was verified."""

    answer: Answer
    cost_nano: int | None
    until_us: int
    verified: bool | None = None


class Claim(NamedTuple):
    """That somebody makes an answer: ``here`` is the process and the key, ``made`` ends when it is made."""

    here: tuple[int, str]
    made: Future[None]
    is_gone: Callable[[], bool]


class AnswerCache:
    """A bounded cache: the least recently used answers give way. Safe to use from many threads.

    ``clock`` gives microseconds since 1970. An answer of more than an eighth of ``max_bytes`` is not kept.
    """

    def __init__(self, *, clock: Callable[[], int], max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._largest = max_bytes // 8
        self._lock = threading.Lock()
        # Not of asyncio: those that wait may be in other threads, with event loops of their own. By process too: a
        # forked one has none of the threads that make its parent's answers.
        self._made: dict[tuple[int, str], Claim] = {}
        self._entries: TLRUCache[str, CachedAnswer] = TLRUCache(
            max_bytes, ttu=lambda _key, entry, _now: entry.until_us, timer=clock, getsizeof=_size
        )

    def get(self, key: str) -> CachedAnswer | None:
        """The answer kept under ``key``, unless its time is over. It used no tokens this time and took none."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is None:
            return None
        unused = replace(entry.answer, usage=Usage(0, 0, 0, 0, "reported"), timings=Timings(None, None, 0))
        return replace(entry, answer=unused)

    def put(self, key: str, entry: CachedAnswer) -> None:
        """Keep an answer until its time is over."""
        if _size(entry) <= self._largest:
            with self._lock:
                self._entries[key] = entry

    def claim(self, key: str, is_gone: Callable[[], bool]) -> Claim | None:
        """None if somebody makes the answer for ``key`` now, or else the claim of the caller, who does.

        ``is_gone`` says whether what the caller runs in has come to its end without it: then the claim lapses.
        """
        here = os.getpid(), key
        with self._lock:
            before = self._made.get(here)
            if before is not None and not before.is_gone():
                return None
            # It cannot be cancelled: one that gives up waiting takes nothing from the others.
            claim = self._made[here] = Claim(here, Future(), is_gone)
            claim.made.set_running_or_notify_cancel()
        if before is not None:
            before.made.set_result(None)
        return claim

    def making(self, key: str) -> Future[None] | None:
        """What ends when whoever makes the answer for ``key`` has finished; None if nobody does."""
        with self._lock:
            claim = self._made.get((os.getpid(), key))
        return None if claim is None else claim.made

    def finished(self, claim: Claim) -> None:
        """Let those that wait for the answer go on, unless the claim has lapsed."""
        with self._lock:
            mine = self._made.get(claim.here) is claim and claim.here[0] == os.getpid()
            if mine:
                del self._made[claim.here]
        if mine:
            claim.made.set_result(None)

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)


def is_keepable(answer: Answer) -> bool:
    """Whether an answer is whole: not empty, not cut short, with its whole prompt read, and without calls of tools.

    A call of a tool acts on the world as it was; the same question later is another question.
    """
    if not isinstance(answer, ChatAnswer):
        return True
    whole = answer.finish_reason == "stop" and not answer.truncated and not answer.tool_calls
    return whole and bool(answer.text.strip())


def cache_key(
    work: Work, target: Target | Ensemble, request: Request, backends: Mapping[str, Backend], prompts: str
) -> str | None:
    """A digest of everything that the answer depends on and of whom it may be shown to; None for no key.

    That is the model and where it is, the steps around it with the templates that they use, the request with all
    of its options, what the caller says of it, the policy and the constraints in force. What JSON cannot say gives no
    key.
    """
    use = work.cache
    if use is None:
        return None
    try:
        return digest_of(
            {
                "for": [_said(use.given), use.policy, sorted(use.constraints)],
                "by": _place(target, backends) if isinstance(target, Target) else None,
                "together": _places(target, backends) if isinstance(target, Ensemble) else None,
                "steps": [
                    [step.role, _place(step.target, backends), dict(step.options)] for step in work.steps
                ],
                "prompts": prompts if work.steps or isinstance(target, Ensemble) else None,
                "operation": type(request).__name__,
                "request": _said(request),
            }
        )
    except (TypeError, ValueError):
        return None


def _place(target: Target, backends: Mapping[str, Backend]) -> list[object]:
    # The kind of backend too: a simulated answer must never be given for a real one.
    kind = type(backends.get(target.backend_id)).__name__
    return [target.model_id, target.backend_id, target.tag, kind, target.think]


def _places(together: Ensemble, backends: Mapping[str, Backend]) -> list[object]:
    return [
        *(together.combine, together.quorum, together.override, together.label),
        [_place(member, backends) for member in together.members],
        None if together.judge is None else _place(together.judge, backends),
    ]


def _said(value: object) -> object:
    """A request as JSON can say it; images by their digest."""
    if is_dataclass(value):
        return {field.name: _said(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) for key in value):
            raise TypeError("options have text keys")
        return {key: _said(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_said(part) for part in value]
    return value


def _size(entry: CachedAnswer) -> int:
    answer = entry.answer
    match answer:
        case ChatAnswer():
            # Python keeps text in up to four bytes for each character.
            characters = len(answer.text) + len(answer.thinking or "")
            return _OVERHEAD_BYTES + 4 * characters
        case EmbedAnswer():
            return _OVERHEAD_BYTES + sum(32 * len(vector) for vector in answer.vectors)
        case RerankAnswer():
            return _OVERHEAD_BYTES + 32 * len(answer.scores)
