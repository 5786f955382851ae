"""One command for everything: its list, where options may stand, errors, exit codes."""

import importlib
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from harness.cli.load import drop_locust_variables
from harness.measure.slo import joined
from harness.wrong_use import base_url, reachable
from scoreboard_cli.group import COULD_NOT_TELL, READER_LEFT, CommandError, run
from scoreboard_cli.table import COMMANDS
from scoreboard_cli.types import PORT, whole
from scoreboard_client.__main__ import main as client_main
from stack.ports import free_port

ROOT = Path(__file__).parents[3]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_exists_under_its_name(name: str) -> None:
    module, _, attribute = COMMANDS[name].place.partition(":")
    command = getattr(importlib.import_module(module), attribute)

    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ("bench", "bench-peers")])
def test_no_option_shows_a_private_name(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")

    assert run("scoreboard", [name, "--help"]) == 0

    shown = capsys.readouterr().out
    assert f"scoreboard {name}" in shown
    assert "SCOREBOARD_DURATION" not in shown


def test_the_list_of_commands_imports_none_of_them() -> None:
    program = (
        "import sys; from scoreboard_cli.group import run; run('scoreboard', ['--help']);"
        "print({'harness', 'stack', 'scoreboard_client', 'locust', 'asyncio', 'ssl'}"
        " & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert all(name in done.stdout for name in COMMANDS)
    assert done.stderr.strip() == "set()"


def test_the_options_of_a_load_run_leave_ssl_for_locust_to_patch() -> None:
    program = "import sys, harness.cli.load; print('ssl' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "words",
    [
        ("token", "--user", "7", "--ttl-s", "0"),
        ("--user", "7", "token", "--ttl-s", "0"),
        ("--user=7", "--ttl-s", "0", "token"),
    ],
)
def test_options_may_stand_on_either_side_of_the_command(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("scoreboard", words) == 2
    assert lines(capsys) == [
        "error: --ttl-s must be a whole number from 1 to 34560000, not '0'",
        "See: scoreboard token --help",
    ]


def test_a_value_that_is_called_like_a_command_stays_a_value(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("scoreboard", ["--label", "top", "load", "--rate", "fast"]) == 2
    assert lines(capsys)[0].startswith("error: --rate: 'fast' is not an arrival profile")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("laod",), "error: no command 'laod'; did you mean 'load'?"),
        (("up", "--prot", "1"), "error: no such option '--prot'. Did you mean '--port'?"),
        (
            ("up", "--port", "abc"),
            "error: --port must be a whole number from 0 to 65535, not 'abc'",
        ),
        (("token",), "error: missing option '--user'"),
        (("load", "--workers", "0"), "error: --workers must be a whole number from 1, not '0'"),
        (
            ("load", "--host", "ftp://x/path"),
            "error: --host must look like http://host:port or https://host:port/path, "
            "not 'ftp://x/path'",
        ),
        (
            ("check", ".", "--mysql", "nonsense"),
            "error: --mysql must look like mysql://user:password@host:port/database",
        ),
        (
            ("nullserver", "--port", "99999"),
            "error: --port must be a whole number from 0 to 65535, not '99999'",
        ),
        (
            ("nullserver", "--stall", "abc"),
            "error: --stall must be AT+SECONDS, such as 5+2, not 'abc'",
        ),
        (
            ("nullserver", "--lose-submissions", "a"),
            "error: --lose-submissions must be whole numbers with commas between, not 'a'",
        ),
        (
            ("bench-compare", "--rounds", "0"),
            "error: --rounds must be a whole number from 1, not '0'",
        ),
        (("capacity", "--start", "0"), "error: --start must be a whole number from 1, not '0'"),
        (("check", "nope"), "error: HISTORY 'nope' does not exist"),
        (("load", "--locustfile", "nope"), "error: --locustfile 'nope' does not exist"),
        (
            ("submit", "--user", "1", "--increment", "1", "--secret-file", "/"),
            "error: --secret-file '/' is a directory",
        ),
        (
            ("export", "run.json"),
            "error: missing option '--format'. Choose from: json, junit, csv, "
            "csv-seconds, prometheus, benchmark-action, benchmark-action-bigger",
        ),
    ],
)
def test_wrong_use_is_one_sentence_with_the_form_that_is_right(
    words: Sequence[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("scoreboard", words) == 2
    assert lines(capsys)[0] == told


def test_a_call_without_a_command_shows_the_list_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("scoreboard", []) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert "load" in err


@pytest.mark.parametrize(
    ("called", "usage"),
    [
        ("/usr/bin/scoreboard-client", "Usage: scoreboard-client "),
        ("/lib/scoreboard_client/__main__.py", "Usage: python -m scoreboard_client "),
    ],
)
def test_usage_of_the_client_names_the_command_that_was_typed(
    called: str, usage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [called])

    assert client_main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert usage in shown
    assert "Use a real-time scoreboard." in shown


def test_a_program_offers_only_its_own_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("python -m stack", ["load"], package="stack") == 2
    assert lines(capsys)[0] == "error: no command 'load'"


@pytest.mark.parametrize("text", ["nan", "1.5", "", "-1", "65536"])
def test_no_port_is_made_of_anything_else(text: str) -> None:
    with pytest.raises(click.BadParameter, match="must be a whole number from 0 to 65535"):
        PORT.convert(text, None, None)


def test_a_whole_number_is_read_as_one() -> None:
    assert whole(least=1).convert("12", None, None) == 12


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://h:0",
        "http://h ",
        "http://u:p@h",
        "http://h?x",
    ],
)
def test_an_address_with_more_than_host_port_and_path_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must look like http://host:port"):
        base_url(url)


