"""Types of the documents that the driver reads and writes, and of conditions and pipelines on them."""

from collections.abc import Mapping, Sequence
from typing import Any

Document = dict[str, Any]
Filter = Mapping[str, object]
Pipeline = Sequence[Mapping[str, Any]]
Update = Mapping[str, Any] | Pipeline
Projection = Mapping[str, Any] | Sequence[str]
