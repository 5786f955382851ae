"""Style as failing tests: which way imports point, and what no file of the tree may hold.

Reads the tree only; nothing is imported or run.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.scheduling import LONG, WHOLE_FILES

ROOT = Path(__file__).resolve().parents[2]
THIS_FILE = Path(__file__).resolve().relative_to(ROOT).as_posix()

OURS = {
    *("scoreboard", "adapters", "server", "worker", "stack", "harness", "scoreboard_client"),
    *("scoreboard_cli", "loadtests", "benchmarks", "tests"),
}
MAY_IMPORT = {
    "scoreboard": set(),
    "adapters": {"scoreboard"},
    "server": {"scoreboard", "adapters"},
    "worker": {"scoreboard", "adapters"},
    "scoreboard_cli": {"scoreboard"},
    "harness": {"scoreboard", "scoreboard_cli"},
    "scoreboard_client": {"scoreboard", "scoreboard_cli"},
    "stack": {"scoreboard", "adapters", "scoreboard_cli", "server", "worker"},
    "loadtests": {"scoreboard", "harness", "scoreboard_client"},
    "benchmarks": OURS - {"tests"},
}
ROOMS: dict[str, dict[str, set[str]]] = {
    "harness": {
        "capabilities": set(),
        "measure": {"capabilities"},
        "targets": set(),
        "net": {"capabilities", "targets"},
        "engines": {"capabilities", "measure", "targets", "net"},
        "wrong_use": {"measure", "net", "targets"},
        "traffic": {"measure", "net", "targets", "engines"},
        "evidence": {"capabilities", "engines", "measure", "targets", "net"},
        "checker": {"capabilities", "evidence"},
        "report": {"capabilities", "measure", "checker"},
        "judge": {"capabilities", "measure", "engines", "evidence", "checker", "report"},
        "run": {
            *("capabilities", "measure", "targets", "net", "traffic", "engines", "evidence"),
            *("checker", "report"),
            *("judge", "wrong_use"),
        },
        "chaos": {"measure", "net", "engines", "evidence", "checker", "report"},
        "lab": {"net", "evidence", "checker", "report", "chaos"},
        "sessions": {
            *("capabilities", "measure", "net", "engines", "evidence", "checker", "report"),
            "run",
        },
        "trouble": {"net", "measure", "engines", "report"},
        "bench": {"net", "engines", "evidence", "report"},
        "cli": {
            *("measure", "targets", "net", "engines", "evidence", "checker", "report", "run"),
            *("capabilities", "traffic", "wrong_use"),
            *("chaos", "lab", "sessions", "bench", "trouble"),
        },
        # Stable addresses for load test files.
        "locusts": {"run", "traffic"},
        "scenario": {"locusts"},
        "settings": {"measure"},
        "target": {"net"},
        "__main__": {"cli"},
    },
    "server": {
        "backends": set(),
        "auth": set(),
        "settings": {"auth", "backends"},
        "observe": set(),
        "submit": {"auth", "backends", "observe"},
        "board": {"backends", "submit"},
        "review": {"backends", "board", "submit"},
        "stream": {"auth", "backends", "board", "observe", "settings", "submit"},
        "http": {"submit"},
        "availability": {"board"},
        "routes": {
            *("availability", "auth", "backends", "board", "http", "observe", "settings"),
            *("review", "stream", "submit"),
        },
        "life": {"availability", "backends", "stream", "submit"},
        "app": {
            *("auth", "availability", "backends", "board", "http", "life", "observe", "routes"),
            *("settings", "stream", "submit"),
        },
        "run": {"app", "backends", "http", "settings", "submit"},
        "__main__": {"observe", "run", "settings"},
    },
    "worker": {
        "failpoints": set(),
        "metrics": set(),
        "migrations": set(),
        "workflows": set(),
        "probes": set(),
        "settings": {"workflows"},
        "step_watch": {"metrics"},
        "tracing": {"workflows"},
        "database": {"failpoints", "metrics"},
        "board": {"database", "metrics", "workflows"},
        "activities": {"board", "database", "failpoints", "step_watch", "workflows"},
        "recovery": {"database", "workflows"},
        "runtime": {
            *(
                "activities",
                "probes",
                "recovery",
                "board",
                "database",
                "failpoints",
                "metrics",
                "settings",
            ),
            *("step_watch", "tracing", "workflows"),
        },
        "__main__": {
            *("board", "database", "failpoints", "probes", "recovery", "runtime", "settings"),
        },
    },
}
"""Rooms inside the large packages, lowest first: each may import only rooms above its line."""
MODULES_MAX = 13
MAY_BE_CROWDED = {
    "scoreboard": 15,
    "benchmarks/peers": 18,
}
"""Packages with more modules for now."""
CORE_THIRD_PARTY = {"msgspec", "jwt", "http_message_signatures"}
IMPURE = {
    *("asyncio", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "selectors"),
    *("signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request"),
}
IMPURE_CALLS = {"now", "today", "utcnow", "uuid1", "uuid4", "open", "print", "input"}
LINES_MAX = 450
TEST_LINES_MAX = 800
"""Tests are lists: splitting one helps nobody to find a case."""
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
SKIPPING = re.compile(r"\bpytest\.(skip|xfail|importorskip)\b|\bmark\.(skip|skipif|xfail)\b")
MAY_SKIP = ("tests/conftest.py", "tests/support/")
"""Fixtures may skip where a machine lacks a service, which fails in CI."""
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted|deb\.debian\.org|archive\.ubuntu\.com|npmjs|crates\.io"
    r"|registry-1\.docker\.io|ghcr\.io"
)
INSIDE_CONTAINERS = ("compose.yaml", "Dockerfile", "deploy/")
"""Paths in these are those of an image, not of a machine."""
HOMES = re.compile(r"(?<![\w.])/(home/[a-z]|Users/[A-Za-z]|root/)")
BETWEEN_OUR_OWN = {"SCOREBOARD_LOAD_PARENT"}
"""Set by one of our processes for its child, never by a person."""
VARIABLE = re.compile(r"SCOREBOARD_[A-Z0-9_]*[A-Z0-9]\b")


@cache
def tracked() -> tuple[Path, ...]:
    """Files that git would commit: tracked ones, and new ones that are not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules(*packages: str) -> list[Path]:
    return [p for p in tracked() if p.suffix == ".py" and name_of(p).split("/")[0] in packages]


