import re
import time
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prescriptions import dosage
from prescriptions.dosage import MAX_LENGTH, parse_dosage

NUMBER_AND_UNIT = re.compile(r"[1-9][0-9]*(\.[0-9]+)?|0\.[0-9]+|[1-9]/[2348]")
SPELLINGS = sorted(
    name for table in (dosage.UNITS, dosage.DOSAGE_FORMS) for code, names in table.items() for name in (code, *names)
)


@pytest.mark.parametrize(
    "text",
    [
        # the examples of docs/fields.md
        "500mg",
        "5 mL",
        "0.5 mg/kg",
        "1 tablet",
        "1000 IU",
        # amounts
        "0.125 mg",
        "5.0 mg",
        "2400000 IU",
        "1.5 tablets",
        "1/2 tablet",
        "1 1/2 tablets",
        "3/4 tablet",
        "1-2 tablets",
        "1 - 2 tablets",
        "1\u20132 tablets",
        "1 to 2 puffs",
        "1/2-1 tablet",
        "0.5-1 mg",
        "500  mg",
        # UCUM codes
        "250 ug",
        "20 meq",
        "5 mmol",
        "400 [iU]",
        "400 [IU]",
        "1 %",
        "0.05%",
        "20 mg/kg/d",
        "250 mg/5 mL",
        "250 mg/5mL",
        "40 mg/0.4 mL",
        "25 ug/h",
        "5 ug/min",
        "0.1 ug/kg/min",
        "0.1 ug/(kg.min)",
        "9.5 mg/(24.h)",
        "9.5 mg/24 h",
        "100 mL/h",
        "75 mg/m2",
        "75 mg/m\u00b2",
        "10 mg/g",
        "18 U/kg/h",
        "2 mU/min",
        "370 MBq",
        "10 uCi",
        "2 {tablet}",
        "90 ug/{dose}",
        "3 [drp]",
        "1 [tsp_us]",
        # other spellings
        "100 mcg",
        "100 \u00b5g",
        "100 \u03bcg",
        "5 \u00b5L",
        "10 units",
        "100 units/mL",
        "18 units per kg per hour",
        "2.4 million units",
        "20 mEq",
        "5 milliliters",
        "5 millilitres",
        "250 micrograms",
        "5 cc",
        "10 international units",
        "10 mg per day",
        "90 mcg/actuation",
        "15 mg/kg/dose",
        # case
        "500 MG",
        "500 Mg",
        "5 ML",
        "5 Ml",
        "5 ml",
        "1 L",
        "1 l",
        "1 G",
        "1000 iu",
        "1 TABLET",
        "2 Puffs",
        "0.5 MG/KG",
        # dosage forms
        "2 capsules",
        "1 cap",
        "3 drops",
        "20 drops/min",
        "2 puffs",
        "2 sprays",
        "1 patch",
        "1 suppository",
        "1 sachet",
        "1 vial",
        "1 ampoule",
        "1 lozenge",
        "1 application",
        "2 inhalations",
        "1 injection",
        "1 teaspoon",
        "1 tablespoon",
        "1 unit",
        "1 dose",
        "1 film",
        "1 pen",
        "2 tablet(s)",
    ],
)
def test_dosage_is_answered_as_given(text):
    assert parse_dosage(text) == text


@pytest.mark.parametrize("unit", SPELLINGS)
def test_every_unit_of_the_tables_is_known(unit):
    assert parse_dosage(f"2 {unit}") == f"2 {unit}"
    assert parse_dosage(f"2 {unit.upper()}") == f"2 {unit.upper()}"


def test_spaces_around_are_left_out():
    assert parse_dosage(" \t500 mg\r\n") == "500 mg"


