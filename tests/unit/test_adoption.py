"""What an adopter looks for first: licence, one version, links that lead somewhere, workflows.

Reads the tree only. That the client's distribution installs and runs is
tests/integration/test_client_distribution.py.
"""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from scoreboard import __version__
from server.routes.openapi import document

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients/python"
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
IMPORTED = re.compile(r"^ *(?:from|import) (\w+)", re.MULTILINE)
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(ROOT / "clients").rglob("*.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def project(folder: Path) -> dict[str, Any]:
    return dict(tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"])


@pytest.mark.parametrize("folder", [ROOT, CLIENT], ids=["application", "client"])
def test_metadata_names_licence_authors_and_addresses(folder: Path) -> None:
    metadata = project(folder)

    assert metadata["license"] == "Apache-2.0"
    assert [(folder / name).is_file() for name in metadata["license-files"]] == [True]
    assert metadata["authors"] == [{"name": "Scoreboard contributors"}]
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= metadata["urls"].keys()
    assert metadata["keywords"]
    assert metadata["classifiers"] == sorted(metadata["classifiers"])


def test_the_licence_is_the_whole_apache_licence() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")

    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_openapi_states_the_version_and_licence_of_the_package() -> None:
    info = document()["info"]

    assert info["version"] == __version__
    assert info["license"] == {"name": "Apache License 2.0", "identifier": "Apache-2.0"}


def test_the_version_is_written_once() -> None:
    for folder in (ROOT, CLIENT):
        assert project(folder)["dynamic"] == ["version"]
    tags = {
        tag
        for path in (ROOT / "deploy").rglob("kustomization.yaml")
        for tag in re.findall(r"newTag: (\S+)", path.read_text("utf-8"))
    }
    assert tags == {__version__.partition(".dev")[0]}, "images carry the version, too"
    assert f"## {__version__.partition('.dev')[0]}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_application_is_installed_with_all_of_its_packages() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    named = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = named["tool"]["setuptools"]["packages"]["find"]["include"]

    # These run from the checkout.
    missing = {name for name in found if not any(fnmatch(name, each) for each in patterns)}
    assert missing <= {"benchmarks", "loadtests", "tests"}


def test_every_package_says_that_it_is_typed() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = named["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = [path.parent for path in ROOT.glob("*/__init__.py")]

    untyped = [each.name for each in packages if not (each / "py.typed").is_file()]
    assert [name for name in untyped if any(fnmatch(name, each) for each in patterns)] == []


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/Dockerfile.locust"])
def test_images_hold_every_package_that_theirs_import(name: str) -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / name).read_text("utf-8"), re.MULTILINE))
    sources = (path for package in copied for path in (ROOT / package).rglob("*.py"))
    imported = {name for path in sources for name in IMPORTED.findall(path.read_text("utf-8"))}

    assert "scoreboard" in copied
    assert {each for each in imported if (ROOT / each / "__init__.py").is_file()} <= copied


def test_the_client_depends_on_ranges_that_hold_the_tested_versions() -> None:
    pins = dict(
        line.lower().split("==")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
    for line in project(CLIENT)["dependencies"]:
        requirement = Requirement(line)
        operators = {each.operator for each in requirement.specifier}
        assert operators == {">=", "<"}, line
        assert pins[requirement.name] in requirement.specifier, line


def test_the_package_page_of_the_client_has_no_relative_link() -> None:
    links = LINK.findall((CLIENT / "README.md").read_text("utf-8"))

    assert links
    assert [link for link in links if not link.startswith("https://")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files_of_the_tree(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    broken = [
        link
        for link in LINK.findall(text)
        if not link.startswith(("http://", "https://", "#", "mailto:"))
        and not (page.parent / link.partition("#")[0]).exists()
    ]

    assert broken == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_only_tracked_scripts(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    # YAML 1.1 reads the key `on` as a boolean.
    assert workflow[True]
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    scripts = [
        found
        for step in steps
        for found in re.findall(r"\.ci/\w+|scripts/[\w.]+", step.get("run", ""))
    ]

    assert scripts
    assert [name for name in scripts if not (ROOT / name).is_file()] == []
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())


def test_the_example_gate_calls_commands_with_options_that_exist() -> None:
    jobs = yaml.safe_load((ROOT / "docs/examples/gate.yml").read_text("utf-8"))["jobs"]
    runs = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    options = set(re.findall(r"\s(--[a-z-]+)", " ".join(r for r in runs if "bin/scoreboard " in r)))
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "harness").rglob("*.py"))

    assert options >= {"--host", "--slo", "--base"}
    assert [option for option in options if f'"{option}"' not in sources] == []


def test_configuration_of_tools_for_contributors_parses() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))

    # Hooks from elsewhere would be fetched, at versions that are not ours.
    assert {repository["repo"] for repository in hooks} == {"local"}
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks[0]["hooks"])
    assert container["postCreateCommand"] == "make setup"
    for form in (ROOT / ".github").glob("ISSUE_TEMPLATE/*.yml"):
        assert yaml.safe_load(form.read_text("utf-8"))
