"""Sessions in the state store: who answered last, for how long, of how many; files of the older layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from routewright.backends.control import Breakers, Sessions, StateStore, layout
from routewright.backends.control.sessions import FORGET_AFTER_US, REFRESH_AFTER_US

NOW = 1_795_341_600_000_000


@pytest.fixture
def sessions(store: StateStore) -> Sessions:
    return Sessions(store)


def test_the_model_that_answered_last_is_that_of_the_session(sessions: Sessions) -> None:
    assert sessions.model_of("a", "chat", at_us=NOW) is None
    sessions.answered("a", "chat", "kimi", at_us=NOW)
    sessions.answered("b", "chat", "glm", at_us=NOW)
    assert [sessions.model_of(name, "chat", at_us=NOW + 1) for name in ("a", "b", "c")] == [
        "kimi",
        "glm",
        None,
    ]
    sessions.answered("a", "chat", "glm", at_us=NOW + 1)
    assert sessions.model_of("a", "chat", at_us=NOW + 2) == "glm"


def test_chats_and_embeddings_of_a_session_are_kept_apart(sessions: Sessions) -> None:
    sessions.answered("a", "chat", "kimi", at_us=NOW)
    assert sessions.model_of("a", "embed", at_us=NOW) is None
    sessions.answered("a", "embed", "words", at_us=NOW)
    assert sessions.model_of("a", "chat", at_us=NOW) == "kimi"


def test_a_session_is_forgotten_a_day_after_its_last_answer(sessions: Sessions, store: StateStore) -> None:
    sessions.answered("a", "chat", "kimi", at_us=NOW)
    assert sessions.model_of("a", "chat", at_us=NOW + FORGET_AFTER_US - 1) == "kimi"
    assert sessions.model_of("a", "chat", at_us=NOW + FORGET_AFTER_US) is None
    sessions.answered("a", "chat", "kimi", at_us=NOW + REFRESH_AFTER_US)
    assert sessions.model_of("a", "chat", at_us=NOW + FORGET_AFTER_US) == "kimi"
    sessions.answered("b", "chat", "kimi", at_us=NOW + REFRESH_AFTER_US + FORGET_AFTER_US)
    assert len(store.read("SELECT * FROM sessions")) == 1


def test_a_turn_on_the_same_model_soon_after_changes_nothing(sessions: Sessions, store: StateStore) -> None:
    sessions.answered("a", "chat", "kimi", at_us=NOW)
    before = store.read("SELECT * FROM sessions")
    sessions.answered("a", "chat", "kimi", at_us=NOW + REFRESH_AFTER_US - 1)
    assert store.read("SELECT * FROM sessions") == before
    sessions.answered("a", "chat", "kimi", at_us=NOW + REFRESH_AFTER_US)
    assert store.read("SELECT answered_us FROM sessions") == [(NOW + REFRESH_AFTER_US,)]


def test_of_too_many_sessions_the_longest_unanswered_are_forgotten(store: StateStore) -> None:
    sessions = Sessions(store, max_sessions=5)
    for number in range(20):
        sessions.answered(f"s{number}", "chat", "kimi", at_us=NOW + number)
        assert len(store.read("SELECT * FROM sessions")) <= 10
    known = [n for n in range(20) if sessions.model_of(f"s{n}", "chat", at_us=NOW + 20)]
    assert known == list(range(20 - len(known), 20)) and len(known) >= 5


def test_the_id_of_a_session_is_not_in_the_file(sessions: Sessions, store: StateStore) -> None:
    sessions.answered("jane@example.com", "chat", "kimi", at_us=NOW)
    [(key,)] = store.read("SELECT session FROM sessions")
    assert len(str(key)) == 64
    with store.change() as connection:
        connection.execute("DELETE FROM quota_used")  # so that there is something in the log
    files = store.path.parent.glob("state.db*")
    assert not any(b"jane" in path.read_bytes() for path in files)


def test_what_another_process_kept_counts_at_once(sessions: Sessions, store: StateStore) -> None:
    other = StateStore(store.path)
    Sessions(other).answered("a", "chat", "kimi", at_us=NOW)
    other.close()
    assert sessions.model_of("a", "chat", at_us=NOW) == "kimi"


@pytest.mark.parametrize("version", range(1, layout.LAYOUT_VERSION))
def test_a_file_of_an_older_layout_is_given_what_it_lacks_and_loses_nothing(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    with monkeypatch.context() as older:
        older.setattr(layout, "LAYOUT_VERSION", version)
        older.setattr(layout, "_ADDED", layout._ADDED[:version])
        first = StateStore(path)
        Breakers(first).failed("kimi", at_us=NOW, error_class="overloaded")
        first.close()
    again = StateStore(path)
    Sessions(again).answered("a", "chat", "kimi", at_us=NOW)
    assert Sessions(again).model_of("a", "chat", at_us=NOW) == "kimi"
    assert set(Breakers(again).all(at_us=NOW)) == {"kimi"}
    again.close()
    StateStore(path).close()
