"""Keys of quotas: other keys are other texts, whatever teams and users are called."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from routewright.backends.control import QuotaLimit, Quotas, StateStore
from routewright.backends.control.keys import QuotaKey, key_of, key_words, stored_key

odd = st.one_of(
    st.sampled_from(
        ["", "?", "??", "=", "a", "a=b", "team", "team=?", '["team"]', "a\nteam=b", "\0", "a\0", " "]
    ),
    st.text(max_size=6),
)
keys = st.one_of(st.just(()), st.tuples(odd), st.tuples(odd, odd))


@given(keys, keys)
@example(("team", "?"), ("team",))
@example(("team", "a\nuser=b"), ("team", "a"))
@example(("a", "b=c"), ("a=b", "c"))
@example((), ("", ""))
def test_distinct_keys_never_share_a_text(one: QuotaKey, other: QuotaKey) -> None:
    assert (stored_key(one) == stored_key(other)) is (one == other)


@given(keys)
def test_a_stored_key_is_read_back(key: QuotaKey) -> None:
    assert key_of(stored_key(key)) == key


def test_keys_that_stores_hold_already_are_written_as_they_were() -> None:
    assert stored_key(()) == ""
    assert stored_key(("team", "research")) == "team=research"
    assert stored_key(("team", "a=b")) == "team=a=b"
    assert stored_key(("team",)) == "team=?"


def test_keys_are_told_in_words() -> None:
    assert [key_words(key) for key in ((), ("team", "research"), ("team", "?"), ("team",))] == [
        *("", "team=research", "team=?", "team not known"),
    ]


def test_a_team_called_like_nobody_uses_up_only_its_own(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "state.db")
    quotas = Quotas(store)
    limit = QuotaLimit("daily", "requests", 1, 1, "day")
    teams: list[QuotaKey] = [("team",), ("team", "?"), ("team", ""), ("team", "a"), ("team", "a\nuser=b")]
    for number, key in enumerate(teams):
        mine = QuotaLimit("daily", "requests", 1, 1, "day", key=key)
        lease = quotas.reserve(f"l{number}", [mine], at_us=0, expires_us=10)
        assert quotas.settle(lease, {}), key  # type: ignore[arg-type]  # a refusal has no such method
    assert {use.key: use.used for use in quotas.use_by_key(limit, at_us=0)} == dict.fromkeys(teams, 1)
    store.close()
