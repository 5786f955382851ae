"""Every option of every command, with every kind of value that it must not take.

Walks the table of commands, so a new option is tried the day it is added: exit code 2, a sentence
that names the option, nothing started, no file written. A value that a command accepts would
reach one of the guards.
"""

import importlib
import socket
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import click
import pytest
import uvloop

from harness.measure.settings import OPTIONS
from scoreboard_cli.group import WRONG_USE, run
from scoreboard_cli.table import COMMANDS
from scoreboard_cli.types import Number, Parsed

PASSED_ON = {"bench", "bench-peers"}
"""All their options are another program's."""
LINES_MAX = 4
LINE_MAX = 420
NO_NUMBERS = ("abc", "", "nan", "inf", "-inf", "1e999", "0x10", "1,5", "--", "9" * 5000)
NO_DURATIONS = ("abc", "", "-1", "nan", "inf", "10q", "1e999", "9" * 4000)
NO_PROFILES = ("fast", "", "-5", "nan", "inf", "1e9k", "10x", "100-x20s", "spike:1-2@3", "1" * 4000)
TOO_LONG = "x" * 300
"""No file can have this name."""
NO_FILES = ("folder", "file/below", TOO_LONG, "")
NO_FOLDERS = ("file", "file/below", TOO_LONG, "")
ABSENT = ("absent", "folder", "file/below", TOO_LONG, "")
TEXTS: dict[str, Sequence[str]] = {
    **dict.fromkeys(("--duration", "--warmup", "--timeout", "--late-limit"), NO_DURATIONS),
    **dict.fromkeys(("--listeners-ramp", "--listener-stay"), NO_DURATIONS),
    **dict.fromkeys(("--rate", "--reads"), NO_PROFILES),
    **dict.fromkeys(
        ("--players", "--listeners", "--connections", "--seed"),
        ("abc", "", "-1", "1.5", "nan", "1e3", "10kk", "9" * 4000),
    ),
    "--arrivals": ("steady", "", "CONSTANT"),
    "--slo": ("p99", "p150:1s", "p99:fast", "errors:500%", "nan", "@absent", "@folder", "p99<0ms"),
    "--target": ("absent", "folder", "file", "file/below"),
    "--bursts": ("abc", "0", "-1", "nan"),
    "--sessions": ("abc", "0", "-1", "nan"),
    "--trace": ("absent", "file/below"),
    "--trace-speed": ("abc", "0", "-1", "nan", "inf"),
    "--trace-pattern": ("(", "x"),
    "--hot-users": ("abc", "zipf", "zipf:x", "zipf:-1", "zipf:nan"),
    "--reconnect-storm": ("abc", "-1", "nan", "1h"),
    "--slow-listeners": ("abc", "-1", "nan", "200%", "5%/0"),
    "--server-pid": ("abc", "-1", "1.5", "999999999"),
    "--server-name": ("no-such-program",),
    "--mysql-url": ("nonsense", "http://host/db", "mysql://host:99999/db"),
    "--signing-key": ("nonsense", "key:absent", "key:folder", ":file", "key:"),
    "--results": NO_FOLDERS,
    "--base": ("no-such-revision", "", "-x", "--output=stolen"),
    "--since": ("abc", "", "-1h", "nan", "2026-13-01"),
    "--output": ("folder", "file/below", TOO_LONG),
    "selfproof --only": ("no such trouble",),
    "chaos --kind": ("no such kind", ""),
    "token --scope": ("scores:reviews", "", "scores:review scores:operate"),
    # Whether this machine has an address, the system says.
    "nullserver --host": ("", "a" * 4000),
    "--label": ("gr\udcc3n",),
}
ANY_TEXT = {
    *("--key", "--name", "--reason", "bench-compare --only"),
    # Ids of cases: the server knows which there are.
    *("review approve ids", "review reject ids", "review list --after"),
}
"""Options that take whatever is typed."""
BASE = {
    "--user": "1",
    "--increment": "1",
    "--since": "1h",
    "--name": "x",
    "--reason": "x",
    "--score": "1",
    "--into": "2",
    "--signing-key": "key:key",
    "--format": "json",
    "history": "folder",
    "before": "result",
    "after": "result",
    "result": "result",
    "file": "target.toml",
    "url": "http://127.0.0.1:9",
    "submission_id": "x",
}
WITH = {
    "selfproof --only": ("--trouble",),
    "selfproof --side-by-side": ("--trouble",),
    "chaos --seeds": ("--lab",),
    "chaos --write": ("--lab",),
    "chaos --minutes": ("--lab",),
    "chaos --kind": ("--lab",),
    "capacity --rate": ("--over", "listeners"),
}
"""What an option needs beside it."""
KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA=="
TARGET = 'url = "http://127.0.0.1:9"\n'


