"""Clinical transactions store all or nothing, once, and leave no state behind, also when the server fails."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connections
from django.db import transaction as django_transaction
from django.db.transaction import TransactionManagementError
from django_mongodb_backend import transaction as engine_transaction
from pymongo.errors import PyMongoError

from healthcare.errors import is_outage
from healthcare.mongodb import raw, transactions
from healthcare.mongodb.base import PRIMARY_WAIT_SECONDS, DatabaseWrapper, clinical_connection
from healthcare.mongodb.transactions import (
    ClinicalWriteFailed,
    clinical_transaction,
    in_transaction,
    on_commit,
    session,
    statistics,
)
from tests.databases import clinical_database, existing
from tests.mongodb.models import Tally, Visit

NO_SUCH_TRANSACTION = 251
HOST_UNREACHABLE = 6
WRITE_CONFLICT = 112
TRANSIENT = ["TransientTransactionError"]
UNKNOWN = ["UnknownTransactionCommitResult"]


class Undone(Exception):
    """Raised by a service in these tests to be rolled back."""


Stored = Callable[[type], list[dict[str, Any]]]


def names(stored: Stored) -> list[str]:
    return [document["_id"] for document in stored(Tally)]


def assert_no_state_left() -> None:
    connection = clinical_connection()
    assert (connection.session, connection.in_atomic_block_mongo, connection.nested_atomics) == (
        None,
        False,
        0,
    )
    assert (connection.run_on_commit, connection.raised_inside, connection._checkout) == ([], None, None)
    assert not in_transaction()
    assert session() is None


@pytest.fixture(autouse=True)
def _state() -> Any:
    yield
    assert_no_state_left()


@clinical_transaction
def add(name: str, *, fail: Exception | None = None) -> str:
    """Add a tally by the ORM and one by a raw operation."""
    Tally.objects.create(name=name)
    raw.collection(Tally).insert_one({"_id": f"{name} raw", "total": 0})
    if fail:
        raise fail
    return name


# --- Writes together


def test_writes_of_orm_and_raw_operations_appear_together(stored: Stored) -> None:
    seen_inside = []

    @clinical_transaction
    def service() -> str:
        assert in_transaction()
        assert session() is clinical_connection().session is not None
        name = add("A")
        seen_inside.append(names(stored))
        assert Tally.objects.count() == 2
        return name

    assert service() == "A"
    assert seen_inside == [[]]
    assert names(stored) == ["A", "A raw"]


def test_error_undoes_everything_and_passes_unchanged(stored: Stored) -> None:
    error = ValueError("no")
    before = statistics.attempts
    with pytest.raises(ValueError, match="no") as raised:
        add("A", fail=error)
    assert raised.value is error
    assert names(stored) == []
    assert statistics.attempts == before + 1


def test_duplicate_is_an_integrity_error_at_the_first_try(stored: Stored) -> None:
    Tally.objects.create(name="A")
    tries = []

    @clinical_transaction
    def service() -> None:
        tries.append(1)
        Tally.objects.create(name="B")
        raw.collection(Tally).insert_one({"_id": "A"})

    with pytest.raises(IntegrityError):
        service()
    assert (len(tries), names(stored)) == (1, ["A"])


def test_django_atomic_does_nothing_and_the_decorator_works_inside_it(stored: Stored) -> None:
    """The admin wraps its views in `atomic`. There the stock engine commits and then raises without the callbacks."""
    ran = []

    def failing() -> None:
        with engine_transaction.atomic(using="stock"):
            connections["stock"].on_commit(lambda: ran.append("stock"))
            Tally(name="A").save(using="stock")

    with (
        pytest.raises(TransactionManagementError, match="forbidden when an 'atomic' block is active"),
        django_transaction.atomic(using="stock"),
    ):
        failing()
    assert ran == []
    assert Tally.objects.using("stock").count() == 1

    @clinical_transaction
    def service() -> None:
        on_commit(lambda: ran.append("ours"))
        add("A")

    with django_transaction.atomic(using="clinical"):
        service()
    assert ran == ["ours"]
    assert names(stored) == ["A", "A raw"]


# --- Nested services


def test_nested_service_joins_the_outermost(stored: Stored) -> None:
    @clinical_transaction
    def outer() -> None:
        outer_session = session()
        add("A")
        assert session() is outer_session
        with engine_transaction.atomic(using="clinical"):
            add("B")
        assert names(stored) == []
        raise Undone

    before = statistics.attempts
    with pytest.raises(Undone):
        outer()
    assert names(stored) == []
    assert statistics.attempts == before + 1


def test_error_of_a_joined_service_cannot_be_swallowed(stored: Stored) -> None:
    """MongoDB has no savepoints, so the commit would store half of the failed service's write."""

    @clinical_transaction
    def outer() -> None:
        Tally.objects.create(name="outer")
        try:
            add("A", fail=ValueError("half done"))
        except ValueError:
            Tally.objects.create(name="went on")

    with pytest.raises(TransactionManagementError, match="Let its error pass") as raised:
        outer()
    assert str(raised.value.__cause__) == "half done"
    assert names(stored) == []
    assert add("next") == "next"


