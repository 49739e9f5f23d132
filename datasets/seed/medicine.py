"""Specialties, the diseases they treat and the drugs that fit those: usual adult doses, for invented people only.

Nothing here is medical advice. Prices are what a course costs, in the one currency of the network.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Specialty:
    name: str
    #: Length of a visit; several doctors of one specialty may differ.
    slot_minutes: tuple[int, ...]
    #: What a visit costs, from and to.
    fee: tuple[int, int]


@dataclass(frozen=True)
class Drug:
    name: str
    dosages: tuple[str, ...]
    frequency: str
    #: Days of a course, one of them chosen; None is open-ended.
    courses: tuple[int | None, ...]
    #: Cents for each day (30 of them when open-ended).
    cents_per_day: int
    instructions: str | None = None


@dataclass(frozen=True)
class Disease:
    name: str
    specialty: str
    #: How common it is beside the other diseases of its specialty.
    weight: int
    #: Chronic: visits go on for years. Else an episode of a few weeks, which may come back.
    is_chronic: bool
    drugs: tuple[Drug, ...] = field(repr=False)
    #: At every visit the patient is of such an age.
    ages: tuple[int, int] = (0, 110)
    sex: str | None = None


GENERAL_PRACTICE = "General Practice"

SPECIALTIES = {
    each.name: each
    for each in (
        Specialty(GENERAL_PRACTICE, (15, 20), (40, 140)),
        Specialty("Cardiology", (30,), (120, 520)),
        Specialty("Endocrinology", (30,), (110, 380)),
        Specialty("Pediatrics", (20,), (60, 190)),
        Specialty("Dermatology", (15, 20), (80, 320)),
        Specialty("Psychiatry", (45, 50), (130, 300)),
        Specialty("Pulmonology", (30,), (110, 420)),
        Specialty("Neurology", (40,), (150, 600)),
        Specialty("Orthopedics", (20, 30), (110, 680)),
        Specialty("Gynecology", (30,), (90, 360)),
        Specialty("Gastroenterology", (30,), (120, 750)),
        Specialty("Ophthalmology", (20,), (80, 420)),
        Specialty("Rheumatology", (30,), (120, 400)),
        Specialty("Urology", (30,), (100, 450)),
        Specialty("Otolaryngology", (20,), (80, 350)),
        Specialty("Nephrology", (30,), (130, 520)),
        Specialty("Oncology", (40, 60), (250, 1900)),
        Specialty("Hematology", (30,), (140, 640)),
        Specialty("Infectious Diseases", (30,), (120, 420)),
    )
}

#: The specialties of a house's doctors, one after the other and round again: the more common come more often.
SPECIALTY_ROUND = (
    GENERAL_PRACTICE,
    "Cardiology",
    "Pediatrics",
    "Endocrinology",
    "Dermatology",
    GENERAL_PRACTICE,
    "Psychiatry",
    "Orthopedics",
    "Gynecology",
    "Pulmonology",
    GENERAL_PRACTICE,
    "Neurology",
    "Gastroenterology",
    "Ophthalmology",
    GENERAL_PRACTICE,
    "Otolaryngology",
    "Urology",
    "Rheumatology",
    GENERAL_PRACTICE,
    "Oncology",
    "Nephrology",
    "Cardiology",
    "Pediatrics",
    GENERAL_PRACTICE,
    "Infectious Diseases",
    "Hematology",
    "Orthopedics",
    GENERAL_PRACTICE,
    "Psychiatry",
    "Endocrinology",
    GENERAL_PRACTICE,
    "Gynecology",
)

_LONG = (30, 60, 90, 90, None)
_WITH_FOOD = "Take with food."
_WATER = "Swallow whole with a glass of water."
_FINISH = "Finish the course even when you feel better."

_METFORMIN = Drug("Metformin", ("500mg", "850mg", "1000mg"), "Twice daily", _LONG, 35, _WITH_FOOD)
_LISINOPRIL = Drug("Lisinopril", ("5mg", "10mg", "20mg"), "Daily", _LONG, 25)
_AMLODIPINE = Drug("Amlodipine", ("5mg", "10mg"), "Daily", _LONG, 22)
_ATORVASTATIN = Drug("Atorvastatin", ("10mg", "20mg", "40mg"), "At bedtime", _LONG, 40)
_ASPIRIN = Drug("Aspirin", ("75mg", "100mg"), "Daily", _LONG, 10, _WITH_FOOD)
_BISOPROLOL = Drug("Bisoprolol", ("2.5mg", "5mg"), "Every morning", _LONG, 28)
_FUROSEMIDE = Drug("Furosemide", ("20mg", "40mg"), "Every morning", (30, 60, None), 18)
_AMOXICILLIN = Drug("Amoxicillin", ("500mg", "875mg"), "Every 8 hours", (5, 7, 10), 110, _FINISH)
_IBUPROFEN = Drug("Ibuprofen", ("400mg", "600mg"), "Every 8 hours as needed", (5, 7, 10), 60, _WITH_FOOD)
_PARACETAMOL = Drug("Paracetamol", ("500mg", "1 g"), "Every 6 hours as needed", (3, 5, 7), 40, "At most 4 g a day.")
_NAPROXEN = Drug("Naproxen", ("250mg", "500mg"), "Twice daily", (7, 10, 14), 75, _WITH_FOOD)
_OMEPRAZOLE = Drug("Omeprazole", ("20mg", "40mg"), "Before breakfast", (14, 28, 56), 50, _WATER)
_SALBUTAMOL = Drug("Salbutamol", ("1-2 puffs",), "Every 4-6 hours as needed", (60, 90, None), 30, "Shake before use.")
_PREDNISOLONE = Drug("Prednisolone", ("20mg", "40mg"), "Every morning", (5, 7, 10), 55, _WITH_FOOD)
_SERTRALINE = Drug("Sertraline", ("50mg", "100mg"), "Daily", _LONG, 45)
_CETIRIZINE = Drug("Cetirizine", ("10mg",), "Daily", (14, 30, 60), 25)
_GABAPENTIN = Drug("Gabapentin", ("300mg", "600mg"), "Three times daily", (30, 60, None), 65)
_CHILD_PARACETAMOL = Drug("Paracetamol syrup", ("5 mL", "7.5 mL"), "Every 6 hours as needed", (3, 5), 70)

_GP, _CARDIO, _ENDO, _PED, _DERM = GENERAL_PRACTICE, "Cardiology", "Endocrinology", "Pediatrics", "Dermatology"
_ADULT = (18, 110)

DISEASES = (
    Disease("Hypertension", _GP, 30, True, (_LISINOPRIL, _AMLODIPINE), (30, 110)),
    Disease("Upper respiratory infection", _GP, 26, False, (_PARACETAMOL, _IBUPROFEN), (3, 110)),
    Disease("Influenza", _GP, 14, False, (Drug("Oseltamivir", ("75mg",), "Twice daily", (5,), 620), _PARACETAMOL)),
    Disease("Low back pain", _GP, 20, False, (_NAPROXEN, _PARACETAMOL), (16, 110)),
    Disease(
        "Hyperlipidemia",
        _GP,
        16,
        True,
        (_ATORVASTATIN, Drug("Rosuvastatin", ("5mg", "10mg"), "Daily", _LONG, 48)),
        (35, 110),
    ),
    Disease(
        "Seasonal allergic rhinitis",
        _GP,
        14,
        False,
        (_CETIRIZINE, Drug("Fluticasone nasal spray", ("2 sprays",), "Daily", (30, 60), 55)),
        (6, 110),
    ),
    Disease(
        "Vitamin D deficiency",
        _GP,
        10,
        False,
        (Drug("Cholecalciferol", ("1000 IU", "2000 IU"), "Daily", (60, 90), 12),),
    ),
    Disease(
        "Gastroenteritis",
        _GP,
        10,
        False,
        (Drug("Oral rehydration salts", ("1 sachet",), "Four times daily", (3, 5), 90),),
    ),
    Disease("Coronary artery disease", _CARDIO, 20, True, (_ASPIRIN, _BISOPROLOL, _ATORVASTATIN), (45, 110)),
    Disease(
        "Atrial fibrillation",
        _CARDIO,
        14,
        True,
        (Drug("Apixaban", ("2.5mg", "5mg"), "Twice daily", (60, 90, None), 290), _BISOPROLOL),
        (50, 110),
    ),
    Disease("Heart failure", _CARDIO, 12, True, (_FUROSEMIDE, _BISOPROLOL, _LISINOPRIL), (55, 110)),
    Disease(
        "Palpitations",
        _CARDIO,
        8,
        False,
        (Drug("Metoprolol", ("25mg", "50mg"), "Twice daily", (14, 30), 30),),
        (16, 110),
    ),
    Disease(
        "Type 2 diabetes",
        _ENDO,
        30,
        True,
        (
            _METFORMIN,
            Drug("Empagliflozin", ("10mg", "25mg"), "Every morning", (30, 90, None), 190),
            Drug(
                "Insulin glargine", ("10 units", "18 units", "24 units"), "At bedtime", (30, 90, None), 240, "Inject."
            ),
        ),
        (35, 110),
    ),
    Disease(
        "Hypothyroidism",
        _ENDO,
        16,
        True,
        (
            Drug(
                "Levothyroxine", ("50 mcg", "75 mcg", "100 mcg"), "Before breakfast", _LONG, 20, "On an empty stomach."
            ),
        ),
        (18, 110),
    ),
    Disease(
        "Type 1 diabetes",
        _ENDO,
        6,
        True,
        (Drug("Insulin lispro", ("6 units", "8 units"), "Before meals", (30, 90, None), 260, "Inject."),),
        (8, 110),
    ),
    Disease(
        "Osteoporosis", _ENDO, 8, True, (Drug("Alendronate", ("70mg",), "Weekly", (84, 168, None), 35),), (55, 110)
    ),
    Disease(
        "Acute otitis media",
        _PED,
        20,
        False,
        (
            Drug("Amoxicillin suspension", ("250 mg/5 mL",), "Three times daily", (5, 7), 130, _FINISH),
            _CHILD_PARACETAMOL,
        ),
        (0, 15),
    ),
    Disease(
        "Childhood asthma",
        _PED,
        16,
        True,
        (Drug("Salbutamol with spacer", ("2 puffs",), "Every 4 hours as needed", (30, 60, None), 40),),
        (3, 17),
    ),
    Disease("Croup", _PED, 8, False, (Drug("Dexamethasone solution", ("0.6 mg/kg",), "Once", (1,), 480),), (0, 7)),
    Disease("Bronchiolitis", _PED, 8, False, (_CHILD_PARACETAMOL,), (0, 3)),
    Disease(
        "Atopic dermatitis",
        _DERM,
        18,
        True,
        (
            Drug(
                "Hydrocortisone 1% cream",
                ("1 application",),
                "Twice daily",
                (7, 14, 28),
                45,
                "Thin layer, not on the face.",
            ),
            Drug("Emollient cream", ("1 application",), "Twice daily", (30, 60), 25),
        ),
    ),
    Disease(
        "Psoriasis",
        _DERM,
        12,
        True,
        (Drug("Calcipotriol ointment", ("1 application",), "Twice daily", (28, 56, 84), 95),),
        (15, 110),
    ),
    Disease(
        "Acne vulgaris",
        _DERM,
        14,
        False,
        (
            Drug("Adapalene 0.1% gel", ("1 application",), "Nightly", (56, 84), 40),
            Drug("Doxycycline", ("100mg",), "Daily", (42, 84), 38, "Keep out of strong sun."),
        ),
        (12, 45),
    ),
    Disease(
        "Cellulitis",
        _DERM,
        6,
        False,
        (Drug("Flucloxacillin", ("500mg",), "Four times daily", (7, 10), 130, _FINISH),),
        (16, 110),
    ),
    Disease(
        "Major depression",
        "Psychiatry",
        22,
        True,
        (_SERTRALINE, Drug("Mirtazapine", ("15mg", "30mg"), "At bedtime", _LONG, 50)),
        (15, 110),
    ),
    Disease(
        "Generalized anxiety disorder",
        "Psychiatry",
        18,
        True,
        (_SERTRALINE, Drug("Escitalopram", ("10mg", "20mg"), "Daily", _LONG, 48)),
        (15, 110),
    ),
    Disease(
        "Insomnia", "Psychiatry", 10, False, (Drug("Melatonin", ("2mg",), "At bedtime", (14, 21, 28), 60),), (18, 110)
    ),
    Disease(
        "Attention deficit disorder",
        "Psychiatry",
        6,
        True,
        (Drug("Methylphenidate", ("18mg", "36mg"), "Every morning", (28, 30), 180),),
        (7, 40),
    ),
    Disease(
        "Asthma",
        "Pulmonology",
        24,
        True,
        (
            _SALBUTAMOL,
            Drug(
                "Budesonide with formoterol",
                ("2 puffs",),
                "Twice daily",
                (60, 90, None),
                160,
                "Rinse the mouth after use.",
            ),
        ),
        (16, 110),
    ),
    Disease(
        "COPD",
        "Pulmonology",
        16,
        True,
        (Drug("Tiotropium", ("2 puffs",), "Daily", (60, 90, None), 170), _SALBUTAMOL),
        (45, 110),
    ),
    Disease(
        "Pneumonia",
        "Pulmonology",
        8,
        False,
        (_AMOXICILLIN, Drug("Azithromycin", ("500mg",), "Daily", (3, 5), 340, _FINISH)),
        (16, 110),
    ),
    Disease("Acute bronchitis", "Pulmonology", 10, False, (_SALBUTAMOL, _PREDNISOLONE), (16, 110)),
    Disease(
        "Migraine",
        "Neurology",
        24,
        True,
        (
            Drug("Sumatriptan", ("50mg", "100mg"), "As needed", (30, 60), 85, "At the first sign of an attack."),
            Drug("Topiramate", ("25mg", "50mg"), "Twice daily", (60, 90, None), 70),
        ),
        (14, 75),
    ),
    Disease(
        "Epilepsy",
        "Neurology",
        10,
        True,
        (Drug("Levetiracetam", ("500mg", "1000mg"), "Every 12 hours", (60, 90, None), 110),),
        (4, 110),
    ),
    Disease(
        "Parkinson disease",
        "Neurology",
        7,
        True,
        (Drug("Levodopa with carbidopa", ("1 tablet",), "Three times daily", (60, 90, None), 150),),
        (55, 110),
    ),
    Disease("Peripheral neuropathy", "Neurology", 9, True, (_GABAPENTIN,), (40, 110)),
    Disease("Osteoarthritis of the knee", "Orthopedics", 22, True, (_NAPROXEN, _PARACETAMOL), (45, 110)),
    Disease("Ankle sprain", "Orthopedics", 14, False, (_IBUPROFEN,), (8, 110)),
    Disease("Rotator cuff tendinitis", "Orthopedics", 10, False, (_NAPROXEN,), (25, 110)),
    Disease(
        "Distal radius fracture",
        "Orthopedics",
        8,
        False,
        (_PARACETAMOL, Drug("Tramadol", ("50mg",), "Every 6 hours as needed", (3, 5), 95)),
        (16, 110),
    ),
    Disease(
        "Endometriosis",
        "Gynecology",
        10,
        True,
        (Drug("Dienogest", ("2mg",), "Daily", (84, None), 90),),
        (18, 50),
        "female",
    ),
    Disease("Polycystic ovary syndrome", "Gynecology", 10, True, (_METFORMIN,), (16, 45), "female"),
    Disease(
        "Menopausal symptoms",
        "Gynecology",
        12,
        True,
        (Drug("Estradiol patch", ("1 patch",), "Twice weekly", (84, None), 75),),
        (45, 65),
        "female",
    ),
    Disease(
        "Vaginal candidiasis",
        "Gynecology",
        8,
        False,
        (Drug("Fluconazole", ("150mg",), "Once", (1,), 900),),
        (16, 110),
        "female",
    ),
    Disease("Gastroesophageal reflux", "Gastroenterology", 22, True, (_OMEPRAZOLE,), (18, 110)),
    Disease(
        "Irritable bowel syndrome",
        "Gastroenterology",
        14,
        True,
        (Drug("Mebeverine", ("135mg",), "Three times daily", (28, 56), 60, "20 minutes before meals."),),
        (16, 110),
    ),
    Disease(
        "Ulcerative colitis",
        "Gastroenterology",
        7,
        True,
        (Drug("Mesalazine", ("1.2 g", "2.4 g"), "Daily", (60, 90, None), 210),),
        (16, 110),
    ),
    Disease(
        "Peptic ulcer",
        "Gastroenterology",
        7,
        False,
        (_OMEPRAZOLE, Drug("Clarithromycin", ("500mg",), "Twice daily", (7, 14), 190, _FINISH)),
        (20, 110),
    ),
    Disease(
        "Glaucoma",
        "Ophthalmology",
        16,
        True,
        (Drug("Latanoprost eye drops", ("1 drop",), "Every evening", (60, 90, None), 55),),
        (45, 110),
    ),
    Disease(
        "Conjunctivitis",
        "Ophthalmology",
        14,
        False,
        (Drug("Chloramphenicol eye drops", ("1 drop",), "Every 4 hours", (5, 7), 95),),
    ),
    Disease(
        "Dry eye disease",
        "Ophthalmology",
        12,
        True,
        (Drug("Carmellose eye drops", ("1-2 drops",), "Four times daily", (30, 60, None), 40),),
        (30, 110),
    ),
    Disease(
        "Rheumatoid arthritis",
        "Rheumatology",
        18,
        True,
        (Drug("Methotrexate", ("10mg", "15mg"), "Weekly", (84, None), 45, "On the same day each week."), _PREDNISOLONE),
        (25, 110),
    ),
    Disease(
        "Gout",
        "Rheumatology",
        14,
        False,
        (Drug("Colchicine", ("0.5mg",), "Twice daily", (5, 7), 80), _NAPROXEN),
        (35, 110),
    ),
    Disease("Ankylosing spondylitis", "Rheumatology", 5, True, (_NAPROXEN,), (20, 70)),
    Disease(
        "Urinary tract infection",
        "Urology",
        18,
        False,
        (Drug("Nitrofurantoin", ("100mg",), "Twice daily", (5, 7), 140, _WITH_FOOD),),
        _ADULT,
    ),
    Disease(
        "Benign prostatic hyperplasia",
        "Urology",
        16,
        True,
        (Drug("Tamsulosin", ("0.4mg",), "At bedtime", _LONG, 38),),
        (50, 110),
        "male",
    ),
    Disease(
        "Kidney stone",
        "Urology",
        9,
        False,
        (Drug("Diclofenac", ("50mg",), "Every 8 hours as needed", (3, 5), 70, _WITH_FOOD),),
        (20, 110),
    ),
    Disease(
        "Chronic sinusitis",
        "Otolaryngology",
        14,
        True,
        (Drug("Mometasone nasal spray", ("2 sprays",), "Daily", (30, 60, 90), 60),),
        (14, 110),
    ),
    Disease(
        "Tonsillitis",
        "Otolaryngology",
        14,
        False,
        (Drug("Phenoxymethylpenicillin", ("500mg",), "Four times daily", (7, 10), 75, _FINISH),),
        (5, 60),
    ),
    Disease(
        "Benign positional vertigo",
        "Otolaryngology",
        9,
        False,
        (Drug("Betahistine", ("16mg",), "Three times daily", (14, 28), 45),),
        (30, 110),
    ),
    Disease(
        "Chronic kidney disease",
        "Nephrology",
        20,
        True,
        (_LISINOPRIL, Drug("Sevelamer", ("800mg",), "With meals", (60, 90, None), 230)),
        (45, 110),
    ),
    Disease("Nephrotic syndrome", "Nephrology", 5, True, (_PREDNISOLONE, _FUROSEMIDE), (6, 110)),
    Disease(
        "Breast cancer",
        "Oncology",
        12,
        True,
        (Drug("Tamoxifen", ("20mg",), "Daily", (90, None), 85),),
        (35, 110),
        "female",
    ),
    Disease(
        "Prostate cancer",
        "Oncology",
        10,
        True,
        (Drug("Bicalutamide", ("50mg",), "Daily", (90, None), 210),),
        (55, 110),
        "male",
    ),
    Disease(
        "Colorectal cancer",
        "Oncology",
        9,
        True,
        (Drug("Capecitabine", ("1500mg",), "Twice daily", (14,), 980, _WITH_FOOD),),
        (45, 110),
    ),
    Disease(
        "Iron deficiency anemia",
        "Hematology",
        18,
        False,
        (Drug("Ferrous sulfate", ("325mg",), "Every other day", (60, 90), 15),),
        (12, 110),
    ),
    Disease(
        "Deep vein thrombosis",
        "Hematology",
        8,
        True,
        (Drug("Rivaroxaban", ("20mg",), "With dinner", (90, 180), 310),),
        (30, 110),
    ),
    Disease(
        "Hepatitis B",
        "Infectious Diseases",
        10,
        True,
        (Drug("Tenofovir", ("245mg",), "Daily", (90, None), 420),),
        (18, 110),
    ),
    Disease(
        "HIV infection",
        "Infectious Diseases",
        8,
        True,
        (Drug("Bictegravir combination", ("1 tablet",), "Daily", (30, 90, None), 1450),),
        (18, 110),
    ),
    Disease(
        "Latent tuberculosis",
        "Infectious Diseases",
        6,
        False,
        (Drug("Isoniazid", ("300mg",), "Daily", (180,), 25, "No alcohol."),),
        (16, 110),
    ),
    Disease(
        "Shingles",
        "Infectious Diseases",
        8,
        False,
        (Drug("Valaciclovir", ("1 g",), "Three times daily", (7,), 260),),
        (40, 110),
    ),
)
