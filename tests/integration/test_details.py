"""Outcomes, batches, ranks, reviews, signatures and public keys over HTTP, on real services."""

import asyncio
import base64
import io
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from adapters.mysql import Pool
from scoreboard import contract, ids
from scoreboard.domain import Decision
from scoreboard.signing import SigningKey, sign
from scoreboard.tokens import SCOPE_REVIEW, mint
from scoreboard_cli.group import run as command_line
from scoreboard_client import ScoreboardClient
from server.settings import ServerSettings
from tests.support.api import SECRET, Api, api_settings, running_api, token
from tests.support.eventually import eventually
from tests.support.services import Services
from worker.database.cases import Cases
from worker.failpoints import Failpoints

SUSPICIOUS = 500_000
"""Above the default threshold of the fraud rules."""

SIGNING_SECRET = b"k" * 32
SIGNING_KEY = SigningKey(id="game", algorithm="hmac-sha256", material=SIGNING_SECRET)
ED_KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def settings(
    services: Services, mysql_url: str, redis_url: str, task_queue: str, tmp_path: Path
) -> ServerSettings:
    """An API that knows one signing key and one public key for tokens."""
    keys = tmp_path / "keys.json"
    entry = {
        "id": "game",
        "algorithm": "hmac-sha256",
        "key": base64.b64encode(SIGNING_SECRET).decode(),
        "subjects": ["1"],
    }
    keys.write_text(json.dumps({"keys": [entry]}))
    jwks = tmp_path / "jwks.json"
    public = json.loads(OKPAlgorithm.to_jwk(ED_KEY.public_key())) | {"kid": "a"}
    jwks.write_text(json.dumps({"keys": [public]}))
    return api_settings(
        mysql_url=mysql_url,
        redis_url=redis_url,
        temporal_address=services.temporal_address,
        task_queue=task_queue,
        signature_keys=str(keys),
        jwks=str(jwks),
    )


@pytest_asyncio.fixture
async def api(settings: ServerSettings) -> AsyncIterator[Api]:
    async with running_api(settings, embedded_worker=True) as running:
        yield running


def reviewer() -> str:
    return mint(SECRET, subject="rita", now_s=int(time.time()), ttl_s=60, scopes=(SCOPE_REVIEW,))