@cache
def text_of(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every absolute name that a module imports, also inside functions, and the line."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.relative_to(ROOT).parts[: -node.level]) if node.level else ""
            base = ".".join(part for part in (package, node.module or "") if part)
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def finds(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{name_of(path)}:{number}: {match[0]}"
        for path in paths
        if name_of(path) != THIS_FILE
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if (match := pattern.search(line))
    ]


def test_the_tree_is_seen() -> None:
    """Else every test below would pass on nothing."""
    assert len(modules("scoreboard")) >= 9
    worker_imports = {name for path in modules("worker") for name, _ in imports(path)}
    assert "scoreboard.domain.Submission" in worker_imports


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_inward(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for path in modules(package)
        for name, line in imports(path)
        if name.split(".")[0] in OURS - allowed
    ]

    assert wrong == []


@pytest.mark.parametrize(("package", "room"), [(p, r) for p in ROOMS for r in ROOMS[p]])
def test_imports_between_rooms_point_down(package: str, room: str) -> None:
    def room_of(dotted: str) -> str:
        return dotted.split(".")[1]

    paths = [
        path
        for path in modules(package)
        if room_of(".".join(path.relative_to(ROOT).with_suffix("").parts)) == room
    ]
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for path in paths
        for name, line in imports(path)
        if name.startswith(f"{package}.") and room_of(name) not in ROOMS[package][room] | {room}
    ]

    assert paths
    assert wrong == []


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_know_only_lower_rooms(package: str) -> None:
    lower: set[str] = set()
    for room, known in ROOMS[package].items():
        assert known <= lower, room
        lower.add(room)


@pytest.mark.parametrize("package", ROOMS)
def test_every_module_stands_in_a_room(package: str) -> None:
    found = {
        part if (part := path.relative_to(ROOT / package).parts[0]) != path.name else path.stem
        for path in modules(package)
    }

    assert found - {"__init__"} == set(ROOMS[package])


def test_packages_list_about_a_dozen_modules() -> None:
    listed = Counter(
        path.parent for path in modules(*OURS - {"tests"}) if path.name != "__init__.py"
    )

    crowded = {
        name_of(p): n for p, n in listed.items() if n > MAY_BE_CROWDED.get(name_of(p), MODULES_MAX)
    }
    assert crowded == {}


def test_the_core_needs_little_and_touches_nothing_outside() -> None:
    allowed = set(sys.stdlib_module_names) | CORE_THIRD_PARTY | {"scoreboard"}
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for path in modules("scoreboard")
        for name, line in imports(path)
        if name.split(".")[0] not in allowed
        or any(name == impure or name.startswith(f"{impure}.") for impure in IMPURE)
    ]

    assert wrong == []