class Started(BaseException):
    """The command believed the value and began."""


class Case(NamedTuple):
    """One option of one command; `required` is all else that the command needs."""

    words: tuple[str, ...]
    option: click.Parameter
    required: tuple[str, ...]

    @property
    def flag(self) -> str:
        return max(self.option.opts, key=len)

    @property
    def name(self) -> str:
        return " ".join((*self.words, self.flag))


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, entry in COMMANDS.items():
        if name in PASSED_ON:
            continue
        module, _, attribute = entry.place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, click.Group):
            yield from (((name, below), command) for below, command in found.commands.items())
        else:
            yield (name,), found


def base_of(command: click.Command, *, without: click.Parameter | None = None) -> tuple[str, ...]:
    """Good values for all that the command requires."""
    words: list[str] = []
    for each in command.params:
        if each is without or not each.required:
            continue
        name = max(each.opts, key=len)
        words += [BASE[name]] if isinstance(each, click.Argument) else [name, BASE[name]]
    return tuple(words)


CASES = [
    Case(words, option, base_of(command, without=option))
    for words, command in commands()
    for option in command.params
]


def bad_values(case: Case) -> Sequence[str]:
    """What the option must refuse, by its type and, where that is text, by its name."""
    kind, flag = case.option.type, case.flag
    if isinstance(kind, Number):
        return (*NO_NUMBERS, *beyond(kind))
    if isinstance(kind, click.Choice):
        return ("nonsense", "", "é")
    if found := TEXTS.get(case.name, TEXTS.get(flag)):
        return found
    if isinstance(kind, Parsed):
        return ("?!", "", "a" * 4000)
    if isinstance(kind, click.Path):
        if isinstance(case.option, click.Argument) or kind.exists:
            return ABSENT if flag != "history" else ("absent", "file/below", TOO_LONG, "")
        return NO_FILES if not kind.dir_okay else NO_FOLDERS
    return ()