def test_a_server_that_is_away_leaves_nothing_to_tell() -> None:
    port = free_port()

    with pytest.raises(
        CommandError, match=f"127.0.0.1 port {port} \\(Connection refused\\)"
    ) as end:
        reachable(f"http://127.0.0.1:{port}")
    assert end.value.exit_code == COULD_NOT_TELL


def test_variables_of_locusts_own_command_are_dropped_and_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    environ = {"LOCUST_PROCESSES": "2", "LOCUST_TAGS": "x", "PATH": "/bin"}

    drop_locust_variables(environ)

    assert environ == {"PATH": "/bin"}
    assert lines(capsys) == [
        "ignored: LOCUST_PROCESSES, LOCUST_TAGS (only the command locust reads these)"
    ]


def test_terminal_without_utf_8_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))

    assert run("scoreboard", ["--version"]) == 0
    print("p99 –", flush=True)

    assert written.getvalue().endswith(b"p99 \\u2013\n")


SHOWS = ("results", "--schema")


@pytest.mark.parametrize(
    ("unbuffered", "words"), [("", SHOWS), ("1", SHOWS), ("1", ("token", "--user", "1"))]
)
def test_reader_that_leaves_early_ends_a_command_without_a_word(
    unbuffered: str, words: Sequence[str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "scoreboard_cli", *words],
        env={
            **os.environ,
            "PYTHONUNBUFFERED": unbuffered,
            "SCOREBOARD_DATA_DIR": str(tmp_path),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()

        assert process.stderr.read() == b""
    assert process.returncode in (0, READER_LEFT)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_disk_behind_stdout_is_one_sentence(unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "scoreboard_cli", *SHOWS],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == COULD_NOT_TELL
    assert done.stderr == "error: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_command_runs_with_closed_streams(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m scoreboard_cli results --schema {closed}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("load", "--mysql-url", "nonsense"), "--mysql-url: "),
        (("load", "--workers", "1000"), "--workers 1000 starts 2,000 processes on "),
        (("load", "--label", "gr\udcc3n"), "is no UTF-8 text: set a UTF-8 locale"),
        (("load", "--slo", "p99:1s", "--slo", "p150:1s"), "--slo: 'p150:1s'"),
        (("check", ".", "--skip", "I4,I99"), "--skip must name invariants from I1 to I10, not I99"),
        (("load", "--export", "junit:."), "--export: . is a folder, not a file"),
        (("load", "--json", "--export", "junit:-"), "would both be written to stdout"),
        (("load", "--export", "csv:a", "--export", "junit:./a"), "both be written to a"),
        (("load", "--result-file", "a.html"), "would both be written to a.html"),
        (("load", "--result-file", "a.json", "--export", "csv:a.html"), "written to a.html"),
        (("load", "--server-pid", "999999999"), "no process on this machine has the number 99"),
        (("load", "--server-name", "no-such-program"), "is called 'no-such-program'"),
        (
            ("capacity", "--slo", "p99:1s", "--start", "100", "--duration", "5"),
            "'p99:1s' needs at least 1,000 submissions; --rate 100 makes 500",
        ),
        (
            ("capacity", "--slo", "p99:1s", "--start", "100", "--duration", "5s", "--warmup", "1s"),
            "'p99:1s' needs at least 1,000 submissions; --rate 100 makes 500",
        ),
        (("nullserver", "--stall", "nan+2"), "--stall must be AT+SECONDS"),
        (("nullserver", "--stall", "-1+2"), "--stall must be AT+SECONDS"),
        (("nullserver", "--host", "203.0.113.7"), "cannot listen on 203.0.113.7 port 0: "),
    ],
)
def test_odd_values_are_refused_before_anything_starts(
    words: Sequence[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)

    assert run("scoreboard", words) == 2

    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((), ""),
        (("p99:1s",), "p99:1s"),
        (("p99:1s", "errors:0%"), "p99:1s,errors:0%"),
        (("none,p99<1s", "errors:0%"), "none,p99<1s,errors:0%"),
    ],
)
def test_limits_of_a_repeated_option_are_joined(values: tuple[str, ...], text: str) -> None:
    assert joined(values) == text


@pytest.mark.parametrize(
    ("target", "variables"),
    [
        ("up", ("PORT",)),
        ("cluster", ("PORT",)),
        ("token", ("USER", "SCOPE", "TTL_S")),
        ("load", ("USERS", "RATE", "LISTENERS", "DURATION", "SLO", "SEED", "WORKERS")),
        ("chaos", ("SEED",)),
        ("bench-compare", ("BASE",)),
        ("bench-peers", ("ONLY", "ROUNDS")),
    ],
)
def test_values_given_to_make_reach_a_command_as_they_are(
    target: str, variables: tuple[str, ...]
) -> None:
    given = [f"{name}=1;<{name}" for name in variables]

    printed = subprocess.run(
        ("make", "--dry-run", target, *given), cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.replace("\\\n", " ")

    [command] = [line for line in printed.splitlines() if line.startswith("exec .venv/bin/python")]
    assert {f"1;<{name}" for name in variables} <= set(shlex.split(command))
