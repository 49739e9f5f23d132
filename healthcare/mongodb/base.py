from django_mongodb_backend import base


class DatabaseWrapper(base.DatabaseWrapper):
    pass