def beyond(kind: Number) -> Iterator[str]:
    """Numbers just outside its bounds."""
    if kind.least is not None:
        yield f"{kind.least - 1:g}"
    if kind.above is not None:
        yield f"{kind.above:g}"
    if kind.most is not None:
        yield f"{kind.most + 1:.0f}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file and a folder in it, and a guard at every door to the outside."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("nothing of ours\n")
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "target.toml").write_text(TARGET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCOREBOARD_URL", raising=False)
    monkeypatch.setenv("SCOREBOARD_JWT_SECRET", "s" * 32)
    popen = subprocess.Popen.__init__

    def start(self: Any, words: Any, *more: Any, **options: Any) -> None:
        if words[0] != "git":
            raise Started(words)
        popen(self, words, *more, **options)

    def refuse(*words: Any, **_: Any) -> Any:
        raise Started(words)

    monkeypatch.setattr(subprocess.Popen, "__init__", start)
    monkeypatch.setattr(uvloop, "new_event_loop", refuse)
    monkeypatch.setattr(uvloop, "run", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "listen", refuse)
    monkeypatch.setattr(aiohttp.ClientSession, "_request", refuse)
    monkeypatch.setattr(aiohttp.ClientSession, "request", refuse)
    # Would patch this process for gevent.
    fake = types.ModuleType("harness.sessions.load_session")
    fake.Session = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def wrong_use_of(
    words: Sequence[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """What a command line that is wrong use prints, and what is wrong with that."""
    before = contents(place)
    try:
        code = run("scoreboard", words)
    except Started as began:
        return "", f"began: {began}"
    except (Exception, SystemExit) as error:
        return "", f"raised {error!r}"
    out, err = capsys.readouterr()
    lines = err.splitlines()
    faults = [
        *([f"exit code {code}"] if code != WRONG_USE else []),
        *(["a traceback"] if "Traceback" in err else []),
        *(["output"] if out else []),
        *(["nothing said"] if not lines else []),
        *([f"{len(lines)} lines"] if len(lines) > LINES_MAX else []),
        *(["a long line"] if any(len(line) > LINE_MAX for line in lines) else []),
        *(["files written"] if contents(place) != before else []),
    ]
    return err, ", ".join(faults)


@pytest.mark.parametrize("case", [c for c in CASES if bad_values(c)], ids=lambda case: case.name)
def test_wrong_value_is_refused_in_a_sentence_that_names_the_option(
    case: Case, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = []
    for value in bad_values(case):
        argument = isinstance(case.option, click.Argument)
        given = [value] if argument else [f"{case.flag}={value}"]
        words = [*case.words, *case.required, *WITH.get(case.name, ()), *given]
        said, fault = wrong_use_of(words, place, capsys)
        named = case.flag in said or argument or case.flag.strip("-") in said
        if fault or not named:
            wrong.append(f"{value[:40]!r}: {fault or 'not named'}: {said[:400]}")

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_option_with_a_value_is_tried_with_wrong_ones(case: Case) -> None:
    takes_anything = case.flag in ANY_TEXT or case.name in ANY_TEXT or case.flag == "submission_id"
    flag = isinstance(case.option, click.Option) and case.option.is_flag

    assert bool(bad_values(case)) is not (takes_anything or flag)


@pytest.mark.parametrize(
    ("words", "command"), [pytest.param(*each, id=" ".join(each[0])) for each in commands()]
)
def test_command_line_of_the_wrong_form_is_refused(
    words: tuple[str, ...],
    command: click.Command,
    place: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = base_of(command)
    lines = [
        [*words, *base, "--no-such-option"],
        [*words, *base, "--no-such-option=5"],
        *([*words, *base, "one", "too many"] for _ in [1] if not takes_many(command)),
        *([*words, *base, max(o.opts, key=len)] for o in command.params if takes_a_value(o)),
        *(
            [*words, *base, f"{max(o.opts, key=len)}=1"]
            for o in command.params
            if isinstance(o, click.Option) and o.is_flag
        ),
        *([*words, *base[:-1]] for _ in [1] if base),
    ]

    wrong = [f"{line}: {said}" for line in lines if (said := wrong_use_of(line, place, capsys)[1])]
    assert not wrong, "\n".join(wrong)


def takes_many(command: click.Command) -> bool:
    return any(isinstance(p, click.Argument) and p.nargs == -1 for p in command.params)


def takes_a_value(option: click.Parameter) -> bool:
    return isinstance(option, click.Option) and not option.is_flag


def test_options_of_a_run_are_all_tried() -> None:
    assert {option.flag for option in OPTIONS if not isinstance(option.default, bool)} <= set(TEXTS)


@pytest.mark.parametrize(
    "words",
    [
        ("chaos", "--lab", "--short"),
        ("chaos", "--lab", "--temporal-cluster"),
        ("chaos", "--seeds", "3"),
        ("chaos", "--write", "page.md"),
        ("chaos", "--minutes", "3"),
        ("chaos", "--kind", "hang"),
        ("chaos", "--lab", "--losses"),
        ("selfproof", "--only", "killed"),
        ("selfproof", "--side-by-side", "2"),
        ("bench-compare", "--prove", "--base", "HEAD"),
        ("bench-compare", "--prove", "--counts"),
        ("capacity", "--over", "listeners", "--listeners", "5"),
        ("capacity", "--rate", "5"),
        ("capacity", "--start", "100", "--most", "50"),
        ("load", "--rounds", "3"),
        ("load", "--target", "target.toml", "--target", "target.toml", "--json"),
        ("load", "--target", "target.toml", "--target", "target.toml", "--result-file", "r.json"),
        ("load", "--target", "target.toml", "--target", "target.toml", "--export", "csv:x"),
        ("cluster", "--down", "--port", "5"),
        ("up", "--port", "5000", "--mysql-port", "5000"),
    ],
    ids=" ".join,
)
def test_options_that_exclude_or_need_each_other_are_told(
    words: Sequence[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, fault = wrong_use_of(words, place, capsys)

    assert not fault, said
    assert any(word in said for word in words if word.startswith("--")), said
