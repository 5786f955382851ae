"""The keys of a target file, each with its kind of value and an example of its right form. Data."""

from collections.abc import Mapping

from harness.targets.faults import FLAG, OBJECT, PAIRS, SPAN, STATUSES, TABLE, TEXT, TEXTS, Key

CALL_KEYS = {
    "method": Key(TEXT, 'method = "POST"'),
    "path": Key(TEXT, 'path = "/players/{user}/points"'),
    "query": Key(PAIRS, 'query = { page = "1" }'),
    "headers": Key(PAIRS, 'headers = { X-Api-Key = "{env:API_KEY}" }'),
    "cookies": Key(PAIRS, 'cookies = { session = "{token}" }'),
    "json": Key(OBJECT, 'json = { userId = "{user}", increment = "{increment}" }'),
    "form": Key(PAIRS, 'form = { user = "{user}", points = "{increment}" }'),
    "body": Key(TEXT, 'body = "{user};{increment}"'),
    "accepted": Key(STATUSES, 'accepted = ["2xx"]'),
}
ROW_KEYS = {
    "list": Key(TEXT, 'list = "data.rows"'),
    "user": Key(TEXT, 'user = "user"'),
    "score": Key(TEXT, 'score = "score"'),
    "auth": Key(FLAG, "auth = true"),
}
KEYS: Mapping[str, Mapping[str, Key]] = {
    "": {
        "url": Key(TEXT, 'url = "http://127.0.0.1:3000"'),
        "name": Key(TEXT, 'name = "the Go server"'),
        "http": Key(TEXT, 'http = "1.1"'),
        "headers": Key(PAIRS, 'headers = { X-Tenant = "load" }'),
        "cookies": Key(PAIRS, 'cookies = { region = "eu" }'),
        **{
            name: Key(TABLE, f"[{name}]")
            for name in ("submit", "scores", "stream", "users", "token", "tls")
        },
    },
    "submit": {
        **CALL_KEYS,
        "refused": Key(STATUSES, 'refused = ["4xx"]'),
        "unknown": Key(STATUSES, "unknown = [500, 503]"),
        "when": Key(OBJECT, "when = { ok = true }"),
        "id": Key(TEXT, 'id = "submissionId"'),
        "increments": Key(SPAN, 'increments = "1-10"'),
    },
    "scores": {**CALL_KEYS, **ROW_KEYS},
    "stream": {
        **{name: key for name, key in CALL_KEYS.items() if name != "accepted"},
        **ROW_KEYS,
        "events": Key(TEXTS, 'events = ["update"]'),
    },
    "users": {
        "file": Key(TEXT, 'file = "users.csv"'),
        "delimiter": Key(TEXT, 'delimiter = ";"'),
        "id": Key(TEXT, 'id = "{number}"'),
        "name": Key(TEXT, 'name = "Player {number}"'),
        "token": Key(TEXT, 'token = "{jwt}"'),
    },
    "token": {
        "algorithm": Key(TEXT, 'algorithm = "HS256"'),
        "secret": Key(TEXT, 'secret = "{env:JWT_SECRET}"'),
        "key_file": Key(TEXT, 'key_file = "private.pem"'),
        "claims": Key(OBJECT, 'claims = { sub = "{user:text}", exp = "{now+3600}" }'),
        "header": Key(OBJECT, 'header = { kid = "2026-11" }'),
    },
    "tls": {
        "ca_file": Key(TEXT, 'ca_file = "ca.pem"'),
        "cert_file": Key(TEXT, 'cert_file = "client.pem"'),
        "key_file": Key(TEXT, 'key_file = "client-key.pem"'),
        "key_password": Key(TEXT, 'key_password = "{env:KEY_PASSWORD}"'),
        "server_name": Key(TEXT, 'server_name = "scores.internal"'),
        "insecure": Key(FLAG, "insecure = true"),
    },
}
"""Every key of every table; the table without a name is the top of the file."""
ALGORITHMS = (
    *(f"{family}{size}" for family in ("HS", "RS", "PS", "ES") for size in (256, 384, 512)),
    *("ES256K", "EdDSA", "none"),
)
