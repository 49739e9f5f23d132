"""Working hours: windows, slots, and changes of the clocks in both hemispheres."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from doctors import hours
from doctors.models import Doctor, ScheduleException, WeeklyHours

MONDAY = date(2026, 3, 2)


def doctor(*weekly: tuple[int, str, str, int], exceptions: tuple = (), zone: str = "UTC") -> Doctor:
    return Doctor(
        doctor_id="D1",
        availability=[WeeklyHours(weekday=w, start=s, end=e, slot_minutes=m) for w, s, e, m in weekly],
        exceptions=[ScheduleException(date=d, start=s, end=e, closed=c) for d, s, e, c in exceptions],
        time_zone=zone,
    )


def times(who: Doctor, day: date) -> list[str]:
    return [slot.time for slot in hours.slots_between(who, day, day)]


def test_slots_fill_the_hours_and_no_more() -> None:
    who = doctor((0, "09:00", "10:10", 20), (0, "14:00", "14:45", 15), (1, "09:00", "10:00", 30))
    assert times(who, MONDAY) == ["09:00", "09:20", "09:40", "14:00", "14:15", "14:30"]
    assert times(who, MONDAY + timedelta(days=1)) == ["09:00", "09:30"]
    assert times(who, MONDAY + timedelta(days=2)) == []
    week = list(hours.slots_between(who, MONDAY, MONDAY + timedelta(days=7)))
    assert len(week) == 6 + 2 + 6
    assert week[0] == hours.Slot(
        datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 2, 9, 20, tzinfo=UTC), MONDAY, "09:00"
    )


@pytest.mark.parametrize(
    ("exception", "left"),
    [
        ((MONDAY, None, None, True), []),
        ((MONDAY, "09:30", "10:30", True), ["09:00", "10:30", "11:00", "11:30"]),
        ((MONDAY, "08:00", "09:10", True), ["09:10", "09:40", "10:10", "10:40", "11:10"]),
        ((MONDAY, "11:30", "13:00", True), ["09:00", "09:30", "10:00", "10:30", "11:00"]),
        ((MONDAY, "13:00", "14:00", True), ["09:00", "09:30", "10:00", "10:30", "11:00", "11:30"]),
        ((MONDAY, "17:00", "18:00", False), ["09:00", "09:30", "10:00", "10:30", "11:00", "11:30", "17:00", "17:30"]),
        ((MONDAY, "11:00", "12:30", False), ["09:00", "09:30", "10:00", "10:30", "11:00", "11:30", "12:00"]),
        ((MONDAY + timedelta(days=1), None, None, True), ["09:00", "09:30", "10:00", "10:30", "11:00", "11:30"]),
    ],
)
def test_exceptions_take_away_and_add(exception: tuple, left: list[str]) -> None:
    assert times(doctor((0, "09:00", "12:00", 30), exceptions=(exception,)), MONDAY) == left


def test_a_closed_day_closes_its_extra_clinic_too() -> None:
    both = ((MONDAY, "17:00", "18:00", False), (MONDAY, None, None, True))
    assert times(doctor((0, "09:00", "12:00", 30), exceptions=both), MONDAY) == []


def test_extra_clinic_on_a_day_without_hours() -> None:
    saturday = MONDAY + timedelta(days=5)
    who = doctor((0, "09:00", "12:00", 45), exceptions=((saturday, "10:00", "11:30", False),))
    assert times(who, saturday) == ["10:00", "10:45"]


@pytest.mark.parametrize(
    ("time", "minutes", "fits"),
    [
        ("09:00", 30, True),
        ("09:05", 25, True),
        ("11:30", 30, True),
        ("11:45", 30, True),  # the visit extends into the hours that follow directly
        ("11:30", 95, False),
        ("12:30", 30, True),
        ("12:45", 30, False),
        ("08:55", 30, False),
        ("13:00", 5, False),
        ("14:00", 5, False),
    ],
)
def test_visits_lie_inside_the_hours(time: str, minutes: int, fits: bool) -> None:
    who = doctor((0, "09:00", "12:00", 30), (0, "12:00", "13:00", 30))
    assert hours.is_within_hours(who, MONDAY, time, minutes) is fits


def test_a_doctor_without_hours_takes_any_time() -> None:
    assert hours.is_within_hours(doctor(), MONDAY, "03:00", 60)
    assert times(doctor(), MONDAY) == []


# 2026: Zurich forward 29 March 02:00 → 03:00, back 25 October 03:00 → 02:00; Sydney forward 4 October 02:00 → 03:00,
# back 5 April 03:00 → 02:00 (IANA time zone database).
NIGHT = ("01:00", "04:00", 30)
CHANGES = [
    ("Europe/Zurich", date(2026, 3, 29), ["01:00", "01:30", "03:00", "03:30"], 60, 120),
    ("Europe/Zurich", date(2026, 10, 25), ["01:00", "01:30", "02:00", "02:30", "03:00", "03:30"], 120, 60),
    ("Australia/Sydney", date(2026, 10, 4), ["01:00", "01:30", "03:00", "03:30"], 600, 660),
    ("Australia/Sydney", date(2026, 4, 5), ["01:00", "01:30", "02:00", "02:30", "03:00", "03:30"], 660, 600),
]


@pytest.mark.parametrize(("zone", "day", "expected", "before", "after"), CHANGES)
def test_slots_at_the_changes_of_the_clocks(zone: str, day: date, expected: list[str], before: int, after: int) -> None:
    slots = list(hours.slots_between(doctor((6, *NIGHT), zone=zone), day, day))
    assert [slot.time for slot in slots] == expected
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert slots[0].starts_at == midnight + timedelta(minutes=60 - before)
    assert slots[-1].starts_at == midnight + timedelta(minutes=210 - after)
    for one, other in pairwise(slots):
        assert one.ends_at <= other.starts_at


@pytest.mark.parametrize(("zone", "day"), [(zone, day) for zone, day, expected, *_ in CHANGES if len(expected) == 4])
def test_a_skipped_time_has_no_instant(zone: str, day: date) -> None:
    with pytest.raises(hours.SkippedTime):
        hours.instant(day, "02:30", zone)
    assert hours.instant(day, "03:00", zone) - hours.instant(day, "01:55", zone) == timedelta(minutes=5)


def test_long_slots_over_the_gap_do_not_overlap() -> None:
    slots = list(
        hours.slots_between(
            doctor((6, "00:45", "06:00", 90), zone="Europe/Zurich"), date(2026, 3, 29), date(2026, 3, 29)
        )
    )
    assert [slot.time for slot in slots] == ["00:45", "03:45"]


def test_the_first_of_an_ambiguous_time_is_meant() -> None:
    assert hours.instant(date(2026, 10, 25), "02:30", "Europe/Zurich") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(("time", "minutes"), [("09:00", 20), ("14:30", 15), ("12:30", 20), ("", 20)])
def test_usual_length_of_a_visit(time: str, minutes: int) -> None:
    who = doctor((0, "09:00", "12:00", 20), (0, "14:00", "16:00", 15))
    assert hours.slot_minutes(who, MONDAY, time) == minutes


def test_usual_length_without_hours_is_half_an_hour() -> None:
    assert hours.slot_minutes(doctor(), MONDAY, "10:00") == 30
