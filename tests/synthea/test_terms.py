from zoneinfo import available_timezones

import pytest

from datasets.synthea.places import ZONES, time_zone_of
from datasets.synthea.terms import disease_name, person_name, specialty_name


@pytest.mark.parametrize(
    ("description", "disease"),
    [
        ("Acute viral pharyngitis (disorder)", "Acute viral pharyngitis"),
        ("Chronic kidney disease stage 1 (Disorder) ", "Chronic kidney disease stage 1"),
        ("Coronary Heart Disease", "Coronary Heart Disease"),
        ("Perennial allergic rhinitis with seasonal variation", "Perennial allergic rhinitis with seasonal variation"),
        ("Hyperlipidemia (moderate)", "Hyperlipidemia (moderate)"),
        ("Neoplasm (benign) of skin (disorder)", "Neoplasm (benign) of skin"),
        ("Full-time employment (finding)", None),
        ("History of myocardial infarction (situation)", None),
        ("Well child visit (procedure)", None),
        ("Respiratory therapy (regime/therapy)", None),
        ("Medical record (record artifact)", None),
        ("", None),
        ("  ", None),
    ],
)
def test_disease_is_the_term_without_its_tag(description, disease):
    assert disease_name(description) == disease


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("Maynard46", "Mosciski958"), "Maynard Mosciski"),
        (("Víctor493 Noriega353",), "Víctor Noriega"),
        (("Delmar187 O'Keefe54",), "Delmar O'Keefe"),
        (("José Eduardo181", "", "Gómez206", "PhD"), "José Eduardo Gómez PhD"),
        (("", ""), ""),
    ],
)
def test_names_lose_their_numbers(parts, name):
    assert person_name(*parts) == name


def test_specialties_are_readable():
    assert specialty_name("GENERAL PRACTICE") == "General Practice"
    assert specialty_name("DISEASES OF THE EYE") == "Diseases of the Eye"
    assert specialty_name("OBSTETRICS & GYNECOLOGY") == "Obstetrics & Gynecology"
    assert specialty_name("Women's Health") == "Women's Health"


def test_every_state_has_a_zone_that_exists():
    assert len(ZONES) == 56
    assert set(ZONES.values()) <= available_timezones()


def test_the_first_known_state_says_the_zone():
    assert time_zone_of("ma", "CA") == "America/New_York"
    assert time_zone_of("", "CA") == "America/Los_Angeles"
    assert time_zone_of("Bavaria", "") == "UTC"