async def ask(
    api: Api, method: str, path: str, bearer: str | None = None, **options: Any
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    headers |= options.pop("headers", {})
    async with api.http.request(method, api.url + path, headers=headers, **options) as response:
        return response.status, await response.json(content_type=None)


async def final_status(api: Api, submission_id: str) -> dict[str, Any]:
    async def decided() -> dict[str, Any] | None:
        status, body = await ask(api, "GET", f"/scores/updates/{submission_id}", token(1))
        assert status == 200, body
        return None if body["status"] == "pending" else body

    return await eventually(decided)


async def test_an_applied_submission_tells_its_score_and_seq(api: Api) -> None:
    _, body = await api.submit(1, 10)

    status = await final_status(api, body["submissionId"])

    assert status == {
        "submissionId": body["submissionId"],
        "status": "applied",
        "userId": 1,
        "increment": 10,
        "score": 1510,
        "seq": 1,
    }


async def test_a_rejected_submission_tells_why(api: Api) -> None:
    _, body = await api.submit(1, -1501)

    status = await final_status(api, body["submissionId"])

    assert (status["status"], status["reason"]) == ("rejected", "score_out_of_range")


async def test_the_answer_to_a_submission_says_where_its_outcome_is(api: Api) -> None:
    async with api.http.post(
        api.url + "/scores/update",
        json={"userId": 1, "increment": 1},
        headers={"Authorization": f"Bearer {token(1)}"},
    ) as response:
        body = await response.json()

    assert response.headers["location"] == f"/scores/updates/{body['submissionId']}"


async def test_outcome_is_readable_only_by_its_submitter(api: Api) -> None:
    _, body = await api.submit(1, 10)
    await final_status(api, body["submissionId"])
    path = f"/scores/updates/{body['submissionId']}"

    assert (await ask(api, "GET", path))[0] == 401
    # Not told apart from one that nobody made: an id made of a key could be guessed.
    for other in (path, f"/scores/updates/{uuid.uuid4()}"):
        status, refusal = await ask(api, "GET", other, token(2))
        assert (status, refusal["code"]) == (404, "not_found")
    assert (await ask(api, "GET", "/scores/updates/nonsense", token(1)))[0] == 400


async def test_a_batch_answers_for_each_item_and_repeats_count_once(api: Api) -> None:
    items = [
        {"userId": 1, "increment": 5, "key": "a"},
        {"userId": 2, "increment": 5},
        {"userId": 1, "increment": 0},
        {"userId": 1, "increment": 6, "key": "a"},
    ]

    status, first = await ask(api, "POST", "/scores/updates", token(1), json=items)
    _, second = await ask(api, "POST", "/scores/updates", token(1), json=items[:1])

    assert status == 200
    assert [item["status"] for item in first] == [202, 403, 422, 422]
    assert first[3]["code"] == "idempotency_key_reused"
    assert second[0]["submissionId"] == first[0]["submissionId"]
    assert (await final_status(api, first[0]["submissionId"]))["score"] == 1505


async def test_a_batch_of_five_hundred_is_taken_and_one_more_is_not(api: Api) -> None:
    game_server = token("game-server", any_user=True)
    items = [{"userId": 1 + index % 2, "increment": 1} for index in range(500)]

    status, results = await ask(api, "POST", "/scores/updates", game_server, json=items)
    too_many, _ = await ask(api, "POST", "/scores/updates", game_server, json=[*items, items[0]])

    assert status == 200
    # 100 for each user is what the rate limit takes at once.
    assert sorted(item["status"] for item in results) == [202] * 200 + [429] * 300
    assert too_many == 422


async def test_a_user_sees_rank_and_neighbours(api: Api) -> None:
    await api.submit(2, 100)

    async def tied() -> bool:
        return [line["score"] for line in await api.scores()] == [1500, 1500]

    await eventually(tied)
    status, bob = await ask(api, "GET", "/scores/users/2?neighbours=1")
    _, alice = await ask(api, "GET", "/scores/users/1?neighbours=0")

    assert status == 200
    # Equal scores share the rank; who had it first stands first.
    assert [(line["user"], line["rank"]) for line in bob["neighbours"]] == [
        ("Alice", 1),
        ("Bob", 1),
    ]
    assert (bob["user"], bob["rank"], bob["score"]) == ("Bob", 1, 1500)
    assert [line["user"] for line in alice["neighbours"]] == ["Alice"]


async def test_unknown_user_has_no_rank(api: Api) -> None:
    for path in (
        "/scores/users/99",
        "/scores/users/0",
        "/scores/users/x",
        "/scores/users/" + "9" * 40,
        "/scores/users/" + "0" * 16 + "1" + "0" * 5000,
    ):
        assert (await ask(api, "GET", path))[0] == 404
    assert (await ask(api, "GET", "/scores/users/1?neighbours=51"))[0] == 400


async def test_a_held_submission_waits_for_a_reviewer(api: Api) -> None:
    _, body = await api.submit(1, SUSPICIOUS)
    held = await final_status(api, body["submissionId"])

    async def listed() -> list[Any]:
        cases: list[Any] = (await ask(api, "GET", "/admin/reviews", reviewer()))[1]
        return cases

    [case] = await eventually(listed)
    path = f"/admin/reviews/{case['submissionId']}"
    assert (await ask(api, "GET", "/admin/reviews?user=2", reviewer()))[1] == []
    assert (await ask(api, "GET", f"/admin/reviews?after={uuid.uuid4()}", reviewer()))[0] == 404
    [holder] = (await ask(api, "GET", "/admin/reviews/users", reviewer()))[1]
    assert (holder["user"], holder["openCases"]) == ("Alice", 1)
    users = "/admin/reviews/users?limit=1&offset="
    assert await ask(api, "GET", users + "0", reviewer()) == (200, [holder])
    assert await ask(api, "GET", users + "1", reviewer()) == (200, [])
    assert (await ask(api, "GET", users + "-1", reviewer()))[0] == 400

    async def decided() -> tuple[int, Any] | None:
        # The case's workflow starts after the batch's last step.
        answer = await ask(api, "POST", path, reviewer(), json={"decision": "approve"})
        return answer if answer[0] != 404 else None

    status, decision = await eventually(decided)
    again, _ = await ask(api, "POST", path, reviewer(), json={"decision": "reject"})

    assert held["status"] == "held"
    assert case["reasons"] == ["large_increment"]
    assert (status, decision["outcome"]) == (200, "applied")
    assert again == 409
    assert (await final_status(api, body["submissionId"]))["score"] == 1500 + SUSPICIOUS
    [closed] = (await ask(api, "GET", "/admin/reviews?all=1", reviewer()))[1]
    assert (closed["decision"], closed["decidedBy"]) == ("approved", "rita")
    assert (await ask(api, "GET", "/admin/reviews", reviewer()))[1] == []


async def test_nobody_approves_a_gain_of_their_own(api: Api) -> None:
    """Neither the user who gains, nor who submitted it for another user."""

    def may_review(subject: str) -> str:
        scopes = (SCOPE_REVIEW,)
        return mint(SECRET, subject=subject, now_s=int(time.time()), ttl_s=60, scopes=scopes)

    status, body = await ask(
        api,
        "POST",
        "/scores/update",
        token(2, any_user=True),
        json={"userId": 1, "increment": SUSPICIOUS},
    )
    assert status == 202
    assert (await final_status(api, body["submissionId"]))["status"] == "held"
    path = f"/admin/reviews/{body['submissionId']}"

    for subject in ("1", "2"):
        status, refusal = await ask(
            api, "POST", path, may_review(subject), json={"decision": "approve"}
        )
        assert (status, refusal["code"]) == (403, "forbidden")
    assert (await final_status(api, body["submissionId"]))["status"] == "held"

    async def rejected() -> str | None:
        status, decided = await ask(api, "POST", path, may_review("1"), json={"decision": "reject"})
        return str(decided["outcome"]) if status == 200 else None

    assert await eventually(rejected) == "rejected_by_review"


async def _exists(case: "WorkflowHandle[Any, Any]") -> bool:
    try:
        await case.describe()
    except RPCError:
        return False
    return True


async def test_decision_after_a_stored_one_is_refused_as_late(
    api: Api, settings: ServerSettings, temporal_client: Client
) -> None:
    """The first one's worker died before Temporal heard that it was done."""
    _, body = await api.submit(1, SUSPICIOUS)
    assert (await final_status(api, body["submissionId"]))["status"] == "held"
    case = temporal_client.get_workflow_handle(contract.review_workflow_id(body["submissionId"]))
    await eventually(lambda: _exists(case))
    pool = Pool(settings.mysql, size=1)
    try:
        cases = Cases(pool, Failpoints(""), None)
        await cases.resolve(ids.parse(body["submissionId"]), Decision.APPROVED, "first")
    finally:
        await pool.close()
    path = f"/admin/reviews/{body['submissionId']}"

    async def answered() -> int | None:
        status, _ = await ask(api, "POST", path, reviewer(), json={"decision": "reject"})
        return status if status != 404 else None

    assert await eventually(answered) == 409
    assert (await final_status(api, body["submissionId"]))["score"] == 1500 + SUSPICIOUS
    [closed] = (await ask(api, "GET", "/admin/reviews?all=1", reviewer()))[1]
    assert (closed["decision"], closed["decidedBy"]) == ("approved", "first")


async def test_many_cases_are_decided_at_once_each_by_itself(api: Api) -> None:
    held = []
    for user in (1, 1, 2):
        _, body = await api.submit(user, SUSPICIOUS)
        held.append(body["submissionId"])
    nobodys = str(uuid.uuid4())

    async def listed() -> bool:
        cases = (await ask(api, "GET", "/admin/reviews", reviewer()))[1]
        return {case["submissionId"] for case in cases} == {*held}

    await eventually(listed)
    wanted = [
        *({"submissionId": held[0], "decision": "reject"},),
        *({"submissionId": nobodys, "decision": "reject"},),
        *({"submissionId": each, "decision": "approve"} for each in held[1:]),
    ]
    # Bob approves Alice's gain, not his own.
    bob = mint(SECRET, subject="2", now_s=int(time.time()), ttl_s=60, scopes=(SCOPE_REVIEW,))
    answers = [
        await ask(api, "POST", "/admin/reviews/decisions", bob, json={"decisions": wanted})
        for _ in range(2)
    ]
    _, others = await ask(
        api, "POST", "/admin/reviews/decisions", reviewer(), json={"decisions": wanted}
    )
    cases = (await ask(api, "GET", "/admin/reviews?all=1", reviewer()))[1]

    # Repeated, it says the same, and has no second effect.
    assert answers[0] == answers[1]
    status, results = answers[0]
    assert status == 200
    assert [(each["submissionId"], each["status"]) for each in results] == [
        *((held[0], 200), (nobodys, 404), (held[1], 200), (held[2], 403)),
    ]
    assert [each.get("outcome") for each in results] == [
        *("rejected_by_review", None, "applied", None),
    ]
    # Another reviewer's decisions come too late where Bob's stand.
    assert [each["status"] for each in others] == [409, 404, 409, 200]
    assert {(case["submissionId"], case["decision"], case["decidedBy"]) for case in cases} == {
        (held[0], "rejected", "2"),
        (held[1], "approved", "2"),
        (held[2], "approved", "rita"),
    }
    scores = [line["score"] for line in await api.scores()]
    assert scores == [1500 + SUSPICIOUS, 1400 + SUSPICIOUS]


async def test_the_review_command_lists_and_decides_by_what_cases_share(
    api: Api, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    held = {}
    for user, number in ((1, 0), (1, 1), (2, 2)):
        _, body = await api.submit(user, SUSPICIOUS + number)
        held[number] = body["submissionId"]

    async def run(*words: str) -> tuple[int, list[Any]]:
        options = ["--url", api.url, "--secret-file", str(secret)]
        with redirect_stdout(io.StringIO()) as out:
            code = await asyncio.to_thread(command_line, "scoreboard", ["review", *words, *options])
        # Between them are lines of the API's log, which has the same stdout here.
        lines = out.getvalue().splitlines()
        return code, [json.loads(each) for each in lines if each.startswith("{")]

    async def all_listed() -> list[Any] | None:
        found = (await ask(api, "GET", "/admin/reviews", reviewer()))[1]
        return found if len(found) == len(held) else None

    await eventually(all_listed)
    _, listed = await run("list", "--user", "1", "--limit", "1")
    _, users = await run("users")
    undecided = await run("reject")
    rejected = await run("reject", "--user", "1", "--rule", "large_increment")
    again = await run("approve", held[0])
    approved = await run("approve", held[2])

    assert [each["submissionId"] for each in listed] == [held[0]]
    assert [(each["user"], each["openCases"]) for each in users] == [("Alice", 2), ("Bob", 1)]
    assert undecided == (2, [])
    assert rejected[0] == 0
    assert {(each["submissionId"], each["outcome"]) for each in rejected[1]} == {
        (held[0], "rejected_by_review"),
        (held[1], "rejected_by_review"),
    }
    assert (again[0], again[1][0]["code"]) == (1, "already_decided")
    assert (approved[0], approved[1][0]["outcome"]) == (0, "applied")


async def test_reviews_need_their_own_scope(api: Api) -> None:
    path = f"/admin/reviews/{uuid.uuid4()}"

    assert (await ask(api, "GET", "/admin/reviews"))[0] == 401
    assert (await ask(api, "GET", "/admin/reviews", token(1, any_user=True)))[0] == 403
    assert (await ask(api, "POST", path, token(1), json={"decision": "approve"}))[0] == 403
    assert (await ask(api, "POST", path, reviewer(), json={"decision": "approve"}))[0] == 404
    assert (await ask(api, "POST", path, reviewer(), json={"decision": "maybe"}))[0] == 422
    assert (await ask(api, "POST", path, reviewer(), json={"d": 1}))[0] == 422


async def post_signed(api: Api, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
    return await ask(api, "POST", "/scores/update", token(1), data=body, headers=headers)


def signed(
    api: Api,
    body: bytes,
    *,
    path: str = "/scores/update",
    key: SigningKey = SIGNING_KEY,
    age_s: int = 0,
) -> dict[str, str]:
    """The headers of a submission signed `age_s` ago, as a request to `path`."""
    return sign(
        method="POST",
        url=api.url + path,
        headers={"Content-Type": "application/json"},
        body=body,
        key=key,
        created_s=int(time.time()) - age_s,
        nonce="once",
    )


async def test_signed_bytes_sent_twice_are_one_submission(api: Api) -> None:
    body = b'{"userId":1,"increment":10}'
    headers = signed(api, body)

    first = await post_signed(api, headers, body)
    replay = await post_signed(api, headers, body)
    tampered = await post_signed(api, headers, body.replace(b"10", b"99"))

    assert first[0] == replay[0] == 202
    assert first[1] == replay[1]
    assert tampered[0] == 401
    assert (await final_status(api, first[1]["submissionId"]))["score"] == 1510


async def test_signed_bytes_take_effect_once_whoever_sends_them_and_wherever(
    settings: ServerSettings, tmp_path: Path
) -> None:
    keys = tmp_path / "wide.json"
    keys.write_text(Path(settings.signature_keys).read_text().replace('["1"]', '["*"]'))
    # As behind one name: each process has a port of its own.
    wide = replace(settings, signature_keys=str(keys), signature_authorities=("board.example",))
    body = b'{"userId":1,"increment":10}'
    batch = b'[{"userId":1,"increment":10},{"userId":1,"increment":5,"key":"a"}]'

    def signed_for(path: str, body: bytes, **headers: str) -> dict[str, str]:
        return sign(
            method="POST",
            url=f"https://board.example{path}",
            headers={"Content-Type": "application/json", **headers},
            body=body,
            key=SIGNING_KEY,
            created_s=int(time.time()),
            nonce="once",
        )

    single = signed_for("/scores/update", body)
    keyed = signed_for("/scores/update", body, **{"Idempotency-Key": "k"})
    many = signed_for("/scores/updates", batch)
    bearers = [token(1), token("service", any_user=True), token(2, any_user=True)]
    names: dict[str, set[str]] = {"single": set(), "keyed": set(), "many": set()}

    async def send_all(api: Api) -> None:
        for bearer in bearers:
            for kind, headers in (("single", single), ("keyed", keyed)):
                status, answer = await ask(
                    api, "POST", "/scores/update", bearer, data=body, headers=headers
                )
                assert status == 202
                names[kind].add(answer["submissionId"])
            _, items = await ask(api, "POST", "/scores/updates", bearer, data=batch, headers=many)
            assert [item["status"] for item in items] == [202, 202]
            names["many"].add(" ".join(item["submissionId"] for item in items))

    async with running_api(wide, embedded_worker=True) as one, running_api(wide) as other:
        await send_all(one)
        await send_all(other)
    async with running_api(wide, embedded_worker=True, prepare=False) as again:
        await send_all(again)
        for submission_id in " ".join(set.union(*names.values())).split():
            await final_status(again, submission_id)
        scores = {line["user"]: line["score"] for line in await again.scores()}
        elsewhere = replace(wide, signature_authorities=("other.example",))
        async with running_api(elsewhere) as foreign:
            refused, _ = await ask(
                foreign, "POST", "/scores/update", bearers[0], data=body, headers=single
            )

    assert {kind: len(found) for kind, found in names.items()} == dict.fromkeys(names, 1)
    assert scores["Alice"] == 1500 + 10 + 10 + 10 + 5
    assert refused == 401


SIGNED_BODY = b'{"userId":1,"increment":10}'
UNKNOWN_KEY = SigningKey(id="nobody", algorithm="hmac-sha256", material=SIGNING_SECRET)
FORGED_KEY = SigningKey(id="game", algorithm="hmac-sha256", material=b"f" * 32)
REFUSED: dict[str, Callable[[Api], tuple[dict[str, str], bytes]]] = {
    "stale": lambda api: (signed(api, SIGNED_BODY, age_s=310), SIGNED_BODY),
    "tampered body": lambda api: (signed(api, SIGNED_BODY), SIGNED_BODY.replace(b"10", b"99")),
    "signed for another path": lambda api: (
        signed(api, SIGNED_BODY, path="/scores/updates"),
        SIGNED_BODY,
    ),
    "signed for another query": lambda api: (
        signed(api, SIGNED_BODY, path="/scores/update?dry=1"),
        SIGNED_BODY,
    ),
    "unknown key id": lambda api: (signed(api, SIGNED_BODY, key=UNKNOWN_KEY), SIGNED_BODY),
    "another secret": lambda api: (signed(api, SIGNED_BODY, key=FORGED_KEY), SIGNED_BODY),
}


@pytest.mark.parametrize("fault", REFUSED)
async def test_invalid_signature_is_refused_without_effect(api: Api, fault: str) -> None:
    headers, body = REFUSED[fault](api)

    status, problem = await post_signed(api, headers, body)

    assert (status, problem["code"]) == (401, "unauthorized")
    # What is sent next is the first change: the refused one took no number.
    status, accepted = await post_signed(api, signed(api, SIGNED_BODY), SIGNED_BODY)
    assert status == 202
    outcome = await final_status(api, accepted["submissionId"])
    assert (outcome["seq"], outcome["score"]) == (1, 1510)


async def test_compulsory_signatures_refuse_unsigned_submissions(
    settings: ServerSettings,
) -> None:
    strict = replace(settings, signatures_required=True)
    async with running_api(strict, embedded_worker=True) as api:
        unsigned, problem = await api.submit(1, 10)
        batch, _ = await ask(
            api, "POST", "/scores/updates", token(1), json=[{"userId": 1, "increment": 10}]
        )
        accepted, body = await post_signed(api, signed(api, SIGNED_BODY), SIGNED_BODY)

        assert (unsigned, problem["code"]) == (401, "unauthorized")
        assert batch == 401
        assert accepted == 202
        assert (await final_status(api, body["submissionId"]))["seq"] == 1


async def test_a_token_of_a_public_key_may_submit(api: Api) -> None:
    now_s = int(time.time())
    claims = {"iss": "scoreboard", "aud": "scoreboard", "sub": "1", "iat": now_s, "exp": now_s + 60}

    async def accepted() -> bool:
        bearer = jwt.encode(claims, ED_KEY, algorithm="EdDSA", headers={"kid": "a"})
        status, _ = await api.submit(1, 10, bearer=bearer, key="k")
        return status == 202

    await eventually(accepted)
    unknown = jwt.encode(claims, ED_KEY, algorithm="EdDSA", headers={"kid": "b"})
    assert (await api.submit(1, 10, bearer=unknown))[0] == 401


async def test_submission_signed_for_curl_counts_once_when_replayed(
    api: Api, tmp_path: Path
) -> None:
    (tmp_path / "jwt").write_bytes(SECRET)
    (tmp_path / "key").write_text(base64.b64encode(SIGNING_SECRET).decode())
    command = (
        f"{sys.executable} -m scoreboard_client --url {api.url} sign --user 1 --increment 10"
        f" --secret-file {tmp_path / 'jwt'} --signing-key game:{tmp_path / 'key'}"
        f" > {tmp_path / 'request'}; for time in 1 2; do curl -s -K {tmp_path / 'request'}; done"
    )

    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()

    first, second = [json.loads(part + b"}") for part in output.split(b"}")[:2]]
    assert first == second
    assert (await final_status(api, first["submissionId"]))["score"] == 1510


async def test_the_client_signs_every_attempt(api: Api) -> None:
    async with ScoreboardClient(api.url, token=token(1), signing_key=SIGNING_KEY) as client:
        accepted = await client.submit(user_id=1, increment=10)

    assert (await final_status(api, accepted.submission_id))["score"] == 1510
