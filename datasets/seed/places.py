"""Cities of the invented hospital network, read from `data/places.toml`, and addresses in them.

Some of the cities have summer time and some do not, so that visits of both kinds occur.
"""

from dataclasses import dataclass
from pathlib import Path
from random import Random

from datasets.data_files import read_toml


@dataclass(frozen=True)
class Place:
    city: str
    country: str
    time_zone: str
    streets: tuple[str, ...]
    #: Patterns in which "#" stands for a digit.
    postcode: str
    phone: str
    national_id: str
    #: The format of an address, with the fields street, number, postcode, city and country.
    address: str


PLACES = tuple(
    Place(**{**place, "streets": tuple(place["streets"])})
    for place in read_toml(Path(__file__).parent / "data" / "places.toml")["place"]
)


def fill_pattern(pattern: str, rng: Random) -> str:
    """Return the pattern with a random digit in place of each "#"."""
    digits = pattern.count("#")
    number = f"{int(rng.random() * 10**digits):0{digits}d}"
    parts = pattern.split("#")
    return "".join([parts[0], *(digit + part for digit, part in zip(number, parts[1:], strict=True))])


def random_address(place: Place, rng: Random) -> str:
    return place.address.format(
        street=place.streets[int(rng.random() * len(place.streets))],
        number=1 + int(rng.random() * 180),
        postcode=fill_pattern(place.postcode, rng),
        city=place.city,
        country=place.country,
    )
