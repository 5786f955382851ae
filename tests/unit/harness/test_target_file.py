"""A target file says what a server's requests and answers look like, and is read strictly."""

import json
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness.targets.answers import AnswerReader, event_reader, read_scores
from harness.targets.description import Description
from harness.targets.requests import StreamRequests, Submissions, read_request
from harness.targets.target_file import BadTarget, describe, read_target_file
from harness.targets.users import BadToken, user_values

URL = 'url = "http://127.0.0.1:3000"\n'
NOW_S = 1_700_000_000


def described(text: str, folder: Path = Path(), **environ: str) -> Description:
    return describe(URL + text, folder, environ)


def submission(
    text: str, folder: Path = Path(), number: int = 7, **environ: str
) -> tuple[str, Any]:
    """Head and body of a submission of 33 points by user 1."""
    server = described(text, folder, **environ)
    users = user_values(server, 3, NOW_S)
    requests = Submissions(server, users, run_id="r", clock_ns=lambda: NOW_S * 10**9)
    head, _, body = requests.make(number, 1, 33).decode().partition("\r\n\r\n")
    length = [line for line in head.split("\r\n") if line.startswith("Content-Length: ")]
    assert length in ([], [f"Content-Length: {len(body.encode())}"])
    return head, body


def faults(text: str, folder: Path = Path(), **environ: str) -> list[str]:
    with pytest.raises(BadTarget) as refused:
        describe(text, folder, environ)
    return str(refused.value).splitlines()


def test_an_empty_file_with_an_address_is_the_specification() -> None:
    head, body = submission("")

    assert head.startswith("POST /scores/update HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n")
    assert "Idempotency-Key: r-7" in head
    assert "Authorization" not in head
    assert json.loads(body) == {"userId": 1, "increment": 33}


def test_paths_methods_queries_and_headers_are_the_files() -> None:
    head, body = submission(
        """
        headers = { X-Tenant = "load", X-Both = "top" }
        [submit]
        method = "PUT"
        path = "/v2/players/{user}/points"
        query = { by = "{increment}", at = "{now}" }
        headers = { x-both = "own", Idempotency-Key = "" }
        cookies = { session = "s-{user}", region = "eu" }
        body = ""
        """
    )

    assert head.startswith("PUT /v2/players/1/points?by=33&at=1700000000 HTTP/1.1\r\n")
    assert "X-Tenant: load" in head
    assert "x-both: own" in head
    assert "X-Both: top" not in head
    assert "Idempotency-Key" not in head
    assert "Cookie: session=s-1; region=eu" in head
    assert body == ""


def test_json_keeps_the_types_of_its_placeholders() -> None:
    _, body = submission(
        """
        [submit.json]
        player = { id = "{user}", text = "{user:text}", tag = "p-{user}" }
        points = ["{increment}", "{increment:text}"]
        fixed = [1, 2.5, true, "\\\\{user}"]
        "k{user}" = "{key}"
        at = "{now:iso}"
        """
    )

    assert json.loads(body) == {
        "player": {"id": 1, "text": "1", "tag": "p-1"},
        "points": [33, "33"],
        "fixed": [1, 2.5, True, "{user}"],
        "k1": "r-7",
        "at": "2023-11-14T22:13:20.000Z",
    }


@pytest.mark.parametrize(
    ("body", "kind", "sent"),
    [
        ('form = { player = "{name}", n = "{increment}" }', "x-www-form", "player=A%26+b&n=33"),
        ('body = \'{"u":{user},"n":{"v":{increment}}}\'', "text/plain", '{"u":1,"n":{"v":33}}'),
        ("body = '<add u=\"{user}\">{increment}</add>'", "text/plain", '<add u="1">33</add>'),
    ],
)
def test_forms_and_raw_bodies_are_filled(body: str, kind: str, sent: str) -> None:
    head, told = submission(f'[submit]\n{body}\n[users]\nname = "A& b"\n')

    assert f"Content-Type: {kind}" in head or kind in head
    assert told.replace("%20", "+") == sent


