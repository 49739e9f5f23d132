"""Model of the cache backend, in PostgreSQL."""

from django.db import models


class Counter(models.Model):
    """A cached value with a time of expiry, such as a count of log-ins; see `healthcare.postgresql.cache`."""

    key = models.CharField(max_length=250, primary_key=True)
    value = models.TextField()
    #: In seconds since 1970 (UTC).
    expires_at = models.FloatField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["expires_at"], name="counter_expiry")]

    def __str__(self) -> str:
        return self.key
