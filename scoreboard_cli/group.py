"""A group of commands that are imported when they run, and one form for errors and exit codes.

Exit codes: 0 good, 1 bad, 2 wrong use, 3 could not tell (nothing, or too little, was seen);
130 after Ctrl-C, 141 when the reader of the output left before its end. Options may stand before
or after the command.
"""

import contextlib
import difflib
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from scoreboard import __version__
from scoreboard_cli import early_interrupt
from scoreboard_cli.table import COMMANDS, Entry

try:
    from rich_click import RichCommand as Command
    from rich_click import RichGroup as Group
except ImportError:  # The client's own distribution comes without rich.
    from click import Command, Group  # type: ignore[assignment]

GOOD, BAD, WRONG_USE, COULD_NOT_TELL, INTERRUPTED = 0, 1, 2, 3, 130
LINE_MAX = 400
READER_LEFT = 141
"""As shells say it of a program that SIGPIPE ended: `scoreboard … | head`."""


def command(name: str, **settings: Any) -> Callable[[Callable[..., int]], click.Command]:
    """Declares a command: a function of its options that returns an exit code."""
    return click.command(name, cls=Command, **settings)


def group(name: str) -> Callable[[Callable[..., None]], click.Group]:
    """Declares a group of commands, to which they are added."""
    return click.group(name, cls=Group)


class CommandError(Exception):
    """Ends a command with one sentence on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int = BAD) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def refuse(message: str) -> NoReturn:
    """Ends a command that was called wrongly: exit code 2."""
    raise CommandError(message, WRONG_USE)


def given(option: str) -> bool:
    """Whether the command line of the command that runs has this option, default or not."""
    context = click.get_current_context()
    named = {name: p.name for p in context.command.params for name in p.opts + p.secondary_opts}
    return context.get_parameter_source(str(named[option])) is ParameterSource.COMMANDLINE


def exclude(option: str, *others: str, why: str = "") -> None:
    """Ends the command as wrong use when it has this option and, of the others, any."""
    found = [other for other in others if given(other)]
    if given(option) and found:
        refuse(f"{option} excludes {' and '.join(found)}{why and f': {why}'}")


def need(option: str, *others: str) -> None:
    """Ends the command as wrong use when it has this option, and none of the others."""
    if given(option) and not any(map(given, others)):
        refuse(f"{option} has a meaning only with {' or '.join(others)}")


class LazyGroup(Group):
    """The commands of a table."""

    def __init__(self, entries: dict[str, Entry], **settings: Any) -> None:
        super().__init__(**settings)
        self._entries = entries
        self._only_names = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        if self._only_names:
            shown = Command(name=cmd_name, short_help=entry.about)
            shown.panel = entry.panel
            return shown
        module, _, attribute = entry.place.partition(":")
        try:
            found: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise CommandError(
                f"{cmd_name} cannot run here: the package {error.name} is not installed; in a "
                "checkout, `make setup` installs all of them",
                WRONG_USE,
            ) from None
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self._entries and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self._entries, n=1)
            ctx.fail(f"no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._only_names = True
        super().format_help(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._command_first(ctx, args))

    def _command_first(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`--url X submit` becomes `submit --url X`."""
        for at, word in enumerate(args):
            if at and word in self._entries:
                found = self.get_command(ctx, word)
                if found is not None and _are_options(found, args[:at]):
                    return [word, *args[:at], *args[at + 1 :]]
        return args


def _are_options(command: click.Command, words: Sequence[str]) -> bool:
    """Whether `words` are options of the command, each with its values."""
    options = {name: p for p in command.params for name in (*p.opts, *p.secondary_opts)}
    at = 0
    while at < len(words):
        name, given, _ = words[at].partition("=")
        option = options.get(name)
        if option is None or not name.startswith("-"):
            return False
        has_value = isinstance(option, click.Option) and not option.is_flag and not given
        at += 1 + (option.nargs if has_value else 0)
    return at == len(words)


PURPOSES = {
    "": "Run, use, load-test and judge a real-time scoreboard.",
    "stack": "Start, stop and inspect the stack of this checkout.",
    "scoreboard_client": "Use a real-time scoreboard.",
    "harness": "Load-test and judge a real-time scoreboard.",
}
"""Of the whole command line, and of the programs that offer a part of it."""


def run(prog: str, arguments: Sequence[str] | None = None, *, package: str = "") -> int:
    """Runs a command line of `prog`, whose commands are those of `package`, or all.

    Returns the exit code; a wrong command line is one sentence on stderr. A terminal that is not
    UTF-8 gets escapes for characters it lacks, not a traceback at the end of a run, and not `?`,
    which means unknown in a summary.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by whoever started us, as `>&-` does.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    group = LazyGroup(
        {name: e for name, e in COMMANDS.items() if package in ("", e.program)},
        name=prog,
        help=PURPOSES[package],
        epilog="Exit codes: 0 good, 1 bad, 2 wrong use, 3 could not tell.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    click.version_option(__version__, prog_name="scoreboard")(group)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words:
        with contextlib.redirect_stdout(sys.stderr):
            group.main(args=["--help"], prog_name=prog, standalone_mode=False)
        return WRONG_USE
    return _flushed(_run(group, words, prog))


def _run(group: click.Group, words: list[str], prog: str) -> int:
    try:
        early_interrupt.ends()
        code = group.main(args=words, prog_name=prog, standalone_mode=False)
    except SystemExit as error:
        # Click's answer to a reader that left is 1, which is "bad" here.
        if isinstance(error.__context__, BrokenPipeError):
            return READER_LEFT
        raise
    except CommandError as error:
        lines = [shortened(line) for line in str(error).splitlines()]
        print("error: " + "\n       ".join(lines), file=sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        return _tell(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as error:
        return _tell_os(error)
    return code if isinstance(code, int) else GOOD


def _flushed(code: int) -> int:
    """Writes out what is left, so that nothing is said when the interpreter ends; the exit code."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    except OSError as error:
        _forget_stdout()
        return code or _tell_os(error)
    return code


def _tell_os(error: OSError) -> int:
    """An error of the system that no command expected, as a full disk."""
    place = f"{error.filename}: " if error.filename else ""
    print(f"error: {place}{error.strerror or error}", file=sys.stderr)
    return COULD_NOT_TELL


def shortened(line: str) -> str:
    """The line without the middle of what somebody pasted into an option."""
    return line if len(line) <= LINE_MAX else f"{line[: LINE_MAX // 2]} … {line[-LINE_MAX // 2 :]}"


def _forget_stdout() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _tell(error: click.ClickException) -> int:
    message = error.format_message().rstrip(".")
    if isinstance(error, click.BadParameter) and error.param is not None and error.message:
        name = max(error.param.opts, key=len)
        if isinstance(error.param, click.Argument):
            name = error.param.human_readable_name
        message = f"{name} {error.message.rstrip('.')}"
    else:
        message = message[:1].lower() + message[1:]
    # Choices come a line each.
    print(f"error: {shortened(' '.join(message.split()))}", file=sys.stderr)
    context = getattr(error, "ctx", None)
    if context is not None:
        print(f"See: {context.command_path} --help", file=sys.stderr)
    return error.exit_code
