"""Parser for the text of a medication, in which RxNorm names a product: returns the drug and the dose.

    NDA020800 0.3 ML Epinephrine 1 MG/ML Auto-Injector
    └ label   └ quantity: content of one container, duration of the effect or number of puffs ("24 HR", "120 ACTUAT")
                     └ ingredient └ strength └ dosage form

The dose is the first of these that the text has:

1. the content of one container ("0.3 mL"), unless the form is a pen or a cartridge, which hold several doses;
2. the strength ("5 mg", "0.4 mg/actuation"), if there is exactly one: two strengths of a combination are not one dose;
3. one unit of the dosage form ("1 tablet");
4. "1 dose", if the form is not known, as in "28 Day Pack".

A prescription keeps the whole text as its instructions.
"""

import re
from pathlib import Path
from typing import NamedTuple

from datasets.data_files import read_table
from prescriptions.dosage import parse_dosage

DATA = Path(__file__).parent / "data"
#: Unit in RxNorm → unit in a dosage of this system.
UNITS = {row["rxnorm_unit"]: row["unit"] for row in read_table(DATA / "dosage_units.csv")}
#: Words of a dosage form → the unit in which the form is counted. The first row whose words are in a text applies.
FORMS = tuple((row["words"], row["counted_as"]) for row in read_table(DATA / "dosage_forms.csv"))
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


def parse_medication(description: str) -> Medication:
    """Return the drug and the dose of a text that is not blank. Every such text has a result."""
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
        # A pack of several products. Only its brand is one name for all of them.
        drug = brand["brand"] if brand else text
        return Medication(drug[:MAX_DRUG_LENGTH], _counted(""))
    return Medication((_ingredients(body) or text)[:MAX_DRUG_LENGTH], volume or _strength(body) or _counted(body))


def _ingredients(body: str) -> str:
    """Return the names before the first number of each part: "Acetaminophen 325 MG / Oxycodone 10 MG …"."""
    names = (_before_number(part) for part in body.split(" / "))
    return " / ".join(dict.fromkeys(name for name in names if name))


def _before_number(part: str) -> str:
    words = part.split()
    length = next((index for index, word in enumerate(words) if word[0].isdigit() or word[0] == "."), len(words))
    return " ".join(words[:length])


def _strength(body: str) -> str | None:
    """Return the strength of the product as a dose, or None if the text has no strength or several."""
    found = [match for match in _STRENGTH.finditer(body) if match["unit"].upper() in UNITS]
    if len(found) != 1 or " / " in body:
        return None
    return _dose(found[0]["number"], found[0]["unit"], found[0]["per"])


def _dose(number: str, unit: str, per: str | None = None) -> str | None:
    text = f"{_with_leading_zero(number)} {UNITS[unit.upper()]}"
    if per is not None:
        divisor = _PER.fullmatch(per)
        if divisor is None or divisor["unit"].upper() not in UNITS:
            return None
        amount = f"{_with_leading_zero(divisor['number'])} " if divisor["number"] else ""
        text += f"/{amount}{UNITS[divisor['unit'].upper()]}"
    try:
        return parse_dosage(text)
    except ValueError:
        return None


def _with_leading_zero(number: str) -> str:
    return f"0{number}" if number.startswith(".") else number


def _counted(body: str) -> str:
    words = body.lower()
    form = next((form for name, form in FORMS if re.search(rf"\b{re.escape(name)}s?\b", words)), UNKNOWN_FORM)
    return f"1 {form}"
