"""Embedded servers for development and tests: mongod and PostgreSQL from wheels, on unix sockets, a set per folder.

`healthcare.settings` imports this package, so the package imports neither Django nor, at import time, a driver.
"""

from devstack.errors import DevStackError
from devstack.layout import addresses
from devstack.local_secrets import local_secret
from devstack.stack import DevStack, ServerStatus

__all__ = ["DevStack", "DevStackError", "ServerStatus", "addresses", "local_secret"]
