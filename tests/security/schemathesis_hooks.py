"""What Schemathesis must know of this API beyond its document; it loads this module by name.

JSON Schema calls 7.0 an integer; this API does not (it would have to round 1e300).
And a key that was used with another body is refused as it should be, so a valid
key is replaced by one of its own: only then is every valid request to be accepted.
"""

import uuid
from typing import Any

import schemathesis

from scoreboard.contract import IDEMPOTENCY_HEADER, SEQ_HEADER, parse_idempotency_key


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Adjust a case of any phase, right before it is sent."""
    key = case.headers.get(IDEMPOTENCY_HEADER) if case.headers else None
    if isinstance(key, str) and parse_idempotency_key(key):
        unique = uuid.uuid4().hex
        case.headers[IDEMPOTENCY_HEADER] = f'"{unique}"' if key.startswith('"') else unique
    if case.headers and str(case.headers.get(SEQ_HEADER, "")).isdigit():
        # A board that nobody has reached yet is 503, as it should be.
        case.headers[SEQ_HEADER] = "0"
    case.body = _plain(case.body)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
