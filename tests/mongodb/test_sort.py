"""A page in the order of an index reads only its own rows on our engine; the stock engine reads every match."""

import datetime

import pytest
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Concat

from healthcare.mongodb.explain import explain
from tests.mongodb.models import Visit

MATCHES = 100
PAGE = 10
FIRST_DAY = datetime.date(2030, 1, 1)


@pytest.fixture(autouse=True)
def _visits() -> None:
    """Store 500 visits of five doctors, each with four on one day, so that the last sort key decides."""
    for alias in ("clinical", "stock"):
        Visit.objects.using(alias).bulk_create(
            Visit(
                visit_id=f"V{i:03}",
                doctor_id=f"D{i % 5}",
                date=FIRST_DAY + datetime.timedelta(days=i // 20),
                note="même jour" if i % 3 else "",
                number=f"N{i:03}",
                seen_at=None if i % 2 else datetime.datetime(2030, 1, 1, i % 24, tzinfo=datetime.UTC),
            )
            for i in range(5 * MATCHES)
        )


def of_doctor(alias: str) -> QuerySet[Visit]:
    return Visit.objects.using(alias).filter(doctor_id="D1")


PAGES = {
    "descending": lambda visits: visits.order_by("-date", "visit_id"),
    "backwards": lambda visits: visits.order_by("date", "-visit_id"),
    "primary key by its alias": lambda visits: visits.order_by("-date", "pk"),
    "combined filters": lambda visits: visits.filter(
        Q(note="") | Q(note="même jour"),
        date__gte=FIRST_DAY,
        date__lt=FIRST_DAY + datetime.timedelta(days=90),
    ).order_by("-date", "visit_id"),
    "only": lambda visits: visits.only("date").order_by("-date", "visit_id"),
    "values": lambda visits: visits.order_by("-date", "visit_id").values("visit_id", "date"),
    "sort key not selected": lambda visits: visits.order_by("-date", "visit_id").values_list("note"),
    "annotation": lambda visits: visits.annotate(label=Concat("visit_id", Value("!"))).order_by("-date", "pk"),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_page_is_read_in_the_order_of_the_index(page) -> None:
    """The stock engine reads and sorts every match for one page; ours reads the page."""
    stock, ours = page(of_doctor("stock"))[:PAGE], page(of_doctor("clinical"))[:PAGE]

    plan = explain(stock)
    assert plan.sorts_in_memory
    assert plan.keys_examined >= MATCHES

    plan = explain(ours)
    assert plan.indexes == ("visits_doctor_date_id",)
    assert not plan.sorts_in_memory
    assert plan.documents_examined <= PAGE
    # Conditions after the first key of the index may make the scan examine one or two keys more.
    assert plan.keys_examined <= PAGE + 2

    assert list(ours) == list(stock)
    assert len(ours) == PAGE


def test_later_page_is_read_in_the_order_of_the_index() -> None:
    page = of_doctor("clinical").order_by("-date", "visit_id")[20:30]
    assert explain(page).keys_examined == 30
    assert not explain(page).sorts_in_memory
    assert list(page) == list(of_doctor("stock").order_by("-date", "visit_id")[20:30])


SAME_ROWS = {
    "nulls last": lambda visits: visits.order_by(F("seen_at").asc(nulls_last=True), "visit_id"),
    "nulls first, descending": lambda visits: visits.order_by(F("seen_at").desc(nulls_first=True), "visit_id"),
    "nulls where the server puts them": lambda visits: visits.order_by("seen_at", "visit_id"),
    "nulls last of values": lambda visits: visits.order_by(F("seen_at").asc(nulls_last=True), "visit_id").values_list(
        "seen_at", "visit_id"
    ),
    "by an expression": lambda visits: visits.order_by(Concat("note", "visit_id").desc()),
    "by an annotation": lambda visits: visits.annotate(key=Concat("note", "visit_id")).order_by("-key"),
    "grouped": lambda visits: visits.values("date").annotate(total=Count("pk")).order_by("-date"),
    "grouped, by the total": lambda visits: visits.values("note").annotate(n=Count("pk")).order_by("-n", "note"),
    "distinct": lambda visits: visits.order_by("-date").values_list("date", flat=True).distinct(),
    "union": lambda visits: visits.filter(note="").union(visits.filter(date=FIRST_DAY)).order_by("visit_id"),
    "union of ordered values": lambda visits: (
        visits.order_by("-date", "visit_id")
        .values_list("visit_id", "date")[:3]
        .union(visits.filter(date=FIRST_DAY).values_list("visit_id", "date"))
        .order_by("date", "visit_id")
    ),
    "in a sliced subquery": lambda visits: (
        Visit.objects.using(visits.db)
        .filter(pk__in=visits.order_by("-date", "visit_id").values("pk")[:7])
        .order_by("visit_id")
    ),
    "latest of a correlated subquery": lambda visits: (
        visits.filter(date=FIRST_DAY)
        .annotate(
            latest=Subquery(
                Visit.objects.using(visits.db)
                .filter(doctor_id=OuterRef("doctor_id"))
                .order_by("-date", "visit_id")
                .values("visit_id")[:1]
            )
        )
        .order_by("visit_id")
        .values_list("visit_id", "latest")
    ),
    "exists": lambda visits: visits.filter(
        Exists(Visit.objects.using(visits.db).filter(note="", pk=OuterRef("pk")).order_by("-date"))
    ).order_by("-visit_id"),
    "reversed": lambda visits: visits.order_by("-date", "visit_id").reverse(),
}


@pytest.mark.parametrize("rows", SAME_ROWS.values(), ids=SAME_ROWS)
def test_other_orders_give_the_rows_of_the_stock_engine(rows) -> None:
    ours = list(rows(of_doctor("clinical")))
    assert ours == list(rows(of_doctor("stock")))
    assert len(ours) > 1


def test_sliced_count_first_and_last() -> None:
    visits = of_doctor("clinical").order_by("-date", "visit_id")
    assert visits[:7].count() == 7
    assert visits.first() == of_doctor("stock").order_by("-date", "visit_id").first()
    assert visits.last() == of_doctor("stock").order_by("-date", "visit_id").last()
    assert visits.aggregate(days=Count("date", distinct=True)) == {"days": 25}


def test_field_set_to_itself_is_all_that_is_dropped() -> None:
    """The computed keys of `nulls_last` stay where the sort needs them."""
    visits = of_doctor("clinical").order_by(F("seen_at").asc(nulls_last=True))
    compiler = visits.query.get_compiler(using="clinical")
    compiler.pre_sql_setup()
    pipeline = compiler.build_query().get_pipeline()
    assert [next(iter(stage)) for stage in pipeline] == ["$match", "$addFields", "$sort"]
    assert list(pipeline[1]["$addFields"]) == ["__order1"]
