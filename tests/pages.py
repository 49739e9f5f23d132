"""What a test client has received beyond status and headers: a page's context, and the text of a streamed file."""

from typing import Any


def context_of(page: Any) -> dict[str, Any]:
    """Return the context of a page that a template response has rendered."""
    assert page.context_data is not None, page.status_code
    return page.context_data


def streamed_text(response: Any) -> str:
    return b"".join(response.streaming_content).decode()
