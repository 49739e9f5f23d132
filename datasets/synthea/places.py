"""Where a US state's clocks are."""

DEFAULT_ZONE = "UTC"

#: The zone of most inhabitants, where a state has several.
ZONES = {
    state: zone
    for zone, states in {
        "America/New_York": "CT DC DE FL GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV",
        "America/Detroit": "MI",
        "America/Indiana/Indianapolis": "IN",
        "America/Kentucky/Louisville": "KY",
        "America/Chicago": "AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI",
        "America/Denver": "CO MT NM UT WY",
        "America/Boise": "ID",
        "America/Phoenix": "AZ",
        "America/Los_Angeles": "CA NV OR WA",
        "America/Anchorage": "AK",
        "Pacific/Honolulu": "HI",
        "America/Puerto_Rico": "PR",
        "America/St_Thomas": "VI",
        "Pacific/Guam": "GU",
        "Pacific/Saipan": "MP",
        "Pacific/Pago_Pago": "AS",
    }.items()
    for state in states.split()
}


def zone_of(*states: str) -> str:
    """The IANA zone of the first state that is known, UTC when none is."""
    return next((ZONES[state.strip().upper()] for state in states if state.strip().upper() in ZONES), DEFAULT_ZONE)
