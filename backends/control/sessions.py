"""Sessions: which model last answered a conversation, so that a later turn can stay with it.

What is kept is a hash of the session's id, never the id: callers put whatever they like into it. A session is
forgotten when it has not been answered for a day, and the longest unanswered ones when there are too many.
"""

from __future__ import annotations

import hashlib

from .store import StateStore

FORGET_AFTER_US = 86_400_000_000
"""A day after its last answer a session is forgotten."""

REFRESH_AFTER_US = 60_000_000
"""A session that stays on its model is written again only after a minute: most turns cost no change of the store."""

MAX_SESSIONS = 100_000
"""Kept at most; a few more between two times that they are counted."""

_COUNT_EVERY = 100


class Sessions:
    """The sessions of one state store. Times are arguments, in microseconds since 1970, UTC.

    ``operation`` keeps the models of a session's chats and embeddings apart. All methods raise StateError.
    """

    def __init__(self, store: StateStore, *, max_sessions: int = MAX_SESSIONS) -> None:
        self._store = store
        self._max = max_sessions
        self._since_count = _COUNT_EVERY

    def model_of(self, session: str, operation: str, *, at_us: int) -> str | None:
        """The id of the model that last answered; None for a session that is new or forgotten."""
        kept = self._kept(session, operation)
        return None if kept is None or at_us - kept[1] >= FORGET_AFTER_US else kept[0]

    def is_news(self, session: str, operation: str, model: str, *, at_us: int) -> bool:
        """Whether ``answered`` would change anything: not while it is the same model and was kept a moment ago.

        Only reads, and so waits for nobody who writes.
        """
        return _is_news(self._kept(session, operation), model, at_us)

    def answered(self, session: str, operation: str, model: str, *, at_us: int) -> None:
        """Keep that ``model`` answered, where that is news."""
        key, kept = _key(session), self._kept(session, operation)
        if not _is_news(kept, model, at_us):
            return
        with self._store.change() as connection:
            if kept is None:
                old_us = at_us - FORGET_AFTER_US
                connection.execute("DELETE FROM sessions WHERE answered_us <= ?", (old_us,))
            connection.execute(
                "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)", (key, operation, model, at_us)
            )
            self._since_count += 1
            if self._since_count >= min(_COUNT_EVERY, self._max):
                self._since_count = 0
                connection.execute(
                    "DELETE FROM sessions WHERE (session, operation) IN (SELECT session, operation FROM sessions"
                    " ORDER BY answered_us DESC LIMIT -1 OFFSET ?)",
                    (self._max,),
                )

    def _kept(self, session: str, operation: str) -> tuple[str, int] | None:
        """The model that is kept of a session, and when it answered."""
        rows = self._store.read(
            "SELECT model, answered_us FROM sessions WHERE session = ? AND operation = ?",
            (_key(session), operation),
        )
        return (str(rows[0][0]), int(str(rows[0][1]))) if rows else None


def _key(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).hexdigest()


def _is_news(kept: tuple[str, int] | None, model: str, at_us: int) -> bool:
    return kept is None or kept[0] != model or abs(at_us - kept[1]) >= REFRESH_AFTER_US
