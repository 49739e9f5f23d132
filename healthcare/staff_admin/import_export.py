"""Import and export of a room's records in the admin, by django-import-export: CSV and XLSX, ids as the key.

The rows of a file go the way that a request of the API goes: the room's serializer judges the values, the room's
service writes them. MongoDB has no transaction over a thousand services, so each row is a write of its own. The preview
runs the same services and takes each of their transactions back; what was written then is told row by row.

Nothing of a file stays on the server: it is read in memory, and goes back into the form of the preview, which shows it
anyway. The session holds its digest until the import is confirmed, once.
"""

import base64
import hashlib
import logging
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, ClassVar

import openpyxl
import tablib
from django.conf import settings
from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from import_export.admin import ImportExportMixin
from import_export.fields import Field
from import_export.formats import base_formats
from import_export.instance_loaders import BaseInstanceLoader
from import_export.resources import Diff, Resource
from import_export.results import RowResult
from import_export.tmp_storages import BaseStorage
from unfold.contrib.import_export.forms import ExportForm, ImportForm

from healthcare import audit_context, clock, csv_export
from healthcare.api.problem_details import pointers
from healthcare.api.serializers import ChangesSerializer, StrictSerializer
from healthcare.audit_log import recorder
from healthcare.errors import DomainError, is_outage
from healthcare.mongodb.transactions import clinical_transaction
from healthcare.routers import DEFAULT
from healthcare.staff_admin.forms import as_request_by
from healthcare.staff_admin.import_export_widgets import Cell
from healthcare.staff_admin.model_admin import ResourceAdmin

#: Rows of one file: what one request can try, write and tell of. More is for the commands.
MAX_IMPORT_ROWS = 500
MAX_EXPORT_ROWS = 10_000
#: A workbook is an archive; what it may unpack to.
MAX_UNPACKED_BYTES = 50 * 1_048_576
#: Of the form that carries a file from the preview to the import; the rest is for its other fields.
MAX_CARRIED_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE - 16_384

logger = logging.getLogger("healthcare.errors")


class Unreadable(ValueError):
    """A file that is none of ours, with the sentence that says why."""


class CsvFile(base_formats.CSV):
    def create_dataset(self, in_stream: Any, **kwargs: Any) -> tablib.Dataset:
        try:
            text = in_stream.decode("utf-8-sig") if isinstance(in_stream, bytes) else in_stream
            header = text.partition("\n")[0]
            # What spreadsheet programs write where the comma is for decimals.
            delimiter = ";" if ";" in header and "," not in header else ","
            return tablib.Dataset().load(text, format="csv", delimiter=delimiter)
        except UnicodeDecodeError as error:
            raise Unreadable(_("The file is not UTF-8 text. Save it as “CSV UTF-8”.")) from error


class XlsxFile(base_formats.XLSX):
    """The first sheet of a workbook."""

    def create_dataset(self, in_stream: bytes) -> tablib.Dataset:
        with zipfile.ZipFile(BytesIO(in_stream)) as archive:
            if sum(part.file_size for part in archive.infolist()) > MAX_UNPACKED_BYTES:
                raise Unreadable(_("The workbook is too large: split it."))
        sheet = openpyxl.load_workbook(BytesIO(in_stream), read_only=True).worksheets[0]
        rows = self._rows(sheet)
        headers = [str(value or "") for value in next(rows, [])]
        while headers and not headers[-1]:
            headers.pop()
        dataset = tablib.Dataset(headers=headers)
        for values in rows:
            if len(dataset) > MAX_IMPORT_ROWS:
                break
            if any(value not in (None, "") for value in values):
                dataset.append([*values, *[None] * len(headers)][: len(headers)])
        return dataset

    def _rows(self, sheet: Any) -> Iterator[list[Any]]:
        for number, cells in enumerate(sheet.rows):
            if any(cell.data_type == "f" for cell in cells):
                raise Unreadable(_("Row %(number)d holds a formula: put its value there.") % {"number": number})
            yield [cell.value for cell in cells]

    def export_data(self, dataset: tablib.Dataset, **kwargs: Any) -> bytes:
        workbook = openpyxl.Workbook(write_only=True)
        sheet = workbook.create_sheet()
        sheet.append(dataset.headers)
        for row in dataset:
            sheet.append(row)
        file = BytesIO()
        workbook.save(file)
        return file.getvalue()


