"""What Schemathesis must know of this API beyond its document; it loads this module by name.

JSON Schema calls 7.0 an integer; this API does not (it would have to round 1e300).
And a key that was used with another body is refused as it should be, so a valid
key is replaced by one of its own: only then is every valid request to be accepted.
The same holds for names and reasons that are blank or have control characters, and for
a player that would be merged with itself, and for a case that is named twice. A request
that must lack its token lacks it,
though the command line gives one to all.
"""

import json
import uuid
from typing import Any

import schemathesis

from scoreboard.contract import (
    IDEMPOTENCY_HEADER,
    PLAYERS_PATH,
    REVIEWS_PATH,
    SEQ_HEADER,
    parse_idempotency_key,
)


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
    if getattr(case.meta.phase.data, "parameter", None) == "Authorization" and case.headers:
        case.headers.pop("Authorization", None)
    case.body = _plain(case.body)
    if case.path == PLAYERS_PATH and isinstance(case.body, dict):
        case.body = _order(case.body)
    if case.path == f"{REVIEWS_PATH}/decisions" and isinstance(case.body, dict):
        case.body = _each_once(case.body)


def _each_once(body: dict[str, Any]) -> dict[str, Any]:
    decisions = body.get("decisions")
    if not isinstance(decisions, list) or not all(isinstance(each, dict) for each in decisions):
        return body
    # As many as before: a list that is too long must stay so.
    seen: set[str] = set()
    each_once = []
    for each in decisions:
        name = json.dumps(each.get("submissionId"))
        each_once.append({**each, "submissionId": str(uuid.uuid4())} if name in seen else each)
        seen.add(name)
    return {**body, "decisions": each_once}


def _order(body: dict[str, Any]) -> dict[str, Any]:
    lines: dict[str, Any] = {
        name: "x" * len(text)
        for name, text in body.items()
        if name in ("name", "reason") and isinstance(text, str)
    }
    merged = body.get("into")
    if isinstance(merged, int) and merged == body.get("userId"):
        lines["into"] = 2 if merged == 1 else 1
    return {**body, **lines}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
