"""Model behind the cache backend, in PostgreSQL."""

from django.db import models


class Counter(models.Model):
    """What processes count together, such as attempts to log in, until it expires; see `healthcare.postgresql.cache`."""

    key = models.CharField(max_length=250, primary_key=True)
    value = models.TextField()
    #: Seconds since 1970.
    expires_at = models.FloatField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["expires_at"], name="counter_expiry")]

    def __str__(self) -> str:
        return self.key
