"""The operator's page in a real browser, on figures that the test makes up."""

import re
from functools import partial
from typing import Any

import pytest
from selenium.webdriver import ActionChains

from tests.browser.test_board_page import CONTRASTS
from tests.support.board_site import BoardSite
from tests.support.browser import DESKTOP, PHONE, Browser, texts
from tests.support.eventually import eventually_sync
from tests.support.page_states import figures


def text(browser: Browser, selector: str) -> str:
    return browser.find(selector).text


def shows(browser: Browser, selector: str, words: str) -> bool:
    return text(browser, selector) == words


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
    assert "API process 1f, up for" in text(browser, "#instance")
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


def test_chart_shows_the_value_under_the_pointer(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    site.stats = figures(50)
    eventually_sync(lambda: text(browser, "#accepted") not in {"0", "–"})

    chart = browser.find("#accepted-line")
    right = chart.size["width"] // 2 - 1
    ActionChains(browser.driver).move_to_element_with_offset(chart, right, 0).perform()
    value = browser.find("#accepted-line + .spark-value")
    assert re.fullmatch(r"[\d.,]+ · (now|1 s ago)", value.text)
    ActionChains(browser.driver).move_to_element_with_offset(chart, -right, 0).perform()
    assert value.text == "0 · 59 s ago"
    ActionChains(browser.driver).move_to_element(browser.find("h1")).perform()
    assert not value.is_displayed()


def test_a_wrong_token_and_one_without_the_scope_are_told_apart(
    browser: Browser, site: BoardSite
) -> None:
    opened(browser, site)
    for status, words in (
        (401, "The server did not accept this token: it is wrong or has expired."),
        (403, "This token cannot review: it needs the scope scores:review."),
    ):
        site.cases_status = status
        browser.run("sessionStorage.setItem('scoreboard-operator-token', 'x')")
        browser.open(site.url + "/operator")
        eventually_sync(partial(shows, browser, "#cases-note", words))
    browser.run("sessionStorage.clear()")


def test_another_process_starts_its_own_figures(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    site.stats = figures(1_000_000)
    eventually_sync(lambda: text(browser, "#accepted") not in {"0", "–"})

    site.stats = figures(5, instance="2e")

    eventually_sync(lambda: "process 2e" in text(browser, "#instance"))
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
    eventually_sync(lambda: "did not accept this token" in text(browser, "#token-form"))
    assert not browser.find("#banner").is_displayed()
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


def held_cases(*counts: tuple[str, int]) -> list[dict[str, Any]]:
    """Open cases of each player, in turns of one player after the other."""
    return [
        {
            "submissionId": f"{player:08x}-0000-4000-8000-{number:012x}",
            "userId": player,
            "user": user,
            "increment": 1000 * player + number,
            "reasons": ["large_increment"] if number % 2 else ["unlike_history"],
            "openedAtUs": 1_795_800_000_000_000,
        }
        for player, (user, count) in enumerate(counts, start=1)
        for number in range(count)
    ]


def reviewing(browser: Browser, site: BoardSite) -> None:
    site.stats = figures()
    browser.open(site.url + "/operator")
    browser.run("sessionStorage.setItem('scoreboard-operator-token', 'reviewer')")
    opened(browser, site)


def test_a_flood_of_cases_of_one_player_is_paged_filtered_and_ended_together(
    browser: Browser, site: BoardSite
) -> None:
    site.cases = held_cases(("Mallory", 45), ("Alice", 3))

    def players() -> list[str]:
        return texts(browser.find_all("#cases th"))

    reviewing(browser, site)
    eventually_sync(lambda: players() == ["Mallory"] * 20)
    assert texts(browser.find_all("#cases-users button")) == ["Mallory: 45", "Alice: 3"]
    for _ in range(2):
        browser.find("#cases-next").click()
    eventually_sync(lambda: players() == ["Mallory"] * 5 + ["Alice"] * 3)
    assert not browser.find("#cases-next").is_enabled()
    browser.find("#cases-users button:nth-child(2)").click()
    eventually_sync(lambda: players() == ["Alice"] * 3)
    browser.find("#cases-rule option[value=large_increment]").click()
    eventually_sync(lambda: players() == ["Alice"])
    browser.find("#cases-users button:nth-child(1)").click()
    browser.find("#cases-rule option[value='']").click()
    eventually_sync(lambda: players() == ["Mallory"] * 20)

    browser.find("#cases-all").click()
    assert browser.find("#approve-chosen").text == "Approve 20 selected"
    browser.find("#cases th input").click()
    browser.find("#reject-chosen").click()
    alert = browser.driver.switch_to.alert
    assert alert.text == "Reject 19 submissions of Mallory?"
    alert.accept()
    eventually_sync(partial(shows, browser, "#cases-note", "19 rejected."))
    assert site.decided == {case["submissionId"]: "rejected" for case in site.cases[1:20]}
    assert browser.console() == []
    browser.run("sessionStorage.clear()")


def test_every_player_with_open_cases_is_reached_page_by_page(
    browser: Browser, site: BoardSite
) -> None:
    site.cases = held_cases(*((f"User{number:02d}", 1) for number in range(1, 46)))

    def shown(selector: str) -> list[str]:
        # In one step: the page replaces what it shows.
        found = browser.run(
            "return [...document.querySelectorAll(arguments[0])].map(each => each.innerText)",
            selector,
        )
        assert isinstance(found, list)
        return found

    def buttons() -> list[str]:
        return shown("#cases-users button")

    def shows_all(page: list[str]) -> bool:
        return buttons() == page

    reviewing(browser, site)
    eventually_sync(lambda: buttons() == [f"User{n:02d}: 1" for n in range(1, 21)])
    for first in (21, 41):
        browser.find("#players-next").click()
        page = [f"User{n:02d}: 1" for n in range(first, min(first + 20, 46))]
        eventually_sync(partial(shows_all, page))
    assert not browser.find("#players-next").is_enabled()
    browser.find("#cases-users button:nth-child(5)").click()
    eventually_sync(lambda: shown("#cases th") == ["User45"])
    browser.find("#players-first").click()
    eventually_sync(lambda: buttons()[:1] == ["User01: 1"])
    assert browser.console() == []
    browser.run("sessionStorage.clear()")