REFUSED = {
    "no text": ["", "   ", "\n"],
    "no number": [
        "mg",
        "tablet",
        "one tablet",
        "a tablet",
        "five mg",
        "NaN mg",
        "inf mg",
        "as directed",
        "/2 mg",
    ],
    "no unit": ["500", "0.5", "1/2", "1-2", "500 "],
    "zero": ["0 mg", "0mg", "0.0 mg", "0.000 mL", "0-5 mg", "0 tablets"],
    "negative": ["-5 mg", "-0.5 mL", "\u22125 mg", "- 5 mg", "1--2 tablets"],
    "malformed number": [
        "1e3 mg",
        "1E3mg",
        "1,000 mg",
        "1 000 mg",
        "0,5 mg",
        ".5 mg",
        "5. mg",
        "1.2.3 mg",
        "+5 mg",
    ],
    "leading zeros": ["0500 mg", "00.5 mg", "1-02 tablets"],
    "too many digits": ["1000000000000 IU", "0.12345678901 mg"],
    "other notations": [
        "0x10 mg",
        "1_000 mg",
        "VI mg",
        "10^3 IU",
        "1*2 mg",
        "~5 mg",
        "<5 mg",
        ">5 mg",
        "=5 mg",
    ],
    "fraction": [
        "1/0 tablet",
        "0/2 tablet",
        "3/2 tablets",
        "2/2 tablets",
        "1/7 tablet",
        "5/325 mg",
        "10/325 mg",
    ],
    "range": ["2-1 tablets", "1-1 tablets", "5-325 mg", "1-", "1- tablets", "1-2-3 tablets", "800-160 mg"],
    "unknown unit": [
        "5 bananas",
        "5 x",
        "5 mgg",
        "5 m",
        "5 gr",
        "5 mg/elephant",
        "5 cups/h/h",
        "5 mg/kg/kg",
        "5 M",
    ],
    "unit out of order": [
        "5 mg/",
        "5 /kg",
        "5 mg//kg",
        "5 mg/kg/d/h",
        "5 mg kg",
        "5 %/kg",
        "1 tablet/d",
        "5 mg/0 mL",
    ],
    "unit misread": ["10 u", "10 mbq", "10 mBq", "10 MCi", "10 MU"],
    "several doses": [
        "500 mg 250 mg",
        "500mg, 250mg",
        "500 mg + 5 mL",
        "5 mg or 10 mg",
        "5 mg-10 mg",
        "2 x 500 mg",
    ],
    "sentence": [
        "500 mg twice daily",
        "1 tablet (500 mg)",
        "500 mg tablet",
        "take 1 tablet",
        "1 tablet with food",
    ],
    "injection": [
        "500 mg; DROP",
        "500 mg'--",
        "500 mg<script>",
        '{"$gt": ""}',
        "5 $mg",
        "5 mg\\n",
        "5 mg#",
        "500 mg.",
    ],
    "control characters": [
        "500\x00mg",
        "500 mg\x00",
        "500\nmg",
        "500\tmg",
        "500 mg\x1b[0m",
        "\x1f500 mg",
        "500\x7fmg",
    ],
    "other digits": [
        "\u0665 mg",
        "\uff15 mg",
        "\u0967 mg",
        "5\u0665 mg",
        "\u00bd tablet",
        "5\u00b2 mg",
        "1/\u0662 tablet",
    ],
    "other letters": [
        "5 \u043c\u0433",
        "5 \uff4dg",
        "5 m\u0261",
        "5 \u039cg",
        "5 \u212a",
        "5 mg\u200b",
        "5\u00a0mg",
    ],
    "too long": ["1 " + "tablet" * 20, "5" * 65, "1" + " " * 64 + "mg", "1" * 100_000 + " mg"],
}


@pytest.mark.parametrize(
    "text", [pytest.param(t, id=f"{kind}-{i}") for kind in REFUSED for i, t in enumerate(REFUSED[kind])]
)
def test_dosage_is_refused(text):
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$") as error:
        parse_dosage(text)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("500", "needs a unit"),
        ("0 mg", "greater than zero"),
        ("-5 mg", "greater than zero"),
        (".5 mg", "a digit before it"),
        ("1,000 mg", "without separators"),
        ("mg", "begins with a number"),
        ("3/2 tablets", "eighths"),
        ("5-325 mg", "range"),
        ("5 bananas", "unit is not known"),
        ("1 " + "t" * 64, "at most 64"),
    ],
)
def test_error_says_what_is_wrong(text, hint):
    with pytest.raises(ValueError, match=hint):
        parse_dosage(text)


@pytest.mark.parametrize("text", ["Ada Lovelace", "5 Ada Lovelace", "5 mg Ada Lovelace", "Ada Lovelace" * 9])
def test_error_never_repeats_the_text(text):
    with pytest.raises(ValueError, match=r"^(?!.*Lovelace)"):
        parse_dosage(text)


def test_no_two_units_differ_by_case_alone():
    """Case may be ignored only because no two units differ by case alone."""
    folded = Counter(
        name
        for table in (dosage.UNITS, dosage.DOSAGE_FORMS)
        for code, names in table.items()
        for name in {code.lower(), *(name.lower() for name in names)}
    )
    assert [name for name, meanings in folded.items() if meanings > 1] == []
    assert not {unit.lower() for unit in dosage.CASE_SENSITIVE_UNITS} & set(folded)


def test_longest_texts_are_answered_quickly():
    began = time.perf_counter()
    for text in (
        "1 " * 32,
        "1/" * 32,
        "1-" * 32,
        "1 mg" + "/kg" * 20,
        "1 per" + " per" * 14,
        "9" * 64,
        "1" + " " * 10**6,
    ):
        with pytest.raises(ValueError, match=r"."):
            parse_dosage(text)
    assert time.perf_counter() - began < 0.5


@given(st.text(max_size=80))
@example("1 to")
@example("1/2")
def test_arbitrary_text_raises_nothing_but_value_error(text):
    _assert_sound(text)


@given(st.text(alphabet="0123456789./- mgkLdhµ%()[]{}ipert²", max_size=20))
def test_nearly_right_text_is_sound(text):
    _assert_sound(text)


@given(
    st.integers(1, 999_999),
    st.sampled_from(["", " ", "  "]),
    st.sampled_from(SPELLINGS),
    st.text(min_size=1, max_size=3),
)
def test_nothing_follows_a_dosage(amount, space, unit, junk):
    assert parse_dosage(f"{amount}{space}{unit}") == f"{amount}{space}{unit}"
    _assert_sound(f"{amount}{space}{unit}{junk}")


def _assert_sound(text):
    try:
        accepted = parse_dosage(text)
    except ValueError:
        return
    assert accepted == text.strip(" \t\r\n")
    assert len(accepted) <= MAX_LENGTH
    amount = NUMBER_AND_UNIT.match(accepted)
    assert amount
    assert re.search(r"[A-Za-z\u00b5\u03bc%]", accepted[amount.end() :])
    assert all(character in "\u00b5\u03bc\u00b2\u2013" or " " <= character <= "~" for character in accepted)
