class DevStackError(Exception):
    """Why the embedded servers cannot do what was asked, as a sentence for the person who asked."""
