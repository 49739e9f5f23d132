"""Time zones of US states, read from `data/us_time_zones.csv`."""

from pathlib import Path

from datasets.data_files import read_table

DEFAULT_ZONE = "UTC"

#: State or territory → IANA zone.
ZONES = {row["state"]: row["time_zone"] for row in read_table(Path(__file__).parent / "data" / "us_time_zones.csv")}


def time_zone_of(*states: str) -> str:
    """Return the IANA zone of the first state that is known, or UTC if none is."""
    return next((ZONES[state.strip().upper()] for state in states if state.strip().upper() in ZONES), DEFAULT_ZONE)
