"""Result files are read whole or refused in one sentence, and the published schema is the truth."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from harness.__main__ import main
from harness.report.document import VERSION, LoadResult
from harness.report.result_files import (
    UnreadableResult,
    decode_result,
    encode_result,
    read_result,
    read_result_as,
    schema,
    write_result_file,
)
from tests.unit.harness.documents import (
    bench_proof_document,
    capacity_document,
    chaos_document,
    decoded,
    run_document,
    selfproof_document,
)

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "docs" / "result.schema.json"
KEPT = ("load", "crowd", "selfproof", "bench-gate", "chaos")
CURRENT = json.loads(encode_result(decoded(LoadResult, run_document())))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(PUBLISHED.read_text()))


def test_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == json.dumps(schema(), indent=2) + "\n", (
        "run `python -m harness results --schema > docs/result.schema.json`"
    )


@pytest.mark.parametrize("name", KEPT)
def test_kept_results_are_read_and_rewritten_by_the_schema(
    name: str, validator: Draft202012Validator
) -> None:
    result = read_result(ROOT / "docs" / "results" / f"{name}.json")

    validator.validate(json.loads(encode_result(result)))
    assert decode_result(encode_result(result)) == result


@pytest.mark.parametrize(
    "document",
    [
        run_document(),
        capacity_document(),
        selfproof_document(),
        bench_proof_document(),
        chaos_document(),
    ],
    ids=lambda document: document["kind"],
)
def test_every_kind_keeps_to_the_schema(
    document: dict[str, Any], validator: Draft202012Validator
) -> None:
    result = decode_result(json.dumps(document).encode())

    validator.validate(json.loads(encode_result(result)))


def test_schema_refuses_a_load_run_without_a_verdict(validator: Draft202012Validator) -> None:
    assert not validator.is_valid({k: v for k, v in CURRENT.items() if k != "verdict"})


def test_version_1_is_upgraded() -> None:
    old = run_document()
    old["verdict"]["limits"] = [{"limit": "p99<1s", "measured": 5.0, "kept": True}]
    old["invariants"] = [
        {
            "invariant": "I2 ledger",
            "title": "t",
            "verdict": "unknown",
            "looked_at": "rows",
            "explanations": ["nothing changed"],
            "violations": 0,
        }
    ]

    new = decoded(LoadResult, old)

    assert new.version == VERSION
    assert new.verdict.limits[0].passed
    assert new.verdict.correctness == "true"
    assert [finding.invariant for finding in new.findings] == ["MySQL ledger", "I2 ledger"]
    assert new.findings[0].counts == {"acknowledged": 5}
    assert new.seconds[3].counters == {"intended": 1000, "ok": 1000}


def test_version_2_is_read_with_the_names_of_today() -> None:
    old = copy.deepcopy(CURRENT) | {"version": 2}
    old["members"] = [{"kind": "flood"}, {"kind": "swarm", "status": {"listeners": 9}}]
    old["swarm"] = {"us_per_read": 7.25}
    old["resources"] = {
        "cores": {"harness flood": 0.1, "harness conductor": 0.2, "server": 0.3},
        "bottleneck": "the harness itself: swarm uses 90% of a core",
    }
    old["verdict"]["invalid"] = ["flood-0 was lost: process 7 of h"]

    new = decoded(LoadResult, old)

    assert [member.kind for member in new.members] == ["submitters", "listeners"]
    assert new.listeners == 9
    assert new.listener_cost.us_per_read == 7.25
    assert set(new.resources.cores) == {"harness submitters", "harness coordinator", "server"}
    assert new.resources.bottleneck == "the harness itself: listeners uses 90% of a core"
    assert new.verdict.invalid == ["submitters-0 was lost: process 7 of h"]


def test_unknown_fields_of_a_newer_program_are_ignored() -> None:
    newer = {**CURRENT, "mood": "fine", "window": {**CURRENT["window"], "zone": "UTC"}}

    assert decoded(LoadResult, newer) == decoded(LoadResult, CURRENT)


ODD = {
    "list": b"[]",
    "null": b"null",
    "number": b"5",
    "text": b'"x"',
    "deep": b"[" * 100_000,
    "deep and whole": b'{"kind":"scoreboard-run","seconds":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "empty": b"",
    "binary": b"\xff\xfe\x00\x01",
    "truncated": b'{"kind":"scoreboard-run"',
    "object": b"{}",
    "kind alone": b'{"kind":"scoreboard-run"}',
    "kind alone, version 2": b'{"kind":"scoreboard-run","version":2}',
    "kind a number": b'{"kind":5}',
    "foreign kind": b'{"kind":"scoreboard-planted-bugs","version":1}',
    "version 0": json.dumps({**CURRENT, "version": 0}).encode(),
    "version 99": json.dumps({**CURRENT, "version": 99}).encode(),
    "NaN": b'{"kind":"scoreboard-run","started_unix_s":NaN}',
    "seconds text": json.dumps({**CURRENT, "seconds": "abc"}).encode(),
    "old seconds text": json.dumps({**run_document(), "seconds": "abc"}).encode(),
    "old verdict text": json.dumps({**run_document(), "verdict": "good"}).encode(),
    "old findings null": json.dumps({**run_document(), "findings": [None]}).encode(),
    "a year that no calendar has": json.dumps({**CURRENT, "started_unix_s": 1e300}).encode(),
    "listeners in words": json.dumps(
        {**CURRENT, "members": [{"kind": "listeners", "status": {"listeners": "many"}}]}
    ).encode(),
    "figures list": json.dumps({**CURRENT, "figures": []}).encode(),
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD.keys())
def test_compare_refuses_an_odd_file_in_one_sentence(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, odd = tmp_path / "good.json", tmp_path / "odd.json"
    good.write_text(json.dumps(run_document()))
    odd.write_bytes(content)

    for pair in ((good, odd), (odd, good)):
        assert main(["compare", *map(str, pair)]) == 2

        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert str(odd) in err


def test_newer_document_version_is_refused_with_a_remedy() -> None:
    with pytest.raises(UnreadableResult, match=r"version 99.*use the newer one"):
        decode_result(ODD["version 99"])


def test_a_document_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "chaos.json"
    path.write_text(json.dumps(chaos_document()))

    with pytest.raises(UnreadableResult, match="holds a scoreboard-chaos, not a scoreboard-run"):
        read_result_as(path, LoadResult)


def test_results_skips_odd_files_and_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "good.json").write_text(json.dumps(run_document()))
    (tmp_path / "results" / "ceiling.json").write_text("{}")
    for number, content in enumerate(ODD.values()):
        (tmp_path / "results" / f"odd-{number}.json").write_bytes(content)

    assert main(["results"]) == 0

    out, err = capsys.readouterr()
    assert out == f"RESULTS.md: load; 1 new, of {len(ODD) + 2} files looked at\n"
    assert err.count("skipped: ") == err.count("\n") == len(ODD)


def test_a_result_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "results" / "run.json"

    write_result_file(decoded(LoadResult, CURRENT), path)

    assert read_result(path) == decoded(LoadResult, CURRENT)
    assert [each.name for each in path.parent.iterdir()] == ["run.json"]
