"""One browser for all tests of pages; each test has a board of its own."""

from collections.abc import Iterator

import pytest

from tests.support.board_site import BoardSite, board_site
from tests.support.browser import DESKTOP, Browser, open_browser


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    """A desktop window with the system's defaults and nothing remembered."""
    window.resize(DESKTOP)
    window.prefer()
    window.console()
    yield window
    window.open("about:blank")


@pytest.fixture
def empty_site() -> Iterator[BoardSite]:
    with board_site() as running:
        yield running


@pytest.fixture
def site(empty_site: BoardSite) -> BoardSite:
    """A board of twelve: P01 with 1200 points down to P12 with 100."""
    empty_site.put({f"P{place:02d}": 1300 - 100 * place for place in range(1, 13)})
    return empty_site
