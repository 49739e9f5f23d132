"""Bills in the admin: actions that mark them as paid or void, the totals of the list, and permissions."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from billing import services
from billing.models import Bill
from healthcare.errors import Conflict
from tests.audit.entries import recording
from tests.people import People, make_account
from tests.records import make_bill
from tests.snapshots import changed, everything

pytestmark = pytest.mark.django_db

LIST = "/admin/billing/bill/"


@pytest.fixture
def bills(people: People) -> list[Bill]:
    """Two open bills, a paid and a void one of P1, and an open bill of P2."""
    return [
        make_bill(people, total_cost=Decimal("10.50")),
        make_bill(people, total_cost=Decimal("1234.00")),
        make_bill(people, status="paid"),
        make_bill(people, status="void"),
        make_bill(people, patient_id="P2", total_cost=Decimal("5.00")),
    ]


def browser_with(*codenames: str) -> Client:
    account = make_account("staff", f"{'.'.join(codenames)}@example.org")
    account.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    browser = Client()
    browser.force_login(account)
    return browser


@pytest.fixture
def clerk(people: People) -> Client:
    return browser_with("view_bill", "change_bill")


def act(browser: Client, action: str, *bills: Bill, **more: str) -> Any:
    return browser.post(LIST, {"action": action, "_selected_action": [bill.pk for bill in bills], **more}, follow=True)


def statuses() -> list[str]:
    return list(Bill.objects.order_by("pk").values_list("status", flat=True))


@pytest.mark.parametrize(
    ("action", "status", "word"), [("pay_bills", "paid", "paid"), ("void_bills", "void", "voided")]
)
def test_bills_are_settled_after_confirmation(
    clerk: Client, bills: list[Bill], action: str, status: str, word: str
) -> None:
    before = everything()
    asked = act(clerk, action, *bills[:2]).content.decode()
    assert "1,234.00" in asked
    assert 'name="confirmed"' in asked
    assert changed(before, everything()) == set(), "nothing is written before the confirmation"
    with recording() as made:
        done = act(clerk, action, *bills[:2], confirmed="yes").content.decode()
    assert f"2 bills are {status}." in done
    assert statuses() == [status, status, "paid", "void", "open"]
    said = [
        (entry.action, entry.patient_ids, entry.subject) for entry in made.entries if entry.action == f"bill.{word}"
    ]
    assert said == [(f"bill.{word}", ["P1"], str(bill.pk)) for bill in reversed(bills[:2])]


def test_settled_bills_are_reported_and_stay(clerk: Client, bills: list[Bill]) -> None:
    done = act(clerk, "void_bills", bills[0], bills[2], bills[3], confirmed="yes").content.decode()
    assert f"{bills[2].pk}: The bill is paid already." in done
    assert f"{bills[3].pk}: The bill is void already." in done
    assert "1 bill is void." in done
    assert statuses() == ["void", "open", "paid", "void", "open"]


def test_one_bill_is_settled_from_its_page_by_post_only(clerk: Client, people: People, bills: list[Bill]) -> None:
    page = reverse("admin:billing_bill_change", args=[bills[0].pk])
    pay = reverse("admin:billing_bill_pay", args=[bills[0].pk])
    assert pay in clerk.get(page).content.decode()
    before = everything()
    assert "Mark this bill as paid?" in clerk.get(pay).content.decode()
    assert changed(before, everything()) <= {"postgresql django_session"}
    answer = clerk.post(pay, {"_form_submitted": "True"}, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.get("HX-Redirect")) == (200, page)
    assert statuses()[0] == "paid"
    shown = clerk.get(page).content.decode()
    assert f"Bill {bills[0].pk} is paid." in shown
    assert pay not in shown, "a settled bill has no button"
    with recording() as made:
        assert clerk.get(pay).status_code == 403
    assert [(entry.action, entry.outcome) for entry in made.entries] == [("bill.paid", "refused")]


def test_two_clerks_settle_one_bill_once(people: People, bills: list[Bill]) -> None:
    services.close_bill(actor=people.admin, bill_id=bills[0].pk, status="paid")
    with pytest.raises(Conflict, match="paid already"):
        services.close_bill(actor=people.admin, bill_id=bills[0].pk, status="void")
    assert statuses()[0] == "paid"


def test_users_who_may_only_view_settle_nothing(people: People, bills: list[Bill]) -> None:
    browser = browser_with("view_bill")
    before = statuses()
    act(browser, "pay_bills", bills[0], confirmed="yes")
    assert browser.post(reverse("admin:billing_bill_void", args=[bills[0].pk])).status_code == 403
    assert statuses() == before


def test_list_shows_its_totals(clerk: Client, bills: list[Bill]) -> None:
    def totals(**query: str) -> list[tuple[str, int, str]]:
        return [(str(label), number, str(total)) for label, number, total in clerk.get(LIST, query).context["totals"]]

    everything_there = [("open", 3, "1249.50"), ("paid", 1, "80.00"), ("void", 1, "80.00")]
    assert totals() == everything_there
    assert totals(status__exact="open") == [("open", 3, "1249.50")]
    assert totals(q="P2") == [("open", 1, "5.00")]
    assert totals(q="nobody") == []
    Bill.objects.filter(pk=bills[1].pk).update(created_at=timezone.now() - timedelta(days=70))
    assert totals(created="month") == totals(created="week") == totals(created="today") == [
        ("open", 2, "15.50"), *everything_there[1:],
    ]  # fmt: skip
    assert "1,249.50" in clerk.get(LIST).content.decode()


def test_totals_are_one_query(clerk: Client, bills: list[Bill]) -> None:
    with CaptureQueriesContext(
        connection,
    ) as few:
        clerk.get(LIST)
    assert len([query for query in few.captured_queries if "SUM(" in query["sql"]]) == 1
    for _ in range(3):
        Bill.objects.bulk_create([Bill(patient_id="P1", total_cost=1) for _ in range(20)])
    with CaptureQueriesContext(connection) as many:
        clerk.get(LIST)
    assert len(many) == len(few)


@pytest.mark.parametrize("query", ["created=never", "created=%24gt", "q=99999999999999999999999", "status__exact=odd"])
def test_unknown_filter_is_no_server_error(clerk: Client, bills: list[Bill], query: str) -> None:
    assert clerk.get(f"{LIST}?{query}").status_code in (200, 302)


def test_the_fee_table(people: People) -> None:
    browser = browser_with("view_fee", "add_fee", "change_fee", "delete_fee")
    add = reverse("admin:billing_fee_add")
    assert browser.post(add, {"specialty": "Sleep medicine", "amount": "75.50"}).status_code == 302
    assert "75.50" in browser.get(reverse("admin:billing_fee_changelist")).content.decode()
    for wrong, sentence in (
        ({"specialty": "SLEEP  medicine", "amount": "1"}, "There is a fee for this specialty already."),
        ({"specialty": "X", "amount": "-1"}, "greater than or equal to 0"),
    ):
        refused = browser.post(add, wrong)
        assert refused.status_code == 200
        assert sentence in str(refused.context["adminform"].form.errors)
