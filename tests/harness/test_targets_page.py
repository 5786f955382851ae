"""The examples of docs/targets.md, run as they stand there against servers that speak so."""

import json
import os
import re
import ssl
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.foreign_server import (
    KEYS,
    CookieGames,
    Dialect,
    KeyedScores,
    LineScores,
    SignedScores,
    serving,
)
from tests.support.tls_proxy import Authority

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "targets.md").read_text()
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))
PLAYERS = 20


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(FILES[name])


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCOREBOARD_")}
    return subprocess.run(
        [sys.executable, "-m", "scoreboard_cli", *arguments],
        cwd=ROOT,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def load(folder: Path, url: str, *arguments: str, **environ: str) -> dict[str, Any]:
    """The result of a short run."""
    done = run(
        *("load", "--host", url, "--results", str(folder / "results"), *arguments),
        *("--rate", "100", "--listeners", "10", "--players", str(PLAYERS), "--warmup", "0"),
        *("--duration", "1", "--late-limit", "2000", "--no-ceiling"),
        **environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (folder / "results").glob("*.json")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def holds(document: dict[str, Any], dialect: Dialect, users: int) -> None:
    """Everything was accepted and applied, and every listener was served."""
    assert document["totals"]["ok"] == dialect.seen["submit"] == 100
    assert document["totals"].get("fail", 0) == document["totals"].get("unknown", 0) == 0
    assert len(dialect.scores) == users
    assert dialect.seen["stream"] >= 10
    assert document["verdict"]["good"]
    assert document["totals"]["bytes"] > 1000


def test_a_server_with_other_paths_and_names_is_measured(tmp_path: Path) -> None:
    write(tmp_path, "cookie.toml")
    games = CookieGames()
    with serving(games) as url:
        told = run("target", "check", str(tmp_path / "cookie.toml"), "--host", url)
        submitted = games.seen["submit"]
        document = load(tmp_path, url, "--target", str(tmp_path / "cookie.toml"))

    assert told.returncode == 0, told.stderr
    assert "PUT /api/players/1/points HTTP/1.1" in told.stdout
    assert '{"player": {"nick": "Alice"}, "total": 1510}' in told.stdout
    assert submitted == 0
    holds(document, games, PLAYERS)


def test_a_server_with_keys_users_and_tls_is_measured(tmp_path: Path) -> None:
    write(tmp_path, "keyed.toml", "users.csv")
    authority = Authority(tmp_path, "ca")
    identity = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert, identity.key)
    keyed = KeyedScores()
    described = ("--target", str(tmp_path / "keyed.toml"))
    with serving(keyed, context) as url:
        told = run("target", "check", described[1], "--host", url, SCORES_API_KEY="k-123")
        document = load(tmp_path, url, *described, SCORES_API_KEY="k-123")

    assert told.returncode == 0, told.stderr
    assert "X-Api-Key: k…" in told.stdout
    assert "k-123" not in told.stdout
    holds(document, keyed, len(KEYS))
    assert document["settings"]["players"] == len(KEYS)
    assert "k-123" not in json.dumps(document)


def test_a_server_below_a_path_with_signed_tokens_is_measured(tmp_path: Path) -> None:
    write(tmp_path, "signed.toml")
    key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "accounts-test.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = SignedScores(public.decode())
    with serving(signed) as url:
        document = load(tmp_path, url, "--target", str(tmp_path / "signed.toml"))

    holds(document, signed, PLAYERS)


def test_a_scenario_builds_any_request_and_reads_any_event(tmp_path: Path) -> None:
    write(tmp_path, "scenario.py")
    lines = LineScores()
    with serving(lines) as url:
        document = load(tmp_path, url, "--locustfile", str(tmp_path / "scenario.py"))

    holds(document, lines, PLAYERS)


def test_init_writes_a_file_that_check_takes(tmp_path: Path) -> None:
    path = tmp_path / "first.toml"
    lines = LineScores()
    lines.scores = {"user1": 5}
    with serving(lines) as url:
        written = run("target", "init", url, "--output", str(path))
        checked = run("target", "check", str(path))
        again = run("target", "init", url, "--output", str(path))

    assert written.returncode == 0, written.stderr
    assert 'user = "user"' in path.read_text()
    assert checked.returncode == 3
    assert "GET /scores/stream was answered with 404" in checked.stderr
    assert again.returncode == 2
    assert "File exists" in again.stderr
    assert lines.seen["submit"] == 0


def test_init_finds_users_and_scores_at_other_paths(tmp_path: Path) -> None:
    path = tmp_path / "first.toml"
    games = CookieGames()
    games.scores = {"Player 1": 5}
    with serving(games) as url:
        places = ("--scores", games.top_path, "--stream", games.stream_path)
        written = run("target", "init", url, *places, "--output", str(path))
        astray = run("target", "init", url)

    tables = tomllib.loads(path.read_text())
    assert written.returncode == 0, written.stderr
    assert tables["scores"] == {
        "path": "/api/leaderboard",
        "list": "data.rows",
        "user": "player.nick",
        "score": "total",
    }
    assert tables["stream"]["path"] == "/api/leaderboard/live"
    assert "nothing is at /scores (404): --scores names its path" in astray.stderr


def test_faults_of_a_file_end_a_run_before_it_connects(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('url = "http://127.0.0.1:9"\n[submit]\npth = "/x"\naccepted = 7\n')
    done = run("load", "--target", str(path))

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: --target wrong.toml: [submit] pth: no such key; did you mean path, as in "
        'path = "/players/{user}/points"?',
        "       wrong.toml: [submit] accepted must be a list of statuses, as in "
        'accepted = ["2xx"], not 7',
    ]
