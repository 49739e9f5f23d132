"""A medication's text, as RxNorm names products, read for drug and dose.

    NDA020800 0.3 ML Epinephrine 1 MG/ML Auto-Injector
    └ label   └ in one container, or how long it acts, or how many puffs: "24 HR", "120 ACTUAT"
                     └ ingredient └ strength └ dosage form

The dose is, in this order: what one container holds ("0.3 mL"), unless it is a pen or cartridge, which hold many doses;
the strength, when there is one ("5 mg", "0.4 mg/actuation"); else one of the dosage form ("1 tablet"): two strengths of
a combination are not one dose, and a "28 Day Pack" has none. Where not even the form is known it is "1 dose": the text
itself is in the instructions.
"""

import re
from typing import NamedTuple

from prescriptions.dosage import parse_dosage

UNITS = {
    "MG": "mg",
    "MCG": "mcg",
    "G": "g",
    "ML": "mL",
    "L": "L",
    "UNT": "units",
    "IU": "IU",
    "[IU]": "IU",
    "MEQ": "mEq",
    "MMOL": "mmol",
    "%": "%",
    "ACTUAT": "actuation",
    "HR": "h",
    "DAY": "d",
    "BAU": "BAU",
    "MCI": "mCi",
}
#: Words of a dosage form → how it is counted; the first that the text has.
FORMS = (
    ("auto-injector", "autoinjector"),
    ("prefilled syringe", "syringe"),
    ("pen injector", "pen"),
    ("cartridge", "cartridge"),
    ("tablet", "tablet"),
    ("capsule", "capsule"),
    ("caplet", "caplet"),
    ("lozenge", "lozenge"),
    ("suppository", "suppository"),
    ("transdermal system", "patch"),
    ("patch", "patch"),
    ("vaginal ring", "ring"),
    ("implant", "implant"),
    ("inhaler", "inhalation"),
    ("inhalant", "inhalation"),
    ("spray", "spray"),
    ("cream", "application"),
    ("ointment", "application"),
    ("lotion", "application"),
    ("gel", "application"),
    ("foam", "application"),
    ("injection", "injection"),
)
UNKNOWN_FORM = "dose"
MULTIPLE_DOSES = ("pen injector", "cartridge")
MAX_DRUG_LENGTH = 200

_LABEL = re.compile(r"(?:NDA|BLA|ANDA)\d+\s+")
_QUANTITY = re.compile(r"(?P<number>\d*\.?\d+)\s*(?P<unit>ML|HR|ACTUAT|DAY|MG|G)\s+(?=\S)", re.IGNORECASE)
_STRENGTH = re.compile(
    r"(?<![\w./-])(?P<number>\d*\.?\d+)\s*(?P<unit>[A-Za-z]+|\[iU\]|%)(?:/(?P<per>\d*\.?\d*\s*[A-Za-z]+))?(?![\w/])",
    re.IGNORECASE,
)
_BRAND = re.compile(r"\s*\[(?P<brand>[^\]]+)\]\s*$")
_PER = re.compile(r"(?P<number>\d*\.?\d*)\s*(?P<unit>[A-Za-z]+)")


class Medication(NamedTuple):
    drug: str
    dosage: str


def read_medication(description: str) -> Medication:
    """Drug and dose; never fails on a text that is not blank."""
    text = " ".join(description.split())
    brand = _BRAND.search(text)
    body = _LABEL.sub("", _BRAND.sub("", text), count=1)
    volume = None
    while quantity := _QUANTITY.match(body):
        if quantity["unit"].upper() == "ML":
            volume = _dose(quantity["number"], "ML")
        body = body[quantity.end() :]
    if any(form in body.lower() for form in MULTIPLE_DOSES):
        volume = None
    if body.startswith("{"):
        # A pack: several products in one, which only the brand names in a word.
        drug = brand["brand"] if brand else text
        return Medication(drug[:MAX_DRUG_LENGTH], _counted(""))
    return Medication((_ingredients(body) or text)[:MAX_DRUG_LENGTH], volume or _strength(body) or _counted(body))


def _ingredients(body: str) -> str:
    """The names before the first number of each part: "Acetaminophen 325 MG / Oxycodone 10 MG …"."""
    names = (_before_number(part) for part in body.split(" / "))
    return " / ".join(dict.fromkeys(name for name in names if name))


def _before_number(part: str) -> str:
    words = part.split()
    length = next((place for place, word in enumerate(words) if word[0].isdigit() or word[0] == "."), len(words))
    return " ".join(words[:length])


def _strength(body: str) -> str | None:
    """The one strength of the product as a dose; None when it has none or several."""
    found = [match for match in _STRENGTH.finditer(body) if match["unit"].upper() in UNITS]
    if len(found) != 1 or " / " in body:
        return None
    return _dose(found[0]["number"], found[0]["unit"], found[0]["per"])


def _dose(number: str, unit: str, per: str | None = None) -> str | None:
    text = f"{_plain(number)} {UNITS[unit.upper()]}"
    if per is not None:
        divisor = _PER.fullmatch(per)
        if divisor is None or divisor["unit"].upper() not in UNITS:
            return None
        amount = f"{_plain(divisor['number'])} " if divisor["number"] else ""
        text += f"/{amount}{UNITS[divisor['unit'].upper()]}"
    try:
        return parse_dosage(text)
    except ValueError:
        return None


def _plain(number: str) -> str:
    return f"0{number}" if number.startswith(".") else number


def _counted(body: str) -> str:
    words = body.lower()
    form = next((form for name, form in FORMS if re.search(rf"\b{re.escape(name)}s?\b", words)), UNKNOWN_FORM)
    return f"1 {form}"
