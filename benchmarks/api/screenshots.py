"""Makes the screenshots of the admin in docs/images from generated data.

    python -m benchmarks.api.screenshots [--folder docs/images]

Seeds a system on embedded servers, starts the production server and drives Debian's Chromium. The generated people are
the same in each run; dates are relative to today.
"""

import argparse
import os
import shutil
from pathlib import Path

from benchmarks.api.driving import HOST, ROOT, migrate, run_command, serving
from devstack.ephemeral import EphemeralStack

WIDTH, HEIGHT = 1280, 860
VISITS = "/admin/appointments/appointment/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs/images", help="folder of the images (docs/images)")
    folder = parser.parse_args().folder
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("Chromium is required. Install it: apt-get install chromium")
    with EphemeralStack() as servers:
        os.environ.update(
            servers.addresses, DEVSTACK_DIR=str(servers.directory), LOCAL_SECRETS="1", DEBUG="0", HTTPS_ONLY="0",
            DJANGO_SETTINGS_MODULE="healthcare.settings",
        )  # fmt: skip
        migrate({})
        run_command({}, "seed", "--patients", "2000", "--demo-accounts", "--verbosity", "0")
        with serving("healthcare.wsgi", {}, workers=1) as port:
            take(folder, f"http://{HOST}:{port}", chromium)


def take(folder: Path, root: str, chromium: str) -> None:
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from playwright.sync_api import sync_playwright

    from datasets.seed.demo import demo_logins
    from doctors.models import Doctor
    from patients.models import Patient

    accounts = get_user_model().objects
    doctor = Doctor.objects.get(user_id=accounts.get(email="doctor@example.org").pk)
    patient = Patient.objects.get(user_id=accounts.get(email="patient@example.org").pk)
    admin = demo_logins()[0]
    pages = {
        "admin-dashboard": "/admin/",
        "admin-patient": f"/admin/patients/patient/{patient.pk}/change/",
        "admin-booking": f"{VISITS}add/?patient_id={patient.pk}&doctor_id={doctor.pk}",
        "admin-report": "/admin/reports/top-doctors/",
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(base_url=root, viewport={"width": WIDTH, "height": HEIGHT}, timezone_id="UTC")
        page.goto("/admin/login/")
        page.locator("[name=username]").fill(admin.email)
        page.locator("[name=password]").fill(admin.password)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/admin/")
        for name, path in pages.items():
            page.goto(path)
            page.wait_for_load_state("networkidle")
            if name == "admin-booking":
                page.locator("[data-slots] button[data-time]").nth(2).click()
            if name == "admin-patient":
                page.locator(".timeline").evaluate("chart => scrollBy(0, chart.getBoundingClientRect().top - 320)")
            page.screenshot(path=folder / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
