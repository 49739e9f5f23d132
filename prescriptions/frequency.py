"""The grammar of frequencies, which state how often a drug is taken: a term, an interval, or a timing code.

    cadence   Daily | Three times a day | Every 8 hours | Every 4-6 hours | BID | Q8H | Every Monday
    moment    At bedtime | With meals | Before breakfast | HS | AC
    single    Once | Immediately | STAT | As directed

A frequency is one of these, or a cadence with a moment ("Twice daily with meals", "TID AC"). "As needed" is a
frequency by itself, and may follow a cadence or a moment. Case, repeated spaces and the points of "b.i.d." are
ignored. A reason ("for pain"), a length ("for 7 days") or a maximum belongs in the instructions or in
duration_days.

These terms are not accepted, because two readings are in use: "biweekly" (twice a week or every two weeks),
"bimonthly", "OD" (once daily or the right eye), "Q3M" (minutes in HL7 v2, months in pharmacies).

Source: FHIR R5 value sets http://hl7.org/fhir/ValueSet/timing-abbreviation (HL7 v3 GTSAbbreviation) and
http://hl7.org/fhir/ValueSet/event-timing (HL7 v3 TimingEvent); HL7 v2 table 0335 (repeat pattern) for QAM,
QPM, QHS, QnH, QnD, QnW and PRN. C is FHIR's "at a meal", not version 2's "continuously".
"""

import re

MAX_LENGTH = 64

# Each row holds the spellings of one term. The first of them is offered in forms.
_CADENCES = (
    ("Daily", "every day", "each day", "QD"),
    ("Every other day", "every second day", "alternate days", "on alternate days", "QOD"),
    ("Every third day",),
    ("Weekly", "every week", "each week", "WK", "QW", "QWK"),
    ("Every other week", "every second week", "fortnightly"),
    ("Monthly", "every month", "each month", "MO", "QMO"),
    ("Every other month", "every second month"),
    ("Quarterly",),
    ("Yearly", "annually", "every year", "each year"),
    ("Hourly", "every hour", "QH"),
    ("Nightly", "every night", "each night", "once nightly", "at night", "nocte"),
    ("Every morning", "each morning", "mornings", "mane", "AM", "QAM"),
    ("Every afternoon", "each afternoon"),
    ("Every evening", "each evening", "evenings", "PM", "QPM"),
    ("In the morning and evening", "morning and evening", "every morning and evening"),
    (
        "In the morning and at bedtime",
        "morning and bedtime",
        "morning and night",
        "every morning and at bedtime",
    ),
    ("Twice daily", "BID", "BD"),
    ("Three times daily", "thrice daily", "TID", "TDS"),
    ("Four times daily", "QID", "QDS"),
    ("Twice weekly", "BIW"),
    ("Three times weekly", "thrice weekly", "TIW"),
    ("Four times weekly", "QIW"),
    ("At bedtime", "every bedtime", "before bed", "BED", "HS", "QHS"),
    ("Continuous", "continuously"),
)
_MOMENTS = (
    ("In the morning", "morning", "MORN", "MORN.early", "MORN.late"),
    ("At noon", "NOON", "at midday"),
    ("In the afternoon", "afternoon", "AFT", "AFT.early", "AFT.late"),
    ("In the evening", "evening", "EVE", "EVE.early", "EVE.late"),
    ("At night", "NIGHT", "nocte"),
    ("At bedtime", "bedtime", "before bed", "before bedtime", "before sleep", "BED", "HS"),
    ("After going to sleep", "PHS"),
    ("On waking", "after waking", "WAKE"),
    ("With meals", "with a meal", "with every meal", "with each meal", "with food", "C"),
    ("With breakfast", "CM"),
    ("With lunch", "CD"),
    ("With dinner", "with supper", "CV"),
    ("Before meals", "before a meal", "before every meal", "before each meal", "before food", "AC", "QAC"),
    ("Before breakfast", "ACM"),
    ("Before lunch", "ACD"),
    ("Before dinner", "before supper", "ACV"),
    ("After meals", "after a meal", "after every meal", "after each meal", "after food", "PC"),
    ("After breakfast", "PCM"),
    ("After lunch", "PCD"),
    ("After dinner", "after supper", "PCV"),
    ("Before meals and at bedtime", "AC and HS", "AC & HS", "ACHS"),
    ("After meals and at bedtime", "PC and HS", "PC & HS"),
)
_SINGLES = (
    ("Once", "one time", "one time only", "once only", "single dose"),
    ("Immediately", "STAT", "now", "IMD"),
    # For imported records whose source does not state the frequency (`import_synthea`).
    ("As directed",),
)
_AS_NEEDED = ("As needed", "as required", "when needed", "when required", "if needed", "if required", "PRN")

