"""The error of this package."""


class DevStackError(Exception):
    """The embedded servers cannot do what was requested. The message is a sentence for the user."""
