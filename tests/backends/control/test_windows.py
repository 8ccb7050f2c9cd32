from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routewright.backends.control import Period, window_of

_HOUR_US = 3_600_000_000
PERIODS: tuple[Period, ...] = ("minute", "hour", "day", "week", "month")
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # repeats midnight
    "America/Sao_Paulo",  # skipped midnight until 2018
    "America/St_Johns",  # minus three and a half hours
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # moves its clock by half an hour
    "Pacific/Apia",
    "Pacific/Chatham",
    "Antarctica/Troll",  # moves its clock by two hours
)
_FIRST, _LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2012, 2037))


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


LORD_HOWE_BACK = us("2026-04-05T02:00:00+11:00")


@given(
    at_us=st.integers(_FIRST * 1_000_000, _LAST * 1_000_000),
    period=st.sampled_from(PERIODS),
    zone=st.sampled_from(ZONES),
)
@example(at_us=LORD_HOWE_BACK, period="hour", zone="Australia/Lord_Howe")
@example(at_us=LORD_HOWE_BACK - 1, period="hour", zone="Australia/Lord_Howe")
@example(at_us=LORD_HOWE_BACK + 20 * 60_000_000, period="hour", zone="Australia/Lord_Howe")
@example(at_us=us("2026-11-01T00:30:00-04:00"), period="day", zone="America/Havana")
@example(at_us=us("2026-11-01T00:30:00-05:00"), period="day", zone="America/Havana")
def test_windows_hold_their_time_and_follow_each_other_without_a_gap(
    at_us: int, period: Period, zone: str
) -> None:
    window = window_of(at_us, period, zone)
    assert window.start_us <= at_us < window.end_us
    for inside in (window.start_us, (window.start_us + at_us) // 2, window.end_us - 1):
        # Another window in between: the answer must not depend on what was asked before.
        window_of(inside - 40 * 24 * _HOUR_US, period, zone)
        assert window_of(inside, period, zone) == window
    assert window_of(window.end_us, period, zone).start_us == window.end_us
    assert window_of(window.start_us - 1, period, zone).end_us == window.start_us


@given(at_us=st.integers(_FIRST * 1_000_000, _LAST * 1_000_000), zone=st.sampled_from(ZONES))
def test_a_day_is_the_days_of_the_zones_calendar(at_us: int, zone: str) -> None:
    local = datetime.fromtimestamp(at_us // 1_000_000, ZoneInfo(zone))
    assert window_of(at_us, "day", zone).name == f"{local:%Y-%m-%d}"
    assert window_of(at_us, "month", zone).name == f"{local:%Y-%m}"
    assert window_of(at_us, "week", zone).name == f"{local:%G-W%V}"


@pytest.mark.parametrize(
    ("period", "zone", "at", "name", "start", "end"),
    [
        ("minute", "UTC", "2026-11-22T10:07:30+00:00", "2026-11-22T10:07+00:00", "10:07", "10:08"),
        ("hour", "Asia/Kolkata", "2026-11-22T10:07:00+00:00", "2026-11-22T15:00+05:30", "09:30", "10:30"),
        ("hour", "America/St_Johns", "2026-11-22T10:37:00+00:00", "2026-11-22T07:00-03:30", "10:30", "11:30"),
        ("day", "America/New_York", "2026-11-22T10:00:00+00:00", "2026-11-22", "05:00", "05:00"),
    ],
)
def test_windows_begin_and_end_on_the_zones_clock(
    period: Period, zone: str, at: str, name: str, start: str, end: str
) -> None:
    window = window_of(us(at), period, zone)
    times = [f"{datetime.fromtimestamp(t // 1_000_000, UTC):%H:%M}" for t in window[1:]]
    assert (window.name, *times) == (name, start, end)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00:00+02:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00:00+01:00", 25),
        ("Australia/Lord_Howe", "2026-04-05T12:00:00+10:30", 24.5),
        ("America/Sao_Paulo", "2018-11-04T12:00:00-02:00", 23),
        ("America/Havana", "2026-11-01T12:00:00-05:00", 25),
        ("Pacific/Apia", "2026-11-22T12:00:00+13:00", 24),
    ],
)
def test_days_on_which_the_clock_is_moved_are_shorter_or_longer(zone: str, day: str, hours: float) -> None:
    window = window_of(us(day), "day", zone)
    assert (window.end_us - window.start_us) / _HOUR_US == hours


def test_an_hour_that_is_repeated_is_two_windows() -> None:
    first = window_of(us("2026-10-25T02:30:00+02:00"), "hour", "Europe/Berlin")
    second = window_of(us("2026-10-25T02:30:00+01:00"), "hour", "Europe/Berlin")
    assert (first.name, second.name) == ("2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00")
    assert first.end_us == second.start_us


def test_an_hour_in_which_the_clock_moves_by_half_an_hour_is_cut() -> None:
    before = window_of(LORD_HOWE_BACK - 1, "hour", "Australia/Lord_Howe")
    after = window_of(LORD_HOWE_BACK, "hour", "Australia/Lord_Howe")
    assert before.end_us == after.start_us == LORD_HOWE_BACK
    assert (after.end_us - after.start_us) / _HOUR_US == 0.5
