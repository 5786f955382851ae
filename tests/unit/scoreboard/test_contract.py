"""The bytes between processes: they come back as sent, and nothing else comes back at all."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreboard import contract
from scoreboard.domain import Change, Submission, User
from tests.support.board_order import order_key
from tests.unit.scoreboard.arrange import submission

int64 = st.integers(-(2**63), 2**63 - 1)
submissions = st.builds(
    Submission,
    id=st.binary(min_size=16, max_size=16),
    principal=st.text(st.characters(exclude_categories=["Cs"]), max_size=64),
    user_id=int64,
    increment=int64,
    received_us=int64,
)


# Idempotency-Key


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        ("a", "a"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("back\\slash", "back\\slash"),
        ("!~", "!~"),
        ("x" * 128, "x" * 128),
        ('"' + "x" * 128 + '"', "x" * 128),
    ],
)
def test_keys_are_taken_bare_or_quoted(value: str, key: str) -> None:
    assert contract.parse_idempotency_key(value) == key


@pytest.mark.parametrize(
    "value",
    [
        "",
        '""',
        '"',
        '"abc',
        'abc"',
        'a"b',
        '"a"b"',
        '"a\\"b"',
        '"a\\\\b"',
        "a b",
        '"a b"',
        " abc",
        "abc ",
        "abc\n",
        "a\tb",
        "a\x00b",
        "a\x7fb",
        "naïve",
        "ключ",
        '"a", "b"',
        "x" * 129,
        '"' + "x" * 129 + '"',
        "x" * 100_000,
    ],
)
def test_malformed_keys_parse_to_none(value: str) -> None:
    assert contract.parse_idempotency_key(value) is None


@given(st.text(max_size=140))
def test_a_key_is_always_1_to_128_visible_ascii_characters(value: str) -> None:
    key = contract.parse_idempotency_key(value)

    if key is not None:
        assert 1 <= len(key) <= 128
        assert all("!" <= character <= "~" for character in key)
        assert value in (key, f'"{key}"')


# Batches


@given(st.lists(submissions, max_size=5))
def test_batches_come_back_as_sent(batch: list[Submission]) -> None:
    assert contract.decode_batch(contract.encode_batch(batch)) == batch


def test_a_full_batch_is_far_below_the_limit_of_a_payload() -> None:
    largest = submission(2**128 - 1, user_id=2**53 - 1, increment=-1_000_000, principal="x" * 64)

    assert len(contract.encode_batch([largest] * contract.MAX_BATCH)) < 140_000


@given(st.binary(max_size=80))
def test_no_payload_raises_anything_but_value_error(payload: bytes) -> None:
    for decode in (contract.decode_batch, contract.decode_changes):
        try:
            decoded = decode(payload)
        except ValueError:
            continue
        assert isinstance(decoded, list)


GOOD = [b"\0" * 16, "1", 1, 10, 1]


@pytest.mark.parametrize(
    "fields",
    [
        [b"\0" * 15, "1", 1, 10, 1],
        [b"\0" * 17, "1", 1, 10, 1],
        ["0" * 16, "1", 1, 10, 1],
        [b"\0" * 16, "x" * 65, 1, 10, 1],
        [b"\0" * 16, 1, 1, 10, 1],
        [b"\0" * 16, "1", 2**63, 10, 1],
        [b"\0" * 16, "1", "1", 10, 1],
        [b"\0" * 16, "1", 1, 1.5, 1],
        [b"\0" * 16, "1", 1, True, 1],
        [b"\0" * 16, "1", 1, None, 1],
        [b"\0" * 16, "1", 1, 10],
        [],
        {"id": b"\0" * 16},
    ],
)
def test_a_malformed_submission_spoils_its_batch(fields: object) -> None:
    assert len(contract.decode_batch(msgspec.msgpack.encode([GOOD]))) == 1

    with pytest.raises(msgspec.DecodeError):
        contract.decode_batch(msgspec.msgpack.encode([GOOD, fields]))


def test_text_that_is_no_utf8_is_a_value_error() -> None:
    payload = contract.encode_batch([submission(principal="ab")]).replace(
        b"\xa2ab", b"\xa2\xff\xff"
    )

    with pytest.raises(ValueError, match="utf-8"):
        contract.decode_batch(payload)


# Stream entries and ranking members


changes = st.builds(
    Change,
    seq=st.integers(1, 2**63 - 1),
    user_id=st.integers(1, 2**53 - 1),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=64),
    score=st.integers(0, 2**53 - 1),
    committed_us=st.integers(0, 2**62),
)


@given(st.lists(changes, max_size=5))
def test_changes_come_back_as_sent(sent: list[Change]) -> None:
    assert contract.decode_changes(contract.encode_changes(iter(sent))) == sent


@given(st.integers(1, 2**53 - 1), st.integers(0, 2**63 - 1), st.text(max_size=64))
def test_a_ranking_member_names_its_user(user_id: int, seq: int, name: str) -> None:
    member = contract.ranking_member(user_id, seq, name)

    assert member[16:].decode() == name
    assert contract.member_user_id(member) == user_id


@given(
    st.lists(
        st.builds(
            User,
            id=st.integers(1, 2**53 - 1),
            name=st.text(max_size=2),
            score=st.integers(0, 2),
            seq=st.integers(0, 300),
        ),
        max_size=8,
    )
)
def test_redis_orders_members_as_the_rules_order_users(users: list[User]) -> None:
    """A sorted set sorts by score, then by the member's bytes."""

    def in_redis(user: User) -> tuple[float, bytes]:
        return float(-user.score), contract.ranking_member(user.id, user.seq, user.name)

    by_redis = sorted(users, key=in_redis)

    assert [order_key(user) for user in by_redis] == sorted(map(order_key, users))


def test_every_redis_key_lies_in_one_slot() -> None:
    """A cluster refuses a script whose keys lie in different slots; the hash tag decides it."""
    keys = [
        value
        for name, value in vars(contract).items()
        if name.endswith(("_KEY", "_PREFIX", "_CHANNEL")) and not name.startswith("_")
    ]

    assert len(keys) >= 9
    assert all(key.startswith("{scores}:") for key in keys)
    assert len(set(keys)) == len(keys)
    assert not set(keys) & set(contract.OUTDATED_KEYS)


def test_workflow_ids_differ_by_batch() -> None:
    assert contract.batch_workflow_id("a") == "batch-a"