def test_service_joins_the_engines_own_atomic(stored: Stored) -> None:
    @engine_transaction.atomic(using="clinical")
    def outer() -> None:
        add("A")
        raise Undone

    with pytest.raises(Undone):
        outer()
    assert names(stored) == []


# --- After the commit


def test_callbacks_run_once_after_the_commit(stored: Stored, fail_command: Any) -> None:
    seen = []

    @clinical_transaction
    def service() -> None:
        on_commit(lambda: seen.append((names(stored), in_transaction())))
        add("A")
        assert seen == []

    with fail_command("commitTransaction", errorCode=NO_SUCH_TRANSACTION, errorLabels=TRANSIENT):
        service()
    assert seen == [(["A", "A raw"], False)]


def test_callbacks_of_an_undone_write_never_run(stored: Stored) -> None:
    ran = []

    @clinical_transaction
    def service() -> None:
        on_commit(lambda: ran.append(1))
        raise Undone

    with pytest.raises(Undone):
        service()
    add("A")
    assert ran == []


def test_failing_callback_neither_fails_nor_repeats_the_write(stored: Stored, caplog: pytest.LogCaptureFixture) -> None:
    ran = []

    def fail() -> None:
        ran.append("failing")
        raise ClinicalWriteFailed(attempts=1, elapsed_seconds=0, cause=transient(), is_outcome_unknown=False)

    @clinical_transaction
    def service() -> str:
        on_commit(fail)
        on_commit(lambda: ran.append("next"))
        return add("A")

    assert service() == "A"
    assert ran == ["failing", "next"]
    assert names(stored) == ["A", "A raw"]
    assert "failed after the commit" in caplog.text


def test_error_of_a_callback_that_is_not_robust_leaves_the_write_as_it_is(stored: Stored) -> None:
    """Not even an error that looks like a conflict starts the stored write again."""
    tries = []

    def fail() -> None:
        raise DatabaseError from transient()

    @clinical_transaction
    def service() -> None:
        tries.append(1)
        connections["clinical"].on_commit(fail)
        add("A")

    with pytest.raises(DatabaseError):
        service()
    assert (len(tries), names(stored)) == (1, ["A", "A raw"])


def test_callback_outside_a_transaction_runs_at_once() -> None:
    ran = []
    on_commit(lambda: ran.append(1))
    assert ran == [1]


def test_callback_may_write_in_a_transaction_of_its_own(stored: Stored) -> None:
    @clinical_transaction
    def service() -> None:
        on_commit(lambda: add("B"))
        add("A")

    service()
    assert names(stored) == ["A", "A raw", "B", "B raw"]


def transient() -> PyMongoError:
    return PyMongoError("conflict", error_labels=TRANSIENT)


# --- Retries


