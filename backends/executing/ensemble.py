"""Asks the members of an ensemble at the same time, and makes one answer of theirs.

A member that fails is missing, no more; too few answers, no majority or no readable judgement are a failure that
says so, never a silent choice.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import BackendError, ErrorClass
from ..protocol import ChatAnswer, ChatRequest
from .answering import Answered
from .asking import Exhausted, Result, TargetRequest
from .attempts import EnsembleReport, QuorumError
from .prompts import Block, Prompts, Template, said_by, spoken
from .repeating import obtain
from .session import Session
from .verdicts import read_choice, without_thoughts
from .work import Ensemble, Target

JUDGE_TEMPLATES: Final = {"judge": Template(frozenset({"conversation", "answers", "count"}))}


@dataclass(frozen=True, slots=True)
class _Undecided:
    """Why there is no answer although members answered."""

    why: str
    error: BackendError | None = None


_Labels = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class AskedTogether:
    """One request to the members of an ensemble; ``after`` are those of ``TargetRequest``."""

    session: Session
    ensemble: Ensemble
    request: ChatRequest
    prompts: Prompts
    after: Sequence[Target] = ()

    async def run(self) -> tuple[Answered | BackendError, EnsembleReport]:
        """The answer that the members' answers come to, or a QuorumError; and how it came about.

        Refused content stops the work where it costs the quorum: nobody shops around for a model that says yes.
        """
        ensemble = self.ensemble
        results = await self._ask_members()
        given = [
            Answered(result.answer, member, result.attempt.number, 0)
            for member, result in zip(ensemble.members, results, strict=True)
            if isinstance(result, Result) and isinstance(result.answer, ChatAnswer)
        ]
        labels = _labels(ensemble, given)
        decided = await self._decided(given, labels)
        shown = labels if ensemble.label_of is not None else ()
        answered = tuple(one.target.model_id for one in given)
        if isinstance(decided, _Undecided):
            report = EnsembleReport(ensemble.combine, answered, None, shown, decided.why)
            return decided.error or _quorum_error(ensemble, results, decided.why), report
        return decided, EnsembleReport(ensemble.combine, answered, decided.target.model_id, shown)

    @property
    def _needed(self) -> int:
        return 1 if self.ensemble.combine == "first" else self.ensemble.quorum

    async def _ask(self, member: Target, forced: str | None) -> Result | Exhausted:
        behind, judge = self.session.fallbacks, self.ensemble.judge
        after = self.after if judge is None else (judge, *self.after)
        asked = TargetRequest(member, self.request, "member", behind=behind, after=after)
        try:
            return await obtain(self.session, asked, forced=forced, spare=len(behind))
        except Exhausted as exhausted:
            return exhausted

    async def _ask_members(self) -> Sequence[Result | Exhausted | None]:
        """The result of each member, in the members' order; None for one that was not waited for."""
        members, session, forced = self.ensemble.members, self.session, self._needed_all_the_same()
        tasks = [asyncio.ensure_future(self._ask(one, forced.get(one.model_id))) for one in members]
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if any(_has_failed(task) for task in done):
                    break
                if self.ensemble.combine == "first" and any(_has_answer(task) for task in done):
                    break
        finally:
            # Whoever is not needed any more is told to stop, and leaves its attempt behind.
            for task in waiting:
                task.cancel()
            if waiting:
                await asyncio.wait(waiting)
            ends = [attempt.started_at_us + attempt.total_us for attempt in session.attempts()]
            session.time.advance_to(max(ends, default=0))
        return [None if task.cancelled() else task.result() for task in tasks]

    def _needed_all_the_same(self) -> dict[str, str]:
        """Members that are asked although their breaker is open, because the quorum needs them."""
        members = self.ensemble.members
        found = [(self.session.resting(member), member.model_id) for member in members]
        resting = [(one, model) for one, model in found if one is not None]
        missing = max(0, self._needed - (len(members) - len(resting)))
        passable = sorted((one.until_us or 0, model) for one, model in resting if not one.holds)
        return {model: "its breaker is open, and the quorum needs it" for _, model in passable[:missing]}

    async def _decided(self, given: Sequence[Answered], labels: _Labels) -> Answered | _Undecided:
        # An answer without a label is no vote.
        if self.ensemble.combine == "vote":
            given = [one for one, (_, label) in zip(given, labels, strict=True) if label]
        if len(given) < self._needed:
            return _Undecided(f"{len(given)} of {self._needed} needed members gave a usable answer")
        match self.ensemble.combine:
            case "first":
                # The one whose call ended first: it is why the others were told to stop.
                return given[0]
            case "vote":
                return _vote(given, dict(labels))
            case "judge":
                return await self._judged(given)
            case "consensus_or_override":
                return _consensus(self.ensemble, given, dict(labels))

    async def _judged(self, given: Sequence[Answered]) -> Answered | _Undecided:
        """The answer that a judge prefers, who sees no names, and the answers in random order."""
        session, judge = self.session, self.ensemble.judge
        if len(given) == 1:
            return given[0]
        # INVARIANT: an ensemble that is judged has a judge.
        assert judge is not None
        order = list(given)
        session.random.shuffle(order)
        asked = self.prompts["judge"].about(
            self.request,
            session.random,
            may_think=judge.may_think,
            answers=tuple(Block(f"answer {at}", said_by(one.chat)) for at, one in enumerate(order, 1)),
            count=len(order),
        )
        forced = "its breaker is open, and there is no other judge" if session.may_pass(judge) else None
        try:
            request = TargetRequest(judge, asked, "judge", behind=session.fallbacks, after=self.after)
            result = await obtain(session, request, forced=forced)
        except Exhausted as exhausted:
            return _Undecided(f"the judge was not asked: {exhausted.error}", exhausted.error)
        if not isinstance(result.answer, ChatAnswer):
            return _Undecided(f"the judge failed: {result.error}", result.error)
        number = read_choice(result.answer, len(order))
        if number is None:
            message = f"the judgement of `{judge.model_id}` cannot be read"
            return _Undecided(message, BackendError(message, error_class="bad_response"))
        return order[number - 1]


