"""Makes the screenshots of docs/images anew: `python -m tests.support.screenshots`."""

import tempfile
import time
from pathlib import Path

from harness.report.document import LoadResult
from harness.report.load_page import html_report
from harness.report.result_files import read_result_as
from tests.support.board_site import BoardSite, board_site
from tests.support.browser import DESKTOP, PHONE, Browser, open_browser
from tests.support.page_states import (
    RESULTS,
    State,
    board_live,
    board_offline,
    docs_tried,
    figures,
    operator_cases,
)

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def operator_busy(browser: Browser, site: BoardSite, folder: Path) -> None:
    """Ten seconds of work, and cases to decide."""
    accepted = 4_000
    site.stats = figures(accepted)
    operator_cases(browser, site, folder)
    for turn in range(10):
        accepted += 180 + 40 * (turn % 3)
        site.stats = figures(accepted)
        time.sleep(1)


SHOTS: dict[str, tuple[State, tuple[int, int], str]] = {
    "board-desktop-light": (board_live, DESKTOP, "light"),
    "board-desktop-dark": (board_live, DESKTOP, "dark"),
    "board-phone-light": (board_live, PHONE, "light"),
    "board-phone-dark": (board_live, PHONE, "dark"),
    "board-stale-dark": (board_offline, DESKTOP, "dark"),
    "operator-desktop-light": (operator_busy, DESKTOP, "light"),
    "operator-desktop-dark": (operator_busy, DESKTOP, "dark"),
    "operator-phone-dark": (operator_busy, PHONE, "dark"),
    "docs-desktop-light": (docs_tried, DESKTOP, "light"),
}


def main() -> None:
    """Every picture, written over the one before."""
    with tempfile.TemporaryDirectory() as name, open_browser(Path(name)) as browser:
        for shot, (state, size, scheme) in SHOTS.items():
            with board_site() as site:
                browser.resize(size)
                browser.prefer(prefers_color_scheme=scheme)
                state(browser, site, Path(name))
                time.sleep(1)
                browser.driver.save_screenshot(str(IMAGES / f"{shot}.png"))
                browser.open("about:blank")
        report = Path(name) / "report.html"
        document = read_result_as(RESULTS / "load.json", LoadResult)
        report.write_text(html_report(document), "utf-8")
        browser.resize((DESKTOP[0], 1400))
        browser.prefer(prefers_color_scheme="light")
        browser.open(report.as_uri())
        browser.driver.save_screenshot(str(IMAGES / "load-report.png"))


if __name__ == "__main__":
    main()
