"""Where the invented hospital network has its doctors: time zones with and without summer time, streets, phones."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Place:
    city: str
    country: str
    time_zone: str
    streets: tuple[str, ...]
    #: "#" is a digit.
    postcode: str
    phone: str
    national_id: str
    #: How an address is put together there.
    address: str = "{street} {number}, {postcode} {city}, {country}"


PLACES = (
    Place(
        city="Zürich",
        country="Switzerland",
        time_zone="Europe/Zurich",
        streets=("Birkenweg", "Seestrasse", "Lindenstrasse", "Bergstrasse", "Kirchgasse", "Im Grund", "Wiesenweg"),
        postcode="80##",
        phone="+41 44 555 ## ##",
        national_id="756.####.####.##",
    ),
    Place(
        city="London",
        country="United Kingdom",
        time_zone="Europe/London",
        streets=(
            "Church Lane",
            "Mill Road",
            "Victoria Street",
            "Park Avenue",
            "Station Road",
            "Elm Grove",
            "High Street",
        ),
        postcode="SE# #XY",
        phone="+44 20 7946 0###",
        national_id="999 ### ####",
        address="{number} {street}, {city} {postcode}, {country}",
    ),
    Place(
        city="New York",
        country="United States",
        time_zone="America/New_York",
        streets=("Maple Avenue", "Washington Street", "2nd Avenue", "Lincoln Place", "Hudson Street", "Cedar Lane"),
        postcode="100##",
        phone="+1 212 555 01##",
        national_id="900-##-####",
        address="{number} {street}, {city}, NY {postcode}, {country}",
    ),
    Place(
        city="Nairobi",
        country="Kenya",
        time_zone="Africa/Nairobi",
        streets=(
            "Ngong Road",
            "Kenyatta Avenue",
            "Moi Avenue",
            "Lenana Road",
            "Argwings Kodhek Road",
            "Riverside Drive",
        ),
        postcode="00###",
        phone="+254 700 555 ###",
        national_id="########",
        address="{number} {street}, {city} {postcode}, {country}",
    ),
    Place(
        city="Mumbai",
        country="India",
        time_zone="Asia/Kolkata",
        streets=("MG Road", "Linking Road", "Hill Road", "Station Road", "Nehru Road", "Carter Road", "SV Road"),
        postcode="4000##",
        phone="+91 22 5550 ####",
        national_id="#### #### ####",
        address="{number} {street}, {city} {postcode}, {country}",
    ),
    Place(
        city="Sydney",
        country="Australia",
        time_zone="Australia/Sydney",
        streets=("George Street", "Crown Street", "Beach Road", "Wattle Street", "Harbour Street", "King Street"),
        postcode="20##",
        phone="+61 2 5550 ####",
        national_id="#### ##### #",
        address="{number} {street}, {city} NSW {postcode}, {country}",
    ),
    Place(
        city="São Paulo",
        country="Brazil",
        time_zone="America/Sao_Paulo",
        streets=("Rua das Flores", "Rua Augusta", "Avenida Paulista", "Rua do Sol", "Rua Sete de Abril"),
        postcode="01###-###",
        phone="+55 11 5550-####",
        national_id="###.###.###-##",
        address="{street}, {number}, {city} - SP, {postcode}, {country}",
    ),
    Place(
        city="Vancouver",
        country="Canada",
        time_zone="America/Vancouver",
        streets=("Robson Street", "Granville Street", "Oak Street", "Cambie Street", "Davie Street", "Main Street"),
        postcode="V#B #K#",
        phone="+1 604 555 01##",
        national_id="9### ### ###",
        address="{number} {street}, {city}, BC {postcode}, {country}",
    ),
)


def filled(pattern: str, chance: Random) -> str:
    """The pattern with a digit for each "#"."""
    digits = pattern.count("#")
    number = f"{int(chance.random() * 10**digits):0{digits}d}"
    parts = pattern.split("#")
    return "".join([parts[0], *(digit + part for digit, part in zip(number, parts[1:], strict=True))])


def address_in(place: Place, chance: Random) -> str:
    return place.address.format(
        street=place.streets[int(chance.random() * len(place.streets))],
        number=1 + int(chance.random() * 180),
        postcode=filled(place.postcode, chance),
        city=place.city,
        country=place.country,
    )