def _vote(given: Sequence[Answered], labels: dict[str, str | None]) -> Answered | _Undecided:
    """The first member that voted with more than half of the votes."""
    votes = Counter(labels[one.target.model_id] for one in given)
    [(label, count), *_] = votes.most_common()
    if 2 * count <= len(given):
        cast = ", ".join(f"{count} for `{label}`" for label, count in votes.most_common())
        return _Undecided(f"no majority: {cast}")
    return next(one for one in given if labels[one.target.model_id] == label)


def _consensus(
    ensemble: Ensemble, given: Sequence[Answered], labels: dict[str, str | None]
) -> Answered | _Undecided:
    """The common answer where all say the same; else that of the member which decides."""
    if ensemble.label_of is not None:
        said = {labels[one.target.model_id] for one in given}
        agreed = len(said) == 1 and None not in said
    else:
        agreed = len({_normal(spoken(one.chat)) for one in given}) == 1
    # One answer alone agrees with nobody.
    if agreed and len(given) > 1:
        return given[0]
    deciding = next((one for one in given if one.target.model_id == ensemble.override), None)
    return deciding or _Undecided(f"the answers differ, and `{ensemble.override}`, which decides, gave none")


def _labels(ensemble: Ensemble, given: Sequence[Answered]) -> _Labels:
    """The label of each answer. Case and blanks are ignored, since models vary both.

    Thoughts are not searched, and an answer to a truncated prompt has no label: it answers something else.
    """
    label_of = ensemble.label_of
    texts = [None if one.chat.truncated else without_thoughts(one.chat.text) for one in given]
    found = [None if label_of is None or text is None else label_of(text) for text in texts]
    return tuple(
        (one.target.model_id, (_blanks(label).casefold() or None) if label else None)
        for one, label in zip(given, found, strict=True)
    )


def _normal(text: str) -> str:
    """A text without what does not change its meaning: case, blanks, the mark at its end."""
    return _blanks(text).casefold().rstrip(".! ")


def _blanks(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _quorum_error(ensemble: Ensemble, results: Sequence[Result | Exhausted | None], why: str) -> QuorumError:
    errors = [None if result is None else result.error for result in results]
    members = tuple(
        (member.model_id, None if error is None else error.error_class)
        for member, error in zip(ensemble.members, errors, strict=True)
    )
    classes = [error.error_class for error in errors if error is not None]
    refused = "refused_content" in classes
    # Without a failure of a member it is what they said that led nowhere.
    error_class: ErrorClass = "refused_content" if refused else classes[-1] if classes else "bad_response"
    return QuorumError(f"the ensemble gave no answer: {why}", error_class=error_class, members=members)


def _has_answer(task: asyncio.Task[Result | Exhausted]) -> bool:
    result = task.result()
    return isinstance(result, Result) and result.answer is not None


def _has_failed(task: asyncio.Task[Result | Exhausted]) -> bool:
    """Whether something else than a backend's failure ended it, such as a full disk under the ledger."""
    return task.cancelled() or task.exception() is not None