def test_values_cannot_leave_their_place(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text('id,name\na/b?c&d,"x"" , {increment}"\n')
    head, body = submission(
        """
        [submit]
        path = "/p/{user}"
        json = { name = "{name}", both = "{name}-{user}", n = "{increment}" }
        [users]
        file = "users.csv"
        """,
        tmp_path,
    )

    assert head.startswith("POST /p/a%2Fb%3Fc%26d HTTP/1.1\r\n")
    assert json.loads(body)["name"] == 'x" , {increment}'
    assert json.loads(body)["both"] == 'x" , {increment}-a/b?c&d'


def test_users_come_from_a_file_with_ids_names_and_tokens(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("uid;nick;jwt\nu-1;Ann;t1\n17;Bo;t2\n")
    server = described(
        """
        [users]
        file = "users.csv"
        delimiter = ";"
        id = "{uid}"
        name = "{nick}"
        token = "{jwt}"
        """,
        tmp_path,
    )
    users = user_values(server, 1000, NOW_S)

    assert len(users) == 2
    assert users[1]["user"] == "u-1"
    assert users[2] == {
        "uid": "17",
        "nick": "Bo",
        "jwt": "t2",
        "user": 17,
        "name": "Bo",
        "token": "t2",
    }


def test_a_token_goes_where_the_file_says_and_else_into_authorization() -> None:
    token = '[token]\nsecret = "s"\n'
    bearer, _ = submission(token)
    cookie, _ = submission('cookies = { sid = "{token}" }\n' + token)

    assert "Authorization: Bearer ey" in bearer
    assert "Authorization" not in cookie
    assert "Cookie: sid=ey" in cookie


PEM_ALGORITHMS: list[tuple[str, Any]] = [
    ("RS256", rsa.generate_private_key(65537, 2048)),
    ("PS512", rsa.generate_private_key(65537, 2048)),
    ("ES256", ec.generate_private_key(ec.SECP256R1())),
    ("ES384", ec.generate_private_key(ec.SECP384R1())),
    ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
]


@pytest.mark.parametrize(("algorithm", "key"), PEM_ALGORITHMS, ids=[a for a, _ in PEM_ALGORITHMS])
def test_tokens_are_signed_with_a_key_from_a_file(tmp_path: Path, algorithm: str, key: Any) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "key.pem").write_bytes(pem)
    server = described(
        f"""
        [token]
        algorithm = "{algorithm}"
        key_file = "key.pem"
        claims = {{ sub = "{{user}}", name = "p-{{user}}", roles = ["player"], exp = "{{now+60}}" }}
        header = {{ kid = "k1" }}
        """,
        tmp_path,
    )
    token = str(user_values(server, 1, NOW_S)[1]["token"])
    public = key.public_key()
    claims = jwt.decode(token, public, [algorithm], {"verify_exp": False, "verify_sub": False})

    assert claims == {"sub": 1, "name": "p-1", "roles": ["player"], "exp": NOW_S + 60}
    assert jwt.get_unverified_header(token)["kid"] == "k1"


@pytest.mark.parametrize("secret", ["s", "short", "x" * 64])
def test_secrets_of_any_length_sign(secret: str, recwarn: pytest.WarningsRecorder) -> None:
    server = described('[token]\nsecret = "{env:S}"\n', S=secret)
    token = str(user_values(server, 1, NOW_S)[1]["token"])

    assert list(recwarn) == []
    claims = jwt.decode(token, secret, ["HS256"], {"verify_exp": False})
    assert claims == {"sub": "1", "iat": NOW_S, "exp": NOW_S + 86400}


def test_a_key_that_does_not_fit_its_algorithm_is_refused(tmp_path: Path) -> None:
    pem = PEM_ALGORITHMS[2][1].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "key.pem").write_bytes(pem)
    server = described('[token]\nalgorithm = "RS256"\nkey_file = "key.pem"\n', tmp_path)

    with pytest.raises(BadToken, match="no RS256 token can be made"):
        user_values(server, 1, NOW_S)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "fail"), (202, "ok"), (409, "ok"), (404, "fail"), (425, "unknown"), (500, "unknown")],
)
def test_the_file_says_which_statuses_mean_what(status: int, outcome: str) -> None:
    server = described(
        """
        [submit]
        accepted = [202, 409]
        refused = ["200-201"]
        unknown = [425]
        """
    )

    assert AnswerReader(server.submit).read(status, b"")[0] == outcome


@pytest.mark.parametrize(
    ("text", "gains"), [("", None), ('increments = "1-10"', (1, 10)), ("increments = 10", (10, 10))]
)
def test_the_file_says_which_increments_the_server_takes(
    text: str, gains: tuple[int, int] | None
) -> None:
    assert described(f"[submit]\n{text}\n").submit.increments == gains


