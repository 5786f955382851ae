"""`scoreboard load`: the whole measurement in one command, with a verdict.

Options, and what can be refused before anything starts; `harness.sessions.load_session` is the
session itself.
"""

import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import click

import harness
from harness.cli.export import Export, parse_export, write_exports
from harness.measure.settings import OPTIONS, RunSettings, settings_from
from harness.measure.slo import joined
from harness.wrong_use import (
    HOST,
    check_run,
    described,
    descriptors,
    processes_that_fit,
    reachable,
    warn_if_insecure,
    writable_file,
)
from scoreboard_cli.group import COULD_NOT_TELL, CommandError, command, given, refuse
from scoreboard_cli.types import FILE, Place, parsed, whole

LOADTESTS = Path("loadtests")
SCENARIO = Path(harness.__file__).with_name("scenario.py")


def run_options(
    function: Callable[..., int], *, without: Container[str] = (), many: Container[str] = ()
) -> Any:
    """Adds the options of a run, which Locust's own command line has as well.

    Their values stay text until `settings_from`, which names all faults at once.
    """
    for option in reversed([option for option in OPTIONS if option.name not in without]):
        kind: dict[str, Any] = {"metavar": option.metavar}
        if isinstance(option.default, bool):
            kind = {"is_flag": True}
        alias = ("--users",) if option.flag == "--players" else ()
        kind["default"] = option.default
        if option.name == "slo":
            # Given again it adds limits; for every other option the last value counts.
            kind |= {"multiple": True, "default": (), "callback": _joined}
        if option.name in many:
            kind |= {"multiple": True, "default": ()}
        function = click.option(option.flag, *alias, option.name, help=option.help, **kind)(
            function
        )
    return function


def session_options(function: Callable[..., int]) -> Any:
    """Adds the options of a load command that Locust's own command line has not, or as its own."""
    for option in reversed(
        (
            click.option(
                "--host",
                type=HOST,
                help="Any server with the same API, or with --target; default: the running stack.",
            ),
            click.option(
                "--workers", type=whole(least=1), default=1, help="Processes per kind of user (1)."
            ),
            click.option(
                "--locustfile",
                type=Place(exists=True, path_type=Path),
                callback=_scenario,
                metavar="PATH",
                help="Scenario: a file or a folder (loadtests, where there is one).",
            ),
            click.option("--no-seed", is_flag=True, help="The users exist already."),
        )
    ):
        function = option(function)
    return function


