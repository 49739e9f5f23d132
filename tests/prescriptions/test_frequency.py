import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prescriptions.frequency import MAX_LENGTH, frequency_terms, parse_frequency

# As published; see the docstring of prescriptions/frequency.py.
FHIR_TIMING_ABBREVIATION = [
    "BID",
    "TID",
    "QID",
    "AM",
    "PM",
    "QD",
    "QOD",
    "Q1H",
    "Q2H",
    "Q3H",
    "Q4H",
    "Q6H",
    "Q8H",
    "BED",
    "WK",
    "MO",
]
FHIR_EVENT_TIMING = [
    "MORN",
    "MORN.early",
    "MORN.late",
    "NOON",
    "AFT",
    "AFT.early",
    "AFT.late",
    "EVE",
    "EVE.early",
    "EVE.late",
    "NIGHT",
    "PHS",
    "IMD",
    "HS",
    "WAKE",
    "C",
    "CM",
    "CD",
    "CV",
    "AC",
    "ACM",
    "ACD",
    "ACV",
    "PC",
    "PCM",
    "PCD",
    "PCV",
]
LATIN = [
    "QHS",
    "QAM",
    "QPM",
    "PRN",
    "STAT",
    "As directed",
    "BIW",
    "TIW",
    "Q1H",
    "Q12H",
    "Q24H",
    "Q72H",
    "q.d.",
    "b.i.d.",
    "t.i.d",
    "q.8.h.",
    "p.r.n.",
]


@pytest.mark.parametrize("code", [*FHIR_TIMING_ABBREVIATION, *FHIR_EVENT_TIMING, *LATIN])
@pytest.mark.parametrize("written", [str, str.lower, str.upper])
def test_timing_codes_are_known(code, written):
    assert parse_frequency(written(code)) == written(code)


@pytest.mark.parametrize(
    "text",
    [
        "Daily",
        "daily",
        "DAILY",
        "Once daily",
        "Once a day",
        "every day",
        "Twice daily",
        "Twice a day",
        "twice-daily",
        "two times a day",
        "2 times daily",
        "2x daily",
        "2x/day",
        "Three times daily",
        "Three times a day",
        "3 times per day",
        "Four times daily",
        "Four times a day",
        "5 times a day",
        "Every hour",
        "Every 1 hour",
        "Every 8 hours",
        "every  8   hours",
        "Every eight hours",
        "Once every 8 hours",
        "Every 72 hours",
        "Every 4-6 hours",
        "Every 4 to 6 hours",
        "Every 4\u20136 hours",
        "8-hourly",
        "q 8 h",
        "q8hrs",
        "Q4-6H",
        "Every 15 minutes",
        "Every 2 days",
        "Every 2 weeks",
        "Every 3 months",
        "Q2W",
        "Every other day",
        "Alternate days",
        "Weekly",
        "Once weekly",
        "Once a week",
        "Twice weekly",
        "Three times a week",
        "Every other week",
        "Every Monday",
        "Weekly on Monday",
        "Monthly",
        "Once a month",
        "Yearly",
        "At bedtime",
        "Nightly",
        "In the morning",
        "Every morning",
        "In the evening",
        "Every evening",
        "In the morning and evening",
        "With meals",
        "With food",
        "Before meals",
        "After meals",
        "Before breakfast",
        "Once",
        "Immediately",
        "STAT",
        "As needed",
        "When required",
        "Continuous",
        # a cadence and a moment, and "as needed" after both
        "Twice daily with meals",
        "Once daily in the morning",
        "Daily at bedtime",
        "TID AC",
        "Every 6 hours as needed",
        "Every 6 hours, as needed",
        "Every 4-6 hours as needed",
        "Twice daily as needed",
        "At bedtime as needed",
        "Q6H PRN",
        "BID PRN",
        "Twice daily with meals as needed",
    ],
)
def test_frequency_is_answered_as_given(text):
    assert parse_frequency(text) == text


def test_spaces_around_are_left_out():
    assert parse_frequency(" \tTwice daily\r\n") == "Twice daily"


@pytest.mark.parametrize("hours", range(1, 73))
def test_every_interval_up_to_three_days_is_known(hours):
    assert parse_frequency(f"Every {hours} hours")
    assert parse_frequency(f"Q{hours}H")