def test_conflict_is_tried_again(stored: Stored, fail_command: Any) -> None:
    before = (statistics.attempts, statistics.retries)
    with fail_command("insert", times=3, errorCode=WRITE_CONFLICT, errorLabels=TRANSIENT):
        add("A")
    assert (statistics.attempts - before[0], statistics.retries - before[1]) == (4, 3)
    assert names(stored) == ["A", "A raw"]


@pytest.mark.parametrize("command", ["insert", "update"])
def test_a_connection_that_breaks_is_met_by_a_retry_on_another(stored: Stored, fail_command: Any, command: str) -> None:
    @clinical_transaction
    def service() -> None:
        raw.collection(Tally).insert_one({"_id": "A", "total": 1})
        raw.collection(Tally).update_one({"_id": "A"}, {"$inc": {"total": 1}})

    before = statistics.retries
    with fail_command(command, closeConnection=True):
        service()
    assert statistics.retries == before + 1
    assert stored(Tally) == [{"_id": "A", "total": 2}]


def set_to_ten() -> None:
    clinical_database().tallies.update_one({"_id": "A"}, {"$set": {"total": 10}})


def test_conflict_of_two_transactions_is_met_by_a_retry(stored: Stored) -> None:
    """The other transaction writes between our read and our write; ours starts again and reads anew."""
    Tally.objects.create(name="A", total=1)
    tries = []

    @clinical_transaction
    def double() -> None:
        tally = Tally.objects.get(name="A")
        tries.append(tally.total)
        if len(tries) == 1:
            thread = threading.Thread(target=set_to_ten)
            thread.start()
            thread.join()
        tally.total *= 2
        tally.save(update_fields=["total"])

    double()
    assert tries == [1, 10]
    assert stored(Tally) == [{"_id": "A", "total": 20}]


def test_without_a_retry_the_same_conflict_is_an_error(stored: Stored) -> None:
    Tally.objects.create(name="A", total=1)

    @engine_transaction.atomic(using="clinical")
    def double() -> None:
        tally = Tally.objects.get(name="A")
        thread = threading.Thread(target=set_to_ten)
        thread.start()
        thread.join()
        tally.total *= 2
        tally.save(update_fields=["total"])

    with pytest.raises(DatabaseError):
        double()
    assert stored(Tally) == [{"_id": "A", "total": 10}]


def test_unknown_commit_is_sent_again_and_the_service_not(stored: Stored, fail_command: Any) -> None:
    tries = []

    @clinical_transaction
    def service() -> None:
        tries.append(1)
        add("A")

    before = statistics.commits_resent
    # The driver itself sends a commit twice, so three failures are more than it hides.
    with fail_command("commitTransaction", times=3, errorCode=HOST_UNREACHABLE, errorLabels=UNKNOWN):
        service()
    assert len(tries) == 1
    assert statistics.commits_resent > before
    assert names(stored) == ["A", "A raw"]


def test_unknown_commit_is_sent_again_once_when_time_is_up(
    stored: Stored, fail_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "MAX_SECONDS", 0.0)

    @clinical_transaction
    def service() -> None:
        raw.collection(Tally).insert_one({"_id": "A", "total": 1})

    with fail_command("commitTransaction", times=1, errorCode=HOST_UNREACHABLE, errorLabels=UNKNOWN):
        service()
    assert stored(Tally) == [{"_id": "A", "total": 1}]


def test_commit_that_was_carried_out_and_whose_answer_was_lost_is_one_write(stored: Stored, fail_command: Any) -> None:
    """The server commits and the network fails: the repeated commit finds that it is done."""

    @clinical_transaction
    def service() -> None:
        raw.collection(Tally).update_one({"_id": "A"}, {"$inc": {"total": 1}}, upsert=True)

    lost = {"code": 91, "codeName": "ShutdownInProgress", "errmsg": "test", "errorLabels": UNKNOWN}
    with fail_command("commitTransaction", times=1, writeConcernError=lost):
        service()
    assert stored(Tally) == [{"_id": "A", "total": 1}]


