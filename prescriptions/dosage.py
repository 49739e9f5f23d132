"""The grammar of dosages: one amount and one unit, such as "500mg", "1-2 tablets" or "0.5 mg/kg".

    amount   5 | 0.5 | 1/2 | 1 1/2 | 1-2 | 1 to 2          positive; a point for decimals, no separators
    unit     mg | tablets | mg/kg | units/kg/h | mg/5 mL   from the tables below; "per" is read as "/"

The tables hold the UCUM codes in which doses are written, their usual spellings, and the dosage forms that are
counted. Anything else that a prescriber wants to say belongs in the frequency or the instructions.

Case. UCUM distinguishes "mg" from "Mg" (megagram) and "mL" from "ML" (megalitre). People write MG and Ml and mean
the smaller unit. No two units of the tables differ by case alone, so that case can be ignored without ambiguity.
Some units are accepted in the case of their code only: those of which both readings are plausible doses (MBq and
mBq, mCi and MCi, mU and MU), and "U", because a small u is misread as a digit. See `CASE_SENSITIVE_UNITS`.

Source: UCUM (ucum.org) and HL7's value set "Common UCUM units" for the codes; the ISMP list of error-prone
abbreviations for the texts that are not accepted: ".5 mg" (read as 5), "gr" (grain or gram), "u" (read as 0).
"""

import re
from fractions import Fraction

MAX_LENGTH = 64

