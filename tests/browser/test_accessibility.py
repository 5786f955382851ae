"""axe-core finds nothing wrong on any page: each state, light and dark, on a desk and a phone."""

from pathlib import Path

import pytest

from tests.support.axe import axe_source, violations
from tests.support.board_site import BoardSite
from tests.support.browser import DESKTOP, PHONE, Browser
from tests.support.page_states import STATES, State


@pytest.mark.parametrize("path", ["/", "/operator"])
def test_page_without_javascript_says_so_and_waits_for_nothing(
    browser: Browser, empty_site: BoardSite, path: str
) -> None:
    browser.allow_scripts(False)
    try:
        browser.open(empty_site.url + path)
        told = [text for role, text in browser.accessibility_tree() if role == "StaticText"]
    finally:
        browser.allow_scripts(True)

    assert any("needs JavaScript" in text for text in told)
    assert not {"Connecting", "Waiting for the board…", "Waiting for the metrics…"} & set(told)


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe_source(tmp_path_factory.mktemp("axe"))


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_page_has_no_accessibility_violation_and_fits_its_window(
    browser: Browser, empty_site: BoardSite, axe: str, tmp_path: Path, state: State
) -> None:
    browser.prefer(prefers_reduced_motion="reduce")
    state(browser, empty_site, tmp_path)

    found = []
    for scheme in ("light", "dark"):
        browser.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        for size in (DESKTOP, PHONE):
            browser.resize(size)
            found += [f"{scheme} {size}: {line}" for line in violations(browser, axe)]
            if int(str(browser.run("return document.documentElement.scrollWidth"))) > size[0]:
                found.append(f"{scheme} {size}: the page scrolls sideways")

    assert not found, "\n".join(found)