def test_unknown_commit_in_the_end_says_so(stored: Stored, fail_command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "MAX_SECONDS", 0.3)
    before = statistics.failures
    with (
        fail_command("commitTransaction", times=10_000, errorCode=HOST_UNREACHABLE, errorLabels=UNKNOWN),
        pytest.raises(ClinicalWriteFailed, match="whether it was saved is not known") as raised,
    ):
        add("A")
    assert raised.value.is_outcome_unknown
    assert raised.value.attempts == 1
    assert statistics.failures == before + 1


def test_last_try_says_what_happened(stored: Stored, fail_command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "MAX_ATTEMPTS", 4)
    with (
        fail_command("insert", times=100, errorCode=WRITE_CONFLICT, errorLabels=TRANSIENT),
        pytest.raises(ClinicalWriteFailed) as raised,
    ):
        add("A")
    error = raised.value
    assert (error.attempts, error.is_outcome_unknown) == (4, False)
    assert "4 times" in str(error)
    assert "WriteConflict" in str(error)
    assert "nothing of it was saved" in str(error)
    assert isinstance(error, DatabaseError)
    assert isinstance(error.__cause__, DatabaseError)
    assert names(stored) == []
    assert add("B") == "B"


def test_tries_end_with_their_time(fail_command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "MAX_SECONDS", 0.5)
    monkeypatch.setattr(transactions, "MAX_ATTEMPTS", 10_000)
    began = time.monotonic()
    with (
        fail_command("insert", times=100_000, errorCode=WRITE_CONFLICT, errorLabels=TRANSIENT),
        pytest.raises(ClinicalWriteFailed) as raised,
    ):
        add("A")
    assert 1 < raised.value.attempts < 200
    assert time.monotonic() - began < 1.5


def test_message_quotes_no_document(monkeypatch: pytest.MonkeyPatch, fail_command: Any) -> None:
    monkeypatch.setattr(transactions, "MAX_ATTEMPTS", 1)
    with (
        fail_command("insert", errorCode=WRITE_CONFLICT, errorLabels=TRANSIENT),
        pytest.raises(ClinicalWriteFailed) as raised,
    ):
        add("Jane Roe")
    assert "Jane" not in str(raised.value)
    assert "tried once" in str(raised.value)


# --- A commit that failed


def test_stock_engine_writes_on_into_the_dead_transaction(fail_command: Any, client: Any) -> None:
    """The defect: after the error of a commit the session stays, and later writes succeed and are lost."""
    stock: Any = connections["stock"]
    ran = []

    @engine_transaction.atomic(using="stock")
    def write() -> None:
        stock.on_commit(lambda: ran.append(1))
        Tally(name="A").save(using="stock")

    with fail_command("commitTransaction", times=1, errorCode=20), pytest.raises(PyMongoError):
        write()
    assert stock.session is not None
    assert len(stock.run_on_commit) == 1
    stock.session.end_session()
    stock.session = None
    stock.run_on_commit = []


def test_failed_commit_leaves_no_state(stored: Stored, fail_command: Any) -> None:
    ran = []

    @engine_transaction.atomic(using="clinical")
    def write() -> None:
        connections["clinical"].on_commit(lambda: ran.append(1))
        Tally.objects.create(name="A")

    with fail_command("commitTransaction", times=1, errorCode=20), pytest.raises(DatabaseError) as raised:
        write()
    assert isinstance(raised.value.__cause__, PyMongoError)
    assert_no_state_left()
    Tally.objects.create(name="B")
    assert (names(stored), ran) == (["B"], [])


def test_failed_commit_of_a_service_passes_as_a_database_error(stored: Stored, fail_command: Any) -> None:
    with fail_command("commitTransaction", times=1, errorCode=20), pytest.raises(DatabaseError) as raised:
        add("A")
    assert not isinstance(raised.value, ClinicalWriteFailed)
    assert_no_state_left()
    assert names(stored) == []


