"""The page about load testing names every figure, format and profile that there is."""

import re
from pathlib import Path

import pytest

from harness.measure.figures import DURATION_NAMES, RATES, SHARES
from harness.measure.schedule import parse_profile
from harness.measure.settings import OPTIONS
from harness.measure.slo import load_slo
from harness.report.export import FORMATS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/load-testing.md").read_text()


@pytest.mark.parametrize("name", [*DURATION_NAMES, *SHARES, *RATES, *FORMATS])
def test_page_names_each_figure_and_format(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_every_limit_on_the_page_is_read() -> None:
    texts = re.findall(r"(?:SLO=|--slo )('?)([a-z][^\s'`]*)\1", PAGE)
    limits = [limit for _, text in texts if "…" not in text for limit in load_slo(text)]

    assert len(limits) >= 10


def test_toml_on_the_page_is_read(tmp_path: Path) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "slo.toml"
    path.write_text(block)

    assert len(load_slo(f"@{path}")) == 4


def test_profiles_on_the_page_are_read() -> None:
    table = PAGE.split("| profile")[1].split("\n\n")[0]
    profiles = re.findall(r"`([^`=-][^`=]*)`", "\n".join(table.splitlines()[1:]))

    assert len(profiles) == 6
    for profile in profiles:
        parse_profile(profile)


def test_every_option_on_the_page_exists() -> None:
    known = {option.flag for option in OPTIONS}
    # Those of commands, of Locust and of other tools.
    known |= {"--help", "--host", "--json", "--export", "--format", "--slo", "--locustfile"}
    known |= {"--headless", "--master", "--master-host", "--worker", "--workers", "--users"}
    known |= {
        "--expect-workers",
        "--no-ceiling",
        "--result-file",
        "--web-host",
        "--rounds",
        "--html",
    }
    known |= {"--benchmark-json", "--collector", "--group-by"}

    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= known
