"""The API reference in a browser: addresses, anchors, requests sent from the page."""

from tests.support.board_site import BoardSite
from tests.support.browser import Browser
from tests.support.eventually import eventually_sync


def test_examples_name_the_address_that_the_page_was_opened_at(
    browser: Browser, site: BoardSite
) -> None:
    # A proxy in front, with a path of its own that the server knows nothing of.
    browser.open(site.url + "/board/docs")

    examples = [node.get_attribute("textContent") for node in browser.find_all(".example")]
    assert examples[0] == f"curl {site.url}/board/scores"
    assert str(examples[1]).splitlines() == [
        f"curl -X POST {site.url}/board/scores/update \\",
        '  -H "Authorization: Bearer $TOKEN" \\',
        "  -H 'Content-Type: application/json' \\",
        """  -d '{"userId": 1, "increment": 10}'""",
    ]
    assert all(f"{site.url}/board/" in str(example) for example in examples)
    assert browser.console() == []


def test_a_link_to_an_operation_opens_it_and_an_open_one_is_a_link(
    browser: Browser, site: BoardSite
) -> None:
    browser.open(site.url + "/docs#postUpdate")
    assert browser.find("#postUpdate").get_attribute("open") is not None

    browser.find("#getScores summary").click()
    eventually_sync(lambda: browser.driver.current_url.endswith("#getScores"))


def test_an_operation_is_tried_from_the_page(browser: Browser, site: BoardSite) -> None:
    browser.open(site.url + "/docs#getScores")

    browser.find("#getScores input[name=limit]").send_keys("2")
    browser.find("#getScores form button").click()

    answer = browser.find("#getScores output")
    eventually_sync(lambda: answer.text.startswith("200 OK"))
    assert "P02" in answer.text
    assert "P03" not in answer.text


def test_a_stream_is_shown_as_it_comes_until_it_is_stopped(
    browser: Browser, site: BoardSite
) -> None:
    browser.open(site.url + "/docs#getStream")
    button = browser.find("#getStream form button")

    button.click()
    eventually_sync(lambda: site.listeners == 1)
    site.change(("P09", 5000))
    eventually_sync(lambda: "event: update" in browser.find("#getStream output").text)
    assert button.text == "Stop"
    button.click()

    eventually_sync(lambda: button.text == "Send")
    assert "(stopped)" in browser.find("#getStream output").text
