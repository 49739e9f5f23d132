"""Import and export of an app's records in the admin, by django-import-export: CSV and XLSX, with ids as the key.

The rows of a file are processed like requests of the API: the app's serializer validates the values, and the app's
service writes them. Each row is a write of its own, because no transaction of MongoDB can span the services of all
rows. The preview runs the same services and rolls each of their transactions back. The import reports its errors row by
row.

The server stores nothing of a file. A file is read in memory, and the form of the preview carries it to the import; the
preview shows its contents anyway. The session holds the digest of the file until it is imported, so that only the file
of the last preview can be imported, and only once.
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
from healthcare.staff_admin.import_export_widgets import SpreadsheetWidget
from healthcare.staff_admin.model_admin import ResourceAdmin

#: The maximum number of rows of a file, because one request checks, writes and reports all of them. Larger files need a
#: management command.
MAX_IMPORT_ROWS = 500
MAX_EXPORT_ROWS = 10_000
#: The maximum unpacked size of a workbook, which is a ZIP archive. Larger workbooks are not unpacked.
MAX_UNPACKED_BYTES = 50 * 1_048_576
#: The maximum size of the encoded file in the form of the preview. The rest of the allowed size is for other fields.
MAX_FORM_FILE_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE - 16_384

logger = logging.getLogger("healthcare.errors")


class UnreadableFile(ValueError):
    """The file cannot be imported. The message says why."""


class CsvFormat(base_formats.CSV):
    def create_dataset(self, in_stream: Any, **kwargs: Any) -> tablib.Dataset:
        try:
            text = in_stream.decode("utf-8-sig") if isinstance(in_stream, bytes) else in_stream
            header = text.partition("\n")[0]
            # Spreadsheet programs write semicolons in languages that have a decimal comma.
            delimiter = ";" if ";" in header and "," not in header else ","
            return tablib.Dataset().load(text, format="csv", delimiter=delimiter)
        except UnicodeDecodeError as error:
            raise UnreadableFile(_("The file is not UTF-8 text: save it as “CSV UTF-8”.")) from error


class XlsxFormat(base_formats.XLSX):
    """The first sheet of a workbook."""

    def create_dataset(self, in_stream: bytes) -> tablib.Dataset:
        with zipfile.ZipFile(BytesIO(in_stream)) as archive:
            if sum(part.file_size for part in archive.infolist()) > MAX_UNPACKED_BYTES:
                raise UnreadableFile(_("The workbook is too large: split it into several files."))
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
                raise UnreadableFile(_("Row %(number)d has a formula: replace it by its value.") % {"number": number})
            yield [cell.value for cell in cells]

    def export_data(self, dataset: tablib.Dataset, **kwargs: object) -> bytes:
        workbook = openpyxl.Workbook(write_only=True)
        sheet = workbook.create_sheet()
        sheet.append(dataset.headers)
        for row in dataset:
            sheet.append(row)
        file = BytesIO()
        workbook.save(file)
        return file.getvalue()


class FormStorage(BaseStorage):
    """Storage of a file between preview and import. The preview's form sends the encoded file back as its name."""

    data: bytes

    def save(self, data: bytes) -> None:
        self.name = base64.urlsafe_b64encode(zlib.compress(data)).decode()

    def read(self) -> bytes:
        if len(self.name) > MAX_FORM_FILE_BYTES:
            raise UnreadableFile(_("The file is too large: split it into several files."))
        return zlib.decompress(base64.urlsafe_b64decode(self.name))

    def remove(self) -> None:
        """Do nothing, because the server stores nothing."""


class RowDiff(Diff):
    """The values of a row in the preview, without the quotes of the file. Changes are marked."""

    def __init__(self, resource: "ResourceTable", instance: object, new: bool) -> None:
        self.left = resource.display_values(instance)
        self.right: list[str] = []
        self.new = new

    def compare_with(self, resource: "ResourceTable", instance: object) -> None:
        self.right = resource.display_values(instance)

    def as_html(self) -> list[SafeString]:
        # The library has escaped the texts, and marks line ends by a paragraph sign.
        return [mark_safe(text.replace("&para;", "")) for text in super().as_html()]  # noqa: S308


