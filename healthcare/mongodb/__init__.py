"""The database engine of the clinical data: django-mongodb-backend with its defects mended.

What rooms use of it: `transactions` (writes that belong together), `raw` (pymongo through one door),
`indexes` (the text index), `plans` (what a query reads). `base`, `compiler`, `operations` and `schema` are
Django's.
"""
