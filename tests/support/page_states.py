"""Every page and every state of it, to look at: for the accessibility tests and for screenshots.

A state is a function that brings a browser there, on a board that the test plays.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness.chaos.page import html_page as chaos_page
from harness.report.document import ChaosResult, LoadResult
from harness.report.load_page import html_report
from harness.report.page import render
from harness.report.result_files import read_result_as
from harness.report.side_by_side import html_page as side_by_side_page
from harness.report.side_by_side import side_by_side
from tests.support.board_site import BoardSite
from tests.support.browser import Browser
from tests.support.eventually import eventually_sync

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PLAYERS = (
    *("Alice", "Bob", "Chiara", "Dmitri", "Emeka", "Farid", "Grace", "Hana", "Ines", "Jonas"),
    *("Kofi", "Lena"),
)
BOUNDS = [0.001, 0.01, 0.1]


def figures(accepted: int = 0, *, instance: str = "1f", **changes: Any) -> dict[str, Any]:
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
                "unknown_user": 0,
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


State = Callable[[Browser, BoardSite, Path], None]


def _shows(browser: Browser, selector: str, text: str) -> None:
    eventually_sync(lambda: text in browser.find(selector).text)


def _differs(browser: Browser, selector: str, before: str) -> bool:
    return browser.find(selector).text != before


def board_live(browser: Browser, site: BoardSite, _: Path) -> None:
    """Lines that moved, gains and losses, a feed."""
    site.put({name: 1300 - 100 * place for place, name in enumerate(PLAYERS)})
    browser.open(site.url + "/")
    _shows(browser, "#pill", "Live")
    site.change(("Farid", 1250), ("Bob", 1050), ("Ines", 560))
    _shows(browser, "#feed", "Ines")


def board_extremes(browser: Browser, site: BoardSite, _: Path) -> None:
    """Names and scores that strain a layout; equal scores; scores below zero."""
    scores = {
        "W" * 255: 9_007_199_254_740_991,
        "\u202eevil": 9_007_199_254_740_990,
        "": 500,
        "   ": 500,
        "<script>alert(1)</script>": 500,
        "\u0645\u0631\u062d\u0628\u0627": 400,
        "e\u0301" * 30: 400,
        "\U0001f469\u200d\U0001f680 Ripley": 0,
        "Below": -50,
        "Far below": -1_000_000,
    }
    site.put(scores)
    browser.open(site.url + "/")
    _shows(browser, "#pill", "Live")
    site.change(("Below", -90), ("Far below", -9_007_199_254_740_991))
    _shows(browser, "#feed", "Far below")


def board_empty(browser: Browser, site: BoardSite, _: Path) -> None:
    browser.open(site.url + "/")
    _shows(browser, "#empty", "No scores yet")


def board_loading(browser: Browser, site: BoardSite, _: Path) -> None:
    site.silent = True
    browser.open(site.url + "/")
    _shows(browser, "#pill", "Connecting")


def board_paused(browser: Browser, site: BoardSite, folder: Path) -> None:
    board_live(browser, site, folder)
    browser.find("#pause").click()
    _shows(browser, "#pill", "Paused")


def board_offline(browser: Browser, site: BoardSite, folder: Path) -> None:
    board_live(browser, site, folder)
    site.refuse_streams_with = 503
    site.cut()
    eventually_sync(browser.find("#banner").is_displayed, timeout_s=15)


def board_locked(browser: Browser, site: BoardSite, _: Path) -> None:
    site.stream_token = "sesame"
    browser.open(site.url + "/")
    eventually_sync(browser.find("#token-form").is_displayed)


def board_wrong_token(browser: Browser, site: BoardSite, folder: Path) -> None:
    board_locked(browser, site, folder)
    browser.find("#token").send_keys("wrong")
    browser.find("#token-form button").click()
    _shows(browser, "#token-form", "did not accept")


def operator_live(browser: Browser, site: BoardSite, _: Path) -> None:
    site.stats = figures()
    browser.open(site.url + "/operator")
    _shows(browser, "#pill", "Live")
    for turn in range(1, 4):
        before = browser.find("#accepted-more").text
        site.stats = figures(turn * turn * 40)
        eventually_sync(partial(_differs, browser, "#accepted-more", before))


def operator_cases(browser: Browser, site: BoardSite, _: Path) -> None:
    """Submissions held for review, as a reviewer sees them."""
    site.stats = figures(3)
    site.cases = [
        {
            "submissionId": f"00000000-0000-4000-8000-00000000000{number}",
            "userId": number,
            "user": user,
            "increment": increment,
            "reasons": reasons,
            "openedAtUs": 1_795_800_000_000_000 + number * 60_000_000,
        }
        for number, (user, increment, reasons) in enumerate(
            [
                ("Alice", 500_000, ["large_increment", "unlike_history"]),
                ("Bob of a rather long family name", -400_000, ["large_increment"]),
                ("", 900_000, ["window_total", "large_increment", "unlike_history"]),
            ],
            start=1,
        )
    ]
    browser.open(site.url + "/operator")
    browser.run("sessionStorage.setItem('scoreboard-operator-token', 'reviewer')")
    browser.open(site.url + "/operator")
    _shows(browser, "#cases", "Alice")
    browser.run("sessionStorage.clear()")


def operator_loading(browser: Browser, site: BoardSite, _: Path) -> None:
    site.silent = True
    browser.open(site.url + "/operator")
    _shows(browser, "#pill", "Connecting")


def operator_locked(browser: Browser, site: BoardSite, _: Path) -> None:
    site.stats, site.stats_token = figures(), "sesame"
    browser.open(site.url + "/operator")
    _shows(browser, "#pill", "Locked")


def operator_wrong_token(browser: Browser, site: BoardSite, folder: Path) -> None:
    operator_locked(browser, site, folder)
    browser.find("#token").send_keys("wrong")
    browser.find("#token-form button").click()
    _shows(browser, "#token-said", "did not accept")
    browser.run("sessionStorage.clear()")


def operator_offline(browser: Browser, site: BoardSite, folder: Path) -> None:
    operator_live(browser, site, folder)
    site.stats = None
    _shows(browser, "#banner", "does not answer")


def docs_closed(browser: Browser, site: BoardSite, _: Path) -> None:
    browser.open(site.url + "/docs")


def docs_open(browser: Browser, site: BoardSite, _: Path) -> None:
    browser.open(site.url + "/docs")
    browser.run("for (const part of document.querySelectorAll('details')) part.open = true")


def docs_tried(browser: Browser, site: BoardSite, _: Path) -> None:
    """An operation linked to, its request sent and answered."""
    site.put({"Alice": 1500, "Bob": 1400})
    browser.open(site.url + "/docs#getScores")
    browser.find("#getScores form button").click()
    _shows(browser, "#getScores output", "Alice")


def _file(browser: Browser, folder: Path, name: str, html: str) -> None:
    page = folder / f"{name}.html"
    page.write_text(html, "utf-8")
    browser.open(page.as_uri())


def load_report(browser: Browser, _: BoardSite, folder: Path) -> None:
    document = read_result_as(RESULTS / "load.json", LoadResult)
    _file(browser, folder, "load", html_report(document))


def chaos_report(browser: Browser, _: BoardSite, folder: Path) -> None:
    document = read_result_as(RESULTS / "chaos.json", ChaosResult)
    _file(browser, folder, "chaos", chaos_page(document))


def side_by_side_report(browser: Browser, _: BoardSite, folder: Path) -> None:
    run = read_result_as(RESULTS / "load.json", LoadResult)
    runs = [[run], [run]]
    document = side_by_side(["ours", "theirs"], runs)
    _file(browser, folder, "side-by-side", side_by_side_page(document, runs))


def load_progress(browser: Browser, _: BoardSite, folder: Path) -> None:
    """What stands at the report's address in Locust's web UI until there is a report."""
    html = render(
        "progress.html",
        title="Load run",
        about="Measuring; the report stands here when the run has ended.",
        heads=[("Figure", ""), ("Value", "text"), ("p99", "")],
        rows=[("6 submissions: accepted", [("1,000", "text"), ("21 ms", "")])],
    )
    _file(browser, folder, "progress", html)


STATES: tuple[State, ...] = (
    *(board_live, board_extremes, board_empty, board_loading, board_paused, board_offline),
    *(board_locked, board_wrong_token),
    *(operator_live, operator_cases, operator_loading, operator_locked, operator_wrong_token),
    *(operator_offline, docs_closed, docs_open, docs_tried),
    *(load_progress, load_report, chaos_report, side_by_side_report),
)
