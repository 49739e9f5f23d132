import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.synthea.medication import FORMS, MAX_DRUG_LENGTH, UNKNOWN_FORM, parse_medication
from prescriptions.dosage import parse_dosage


@pytest.mark.parametrize(
    ("description", "drug", "dosage"),
    [
        ("Loratadine 5 MG Chewable Tablet", "Loratadine", "5 mg"),
        ("NDA020800 0.3 ML Epinephrine 1 MG/ML Auto-Injector", "Epinephrine", "0.3 mL"),
        ("Nitroglycerin 0.4 MG/ACTUAT Mucosal Spray", "Nitroglycerin", "0.4 mg/actuation"),
        (
            "Acetaminophen 325 MG / Oxycodone Hydrochloride 10 MG Oral Tablet [Percocet]",
            "Acetaminophen / Oxycodone Hydrochloride",
            "1 tablet",
        ),
        (
            "120 ACTUAT Fluticasone propionate 0.044 MG/ACTUAT Metered Dose Inhaler",
            "Fluticasone propionate",
            "0.044 mg/actuation",
        ),
        ("24 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet", "Metformin hydrochloride", "500 mg"),
        ("Yaz 28 Day Pack", "Yaz", "1 dose"),
        ("Levora 0.15/30 28 Day Pack", "Levora", "1 dose"),
        ("medroxyPROGESTERone acetate 150 MG/ML", "medroxyPROGESTERone acetate", "150 mg/mL"),
        ("1 ML medroxyPROGESTERone acetate 150 MG/ML Injection", "medroxyPROGESTERone acetate", "1 mL"),
        ("NuvaRing 0.12/0.015 MG per 24HR 21 Day Vaginal Ring", "NuvaRing", "1 ring"),
        ("72 HR Fentanyl 0.025 MG/HR Transdermal System", "Fentanyl", "0.025 mg/h"),
        ("3 ML liraglutide 6 MG/ML Pen Injector", "liraglutide", "6 mg/mL"),
        ("Alendronic acid 10 MG Oral Tablet [Fosamax]", "Alendronic acid", "10 mg"),
        ("vitamin B12 5 MG/ML Injectable Solution", "vitamin B12", "5 mg/mL"),
        ("Penicillin G 2,400,000 UNT Injection", "Penicillin G", "1 injection"),
        ("Insulin 100 UNT/ML Injectable Solution", "Insulin", "100 units/mL"),
        ("Aspirin .5 MG Oral Tablet", "Aspirin", "0.5 mg"),
        ("Aspirin 0 MG Oral Tablet", "Aspirin", "1 tablet"),
        (
            "{7 (estradiol 0.035 MG / norethindrone 0.5 MG Oral Tablet) / 7 (inert Tablet) } Pack [Ortho]",
            "Ortho",
            "1 dose",
        ),
        ("4-aminosalicylic acid", "4-aminosalicylic acid", "1 dose"),
    ],
)
def test_text_gives_drug_and_dose(description, drug, dosage):
    assert parse_medication(description) == (drug, dosage)
    assert parse_dosage(dosage) == dosage


def test_every_counted_form_is_a_dose():
    for form in {*(form for _, form in FORMS), UNKNOWN_FORM}:
        assert parse_dosage(f"1 {form}") == f"1 {form}"


@given(st.text(min_size=1).filter(str.strip))
def test_any_text_gives_a_drug_and_a_dose_that_is_valid(description):
    medication = parse_medication(description)
    assert 0 < len(medication.drug) <= MAX_DRUG_LENGTH
    assert parse_dosage(medication.dosage)