def test_the_core_calls_no_clock_and_no_chance() -> None:
    wrong = []
    for path in modules("scoreboard"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await):
                wrong.append(f"{name_of(path)}:{node.lineno} awaits")
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else ""
                name = called.id if isinstance(called, ast.Name) else name
                if name in IMPURE_CALLS:
                    wrong.append(f"{name_of(path)}:{node.lineno} calls {name}")

    assert wrong == []


def test_the_asynchronous_processes_never_block_on_http_or_sleep() -> None:
    blocking = {"requests", "http.client", "time.sleep"}
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for path in modules("adapters", "server", "worker")
        for name, line in imports(path)
        if any(name == each or name.startswith(f"{each}.") for each in blocking)
    ]
    calls = finds(re.compile(r"\btime\.sleep\("), modules("adapters", "server", "worker"))

    assert wrong + calls == []


def test_every_module_has_a_docstring() -> None:
    silent = [
        name_of(path)
        for path in modules(*OURS)
        if text_of(path).strip() and not ast.get_docstring(tree_of(path))
    ]

    assert silent == []


def test_only_tests_have_empty_packages() -> None:
    empty = [name_of(path) for path in modules(*OURS - {"tests"}) if not text_of(path).strip()]

    assert empty == []


def test_files_stay_small() -> None:
    def limit(name: str) -> int:
        return TEST_LINES_MAX if "tests/" in name else LINES_MAX

    long = [
        f"{name_of(path)}: {lines} lines"
        for path in tracked()
        if path.suffix in {".py", ".lua", ".sql", ".sh", ".js", ".css", ".html"}
        and (lines := len(text_of(path).splitlines())) > limit(name_of(path))
    ]

    assert long == []


def test_no_todo_markers_remain() -> None:
    source = [p for p in tracked() if p.suffix in {".py", ".sh", ".lua", ".sql", ".js", ".toml"}]

    assert finds(UNFINISHED, source) == []


def test_no_test_is_skipped() -> None:
    paths = [p for p in modules("tests") if not name_of(p).startswith(MAY_SKIP)]

    assert finds(SKIPPING, paths) == []


def test_no_file_names_a_package_registry() -> None:
    """Mirrors are a matter of the machine: pip, apt and docker know them."""
    assert finds(REGISTRIES, list(tracked())) == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    patterns = [HOMES.pattern]
    # In a container the checkout may be /app or /src, which the Dockerfile rightly names.
    if len(ROOT.parts) > 2:
        patterns.append(re.escape(f"{ROOT}/"))

    paths = [path for path in tracked() if not name_of(path).startswith(INSIDE_CONTAINERS)]

    assert finds(re.compile("|".join(patterns)), paths) == []


def test_every_variable_of_the_environment_is_described() -> None:
    documents = [p for p in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if p.is_file()]
    described = set(VARIABLE.findall("\n".join(map(text_of, documents))))
    used = {
        variable: name_of(path)
        for path in modules(*OURS - {"tests"})
        for variable in set(VARIABLE.findall(text_of(path))) - BETWEEN_OUR_OWN
    }

    assert used
    if (ROOT / "README.md").is_file():
        assert {v: where for v, where in used.items() if v not in described} == {}


def test_every_folder_with_tests_is_run() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    paths = set(named["tool"]["pytest"]["ini_options"]["testpaths"])

    found = {path.relative_to(ROOT).parts[1] for path in ROOT.glob("tests/*/**/test_*.py")}
    assert {f"tests/{name}" for name in found} <= paths
    if (ROOT / ".ci").is_dir():
        for script in (".ci/run", "scripts/test.sh"):
            assert set(re.findall(r"tests/\w+", (ROOT / script).read_text("utf-8"))) == paths, (
                script
            )


def test_branches_of_all_packages_are_counted() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

    counted = set(named["tool"]["coverage"]["run"]["source"])
    assert counted == OURS - {"loadtests", "benchmarks", "tests"}


def test_files_that_go_to_one_process_exist() -> None:
    assert {name for name in WHOLE_FILES if not (ROOT / name).is_file()} == set()
    assert {name for name in LONG if not (ROOT / name.partition("::")[0]).exists()} == set()


def test_text_files_name_their_encoding() -> None:
    nameless = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules(*OURS - {"tests"})
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("read_text", "write_text")
        and len(node.args) <= (node.func.attr == "write_text")
        and all(word.arg != "encoding" for word in node.keywords)
    ]

    # Otherwise they are in the encoding of whoever runs them.
    assert nameless == []
