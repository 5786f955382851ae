"""The report of a load run in a browser: values under the pointer, zoom, a phone's width."""

from pathlib import Path

import pytest

from harness.report.document import LoadResult
from harness.report.load_page import html_report
from harness.report.result_files import read_result_as
from tests.support.browser import PHONE, Browser

KEPT = Path(__file__).parents[2] / "docs" / "results" / "load.json"
SHAPE = """
const figure = document.querySelector("figure"), view = figure.querySelector(".wide");
const svg = figure.querySelector("svg"), strips = [...svg.querySelectorAll(".strip")];
const label = svg.querySelector(".stays text").getBoundingClientRect();
return {
  height: Math.round(svg.getBoundingClientRect().height),
  strip: strips[10].getBoundingClientRect().width,
  scrolls: view.scrollWidth > view.clientWidth + 1,
  shown: label.left >= view.getBoundingClientRect().left - 1,
  page: document.documentElement.scrollWidth <= innerWidth,
};
"""


@pytest.fixture
def report(browser: Browser, tmp_path: Path) -> Browser:
    page = tmp_path / "report.html"
    page.write_text(html_report(read_result_as(KEPT, LoadResult)), "utf-8")
    browser.open(page.as_uri())
    return browser


def shape(browser: Browser) -> dict[str, float]:
    found = browser.run(SHAPE)
    assert isinstance(found, dict)
    return found


def test_zoom_stretches_time_and_keeps_height_and_labels_in_view(report: Browser) -> None:
    before = shape(report)

    into = report.find("figure button[aria-label='zoom in']")
    into.click()
    into.click()
    report.run("document.querySelector('figure .wide').scrollLeft = 400")
    report.run("return new Promise(requestAnimationFrame)")

    after = shape(report)
    assert after["strip"] == pytest.approx(4 * before["strip"], rel=0.02)
    assert after["height"] == pytest.approx(before["height"], abs=1)
    assert after["scrolls"]
    assert after["shown"]
    out = report.find("figure button[aria-label='zoom out']")
    out.click()
    out.click()
    assert shape(report) == before
    assert not out.is_enabled()


def test_tapped_second_shows_its_values_below_the_chart(report: Browser) -> None:
    report.run(
        "document.querySelectorAll('figure .strip')[10]"
        ".dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))"
    )

    assert " s · intended: 1,000" in report.find("figure figcaption").text


def test_report_fits_a_phone_and_charts_scroll_in_their_frames(report: Browser) -> None:
    report.resize(PHONE)

    found = shape(report)

    assert found["page"]
    assert found["scrolls"]
    assert report.console() == []