# Offered beside the rows above. The pattern accepts every number within the limits.
_COMMON_INTERVALS = (
    *(f"Every {hours} hours" for hours in (2, 3, 4, 6, 8, 12, 24, 36, 48, 72)),
    "Every 4-6 hours",
    *(f"Every {days} days" for days in (2, 3, 7)),
    *(f"Every {weeks} weeks" for weeks in (2, 3, 4, 12)),
    *(f"Every {months} months" for months in (3, 6)),
)
_COMMON_COUNTS = ("Once daily", "Five times daily", "Six times daily", "Once weekly", "Once monthly")
_INTERVAL_CODES = tuple(f"Q{hours}H" for hours in (1, 2, 3, 4, 6, 8, 12, 24, 48, 72))
_WITH_AS_NEEDED = (
    "Daily as needed",
    "Twice daily as needed",
    "Three times daily as needed",
    "Four times daily as needed",
    "Every 4 hours as needed",
    "Every 4-6 hours as needed",
    "Every 6 hours as needed",
    "Every 8 hours as needed",
    "Every 12 hours as needed",
    "At bedtime as needed",
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# The longest interval in each unit, by spelling of the unit.
_LONGEST_INTERVAL = {
    name: longest
    for longest, names in (
        (90, ("min", "mins", "minute", "minutes")),
        (72, ("h", "hr", "hrs", "hour", "hours")),
        (90, ("d", "day", "days")),
        (52, ("w", "wk", "wks", "week", "weeks")),
        (12, ("mo", "month", "months")),
    )
    for name in names
}
_MOST_TIMES = {"day": 12, "week": 7, "month": 4}
_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
        start=1,
    )
}
_NUMBER = rf"[1-9][0-9]?|{'|'.join(_NUMBER_WORDS)}"
_INTERVAL = re.compile(rf"(?:(?:once )?every |each |q ?)({_NUMBER})(?:(?: ?- ?| to )({_NUMBER}))? ?([a-z]+)", re.ASCII)
_HOURLY = re.compile(rf"(?:every )?({_NUMBER})[ -]hourly", re.ASCII)
_TIMES = re.compile(
    rf"(?:(once|twice|thrice)|({_NUMBER})(?: times?| ?x))"
    r"(?: (daily|weekly|monthly)|(?: (?:a|per|each|every) | ?/ ?)(day|week|month))",
    re.ASCII,
)
_ADVERBS = {"daily": "day", "weekly": "week", "monthly": "month"}
_MULTIPLIERS = {"once": 1, "twice": 2, "thrice": 3}
_DOTTED = re.compile(r"(?:[a-z0-9]{1,2}\.)+[a-z0-9]{0,2}", re.ASCII)

_UNKNOWN = (
    "The frequency is not known. Use a term such as Daily, Twice daily, Every 8 hours or As needed, or a "
    "timing code such as BID or QHS; anything else belongs in the instructions."
)


def _folded(rows: tuple[tuple[str, ...], ...]) -> frozenset[str]:
    return frozenset(spelling.lower() for row in rows for spelling in row)


