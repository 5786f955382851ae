"""The operator's page in a real browser, on figures that the test makes up."""

from typing import Any

import pytest

from tests.browser.test_board_page import CONTRASTS
from tests.support.board_site import BoardSite
from tests.support.browser import DESKTOP, PHONE, Browser, texts
from tests.support.eventually import eventually_sync

BOUNDS = [0.001, 0.01, 0.1]


def figures(
    accepted: int = 0, *, instance: str = "api:1:1764000000", **changes: Any
) -> dict[str, Any]:
    """What /admin/stats answers after `accepted` submissions."""
    timed = {"bounds": BOUNDS, "counts": [0, accepted, 0, 0], "total": 1.0}
    gauges = {
        "queue": 40,
        "queueMax": 50,
        "batchesUnfinished": 2,
        "batchesUnfinishedMax": 16,
        "listeners": 7,
        "listenersMax": 100,
        "listenersLagging": 1,
        "hubSeq": 90,
        "boardSeq": 93,
    }
    return {
        "instance": instance,
        "uptimeS": 60.0,
        "draining": False,
        "services": {"mysql": True, "redis": True, "temporal": changes.get("temporal", True)},
        "counters": {
            "submissions": {
                "accepted": accepted,
                "replayed": 3,
                "rate_limited": 0,
                "key_reused": 0,
                "overloaded": 0,
                "unavailable": 0,
            },
            "batchesStarted": accepted // 10,
            "ticks": 5,
            "streamBytes": 1000,
            "deliveries": accepted * 7,
            "resets": 2,
            "listenersOpened": 9,
            "listenersCut": 0,
        },
        "gauges": gauges | changes.get("gauges", {}),
        "histograms": {
            "batchSize": {"bounds": [1, 10, 100], "counts": [0, accepted, 0, 0], "total": 1},
            "admissionSeconds": timed,
            "startSeconds": timed,
            "commitToWriteSeconds": timed,
        },
    }


def text(browser: Browser, selector: str) -> str:
    return browser.find(selector).text


def opened(browser: Browser, site: BoardSite) -> None:
    site.stats = figures()
    browser.open(site.url + "/operator")
    eventually_sync(lambda: text(browser, "#pill") == "Live")


def test_operator_page_shows_current_state(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)

    assert text(browser, "#lag") == "3"
    assert text(browser, "#queue") == "40"
    assert text(browser, "#queue-more") == "of 50 places"
    assert text(browser, "#listeners-more") == "of 100 streams · 1 lagging · 2 resets"
    assert browser.find("#queue-meter").get_attribute("value") == "40"
    assert "This is api:1, up" in text(browser, "#instance")
    assert texts(browser.find_all("#services .pill")) == ["mysql", "redis", "temporal"]


def test_counters_become_rates_and_buckets_quantiles(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    seen: set[str] = set()

    def rises() -> bool:
        assert site.stats is not None
        site.stats = figures(site.stats["counters"]["submissions"]["accepted"] + 50)
        seen.add(text(browser, "#accepted"))
        return len(seen) > 2

    eventually_sync(rises, interval_s=0.3)

    assert text(browser, "#times tr:nth-child(2)") == "Admission 5.5 ms 9.9 ms"
    assert text(browser, "#outcomes tr:nth-child(2)").startswith("repeated, same answer 0 3")


def test_another_process_starts_its_own_figures(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    site.stats = figures(1_000_000)
    eventually_sync(lambda: text(browser, "#accepted") not in {"0", "–"})

    site.stats = figures(5, instance="api:2:1764000001")

    eventually_sync(lambda: "api:2" in text(browser, "#instance"))
    assert text(browser, "#accepted") == "0"


def test_an_unreadable_board_and_a_service_away_are_said(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)

    site.stats = figures(temporal=False, gauges={"boardSeq": None})

    eventually_sync(lambda: text(browser, "#lag") == "unknown")
    assert texts(browser.find_all("#services .pill"))[2] == "temporal unavailable"


def test_old_figures_are_marked_until_the_server_is_back(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    site.stats = None

    banner = browser.find("#banner")
    eventually_sync(banner.is_displayed)
    assert "out of date" in banner.text
    assert text(browser, "#pill") == "Reconnecting"

    site.stats = figures()
    eventually_sync(lambda: not banner.is_displayed())


def test_locked_figures_open_with_a_token_that_stays_in_the_tab(
    browser: Browser, site: BoardSite
) -> None:
    site.stats, site.stats_token = figures(), "sesame"
    browser.open(site.url + "/operator")
    eventually_sync(lambda: text(browser, "#pill") == "Locked")
    assert not browser.find("#figures").is_displayed()

    browser.find("#token").send_keys("wrong")
    browser.find("#token-form button").click()
    eventually_sync(lambda: "may not see" in text(browser, "#banner"))
    browser.find("#token").send_keys("sesame")
    browser.find("#token-form button").click()
    eventually_sync(lambda: text(browser, "#pill") == "Live")
    assert not browser.find("#token-form").is_displayed()

    browser.open(site.url + "/operator")
    eventually_sync(lambda: text(browser, "#pill") == "Live")
    stored = browser.run("return [localStorage.length, document.cookie, location.href]")
    assert stored == [0, "", site.url + "/operator"]
    browser.run("sessionStorage.clear()")


@pytest.mark.parametrize("size", [DESKTOP, PHONE, (320, 640)])
def test_nothing_needs_scrolling_sideways(
    browser: Browser, site: BoardSite, size: tuple[int, int]
) -> None:
    browser.resize(size)
    opened(browser, site)
    site.stats = figures(9_999_999, gauges={"hubSeq": 9_007_199_254_740_000})
    eventually_sync(lambda: "9,007" in text(browser, "#lag-more"))

    assert browser.run("return document.documentElement.scrollWidth") == size[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_background(
    browser: Browser, site: BoardSite, scheme: str
) -> None:
    browser.prefer(prefers_color_scheme=scheme)
    opened(browser, site)
    browser.find("#unlock").click()

    found = browser.run(CONTRASTS)

    assert isinstance(found, dict)
    assert found["seen"] > 40
    assert found["low"] == []


def test_nothing_breaks_the_content_security_policy(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)

    assert browser.console() == []