def test_failed_abort_leaves_no_state(stored: Stored, fail_command: Any) -> None:
    with fail_command("abortTransaction", times=2, errorCode=20), pytest.raises(ValueError, match="why"):
        add("A", fail=ValueError("why"))
    assert_no_state_left()
    add("B")
    assert names(stored) == ["B", "B raw"]


def test_interrupt_leaves_no_state(stored: Stored) -> None:
    @clinical_transaction
    def service() -> None:
        add("A")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        service()
    assert_no_state_left()
    assert names(stored) == []


def checked_out() -> int:
    """Return how many connections to the primary are checked out of the driver's pool."""
    client = connections["clinical"].connection
    (server,) = client._topology._servers.values()
    return int(server.pool.active_sockets)


@pytest.mark.parametrize("fail", [None, Undone(), "duplicate", "refused"])
def test_commands_of_a_transaction_use_one_connection_and_return_it(stored: Stored, fail: Any) -> None:
    connections_used = []

    @clinical_transaction
    def write() -> None:
        for name in ("one", "two", "one" if fail == "duplicate" else "three"):
            raw.collection(Tally).insert_one({"_id": name})
            connections_used.append(existing(clinical_connection()._checkout)[1])
        assert checked_out() == 1
        if fail == "refused":
            raw.collection(Tally).update_one({"_id": "one"}, {"$nonsense": {"n": 1}})
        if fail:
            raise fail

    before = checked_out()
    if fail is None:
        write()
    else:
        with pytest.raises(Undone if isinstance(fail, Undone) else DatabaseError):
            write()
    assert len(set(connections_used)) == 1
    assert (before, checked_out()) == (0, 0)


def test_decorator_keeps_name_and_arguments() -> None:
    @clinical_transaction
    def book(*, actor: str, day: int) -> tuple[str, int]:
        """Book."""
        return actor, day

    assert book(actor="a", day=2) == ("a", 2)
    assert (book.__name__, book.__doc__) == ("book", "Book.")


def test_threads_have_transactions_of_their_own(stored: Stored) -> None:
    @clinical_transaction
    def outer() -> None:
        add("A")
        thread = threading.Thread(target=add, args=("B",))
        thread.start()
        thread.join()
        assert names(stored) == ["B", "B raw"]

    outer()
    assert names(stored) == ["A", "A raw", "B", "B raw"]


def test_visit_and_tally_of_two_collections_go_together(stored: Stored) -> None:
    @clinical_transaction
    def service() -> None:
        Visit.objects.create(visit_id="V1", doctor_id="D", date="2030-01-01", number="1")
        add("A", fail=Undone())

    with pytest.raises(Undone):
        service()
    assert stored(Visit) == stored(Tally) == []


# --- While there is no primary ---------------------------------------------------------------------------------------


def test_no_transaction_begins_when_there_has_been_no_primary_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver would search for five more seconds, in threads for which log-ins wait."""
    monkeypatch.setattr(DatabaseWrapper, "_has_primary", lambda _: False)
    long_ago = time.monotonic() - PRIMARY_WAIT_SECONDS - 1
    monkeypatch.setitem(DatabaseWrapper._no_primary_since, connections["clinical"].alias, long_ago)
    began: list[str] = []
    with pytest.raises(OperationalError) as caught:
        clinical_transaction(lambda: began.append("service"))()
    assert is_outage(caught.value)
    assert began == []


def test_rollback_does_not_wait_when_there_is_no_primary(
    stored: Stored, fail_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @clinical_transaction
    def service() -> None:
        Tally.objects.create(pk="A")
        monkeypatch.setattr(DatabaseWrapper, "_has_primary", lambda _: False)
        raise Undone

    with fail_command("abortTransaction", blockConnection=True, blockTimeMS=1_500):
        began = time.monotonic()
        with pytest.raises(Undone):
            service()
        assert time.monotonic() - began < 1.0
    assert names(stored) == []