_CADENCE_TERMS = _folded(_CADENCES) | {
    f"{prefix}{day.lower()}{plural}"
    for day in _WEEKDAYS
    for prefix, plural in (
        ("every ", ""),
        ("each ", ""),
        ("on ", "s"),
        ("weekly on ", ""),
        ("once weekly on ", ""),
    )
}
_MOMENT_TERMS = _folded(_MOMENTS)
_SINGLE_TERMS = _folded(_SINGLES)
_AS_NEEDED_TERMS = _folded((_AS_NEEDED,))


def frequency_terms() -> list[str]:
    """Return the frequencies that forms offer, sorted without regard to case; each of them is accepted."""
    offered = {row[0] for row in (*_CADENCES, *_MOMENTS, *_SINGLES, _AS_NEEDED)}
    offered.update(name for row in (*_CADENCES, *_MOMENTS, *_SINGLES, _AS_NEEDED) for name in row if name[:2].isupper())
    offered.update(_COMMON_INTERVALS, _COMMON_COUNTS, _INTERVAL_CODES, _WITH_AS_NEEDED)
    offered.update(f"Every {day}" for day in _WEEKDAYS)
    offered.add("C")
    return sorted(offered, key=str.lower)


def parse_frequency(text: str) -> str:
    """Return the frequency as given, without the spaces around it.

    Raises: ValueError with a sentence for the prescriber, which does not repeat the text: it may hold anything.
    """
    text = text.strip(" \t\r\n")
    if not text:
        raise ValueError(_UNKNOWN)
    if len(text) > MAX_LENGTH:
        raise ValueError(f"A frequency has at most {MAX_LENGTH} characters; more belongs in the instructions.")
    plain = text.replace("\u2013", "-")
    if not re.fullmatch(r"[ -~]+", plain):
        raise ValueError("A frequency is written in plain letters, digits and spaces.")
    if not _is_frequency(_fold(plain)):
        raise ValueError(_UNKNOWN)
    return text


def _fold(plain: str) -> str:
    folded = re.sub(r" +", " ", plain.lower())
    folded = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", folded)
    if _DOTTED.fullmatch(folded):
        folded = folded.replace(".", "")
    return folded


def _is_frequency(folded: str) -> bool:
    if folded in _SINGLE_TERMS or folded in _AS_NEEDED_TERMS:
        return True
    schedule = _without_ending(folded, _AS_NEEDED_TERMS) or folded
    if _is_cadence(schedule) or schedule in _MOMENT_TERMS:
        return True
    cadence = _without_ending(schedule, _MOMENT_TERMS)
    return cadence is not None and _is_cadence(cadence)


def _without_ending(text: str, endings: frozenset[str]) -> str | None:
    """Return the text without the longest of the endings and a comma before it; None if it has none of them."""
    found = max((ending for ending in endings if text.endswith(f" {ending}")), key=len, default=None)
    return text[: -len(found) - 1].removesuffix(",") if found else None


def _is_cadence(text: str) -> bool:
    return text in _CADENCE_TERMS or _is_interval(text) or _is_count(text)


def _is_interval(text: str) -> bool:
    found = _INTERVAL.fullmatch(_HOURLY.sub(r"every \1 hours", text))
    if found is None:
        return False
    low, high, unit = found.groups()
    longest = _LONGEST_INTERVAL.get(unit, 0)
    shortest = _number(low)
    return shortest <= longest if high is None else shortest < _number(high) <= longest


def _is_count(text: str) -> bool:
    found = _TIMES.fullmatch(text)
    if found is None:
        return False
    word, number, adverb, unit = found.groups()
    times = _MULTIPLIERS[word] if word else _number(number)
    return times <= _MOST_TIMES[unit or _ADVERBS[adverb]]


def _number(text: str) -> int:
    return _NUMBER_WORDS.get(text) or int(text)