class CarriedFile(BaseStorage):
    """A file between preview and import, kept nowhere: its name is what it holds, which the form carries."""

    data: bytes

    def save(self, data: bytes) -> None:
        self.name = base64.urlsafe_b64encode(zlib.compress(data)).decode()

    def read(self) -> bytes:
        if len(self.name) > MAX_CARRIED_BYTES:
            raise Unreadable(_("The file is too large: split it."))
        return zlib.decompress(base64.urlsafe_b64decode(self.name))

    def remove(self) -> None:
        """There is nothing to remove."""


class Comparison(Diff):
    """What the preview shows of a row: the values as people read them, the new ones marked."""

    def __init__(self, resource: "ResourceTable", instance: Any, new: bool) -> None:
        self.left = resource.as_read(instance)
        self.right: list[str] = []
        self.new = new

    def compare_with(self, resource: "ResourceTable", instance: Any) -> None:
        self.right = resource.as_read(instance)

    def as_html(self) -> list[SafeString]:
        # The library has escaped everything, and shows where lines end.
        return [mark_safe(text.replace("&para;", "")) for text in super().as_html()]  # noqa: S308


class ResourceTable(Resource):
    """A room's records as rows. A room says what its columns are and which of them are never imported."""

    #: The column by which a row is found again: empty for a new record whose id the system makes.
    key: ClassVar[str]
    columns: ClassVar[Mapping[str, Cell]]
    #: Told by an export, passed over by an import.
    computed: ClassVar[Mapping[str, Cell]] = {}
    #: Whether somebody may choose the id of a new record.
    takes_ids: ClassVar[bool] = True

    class Meta:
        # It is not asked: `before_import` has read all of them at once.
        instance_loader_class = BaseInstanceLoader
        skip_unchanged = True
        report_skipped = True

    def __init__(self, *, pages: ResourceAdmin, actor: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pages, self.actor = pages, actor
        self.fields = {
            name: Field(attribute=name, column_name=name, widget=cell)
            for name, cell in {**self.columns, **self.computed}.items()
        }
        #: The records that the file names, as far as the account sees them.
        self.known: dict[str, Any] = {}
        #: The columns that the file has: the preview shows nothing else of a record.
        self.present = frozenset(self.columns)
        #: Why the rows behind one are not tried.
        self.stopped: str | None = None

    @classmethod
    def get_display_name(cls) -> str:
        return cls.__name__

    @classmethod
    def get_db_connection_name(cls) -> str:
        return DEFAULT

    def get_import_id_fields(self) -> list[str]:
        return [self.key]

    def get_import_order(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name in self.present)

    @classmethod
    def get_diff_class(cls) -> type[Diff]:
        return Comparison

    def get_export_order(self) -> tuple[str, ...]:
        return (*self.columns, *self.computed)

    def as_read(self, instance: Any) -> list[str]:
        return [csv_export.value_of(field.export(instance)) for field in self.get_import_fields()]

    # --- Import ---

    def import_data(self, dataset: tablib.Dataset, dry_run: bool = False, **kwargs: Any) -> Any:
        """Row by row, without a transaction around them."""
        self.present &= set(dataset.headers or ())
        options = {"raise_errors": False, "using_transactions": False, "collect_failed_rows": False}
        return self.import_data_inner(dataset, dry_run, **options)

    def before_import(self, dataset: tablib.Dataset, **kwargs: Any) -> None:
        """Raises: Unreadable when no row is worth a try."""
        try:
            keys = self._keys(dataset)
        except Unreadable:
            dataset.wipe()
            raise
        found = self.pages.visible_to(self.actor).filter(pk__in=keys) if keys else ()
        self.known = {str(each.pk): each for each in found}
        audit_context.record_access(
            f"{self.pages.resource}.listed", [getattr(each, "patient_id", None) for each in self.known.values()]
        )

    def _keys(self, dataset: tablib.Dataset) -> list[Any]:
        headers = list(dataset.headers or [])
        if self.key not in headers:
            raise Unreadable(_("The column %(key)s is missing: it says which record a row is.") % {"key": self.key})
        if unknown := [str(name)[:60] for name in headers if name not in self.fields]:
            known = ", ".join(self.get_export_order())
            raise Unreadable(
                _("There is no column %(names)s here. There are: %(known)s.")
                % {"names": ", ".join(unknown), "known": known}
            )
        if len(set(headers)) < len(headers):
            raise Unreadable(_("Two columns have the same name."))
        if len(dataset) > MAX_IMPORT_ROWS:
            raise Unreadable(_("At most %(limit)d rows at once: split the file.") % {"limit": MAX_IMPORT_ROWS})
        keys = [key for value in dataset[self.key] if (key := self.fields[self.key].widget.clean(value)) is not None]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise Unreadable(_("Two rows have the id %(key)s.") % {"key": str(twice)[:64]})
        return [stored for key in keys if (stored := self.stored_key(key)) is not None]

    def stored_key(self, key: Any) -> Any:
        """A cell's id as the database has it; None for what is none."""
        return audit_context.as_id(key)

    def get_instance(self, instance_loader: Any, row: Mapping[str, Any]) -> Any:
        return self.known.get(str(self.fields[self.key].clean(row)))

    def init_instance(self, row: Any = None) -> Any:
        return self.pages.model()

    def import_row(self, row: Mapping[str, Any], instance_loader: Any, **kwargs: Any) -> RowResult:
        """A row whose write fails is the last one that is tried; in the preview the page fails, as any other."""
        if self.stopped:
            return _not_written(row, self.stopped)
        result = super().import_row(row, instance_loader, **kwargs)
        for each in result.errors:
            if kwargs["dry_run"]:
                raise each.error
            if not is_outage(each.error):
                logger.error("%s while importing a row", type(each.error).__qualname__, exc_info=each.error)
            self.stopped = _("Not tried, as a row before it failed.")
            unknown = _("This row failed, and whether it was written is not known: look for it before you try again.")
            return _not_written(row, unknown)
        return result

    def after_init_instance(self, instance: Any, new: bool, row: Any, **kwargs: Any) -> None:
        instance.validated = {}

    def import_instance(self, instance: Any, row: Mapping[str, Any], **kwargs: Any) -> None:
        """Have the serializer serializer the row: all of it for a new record, what differs for an old one."""
        is_new = instance._state.adding
        given, wrong = self._given(instance, row, is_new)
        kind: type[StrictSerializer] | type[ChangesSerializer] = (
            self.pages.form.new if is_new else self.pages.form.changes
        )
        serializer = kind(data=given, partial=not is_new, context={"request": as_request_by(self.actor)})
        if given or is_new:
            serializer.is_valid()
            for pointer, error in pointers(serializer.errors):
                wrong.setdefault(pointer.split("/")[1] if pointer else "", []).append(error)
        if wrong:
            raise _refused(wrong)
        validated = dict(serializer.validated_data) if given else {}
        for name, value in validated.items():
            cell = self.fields[name].widget
            # Spelled otherwise and the same: 12.5 and 12.50.
            if is_new or cell.render(value) != cell.render(getattr(instance, name)):
                instance.validated[name] = value
        for name, value in instance.validated.items():
            setattr(instance, name, value)

    def _given(
        self, instance: Any, row: Mapping[str, Any], is_new: bool
    ) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        """The row's values as a client of the API would send them, and what cannot be read or changed."""
        given: dict[str, Any] = {}
        wrong: dict[str, list[Any]] = {}
        for name in self.get_import_order():
            cell = self.fields[name].widget
            try:
                value = cell.clean(row[name])
            except ValueError as error:
                wrong[name] = [str(error)]
                continue
            if is_new:
                if name == self.key and not self.takes_ids:
                    if value is not None:
                        wrong[name] = [_("There is no record with this id. Leave it empty to make one.")]
                elif value not in (None, []):
                    given[name] = value
            elif value != cell.clean(cell.render(getattr(instance, name))):
                if name == self.key or name in self.pages.fixed_fields:
                    wrong[name] = [_("This cannot be changed.")]
                else:
                    given[name] = value
        return given, wrong

    def skip_row(self, instance: Any, original: Any, row: Any, import_validation_errors: Any = None) -> bool:
        return not import_validation_errors and not instance._state.adding and not instance.validated

    def save_instance(self, instance: Any, is_create: bool, row: Any, **kwargs: Any) -> None:
        """Write it by the service; for the preview, take that back."""

        def write() -> Any:
            if is_create:
                return self.pages.create(self.actor, **instance.validated)
            return self.pages.change(self.actor, instance.pk, **instance.validated)

        try:
            if kwargs["dry_run"]:
                _try(write)
            else:
                instance.pk = write().pk
        except DomainError as refusal:
            if not kwargs["dry_run"]:
                self._record_refusal(instance, refusal)
            column = refusal.field if refusal.field and refusal.field in self.fields else ""
            raise _refused({column: [refusal.detail]}) from refusal

    def _record_refusal(self, instance: Any, refusal: DomainError) -> None:
        patient_id = getattr(instance, "patient_id", None)
        recorder.record(
            f"{self.pages.resource}.imported",
            actor=self.actor,
            patient_ids=[patient_id] if patient_id else [],
            subject=instance.pk,
            outcome=audit_context.REFUSED,
            reason=refusal.code,
        )

    # --- Export ---

    def export(self, queryset: Any = None, **kwargs: Any) -> tablib.Dataset:
        dataset = tablib.Dataset(headers=list(self.get_export_order()))
        fields = [self.fields[name] for name in self.get_export_order()]
        for each in queryset:
            dataset.append([field.export(each) for field in fields])
        return dataset


class _TakenBack(Exception):
    """Ends the transactions of a trial."""


def _try(write: Callable[[], Any]) -> None:
    """Do it and take it back, in both databases. Raises: what the write raises."""

    @clinical_transaction
    def attempt() -> None:
        write()
        raise _TakenBack

    try:
        # A trail of its own, as nothing has happened that would be on record.
        with audit_context.audit_context(channel="admin"), transaction.atomic(using=DEFAULT):
            attempt()
    except _TakenBack:
        return


def _refused(sentences: Mapping[str, Sequence[str]]) -> ValidationError:
    """Sentences by column; those of no column by ""."""
    texts = {name or "__all__": [str(sentence) for sentence in each] for name, each in sentences.items()}
    return ValidationError(texts)


def _not_written(row: Any, sentence: str) -> RowResult:
    result = RowResult()
    result.row_values = row
    result.import_type = RowResult.IMPORT_TYPE_INVALID
    result.validation_error = _refused({"": [sentence]})
    return result


class FileForm(ImportForm):
    """The first step of an import."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["import_file"].help_text = _(
            "At most %(limit)d rows. A row with the id of a record changes it, and an empty cell empties its value; "
            "a row without an id, or with a new one, makes a record. Nothing is written before you have looked at it."
        ) % {"limit": MAX_IMPORT_ROWS}


class ImportExportAdmin(ImportExportMixin, ResourceAdmin):
    """A room's admin with import, for those who may add and change, and export of what the list shows."""

    table: ClassVar[type[ResourceTable]]
    import_form_class = FileForm
    export_form_class = ExportForm
    tmp_storage_class = CarriedFile
    # The services record each write in the audit trail.
    skip_admin_log = True

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_resource_classes(self, request: HttpRequest) -> list[type[ResourceTable]]:
        return [self.table]

    def get_resource_kwargs(self, request: HttpRequest, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"pages": self, "actor": request.user}

    def get_import_formats(self) -> list[type[base_formats.Format]]:
        return [CsvFile, XlsxFile]

    get_export_formats = get_import_formats

    def add_data_read_fail_error_to_form(self, form: Any, error: Exception) -> None:
        """Say what is wrong with the file. (The library would say the name of the error.)"""
        sentence = _("The file cannot be read as %(format)s.") % {"format": _format_title(form)}
        form.add_error("import_file", str(error) if isinstance(error, Unreadable) else sentence)

    # The library's two steps of an import, and the digest that ties the second to the first.

    def get_confirm_form_initial(self, request: HttpRequest, import_form: Any) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_confirm_form_initial(request, import_form)
        if import_form is not None:
            request.session[_PENDING] = self._digest(initial)
        return initial

    def _digest(self, values: Mapping[str, Any]) -> str:
        said = "\n".join([self.opts.label, str(values.get("format")), str(values.get("import_file_name"))])
        return hashlib.sha256(said.encode()).hexdigest()

    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """The second step, with the very file that was looked at last, and once."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        pending = request.session.pop(_PENDING, None)
        if pending is None or pending != self._digest(request.POST):
            sentence = _("This import was carried out already, or is not the one that you have looked at last.")
            self.message_user(request, sentence, messages.ERROR)
            return HttpResponseRedirect(reverse(self._page("import")))
        # Before anything is written, so that a form that is sent again finds nothing.
        request.session.save()
        return super().process_import(request, **kwargs)

    def process_result(self, result: Any, request: HttpRequest) -> HttpResponse:
        """What became of each row that was not written."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Import"),
            "result": result,
            "written": result.totals[RowResult.IMPORT_TYPE_NEW],
            "changed": result.totals[RowResult.IMPORT_TYPE_UPDATE],
            "unchanged": result.totals[RowResult.IMPORT_TYPE_SKIP],
        }
        return TemplateResponse(request, "admin/imported.html", context)

    # --- Export ---

    def export_action(self, request: HttpRequest) -> HttpResponse:
        """A form, and by POST the file with the rows that the list's search and filters leave."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        form = self.export_form_class(
            self.get_export_formats(), self.get_export_resource_classes(request), data=request.POST or None
        )
        if form.is_valid():
            try:
                found = self.get_export_queryset(request)
            except IncorrectLookupParameters:
                return HttpResponseRedirect(reverse(self._page("changelist")))
            rows = list(found.only(*self.table.columns, *self.table.computed)[: MAX_EXPORT_ROWS + 1])
            if len(rows) <= MAX_EXPORT_ROWS:
                audit_context.record_access(
                    f"{self.resource}.exported", [getattr(row, "patient_id", None) for row in rows]
                )
                file_format = self.get_export_formats()[int(form.cleaned_data["format"])]()
                return self._do_file_export(file_format, request, rows, export_form=form)
            audit_context.record_access(f"{self.resource}.counted")
            sentence = _("More than %(limit)s rows: narrow the list down by its search and filters.")
            form.add_error(None, sentence % {"limit": f"{MAX_EXPORT_ROWS:,}"})
        request.current_app = self.admin_site.name
        context = self.init_request_context_data(request, form)
        context["fields_list"] = [("", [*self.table.columns, *self.table.computed])]
        return TemplateResponse(request, [self.export_template_name], context=context)

    def get_export_filename(self, request: HttpRequest, queryset: Any, file_format: Any) -> str:
        return f"{self.resource}s-{clock.now():%Y-%m-%dT%H%M%SZ}.{file_format.get_extension()}"

    def _page(self, name: str) -> str:
        return f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"


#: Where the digest of the file waits that was looked at last.
_PENDING = "import"


def _format_title(form: Any) -> str:
    titles = dict(form.fields["format"].choices)
    return str(titles.get(form.cleaned_data.get("format"), "")).upper()