def test_an_answer_is_accepted_only_with_what_it_must_hold() -> None:
    server = described('[submit]\nwhen = { "data.ok" = true }\nid = "data.ids[1]"\n')
    read = AnswerReader(server.submit).read

    assert read(200, b'{"data":{"ok":true,"ids":[1,"abc"]}}') == ("ok", b"abc")
    assert read(200, b'{"data":{"ok":true}}') == ("ok", None)
    assert read(200, b'{"data":{"ok":1}}') == ("fail", None)
    assert read(200, b"ok") == ("fail", None)


@pytest.mark.parametrize(
    ("scores", "answer"),
    [
        ("", '[{"user":"A","score":5}]'),
        ("", '[{"user":"A","score":"5.00"}]'),
        (
            'list = "data.rows"\nuser = "who.nick"',
            '{"data":{"rows":[{"who":{"nick":"A"},"score":5}]}}',
        ),
        ('list = "/a.b/0"', '{"a.b":[[{"user":"A","score":"5"}]]}'),
        ('user = "[0]"\nscore = "[1]"', '[["A",5.0]]'),
        ('list = "top"\nuser = "@key"\nscore = "@value"', '{"top":{"A":5}}'),
        ('list = "top"\nuser = "@key"\nscore = "p"', '{"top":{"A":{"p":5}}}'),
    ],
)
def test_a_board_is_read_where_the_file_says(scores: str, answer: str) -> None:
    server = described(f"[scores]\n{scores}\n")

    assert read_scores(server.scores, answer.encode()) == [("A", 5)]


@pytest.mark.parametrize("answer", ["{}", "no", '[{"user":"A"}]', '[{"user":"A","score":1.5}]'])
def test_a_board_that_is_not_as_described_is_an_error(answer: str) -> None:
    with pytest.raises(ValueError, match="the answer is"):
        read_scores(described("").scores, answer.encode())


def test_events_are_read_by_name_and_path() -> None:
    server = described(
        '[stream]\nevents = ["changed", "message"]\nlist = "rows"\nuser = "id"\nscore = "n"\n'
    )
    read = event_reader(server.stream)

    assert read("changed", b'{"rows":[{"id":7,"n":5},{"id":"x","n":6}]}') == [("7", 5), ("x", 6)]
    assert read("", b'{"rows":[]}') == []
    assert read("ping", b"anything") is None
    with pytest.raises(ValueError, match="no 'rows'"):
        read("changed", b"{}")


def test_an_event_may_be_one_row_that_is_a_list() -> None:
    server = described('[stream]\nuser = "[0]"\nscore = "[1]"\n')

    assert event_reader(server.stream)("update", b'["Cy",69]') == [("Cy", 69)]


def test_a_stream_resumes_by_header_and_by_a_query_that_asks_for_it() -> None:
    server = described('[stream]\npath = "/live"\nquery = { a = "1", from = "{last_event_id}" }\n')
    streams = StreamRequests(server)
    user = user_values(server, 1, NOW_S)[1]

    assert streams.make(user).startswith(b"GET /live?a=1 HTTP/1.1\r\n")
    assert b"Last-Event-ID" not in streams.make(user)
    resumed = streams.make(user, "17-0", gzip=True)
    assert resumed.startswith(b"GET /live?a=1&from=17-0 HTTP/1.1\r\n")
    assert b"Last-Event-ID: 17-0\r\n" in resumed
    assert b"Accept-Encoding: gzip\r\n" in resumed


def test_a_page_is_asked_for_only_where_the_path_is_the_specifications() -> None:
    def line(text: str) -> bytes:
        return read_request(described(text), {}, limit=10, offset=20).split(b"\r\n")[0]

    assert line("") == b"GET /scores?limit=10&offset=20 HTTP/1.1"
    assert line('[scores]\npath = "/top"') == b"GET /top HTTP/1.1"
    assert line('[scores]\nquery = { n = "{limit}" }') == b"GET /scores?n=10 HTTP/1.1"


