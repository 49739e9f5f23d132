"""Names of invented people, read from `data/names.toml`: given and family names that are common in a region."""

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from datasets.data_files import read_toml


@dataclass(frozen=True)
class Region:
    name: str
    female: tuple[str, ...]
    male: tuple[str, ...]
    family: tuple[str, ...]


REGIONS = tuple(
    Region(region["name"], *(tuple(region[names]) for names in ("female", "male", "family")))
    for region in read_toml(Path(__file__).parent / "data" / "names.toml")["region"]
)

#: Letters that Unicode does not decompose into a plain letter and an accent.
_PLAIN = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ł": "l", "ı": "i", "ð": "d", "Ð": "D"})


@cache
def mail_part(name: str) -> str:
    """Return a name as e-mail addresses spell it: "Nguyễn" becomes "nguyen", "O'Brien" becomes "obrien"."""
    plain = unicodedata.normalize("NFKD", name.translate(_PLAIN))
    return "".join(letter for letter in plain.lower() if letter.isascii() and letter.isalpha())