class ResourceTable(Resource):
    """An app's records as rows. A subclass defines the columns, and which of them are exported only."""

    #: The column that identifies a record. A cell is empty for a new record whose id the system creates.
    key: ClassVar[str]
    columns: ClassVar[Mapping[str, SpreadsheetWidget]]
    #: Columns that an export has and an import ignores.
    export_only: ClassVar[Mapping[str, SpreadsheetWidget]] = {}
    #: Whether the file may choose the id of a new record.
    accepts_ids: ClassVar[bool] = True

    class Meta:
        # The library requires a loader. `before_import` has read all records at once.
        instance_loader_class = BaseInstanceLoader
        skip_unchanged = True
        report_skipped = True

    def __init__(self, *, model_admin: ResourceAdmin, actor: object, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_admin, self.actor = model_admin, actor
        self.fields = {
            name: Field(attribute=name, column_name=name, widget=widget)
            for name, widget in {**self.columns, **self.export_only}.items()
        }
        #: The records that the file names and the user may see, by id.
        self.existing: dict[str, Any] = {}
        #: The columns of the file. The preview shows no others of a record.
        self.file_columns = frozenset(self.columns)
        #: Why the remaining rows are not imported; None while no row has failed unexpectedly.
        self.stop_reason: str | None = None

    @classmethod
    def get_display_name(cls) -> str:
        return cls.__name__

    @classmethod
    def get_db_connection_name(cls) -> str:
        return DEFAULT

    def get_import_id_fields(self) -> list[str]:
        return [self.key]

    def get_import_order(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name in self.file_columns)

    @classmethod
    def get_diff_class(cls) -> type[Diff]:
        return RowDiff

    def get_export_order(self) -> tuple[str, ...]:
        return (*self.columns, *self.export_only)

    def display_values(self, instance: object) -> list[str]:
        return [csv_export.value_of(field.export(instance)) for field in self.get_import_fields()]

    # --- Import ---

    def import_data(self, dataset: tablib.Dataset, dry_run: bool = False, **kwargs: object) -> Any:
        """Import row by row, without the transaction that the library would open around all rows of a preview."""
        self.file_columns &= set(dataset.headers or ())
        options = {"raise_errors": False, "using_transactions": False, "collect_failed_rows": False}
        return self.import_data_inner(dataset, dry_run, **options)

    def before_import(self, dataset: tablib.Dataset, **kwargs: object) -> None:
        """Read the records that the file names. Raises: UnreadableFile if the file as a whole cannot be imported."""
        try:
            keys = self._keys(dataset)
        except UnreadableFile:
            dataset.wipe()
            raise
        rows = self.model_admin.visible_to(self.actor).filter(pk__in=keys) if keys else ()
        self.existing = {str(row.pk): row for row in rows}
        patient_ids = [getattr(row, "patient_id", None) for row in self.existing.values()]
        audit_context.record_access(f"{self.model_admin.resource}.listed", patient_ids)

    def _keys(self, dataset: tablib.Dataset) -> list[Any]:
        headers = list(dataset.headers or [])
        if self.key not in headers:
            text = _("The column %(key)s is missing: add it, because it identifies the records.")
            raise UnreadableFile(text % {"key": self.key})
        if unknown := [str(name)[:60] for name in headers if name not in self.fields]:
            text = _("Unknown column %(names)s: remove it, or use one of %(known)s.")
            names = {"names": ", ".join(unknown), "known": ", ".join(self.get_export_order())}
            raise UnreadableFile(text % names)
        if len(set(headers)) < len(headers):
            raise UnreadableFile(_("Two columns have the same name: rename or remove one of them."))
        if len(dataset) > MAX_IMPORT_ROWS:
            raise UnreadableFile(_("Too many rows: import at most %(limit)d at once.") % {"limit": MAX_IMPORT_ROWS})
        keys = [key for value in dataset[self.key] if (key := self.fields[self.key].widget.clean(value)) is not None]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise UnreadableFile(_("Two rows have the id %(key)s: remove one of them.") % {"key": str(twice)[:64]})
        return [primary_key for key in keys if (primary_key := self.primary_key(key)) is not None]

    def primary_key(self, key: object) -> Any:
        """Return the id of a cell as the database's type, or None if it cannot be an id."""
        return audit_context.as_id(key)

    def get_instance(self, instance_loader: object, row: Mapping[str, object]) -> Any:
        return self.existing.get(str(self.fields[self.key].clean(row)))

    def init_instance(self, row: object = None) -> Any:
        return self.model_admin.model()

    def import_row(self, row: Mapping[str, object], instance_loader: object, **kwargs: Any) -> RowResult:
        """Import one row. After an unexpected error no further row is tried. In the preview the error is raised."""
        if self.stop_reason:
            return _invalid_row(row, self.stop_reason)
        result = super().import_row(row, instance_loader, **kwargs)
        for failure in result.errors:
            if kwargs["dry_run"]:
                raise failure.error
            if not is_outage(failure.error):
                name = type(failure.error).__qualname__
                logger.error("%s while importing a row", name, exc_info=failure.error)
            self.stop_reason = _("This row was not imported, because an earlier row failed.")
            text = _("The import of this row failed, and it may have been written: search for it before you try again.")
            return _invalid_row(row, text)
        return result

    def after_init_instance(self, instance: Any, new: bool, row: object, **kwargs: object) -> None:
        instance.validated = {}

    def import_instance(self, instance: Any, row: Mapping[str, object], **kwargs: object) -> None:
        """Validate the row by the serializer: all values of a new record, or the changed values of an existing one."""
        is_new = instance._state.adding
        given, errors = self._given_values(instance, row, is_new)
        form = self.model_admin.form
        serializer_class: type[StrictSerializer] | type[ChangesSerializer] = form.new if is_new else form.changes
        serializer = serializer_class(data=given, partial=not is_new, context={"request": as_request_by(self.actor)})
        if given or is_new:
            serializer.is_valid()
            for pointer, error in pointers(serializer.errors):
                errors.setdefault(pointer.split("/")[1] if pointer else "", []).append(error)
        if errors:
            raise _validation_error(errors)
        validated = dict(serializer.validated_data) if given else {}
        for name, value in validated.items():
            widget = self.fields[name].widget
            # Equal values may be written differently: 12.5 and 12.50.
            if is_new or widget.render(value) != widget.render(getattr(instance, name)):
                instance.validated[name] = value
        for name, value in instance.validated.items():
            setattr(instance, name, value)

    def _given_values(
        self, instance: object, row: Mapping[str, object], is_new: bool
    ) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        """Return the row's values as a client of the API would send them, and the errors by column."""
        given: dict[str, Any] = {}
        errors: dict[str, list[Any]] = {}
        for name in self.get_import_order():
            widget = self.fields[name].widget
            try:
                value = widget.clean(row[name])
            except ValueError as error:
                errors[name] = [str(error)]
                continue
            if is_new:
                if name == self.key and not self.accepts_ids:
                    if value is not None:
                        errors[name] = [_("There is no record with this id: leave it empty to create one.")]
                elif value not in (None, []):
                    given[name] = value
            elif value != widget.clean(widget.render(getattr(instance, name))):
                if name == self.key or name in self.model_admin.fixed_fields:
                    errors[name] = [_("This cannot be changed.")]
                else:
                    given[name] = value
        return given, errors

    def skip_row(self, instance: Any, original: object, row: object, import_validation_errors: Any = None) -> bool:
        return not import_validation_errors and not instance._state.adding and not instance.validated

    def save_instance(self, instance: Any, is_create: bool, row: object, **kwargs: Any) -> None:
        """Write the record by the app's service. The preview rolls the write back."""

        def write() -> Any:
            if is_create:
                return self.model_admin.create(self.actor, **instance.validated)
            return self.model_admin.change(self.actor, instance.pk, **instance.validated)

        try:
            if kwargs["dry_run"]:
                _dry_run(write)
            else:
                instance.pk = write().pk
        except DomainError as error:
            if not kwargs["dry_run"]:
                self._record_error(instance, error)
            column = error.field if error.field and error.field in self.fields else ""
            raise _validation_error({column: [error.detail]}) from error

    def _record_error(self, instance: Any, error: DomainError) -> None:
        patient_id = getattr(instance, "patient_id", None)
        recorder.record(
            f"{self.model_admin.resource}.imported",
            actor=self.actor,
            patient_ids=[patient_id] if patient_id else [],
            subject=instance.pk,
            outcome=audit_context.REFUSED,
            reason=error.code,
        )

    # --- Export ---

    def export(self, queryset: Any = None, **kwargs: object) -> tablib.Dataset:
        dataset = tablib.Dataset(headers=list(self.get_export_order()))
        fields = [self.fields[name] for name in self.get_export_order()]
        for row in queryset:
            dataset.append([field.export(row) for field in fields])
        return dataset


class _DryRunRollback(Exception):
    """Raised to roll back the transactions of a dry run."""


def _dry_run(write: Callable[[], Any]) -> None:
    """Call the function, and roll back its writes to both databases. Raises: the errors of the function."""

    @clinical_transaction
    def attempt() -> None:
        write()
        raise _DryRunRollback

    try:
        # A separate audit context: the request's own must have no actions of a write that was rolled back.
        with audit_context.audit_context(channel="admin"), transaction.atomic(using=DEFAULT):
            attempt()
    except _DryRunRollback:
        return


def _validation_error(errors: Mapping[str, Sequence[str]]) -> ValidationError:
    """Return an error with messages by column. Messages that belong to no column have the key ""."""
    return ValidationError({name or "__all__": [str(text) for text in texts] for name, texts in errors.items()})


def _invalid_row(row: object, message: str) -> RowResult:
    result = RowResult()
    result.row_values = row
    result.import_type = RowResult.IMPORT_TYPE_INVALID
    result.validation_error = _validation_error({"": [message]})
    return result


class UploadForm(ImportForm):
    """Form of the first step of an import, the upload of a file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["import_file"].help_text = _(
            "At most %(limit)d rows. A row with the id of a record changes this record, and an empty cell clears its "
            "value. A row with a new id, or without one, creates a record. The next page shows a preview: nothing is "
            "written before you confirm it."
        ) % {"limit": MAX_IMPORT_ROWS}


class ImportExportAdmin(ImportExportMixin, ResourceAdmin):
    """A ModelAdmin with import and export.

    The import needs the permissions to add and to change. The export has the rows that the list's search and filters
    select.
    """

    table: ClassVar[type[ResourceTable]]
    import_form_class = UploadForm
    export_form_class = ExportForm
    tmp_storage_class = FormStorage
    # The services record each write in the audit log.
    skip_admin_log = True

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_resource_classes(self, request: HttpRequest) -> list[type[ResourceTable]]:
        return [self.table]

    def get_resource_kwargs(self, request: HttpRequest, *args: object, **kwargs: object) -> dict[str, Any]:
        return {"model_admin": self, "actor": request.user}

    def get_import_formats(self) -> list[type[base_formats.Format]]:
        return [CsvFormat, XlsxFormat]

    get_export_formats = get_import_formats

    def add_data_read_fail_error_to_form(self, form: Any, error: Exception) -> None:
        """Add a message that says what is wrong with the file. The library would show the exception's name."""
        text = str(error)
        if not isinstance(error, UnreadableFile):
            text = _("The file cannot be read as %(format)s: choose another file or format.")
            text %= {"format": _format_title(form)}
        form.add_error("import_file", text)

    # A digest of the file ties the library's second step of an import, the confirmation, to the first, the preview.

    def get_confirm_form_initial(self, request: HttpRequest, import_form: object) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_confirm_form_initial(request, import_form)
        if import_form is not None:
            request.session[_SESSION_KEY] = self._digest(initial)
        return initial

    def _digest(self, values: Mapping[str, object]) -> str:
        text = "\n".join([self.opts.label, str(values.get("format")), str(values.get("import_file_name"))])
        return hashlib.sha256(text.encode()).hexdigest()

    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Import the file of the last preview. Each file is imported once."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        digest = request.session.pop(_SESSION_KEY, None)
        if digest is None or digest != self._digest(request.POST):
            text = _("This file was imported already, or is not the file of the last preview: upload it again.")
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(reverse(self._url_name("import")))
        # The session is saved before anything is written, so that the same form cannot be sent twice.
        request.session.save()
        return super().process_import(request, **kwargs)

    def process_result(self, result: Any, request: HttpRequest) -> HttpResponse:
        """Show how many rows were written, and the errors of the rows that were not."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Import"),
            "result": result,
            "created": result.totals[RowResult.IMPORT_TYPE_NEW],
            "changed": result.totals[RowResult.IMPORT_TYPE_UPDATE],
            "unchanged": result.totals[RowResult.IMPORT_TYPE_SKIP],
        }
        return TemplateResponse(request, "admin/import_result.html", context)

    # --- Export ---

    def export_action(self, request: HttpRequest) -> HttpResponse:
        """Show the form of the export. By POST return the file with the rows that the search and filters select."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        form = self.export_form_class(
            self.get_export_formats(), self.get_export_resource_classes(request), data=request.POST or None
        )
        if form.is_valid():
            try:
                queryset = self.get_export_queryset(request)
            except IncorrectLookupParameters:
                return HttpResponseRedirect(reverse(self._url_name("changelist")))
            rows = list(queryset.only(*self.table.columns, *self.table.export_only)[: MAX_EXPORT_ROWS + 1])
            if len(rows) <= MAX_EXPORT_ROWS:
                patient_ids = [getattr(row, "patient_id", None) for row in rows]
                audit_context.record_access(f"{self.resource}.exported", patient_ids)
                file_format = self.get_export_formats()[int(form.cleaned_data["format"])]()
                name = self.get_export_filename(request, rows, file_format)
                return HttpResponse(
                    self.get_export_data(file_format, request, rows, encoding=self.to_encoding, export_form=form),
                    content_type=file_format.get_content_type(),
                    headers={"Content-Disposition": f'attachment; filename="{name}"'},
                )
            audit_context.record_access(f"{self.resource}.counted")
            text = _("Too many rows: search or filter the list until it has at most %(limit)s.")
            form.add_error(None, text % {"limit": f"{MAX_EXPORT_ROWS:,}"})
        request.current_app = self.admin_site.name
        context = self.init_request_context_data(request, form)
        context["fields_list"] = [("", [*self.table.columns, *self.table.export_only])]
        return TemplateResponse(request, [self.export_template_name], context=context)

    def get_export_filename(self, request: HttpRequest, queryset: object, file_format: Any) -> str:
        return f"{self.resource}s-{clock.now():%Y-%m-%dT%H%M%SZ}.{file_format.get_extension()}"

    def _url_name(self, page: str) -> str:
        return f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"


#: Session key of the digest of the file of the last preview.
_SESSION_KEY = "import"


def _format_title(form: Any) -> str:
    titles = dict(form.fields["format"].choices)
    return str(titles.get(form.cleaned_data.get("format"), "")).upper()