def test_a_host_replaces_the_address_and_keeps_the_path(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('url = "https://scores.example/v2/"\n')

    assert read_target_file(path, {}).address.url == "https://scores.example/v2"
    moved = read_target_file(path, {}, host="http://127.0.0.1:81").address
    assert (moved.url, moved.port, moved.host_header) == (
        *("http://127.0.0.1:81/v2", 81, "127.0.0.1:81"),
    )
    assert read_target_file(path, {}, host="http://h/other").address.base == "/other"


def test_a_description_travels_whole(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("id,name\n1,A\n")
    server = described(
        '[users]\nfile = "users.csv"\n[token]\nsecret = "s"\n[submit]\nwhen = { ok = true }\n',
        tmp_path,
    )

    packed = msgspec.msgpack.encode(server)

    assert msgspec.msgpack.decode(packed, type=Description) == server
    assert "'s'" not in repr(server)


def test_every_fault_is_told_with_the_nearest_name_and_the_right_form(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("id,now\n1,2\n")
    told = faults(
        """
        ur = "http://h"
        http = "2"
        header = { a = "b" }
        [submit]
        pth = "/x"
        method = "post"
        json = 5
        form = { a = "{incremnt}" }
        accepted = [700]
        headers = { "bad name" = "x", Content-Length = "3" }
        [stream]
        event = "update"
        path = "live?x=1"
        user = "a..b"
        headers = { Authorization = "Bearer {token}" }
        [scores]
        query = { at = "{now:week}", key = "{env:NOWHERE}" }
        [users]
        file = "users.csv"
        [token]
        algorithm = "HS255"
        [tls]
        insecure = "yes"
        key_file = "key.pem"
        """,
        tmp_path,
    )

    assert [line for line in told if "did you mean" in line] == [
        'ur: no such key; did you mean url, as in url = "http://127.0.0.1:3000"?',
        'header: no such key; did you mean headers, as in headers = { X-Tenant = "load" }?',
        '[submit] pth: no such key; did you mean path, as in path = "/players/{user}/points"?',
        '[stream] event: no such key; did you mean events, as in events = ["update"]?',
    ]
    whole = "\n".join(told)
    for part in (
        "HTTP/2 is not supported",
        'url is missing: url = "http://127.0.0.1:3000", or give --host',
        '[submit] method must be capital letters, as in method = "POST"',
        "[submit] json and form: a request has one body",
        '[submit] accepted must be a list of statuses, as in accepted = ["2xx"], not [700]',
        "[submit] headers: 'bad name' is no name and value of a header",
        "[submit] headers: Content-Length is set by the harness",
        "[stream] path must start with a slash",
        "[stream] path has a query: write it as query = {",
        "[stream] user: 'a..b' is no path; the form is data.rows[0].name",
        "[scores] {now:week}: the form is ms or iso or text",
        "[scores] {env:NOWHERE}: the environment has no NOWHERE",
        "[users] file users.csv: {now} has a meaning already: rename the column",
        "[token] algorithm 'HS255': there are HS256",
        "[tls] insecure must be true or false, as in insecure = true, not 'yes'",
        "[tls] key_file key.pem: No such file or directory",
        "[tls] key_file without cert_file",
    ):
        assert part in whole
    assert len(told) == len(set(told))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("url = 5", "url must be a text"),
        ('url = "ftp://h"', "must look like http://host:port or https://host:port/path"),
        ('url = "http://u:p@h"', "must look like"),
        ('url = "h2://h"', "HTTP/2 is not supported"),
        ("url = ", "no TOML"),
        (URL + 'submit = "x"', "submit must be a table, [submit] with keys below it"),
        (URL + "[submit]\njson = { a = 1 }", "no {increment} anywhere"),
        (URL + '[submit]\njson = { a = "{increment}", b = "{usr}" }', "no {usr}; there are"),
        (URL + "[submit]\naccepted = [200]\nrefused = ['2xx']", "both have status 200"),
        (URL + '[submit]\npath = "/{token}"', "comes from [token] or from [users] token"),
        (URL + "[token]\n", "secret is missing"),
        (
            URL + '[submit]\nincrements = "9-3"',
            "two whole numbers from 1 on, as in incr",
        ),
        (URL + "[submit]\nincrements = 0", "increments must be two whole numbers from 1 on"),
        (URL + '[token]\nalgorithm = "ES256"\nsecret = "x"', "no private key in PEM"),
        (URL + '[users]\nname = "{nick}"', "no {nick}; there are {number}"),
        (URL + '[users]\nfile = "none.csv"', "none.csv: No such file"),
    ],
)
def test_a_wrong_file_is_refused_with_one_sentence_each(text: str, told: str) -> None:
    assert any(told in line for line in faults(text)), faults(text)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadTarget, match=r"nowhere\.toml: No such file"):
        read_target_file(tmp_path / "nowhere.toml", {})
