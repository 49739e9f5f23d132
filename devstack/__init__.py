"""Real mongod and PostgreSQL from wheels, for development and tests: one set a folder, on unix sockets.

Settings import this package, so importing it imports neither Django nor a database driver.
"""

from devstack.errors import DevStackError
from devstack.layout import addresses
from devstack.local_secrets import local_secret
from devstack.stack import DevStack, ServerStatus

__all__ = ["DevStack", "DevStackError", "ServerStatus", "addresses", "local_secret"]
