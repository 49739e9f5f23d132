"""The database engine of the clinical data: django-mongodb-backend with some of its defects corrected.

The apps use `transactions` (writes that belong together), `document_query` (reads without models), `raw` (operations of
the driver, with the types in `documents`), `encrypted_fields` and `indexes` (the text index). Tests and benchmarks use
`explain`. Django itself loads `base`, `compiler`, `operations`, `introspection` and `schema`.
"""