def _scenario(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    del ctx, param
    if path is not None and path.is_dir() and not any(path.rglob("*.py")):
        refuse(f"--locustfile: {path} holds no Python file")
    if path is not None and path.is_file() and path.suffix != ".py":
        refuse(f"--locustfile: {path} is no Python file")
    return path


def _joined(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> str:
    del ctx, param
    try:
        return joined(values)
    except ValueError as error:
        refuse("\n".join(f"--slo: {line}" for line in str(error).splitlines()))


@command("load")
@session_options
@click.option("--no-ceiling", is_flag=True, help="Do not measure the generator's own ceiling.")
@click.option(
    "--result-file",
    type=FILE,
    help="Write the result to this file (default: a new one in --results).",
)
@click.option(
    "--export",
    "exports",
    type=parsed("FORMAT:FILE", parse_export),
    multiple=True,
    help="Also write the result in this form, as junit:load.xml; FILE - is stdout, and the summary "
    "goes to stderr then (`scoreboard export --help` lists the forms).",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --export json:-.")
@click.option(
    "--rounds",
    type=whole(least=1),
    default=2,
    help="Runs of each --target, in turn, where there are several (2).",
)
@partial(run_options, many=("target",))
def load(
    host: str | None,
    workers: int,
    locustfile: Path | None,
    no_seed: bool,
    no_ceiling: bool,
    result_file: Path | None,
    exports: tuple[Export, ...],
    as_json: bool,
    rounds: int,
    **options: Any,
) -> int:
    """Load a server with submissions and listeners, and judge it.

    Finds the running stack (or starts one and stops it afterwards), adds users, sends submissions
    at the rate asked for whatever the server does, listens, checks that every acknowledged
    submission was applied exactly once and reached every listener, and writes one result file.

    Several --target are loaded in turn, --rounds times each, and stand side by side in one report.

    Exit codes: 0 valid, correct and within the limits; 1 a promise or, in a valid run, a limit is
    broken; 2 wrong use; 3 could not tell.
    """
    try:
        asked = settings_of(options)
        processes_that_fit(workers, os.cpu_count() or 1)
    except ValueError as error:
        refuse(str(error))
    several = len(options["target"]) > 1
    if as_json:
        exports += (Export(form="json", path=None),)
    _check(several, result_file, exports)
    settings = check_run(asked, workers=workers)
    if settings.connections < asked.connections:
        allowed = f"all that {descriptors():,} file descriptors allow"
        print(f"--connections {settings.connections}: {allowed}", file=sys.stderr)
    drop_locust_variables(os.environ)
    if several:
        from harness.cli.target.side_by_side import load_in_turn

        own = {"workers": workers, "locustfile": locustfile, "no_seed": no_seed}
        words = [*given_words({**options, **own}, without=("target", "results", "label"))]
        return load_in_turn(
            options["target"],
            options=[*words, *(["--no-ceiling"] if no_ceiling else [])],
            rounds=rounds,
            results=Path(settings.results),
            host=host,
        )
    scenario = locustfile or (LOADTESTS if LOADTESTS.is_dir() else SCENARIO)
    server = described(settings.target, host)
    warn_if_insecure(server)
    if server is not None or host is not None:
        reachable(server.address.url if server else str(host))
    # Importing Locust patches the whole process for gevent, so only this command does it.
    from harness.sessions.load_session import Session

    session = Session(
        settings=settings,
        host=host,
        workers=workers,
        locustfile=scenario,
        seed_users=not no_seed,
        ceiling=not no_ceiling,
        environ=dict(os.environ),
        folder=Path.cwd(),
        result_file=result_file,
        summary_to=sys.stderr if any(path is None for _, path in exports) else sys.stdout,
    )
    code = session.run()
    if session.document is None:
        return code
    try:
        write_exports(exports, session.document)
    except OSError as error:
        # The verdict stands; that somebody lacks it must not look like a good run.
        message = f"--export: {error.filename}: {error.strerror}"
        raise CommandError(message, code or COULD_NOT_TELL) from None
    return code


def _check(several: bool, result_file: Path | None, exports: tuple[Export, ...]) -> None:
    """Refuses outputs that cannot be written, or that one target or several do not have."""
    if several and (exports or result_file):
        refuse(
            "several --target make one report of their own: leave out --json, --export and "
            "--result-file"
        )
    if given("--rounds") and not several:
        refuse("--rounds has a meaning only with several --target")
    for flag, file in outputs_of(result_file, exports):
        if file is not None:
            writable_file(flag, file)


def outputs_of(
    result_file: Path | None, exports: Iterable[Export]
) -> list[tuple[str, Path | None]]:
    """The options that name outputs, and their files; None is stdout. Two in one are wrong use."""
    outputs: list[tuple[str, Path | None]] = [("--export", export.path) for export in exports]
    if result_file is not None:
        report = ("the report of --result-file", result_file.with_suffix(".html"))
        outputs += [("--result-file", result_file), report]
    taken: dict[Path | None, str] = {}
    for flag, file in outputs:
        place = file.resolve() if file else None
        if place in taken:
            refuse(f"{taken[place]} and {flag} would both be written to {file or 'stdout'}")
        taken[place] = flag
    return outputs


def settings_of(options: dict[str, Any]) -> RunSettings:
    """The run that the options ask for. Raises BadSettings with every fault."""
    options = {**options, "target": next(iter(options["target"]), "")}
    return settings_from({f"scoreboard_{option.name}": options[option.name] for option in OPTIONS})


def given_words(options: Mapping[str, Any], *, without: Container[str] = ()) -> Iterator[str]:
    """The command line of options that are not at their defaults."""
    for option in OPTIONS:
        value = options.get(option.name)
        if option.name in without or value in (None, option.default):
            continue
        yield from (option.flag,) if value is True else (option.flag, str(value))
    if options["workers"] != 1:
        yield from ("--workers", str(options["workers"]))
    if options["locustfile"] is not None:
        yield from ("--locustfile", str(options["locustfile"]))
    if options["no_seed"]:
        yield "--no-seed"


def drop_locust_variables(environ: MutableMapping[str, str]) -> None:
    """Removes LOCUST_* variables, which are for Locust's own command, and says so."""
    dropped = sorted(name for name in environ if name.startswith("LOCUST_"))
    for name in dropped:
        del environ[name]
    if dropped:
        print(
            f"ignored: {', '.join(dropped)} (only the command locust reads these)", file=sys.stderr
        )
