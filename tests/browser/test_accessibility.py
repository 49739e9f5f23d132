"""Accessibility of the admin: axe-core finds no serious violation, and everything can be reached by keyboard.

The pages are checked in light and dark colours, on a wide and a narrow screen.
"""

from pathlib import Path
from typing import Any, Literal

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

from appointments.models import Appointment
from tests.browser.conftest import Visitors
from tests.browser.test_walks import HOURS
from tests.people import People
from tests.records import complete, days_from_now, make_appointment, make_bill, make_prescription

pytestmark = pytest.mark.django_db(transaction=True)

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
#: All rules on a wide screen, the rules about colours in dark colours, and all others on a narrow screen.
SCREENS: tuple[tuple[Literal["light", "dark"], int, dict[str, Any]], ...] = (
    ("light", 1280, {}),
    ("dark", 1280, {"runOnly": ["color-contrast", "link-in-text-block"]}),
    ("light", 390, {"rules": {"color-contrast": {"enabled": False}}}),
)  # fmt: skip
VISITS, PATIENTS = "/admin/appointments/appointment/", "/admin/patients/patient/"
PAGES = [
    "/admin/", "/admin/reports/top-doctors/", "/admin/reports/disease-trends/",
    "/admin/reports/monthly-appointments-trend/", "/admin/reports/average-prescription-cost/",
    PATIENTS, f"{PATIENTS}add/", f"{PATIENTS}P1/change/",
    "/admin/doctors/doctor/", "/admin/doctors/doctor/D1/change/", f"{VISITS}week/D1/",
    f"{VISITS}?day=all", f"{VISITS}add/?doctor_id=D1", f"{VISITS}A1/change/", f"{VISITS}A1/move/",
    "/admin/prescriptions/prescription/", "/admin/prescriptions/prescription/add/",
    "/admin/billing/bill/", "/admin/billing/bill/add/", "/admin/billing/fee/",
    "/admin/accounts/user/", "/admin/accounts/user/add/", "/admin/accounts/user/{account}/change/",
    "/admin/healthcare/auditentry/", "/admin/healthcare/event/",
]  # fmt: skip


@pytest.fixture
def records(people: People) -> None:
    """Records for every page: appointments of all statuses, a prescription and bills."""
    from doctors.services import update_doctor

    update_doctor(actor=people.admin, doctor_id="D1", availability=HOURS)
    make_appointment(people, appointment_id="A1")
    make_appointment(people, appointment_id="A2", date=days_from_now(0), time="17:00")
    complete(people, make_appointment(people, appointment_id="A3", date=days_from_now(-1), time="12:00"))
    make_prescription(people, appointment_id="A3", duration_days=10, cost="12.50")
    make_bill(people, appointment_id=None)


def violations(page: Page, options: dict[str, Any]) -> list[str]:
    """Return the violations that axe-core calls serious or critical, with their elements."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("options => axe.run(document, {resultTypes: ['violations'], ...options})", options)
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def test_no_page_has_a_serious_violation(visitors: Visitors, people: People, records: None) -> None:
    at = visitors()
    page = at.open("/admin/login/")
    found = {"log-in": violations(page, {})}
    at.log_in(people.admin)
    for path in PAGES:
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 900})
        at.open(path.format(account=people.staff.pk))
        expect(page.locator("[hx-trigger=load] > .quiet:only-child, [data-slots]:empty")).to_have_count(0)
        for scheme, width, options in SCREENS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            # The theme sets this class when it loads a page in dark colours.
            page.evaluate("isDark => document.documentElement.classList.toggle('dark', isDark)", scheme == "dark")
            found[f"{path} {scheme} {width}"] = violations(page, options)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})
    at.open(f"{VISITS}A1/change/").get_by_role("link", name="Complete").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    found["dialog"] = violations(page, {})
    at.open(f"{VISITS}?day=all")
    page.locator(".action-select").first.check()
    found["actions"] = violations(page, {})
    page.locator("[name=action]").first.select_option("cancel_visits")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("button", name="Cancel the visits")).to_be_visible()
    found["list of those to cancel"] = violations(page, {})
    assert {where: what for where, what in found.items() if what} == {}


def test_a_visit_is_completed_by_keyboard(visitors: Visitors, people: People, records: None) -> None:
    """The button opens a dialog, which takes the focus. Escape closes it, and Enter sends it."""
    at = visitors(people.doctor)
    page = at.open(f"{VISITS}A1/change/")
    page.get_by_role("link", name="Complete").focus()
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Complete the visit")
    expect(button).to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_hidden()
    assert Appointment.objects.get(pk="A1").status == "scheduled"
    page.get_by_role("link", name="Complete").focus()
    page.keyboard.press("Enter")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("The visit is completed.")).to_be_visible()
    assert Appointment.objects.get(pk="A1").status == "completed"


def test_filters_slots_and_log_out_are_reached_by_keyboard(visitors: Visitors, people: People, records: None) -> None:
    at = visitors.of_group("Front desk")
    page = at.open(VISITS)
    reach(page, page.get_by_role("button", name="Filters"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Tomorrow")).to_be_visible()
    at.open(f"{VISITS}add/?doctor_id=D1")
    # Late in the day, today has one free slot or none.
    slots = page.locator("[data-slots] .slot-times:has(button + button)").first.locator("button")
    slots.first.wait_for()
    reach(page, slots.first)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    second = slots.nth(1)
    expect(second).to_have_attribute("aria-pressed", "true")
    assert page.locator("[name=time]").input_value() == second.get_attribute("data-time")
    reach(page, page.locator("[name=disease]"))
    at.open("/admin/")
    menu = page.locator("[role=button]", has_text="front@example.org").first
    reach(page, menu)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def reach(page: Page, wanted: Any) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(60):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{wanted} is not reached")