# UCUM code → other spellings of the unit, in any case.
UNITS = {
    # mass
    "kg": ("kilogram", "kilograms"),
    "g": ("gm", "gms", "gram", "grams", "gramme", "grammes"),
    "mg": ("mgs", "milligram", "milligrams", "milligramme", "milligrammes"),
    "ug": ("mcg", "mcgs", "microgram", "micrograms", "microgramme", "microgrammes"),
    "ng": ("nanogram", "nanograms"),
    # volume
    "L": ("liter", "liters", "litre", "litres"),
    "dL": ("deciliter", "deciliters", "decilitre", "decilitres"),
    "mL": ("mls", "milliliter", "milliliters", "millilitre", "millilitres", "cc", "cm3"),
    "uL": ("microliter", "microliters", "microlitre", "microlitres"),
    "[foz_us]": ("fl oz", "fluid ounce", "fluid ounces"),
    "[cup_us]": ("cup", "cups"),
    "[tbs_us]": ("tbsp", "tbsps", "tablespoon", "tablespoons", "tablespoonful", "tablespoonfuls"),
    "[tsp_us]": ("tsp", "tsps", "teaspoon", "teaspoons", "teaspoonful", "teaspoonfuls"),
    "[drp]": ("drop", "drops", "drop(s)", "gtt", "gtts"),
    # amount of substance, charge, osmoles, energy of feeds
    "mol": ("mole", "moles"),
    "mmol": ("millimole", "millimoles"),
    "umol": ("micromole", "micromoles"),
    "nmol": ("nanomole", "nanomoles"),
    "eq": ("equivalent", "equivalents"),
    "meq": ("milliequivalent", "milliequivalents"),
    "osm": ("osmole", "osmoles"),
    "mosm": ("milliosmole", "milliosmoles"),
    "kcal": ("kilocalorie", "kilocalories"),
    "kJ": ("kilojoule", "kilojoules"),
    # biological activity
    "[iU]": ("iu", "ius", "[iu]", "international unit", "international units"),
    "[arb'U]": ("unit", "units", "unit(s)"),
    "[CFU]": ("cfu", "cfus", "colony forming unit", "colony forming units"),
    "[PFU]": ("pfu", "pfus", "plaque forming unit", "plaque forming units"),
    "[Lf]": ("lf",),
    "[AU]": ("allergy unit", "allergy units"),
    "[BAU]": ("bau", "baus"),
    "[ELU]": ("elisa unit", "elisa units"),
    "[anti'Xa'U]": ("anti-xa unit", "anti-xa units"),
    # length and area of an ointment ribbon or a patch
    "cm": ("centimeter", "centimeters", "centimetre", "centimetres"),
    "cm2": (),
    "[in_i]": ("inch", "inches"),
    # strength of a preparation
    "%": ("percent",),
}
# These units are accepted in the spelling of UCUM only; see "Case" above.
CASE_SENSITIVE_UNITS = frozenset({"U", "mU", "kU", "Bq", "kBq", "MBq", "GBq", "Ci", "mCi", "uCi", "mGy", "cGy", "Gy"})
# Counted units. UCUM writes them only as annotations, so "{tablet}" is accepted as well as "tablet(s)".
DOSAGE_FORMS = {
    "actuation": ("actuations",),
    "ampoule": ("ampoules", "ampule", "ampules", "amp", "amps"),
    "application": ("applications",),
    "applicator": ("applicators", "applicatorful", "applicatorfuls"),
    "autoinjector": ("autoinjectors", "auto-injector", "auto-injectors"),
    "bag": ("bags",),
    "bottle": ("bottles",),
    "capful": ("capfuls",),
    "caplet": ("caplets",),
    "capsule": ("capsules", "cap", "caps"),
    "cartridge": ("cartridges",),
    "dose": ("doses",),
    "dressing": ("dressings",),
    "enema": ("enemas",),
    "film": ("films",),
    "gelcap": ("gelcaps",),
    "implant": ("implants",),
    "infusion": ("infusions",),
    "inhalation": ("inhalations",),
    "injection": ("injections",),
    "insert": ("inserts",),
    "lozenge": ("lozenges",),
    "nebule": ("nebules",),
    "packet": ("packets",),
    "pastille": ("pastilles",),
    "patch": ("patches",),
    "pellet": ("pellets",),
    "pen": ("pens",),
    "pessary": ("pessaries",),
    "piece": ("pieces",),
    "pill": ("pills",),
    "puff": ("puffs",),
    "pump": ("pumps",),
    "ring": ("rings",),
    "sachet": ("sachets",),
    "scoop": ("scoops",),
    "softgel": ("softgels",),
    "sponge": ("sponges",),
    "spray": ("sprays",),
    "squirt": ("squirts",),
    "strip": ("strips",),
    "suppository": ("suppositories", "supp", "supps"),
    "swab": ("swabs",),
    "syringe": ("syringes",),
    "tablet": ("tablets", "tab", "tabs", "tbl", "chewable tablet", "chewable tablets"),
    "troche": ("troches",),
    "tube": ("tubes",),
    "vial": ("vials",),
    "wafer": ("wafers",),
}
BODY_SIZES = {"kg": ("kilogram",), "m2": ()}
TIMES = {
    "min": ("mins", "minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
    "d": ("day", "days"),
    "wk": ("week", "weeks"),
    "mo": ("month", "months"),
}
VOLUMES = {code: UNITS[code] for code in ("L", "dL", "mL")}
MASSES = {code: UNITS[code] for code in ("g", "mg")}


def _spellings(table: dict[str, tuple[str, ...]]) -> frozenset[str]:
    return frozenset(name.lower() for code, names in table.items() for name in (code, *names))


_FORMS = _spellings({form: (*names, f"{form}(s)") for form, names in DOSAGE_FORMS.items()})
_FORMS |= {f"{{{name}}}" for name in _FORMS}
_UNITS = _spellings(UNITS) | {"million iu", "million international units", "million units"}
_DIVISORS = {
    "body": _spellings(BODY_SIZES),
    "time": _spellings(TIMES),
    "volume": _spellings(VOLUMES),
    "mass": _spellings(MASSES),
    "form": _FORMS | {"drop", "[drp]"},
}
# The kinds of divisors that a unit may have: mg/kg, mg/h, mg/5 mL, mg/g, ug/puff, mg/kg/d, mg/kg/dose.
_DIVISOR_KINDS: tuple[list[str], ...] = (
    [],
    ["body"],
    ["time"],
    ["volume"],
    ["mass"],
    ["form"],
    ["body", "time"],
    ["body", "form"],
)
# Units without a divisor: percentages, lengths, areas and counted forms. Drops may have a rate.
_UNDIVIDED = _FORMS | _spellings({code: UNITS[code] for code in ("%", "cm", "cm2", "[in_i]")})

_NUMBER = r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?"
_AMOUNT = rf"(?:[1-9] )?[1-9]/[2348](?![0-9])|{_NUMBER}"
_AMOUNT_AND_UNIT = re.compile(rf"({_AMOUNT})(?:(?: ?[-\u2013] ?| to )({_AMOUNT}))?(.*)", re.ASCII)
_COUNTED_DIVISOR = re.compile(r"([1-9][0-9]{0,3}(?:\.[0-9]{1,3})?|0\.[0-9]{1,3}) ?([a-zA-Z].*)", re.ASCII)
_UCUM_PRODUCT = re.compile(r"/\(([a-z0-9]{1,8})\.([a-z0-9]{1,8})\)", re.ASCII | re.IGNORECASE)
_PER = re.compile(r" per ", re.IGNORECASE)
_MICRO = str.maketrans({"\u00b5": "u", "\u03bc": "u"})

_NO_NUMBER = 'A dosage begins with a number, such as "500 mg" or "1/2 tablet".'
_BAD_NUMBER = (
    "Write the number in plain digits with a point for decimals and a digit before it, "
    'without separators: "1000 IU", "0.5 mg".'
)
_NOT_POSITIVE = "A dosage is greater than zero."
_BAD_FRACTION = "Fractions are halves, thirds, quarters or eighths below one, such as 1/2 or 1 1/2."
_BAD_RANGE = "A range goes from the smaller to the larger dose, and at most to ten times the smaller one."
_NO_UNIT = 'A dosage needs a unit after the number, such as "mg", "mL", "IU" or "tablets".'
_BAD_UNIT = (
    "The unit is not known. Use one dose with a UCUM unit or a dosage form, such as mg, mL, IU, mg/kg, "
    "tablets or puffs; anything else belongs in the instructions."
)


def parse_dosage(text: str) -> str:
    """Return the dosage as given, without the spaces around it.

    Raises: ValueError with a sentence for the prescriber, which does not repeat the text: it may hold anything.
    """
    text = text.strip(" \t\r\n")
    if not text:
        raise ValueError(_NO_NUMBER)
    if len(text) > MAX_LENGTH:
        raise ValueError(f"A dosage has at most {MAX_LENGTH} characters; more belongs in the instructions.")
    # Only small micro signs are accepted: a capital one looks like the M of mg, which is a thousand times the dose.
    plain = text.translate(_MICRO).replace("m\u00b2", "m2")
    if not re.fullmatch(r"[ -~\u2013]+", plain):
        raise ValueError("A dosage is written in plain letters, digits and spaces.")
    plain = re.sub(r" +", " ", plain)
    if plain[0] not in "0123456789":
        raise ValueError(_BAD_NUMBER if plain[0] in ".,+" else _NOT_POSITIVE if plain[0] == "-" else _NO_NUMBER)
    found = _AMOUNT_AND_UNIT.fullmatch(plain)
    if found is None:
        raise ValueError(_BAD_NUMBER)
    low, high, unit = found.groups()
    if unit and unit[0] in "0123456789.,":
        raise ValueError(_BAD_NUMBER)
    _check_amount(low, high)
    if not unit.strip():
        raise ValueError(_NO_UNIT)
    if not _is_unit(unit):
        raise ValueError(_BAD_UNIT)
    return text


def _check_amount(low: str, high: str | None) -> None:
    smallest = _value(low)
    if smallest <= 0:
        raise ValueError(_NOT_POSITIVE)
    # "5-325 mg" names the two strengths of a combination tablet and is not a range of doses.
    if high is not None and not smallest < _value(high) <= 10 * smallest:
        raise ValueError(_BAD_RANGE)


def _value(amount: str) -> Fraction:
    whole, _, fraction = amount.rpartition(" ")
    part = Fraction(fraction)
    if "/" in fraction and part >= 1:
        raise ValueError(_BAD_FRACTION)
    return Fraction(whole or 0) + part


def _is_unit(text: str) -> bool:
    unit = _PER.sub("/", _UCUM_PRODUCT.sub(_as_quotient, text))
    numerator, *divisors = (part.strip() for part in unit.split("/"))
    if numerator not in CASE_SENSITIVE_UNITS and numerator.lower() not in _UNITS | _FORMS:
        return False
    if divisors and numerator.lower() in _UNDIVIDED:
        return False
    return len(divisors) <= 2 and any(
        all(_is_divisor(divisor, kind) for divisor, kind in zip(divisors, kinds, strict=True))
        for kinds in _DIVISOR_KINDS
        if len(kinds) == len(divisors)
    )


def _as_quotient(product: re.Match[str]) -> str:
    """Return "/24 h" for UCUM's "/(24.h)", and "/kg/min" for "/(kg.min)"."""
    first, second = product.groups()
    return f"/{first} {second}" if first.isdigit() else f"/{first}/{second}"


def _is_divisor(text: str, kind: str) -> bool:
    counted = _COUNTED_DIVISOR.fullmatch(text)
    if counted:
        return kind in ("volume", "time") and float(counted[1]) > 0 and counted[2].lower() in _DIVISORS[kind]
    return text.lower() in _DIVISORS[kind]
