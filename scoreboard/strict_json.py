"""JSON without what two readers would read differently: names given twice, NaN, other encodings.

For documents that decide something and are rare; submissions have a faster way (`server.submit`).
"""

import json
from typing import Any


def strict_json(text: bytes) -> Any:
    """The value of a JSON text in UTF-8. Raises ValueError or RecursionError."""
    # Decoded by hand: json.loads would take UTF-16 bytes too.
    return json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> Any:
    del name
    raise ValueError("not a JSON number")