REFUSED = {
    "no text": ["", "   ", "\n"],
    "no term": [
        "8",
        "hours",
        "every",
        "every hours",
        "q",
        "qh8",
        "often",
        "sometimes",
        "whenever",
        "unknown",
        "-",
    ],
    "outside the limits": [
        "Every 0 hours",
        "Every 73 hours",
        "Every 100 hours",
        "Q0H",
        "Q73H",
        "Every -8 hours",
    ],
    "other limits": [
        "Every 91 days",
        "Every 53 weeks",
        "Every 13 months",
        "Every 91 minutes",
        "13 times a day",
    ],
    "zero or too often": ["0 times a day", "8 times a week", "5 times a month", "Every 1000000000000 hours"],
    "malformed number": [
        "Every 8.5 hours",
        "Every 08 hours",
        "Every 1e1 hours",
        "Every 8,5 hours",
        "Every +8 hours",
    ],
    "range": [
        "Every 6-4 hours",
        "Every 6-6 hours",
        "Every 4-6-8 hours",
        "Every 4-80 hours",
        "Every 0-6 hours",
    ],
    "unit": ["Every 8", "Every 8 bananas", "Every 8 years", "Every 8 hours days", "Q8X", "Q8M"],
    "two readings": ["biweekly", "bimonthly", "OD", "QM"],
    "several": [
        "Daily and weekly",
        "Every 8 hours every day",
        "BID TID",
        "BID/TID",
        "Daily, weekly",
        "BIDTID",
        "Once Once",
    ],
    "endings": [
        "as needed as needed",
        "STAT as needed",
        "daily with",
        "with meals with meals",
        "as needed, daily,",
    ],
    "sentence": [
        "Take twice daily",
        "Twice daily for 7 days",
        "As needed for pain",
        "daily until better",
        "as directed by the doctor",
        "Daily as directed",
    ],
    "injection": [
        "Daily; DROP TABLE",
        "Daily'--",
        '{"$ne": null}',
        "Daily<script>",
        "D.*",
        ".*",
        "Daily.",
        "Daily,",
    ],
    "control characters": ["Daily\x00", "Twice\ndaily", "Twice\tdaily", "\x1bDaily", "Daily\x7f"],
    "other characters": [
        "Every \u0668 hours",
        "Every \uff18 hours",
        "D\u0430ily",
        "Dai\u200bly",
        "Twice\u00a0daily",
        "\u212bM",
    ],
    "too long": ["Daily" * 13, "Every 8 hours" + " as needed" * 10, "x" * 65, "daily " * 100_000 + "x"],
}


@pytest.mark.parametrize(
    "text", [pytest.param(t, id=f"{kind}-{i}") for kind in REFUSED for i, t in enumerate(REFUSED[kind])]
)
def test_frequency_is_refused(text):
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$") as error:
        parse_frequency(text)
    assert len(str(error.value)) < 220


@pytest.mark.parametrize("text", ["Ada Lovelace", "Daily Ada Lovelace", "Ada Lovelace" * 9])
def test_error_never_repeats_the_text(text):
    with pytest.raises(ValueError, match=r"^(?!.*Lovelace)"):
        parse_frequency(text)


def test_terms_are_sorted_and_every_one_is_accepted():
    terms = frequency_terms()
    assert terms == sorted(set(terms), key=str.lower)
    assert {"Daily", "Twice daily", "Every 8 hours", "As needed", "BID", "QHS", "C", "STAT"} <= set(terms)
    assert {*FHIR_TIMING_ABBREVIATION, *FHIR_EVENT_TIMING} <= set(terms)
    assert [parse_frequency(term) for term in terms] == terms


def test_longest_texts_are_answered_quickly():
    began = time.perf_counter()
    for text in (
        "q 1" * 21,
        "every " * 10,
        "a." * 32,
        "1-1-" * 16,
        " as needed" * 6,
        "daily" + " " * 59 + "x",
        " " * 10**6,
    ):
        with pytest.raises(ValueError, match=r"."):
            parse_frequency(text)
    assert time.perf_counter() - began < 0.5


@given(st.text(max_size=80))
def test_arbitrary_text_raises_nothing_but_value_error(text):
    _assert_sound(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "every",
                "q",
                "0",
                "1",
                "8",
                "73",
                "-",
                "to",
                "h",
                "hours",
                "hour",
                "day",
                "days",
                "daily",
                "twice",
                "three",
                "times",
                "a",
                "as",
                "needed",
                "prn",
                "with",
                "meals",
                "bid",
                ",",
                "/",
                "on",
            ]
        ),
        max_size=8,
    ),
    st.sampled_from([" ", "", "  "]),
)
def test_nearly_right_text_is_sound(words, glue):
    _assert_sound(glue.join(words))


def _assert_sound(text):
    try:
        accepted = parse_frequency(text)
    except ValueError:
        return
    assert accepted == text.strip(" \t\r\n")
    assert len(accepted) <= MAX_LENGTH
    assert re.fullmatch(r"[A-Za-z0-9 .,&/\u2013-]+", accepted)
    assert not re.search(r"\b0", accepted)
