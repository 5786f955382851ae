"""One `harness load` from start to end: stack, users, Locust master and workers, summary.

Not the run itself, which `harness.run.coordinator` leads the same way under Locust's
own command line.
"""

import locust  # isort: skip  # patches the process for gevent, so it comes first

import contextlib
import logging
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import gevent
from locust.argument_parser import get_parser
from locust.env import Environment
from locust.util.load_locustfile import load_locustfile

from harness.measure.settings import RunSettings
from harness.net.target import Target, TargetError, find_target
from harness.report.document import LoadResult
from harness.report.result_files import read_result_as
from harness.report.summary import print_summary
from harness.run.coordinator import IDLE, Coordinator
from harness.run.live import LiveView
from harness.run.locust_setup import strangers_among
from harness.run.locust_users import EngineUser
from harness.sessions.ceiling import known_ceiling
from harness.sessions.load_processes import STOP_S, LoadProcess, forked, release_signals, stop
from harness.sessions.managed_stack import own_stack
from scoreboard_cli.group import COULD_NOT_TELL, refuse

log = logging.getLogger(__name__)
WORKER_TIMEOUT_S = 60.0


@dataclass(kw_only=True)
class Session:
    """What the command line asked for."""

    settings: RunSettings
    host: str | None
    workers: int
    locustfile: Path
    seed_users: bool
    ceiling: bool
    environ: dict[str, str]
    folder: Path
    result_file: Path | None = None
    summary_to: TextIO = sys.stdout
    quiet: bool = False
    document: LoadResult | None = None
    """The result, when the run has one."""
    _ending: Coordinator | None = None

    def run(self) -> int:
        """Run it; the exit code. Ctrl-C ends the run early but still judges it."""
        # SIGTERM ends a run as Ctrl-C does: what was started here is stopped again. Python's
        # own handler would raise in whichever greenlet runs just then, and end only that.
        here = gevent.getcurrent()
        with forked(2 * self.workers, self.locustfile, self.folder) as workers:
            for number in (signal.SIGINT, signal.SIGTERM):
                gevent.signal_handler(number, self._interrupt, here)
            release_signals()
            return self._run(workers)

    def _run(self, workers: list[LoadProcess]) -> int:
        logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
        # Before anything starts: a scenario that cannot run is wrong use.
        environment = self._environment()
        try:
            with contextlib.ExitStack() as stack:
                target = self._find()
                if target is None:
                    target = stack.enter_context(
                        own_stack(self._find, folder=self.folder, say=self._say, sleep=gevent.sleep)
                    )
                return self._measure(environment, target, workers)
        except (TargetError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return COULD_NOT_TELL
        except KeyboardInterrupt:
            print("stopped before the run began: nothing was measured", file=sys.stderr)
            return COULD_NOT_TELL

    def _interrupt(self, here: Any) -> None:
        """The first Ctrl-C ends the run early, a second one also the waiting for its end."""
        if self._ending is None:
            gevent.kill(here, KeyboardInterrupt)
        else:
            self._say("judging what is there already")
            self._ending.hurry()

    def _find(self) -> Target | None:
        return find_target(
            host=self.host,
            mysql_url=self.settings.mysql_url,
            environ=self.environ,
            folder=self.folder,
            target_file=self.settings.target,
        )

    # The run

    def _measure(self, environment: Environment, target: Target, workers: list[LoadProcess]) -> int:
        environment.scoreboard_session = True
        runner = environment.create_master_runner(master_bind_host="127.0.0.1", master_bind_port=0)
        environment.events.init.fire(environment=environment, runner=runner, web_ui=None)
        coordinator: Coordinator = environment.scoreboard
        coordinator.target = target
        coordinator.settings = self.settings
        coordinator.say = self._say
        coordinator.result_file = self.result_file
        coordinator.adds_users = self.seed_users
        if self.ceiling:
            coordinator.ceiling = known_ceiling(Path(self.settings.results))
        for worker in workers:
            worker.start(runner.server.port)
        view = LiveView(coordinator, sys.stderr)
        try:
            self._await_workers(runner, workers)
            runner.start(2 * self.workers, spawn_rate=100)
            interrupted = False
            while not coordinator.finished.wait(timeout=0.25):
                view.draw()
                if any(worker.ended for worker in workers) and not interrupted:
                    interrupted = True
                    coordinator.fleet.notes.append("a load process died")
        except KeyboardInterrupt:
            if coordinator.phase == IDLE:
                # The load processes are still starting: there is no run that could end.
                raise
            self._ending = coordinator
            self._say("ending the run early; what was sent is still judged")
            coordinator.end_early()
            while not coordinator.finished.wait(timeout=0.25):
                view.draw()
        finally:
            view.clear()
            runner.quit()
            # One that has not begun has nothing to end well.
            stop(workers, 0 if coordinator.phase == IDLE else STOP_S)
        if coordinator.problem:
            print(f"error: {coordinator.problem}", file=sys.stderr)
        if coordinator.judgement is None or coordinator.result_path is None:
            if coordinator.result_path is not None:
                self._say(f"what was measured is in {_shown(coordinator.result_path, self.folder)}")
            return COULD_NOT_TELL
        self.document = read_result_as(coordinator.result_path, LoadResult)
        shown = _shown(coordinator.result_path, self.folder)
        # Whoever reads the output may leave (`| head`); the verdict stands.
        with contextlib.suppress(BrokenPipeError):
            print_summary(self.document, self.summary_to, shown)
        return coordinator.exit_code()

    def _environment(self) -> Environment:
        parser = get_parser()
        options = parser.parse_args([])
        # Would end Locust before the verdict is shown.
        options.headless = False
        for name, value in asdict(self.settings).items():
            setattr(options, f"scoreboard_{name}", value)
        users: dict[str, Any] = {}
        for path in _scenarios(self.locustfile):
            classes, _ = load_locustfile(str(path))
            users.update(classes)
        if not any(issubclass(user, EngineUser) for user in users.values()):
            refuse(
                f"--locustfile: {self.locustfile} has no class that submits or listens: derive one "
                "from OpenLoopSubmitters or ListenerPool of harness.locusts"
            )
        if strangers := strangers_among(users.values()):
            refuse(f"--locustfile: {strangers}")
        return Environment(
            user_classes=list(users.values()),
            events=locust.events,
            host=self.host,
            parsed_options=options,
        )

    def _await_workers(self, runner: Any, workers: list[LoadProcess]) -> None:
        end = time.monotonic() + WORKER_TIMEOUT_S
        while len(runner.clients.ready) < len(workers):
            if any(worker.ended for worker in workers):
                raise TargetError("a load process did not start; its own words are above")
            if time.monotonic() > end:
                raise TargetError("the load processes did not become ready")
            gevent.sleep(0.05)

    def _say(self, text: str) -> None:
        # A log on a full disk costs the words, not the run.
        with contextlib.suppress(OSError):
            if not self.quiet:
                print(text, file=sys.stderr, flush=True)


def _scenarios(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.glob("**/*.py") if not p.name.startswith("_"))
    return [path]


def _shown(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
