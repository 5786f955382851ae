"""The leaderboard page in a real browser, on a board that the test plays."""

import time

import pytest
from selenium.webdriver.common.keys import Keys

from tests.support.board_site import BoardSite
from tests.support.browser import DESKTOP, PHONE, Browser, texts
from tests.support.eventually import eventually_sync

SHOWN_WITHIN_S = 0.6
"""The page renders a change within a quarter of a second, then counts up to the new score."""


def shown(browser: Browser) -> list[tuple[str, int]]:
    """(user, score) of every line; the page counts up to a new score for a moment, and a line that
    is being drawn has -1."""
    lines = browser.run(
        "return [...document.querySelectorAll('#rows tr')].map((row) => ["
        " row.querySelector('.name').textContent,"
        " Number(row.querySelector('.score-number').textContent.replaceAll(',', ''))])"
    )
    assert isinstance(lines, list)
    return [(str(user), -1 if score is None else int(score)) for user, score in lines]


def expected(site: BoardSite) -> list[tuple[str, int]]:
    return [(line.user, line.score) for line in site.top()]


def opened(browser: Browser, site: BoardSite) -> None:
    browser.open(site.url + "/")
    eventually_sync(lambda: shown(browser) == expected(site))


def pill(browser: Browser) -> str:
    return browser.find("#pill").text


def test_shows_the_ten_best_in_order(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)

    assert shown(browser)[0] == ("P01", 1200)
    assert len(shown(browser)) == 10
    assert pill(browser) == "Live"
    assert texts(browser.find_all("#rows .rank-number")) == [str(n) for n in range(1, 11)]


def test_a_change_moves_the_line_to_its_rank(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)

    site.change(("P09", 1150))

    eventually_sync(lambda: shown(browser) == expected(site))
    assert shown(browser)[1] == ("P09", 1150)
    assert browser.find("[data-user=P09] .delta").text == "+750"
    assert browser.find("[data-user=P09] .move").text == "▲7"
    assert browser.find("[data-user=P02] .move").text == "▼1"


def test_a_score_never_counts_below_where_it_began(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    # A frame's own time is that of its beginning: on a busy machine, from before the change.
    browser.run(
        "const now = performance.now.bind(performance);"
        "performance.now = () => now() + 100;"
        "window.told = [];"
        "new MutationObserver(() => told.push("
        " ...[...document.querySelectorAll('.score-number')].map((score) => score.textContent)"
        ")).observe(document.getElementById('rows'),"
        " { subtree: true, childList: true, characterData: true });"
    )

    site.change(("P02", 5_000_000))
    eventually_sync(lambda: shown(browser) == expected(site))

    told = browser.run("return told")
    assert isinstance(told, list)
    assert told
    assert [text for text in told if not str(text).replace(",", "").isdigit()] == []


def test_a_moved_line_glides_unless_less_motion_is_asked_for(
    browser: Browser, site: BoardSite
) -> None:
    glides = (
        "window.glides = 0; const animate = Element.prototype.animate;"
        "Element.prototype.animate = function (frames, options) {"
        " if (options?.id === 'glide') window.glides += 1;"
        " return animate.call(this, frames, options) }"
    )
    opened(browser, site)
    browser.run(glides)
    site.change(("P05", 1250))
    eventually_sync(lambda: shown(browser) == expected(site))
    assert browser.run("return window.glides") == 5

    browser.prefer(prefers_reduced_motion="reduce")
    opened(browser, site)
    browser.run(glides)
    site.change(("P09", 1350))
    eventually_sync(lambda: shown(browser) == expected(site))
    assert browser.run("return window.glides") == 0
    assert browser.run("return document.getAnimations().length") == 0


def test_a_newcomer_takes_the_place_of_the_tenth(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    reads = site.top_reads

    site.change(("P12", 650), ("Newcomer", 660))

    eventually_sync(lambda: shown(browser) == expected(site))
    assert "Newcomer" in dict(shown(browser))
    assert "P10" not in dict(shown(browser))
    assert site.top_reads == reads


def test_decrease_brings_the_next_ranked_user_into_view(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    assert "P11" not in dict(shown(browser))

    site.change(("P01", 50))

    eventually_sync(lambda: shown(browser) == expected(site))
    assert shown(browser)[-1] == ("P11", 200)
    assert site.top_reads == 1


def test_decrease_within_the_top_ten_fetches_nothing(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)

    site.change(("P01", 750))
    eventually_sync(lambda: shown(browser) == expected(site))
    site.change(("P02", 1101))
    eventually_sync(lambda: shown(browser) == expected(site))

    assert site.top_reads == 0


def test_equal_scores_stand_in_the_order_they_were_reached(
    browser: Browser, site: BoardSite
) -> None:
    opened(browser, site)

    site.change(("P05", 1100), ("P04", 1100))

    eventually_sync(lambda: shown(browser) == expected(site))
    assert [user for user, _ in shown(browser)[:4]] == ["P01", "P02", "P05", "P04"]


def test_equal_scores_share_a_rank_as_in_the_api(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)

    site.change(("P03", 1100), ("P04", 1100))

    eventually_sync(lambda: shown(browser) == expected(site))
    ranks = texts(browser.find_all("#rows .rank-number"))
    assert ranks[:5] == ["1", "2", "2", "2", "5"]


def test_scores_below_zero_and_losses_have_one_minus_sign(
    browser: Browser, empty_site: BoardSite
) -> None:
    empty_site.put({"Below": -50})
    browser.open(empty_site.url + "/")
    eventually_sync(lambda: pill(browser) == "Live")
    empty_site.change(("Below", -1090))

    eventually_sync(lambda: "−1,090" in browser.find("#rows tr").text)
    assert "−1,040" in browser.find("#rows tr").text
    assert "-" not in browser.find("main").text


def test_names_that_show_nothing_are_said_and_none_reverses_its_line(
    browser: Browser, empty_site: BoardSite
) -> None:
    empty_site.put({"": 3, " \u2028": 2, "\u202egnp.exe": 1})
    browser.open(empty_site.url + "/")
    eventually_sync(lambda: len(browser.find_all("#rows tr")) == 3)

    assert texts(browser.find_all("#rows .name")) == [
        "(no name, user 1)",
        "(no name, user 2)",
        "gnp.exe",
    ]


def test_charts_stay_inside_their_card(browser: Browser, site: BoardSite) -> None:
    for size in (DESKTOP, PHONE, (320, 640)):
        browser.resize(size)
        opened(browser, site)
        inside = browser.run(
            "const box = (s) => document.querySelector(s).getBoundingClientRect();"
            "const card = document.querySelector('#sparkline').closest('.card');"
            "return box('#sparkline').right <= card.getBoundingClientRect().right - 8"
        )
        assert inside, size


def test_a_lost_connection_is_resumed_without_losing_changes(
    browser: Browser, site: BoardSite
) -> None:
    opened(browser, site)
    site.change(("P03", 1001))
    eventually_sync(lambda: shown(browser) == expected(site))

    site.cut()
    site.change(("P04", 1002), ("P05", 1003))

    eventually_sync(lambda: shown(browser) == expected(site))
    eventually_sync(lambda: pill(browser) == "Live")
    assert site.stream_requests[-1][0] == "1"


def test_a_refused_stream_is_said_to_be_stale_and_comes_back(
    browser: Browser, site: BoardSite
) -> None:
    opened(browser, site)
    site.refuse_streams_with = 503
    site.cut()
    site.change(("P06", 5000))

    banner = browser.find("#banner")
    eventually_sync(banner.is_displayed)
    assert pill(browser) == "Reconnecting"
    eventually_sync(lambda: "These scores are from" in banner.text and "Retrying" in banner.text)
    eventually_sync(lambda: "lost" in str(browser.run("return announcer.textContent")))
    assert shown(browser)[0] == ("P01", 1200)

    site.refuse_streams_with = None
    browser.find("#retry").click()
    eventually_sync(lambda: shown(browser) == expected(site))
    eventually_sync(lambda: not banner.is_displayed())
    eventually_sync(lambda: browser.run("return announcer.textContent") == "Connected again.")


def test_a_refused_stream_is_tried_again_without_anyone_asking(
    browser: Browser, site: BoardSite
) -> None:
    site.refuse_streams_with = 503
    browser.open(site.url + "/")
    eventually_sync(lambda: len(site.stream_requests) >= 2)
    site.refuse_streams_with = None

    eventually_sync(lambda: shown(browser) == expected(site), timeout_s=20)


def test_a_connection_that_died_silently_is_found_out(browser: Browser, site: BoardSite) -> None:
    browser.open(site.url + "/assets/icon.svg")
    started = browser.module(
        """
        const { Stream } = await load("stream.js");
        window.cursor = null;
        window.states = [];
        const address = async () => "/scores/stream?snapshot=1";
        const on = {
          refused: () => {},
          state: (state) => window.states.push(state),
          update: (seq) => { window.cursor = seq; },
          whole: (kind, { seq }) => { window.cursor = seq; },
        };
        const probe = async () => Number((await fetch("/scores")).headers.get("Scoreboard-Seq"));
        const cursor = () => window.cursor;
        window.stream = new Stream(address, on, cursor, probe, 300);
        window.stream.connect();
        """
    )
    assert started == {"value": None}
    site.change(("P01", 1201))
    eventually_sync(lambda: browser.run("return window.cursor") == 1)

    site.muted = True
    site.change(("P01", 1202))
    site.muted = False

    eventually_sync(lambda: browser.run("return window.cursor") == 2)
    states = browser.run("return window.states")
    assert isinstance(states, list)
    assert states[:3] == ["connecting", "live", "lost"]
    connections = len(site.stream_requests)
    # A quiet board is not a dead connection.
    eventually_sync(lambda: site.top_reads >= 5)
    assert len(site.stream_requests) == connections


def test_a_board_that_wants_a_token_is_shown_with_one(browser: Browser, site: BoardSite) -> None:
    site.stream_token = "sesame"
    browser.open(site.url + "/")
    form = browser.find("#token-form")
    eventually_sync(form.is_displayed)

    browser.find("#token").send_keys("wrong" + Keys.ENTER)
    eventually_sync(lambda: site.tickets_refused == 1)
    eventually_sync(form.is_displayed)
    assert form.text.startswith("The server did not accept this token: it is wrong or has expired.")
    assert pill(browser) == "Locked"
    assert browser.driver.switch_to.active_element.get_attribute("id") == "token"
    # Asking again without another token would change nothing.
    asked = len(site.stream_requests)
    time.sleep(1.5)
    assert len(site.stream_requests) == asked
    assert not browser.find("#banner").is_displayed()
    browser.find("#token").send_keys("sesame" + Keys.ENTER)

    eventually_sync(lambda: shown(browser) == expected(site))
    assert not form.is_displayed()
    # A ticket is good for one connection: a lost one is replaced with another.
    site.cut()
    site.change(("P09", 5000))
    eventually_sync(lambda: shown(browser) == expected(site), timeout_s=15)
    assert "sesame" not in " ".join(query for _, query in site.stream_requests)


def test_pause_holds_the_lines_still_and_resume_catches_up(
    browser: Browser, site: BoardSite
) -> None:
    opened(browser, site)
    before = shown(browser)
    button = browser.find("#pause")

    button.click()
    site.change(("P09", 5000))
    eventually_sync(lambda: pill(browser) == "Paused")
    time.sleep(SHOWN_WITHIN_S)
    assert shown(browser) == before
    assert button.get_attribute("aria-pressed") == "true"

    button.click()
    eventually_sync(lambda: shown(browser) == expected(site))
    assert pill(browser) == "Live"


def test_a_flood_of_changes_ends_in_the_right_board(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)

    for part in range(20):
        site.change(*((f"P{n % 12 + 1:02d}", 1000 + (part * 7 + n * 13) % 997) for n in range(250)))

    eventually_sync(lambda: shown(browser) == expected(site), timeout_s=20)
    assert site.seq == 5000
    assert len(browser.find_all("#feed li")) == 8
    assert browser.find("#seq").text == "change no. 5,000"


def test_names_are_text_whatever_they_contain(browser: Browser, site: BoardSite) -> None:
    name = "<img src=x onerror=document.title='owned'>&amp;"
    opened(browser, site)

    site.change((name, 9000))

    eventually_sync(lambda: shown(browser)[0] == (name, 9000))
    assert browser.find_all("#rows img, #feed img") == []
    assert browser.run("return document.title") == "Scoreboard"


def test_nothing_breaks_the_content_security_policy(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    site.change(("P09", 5000))
    eventually_sync(lambda: shown(browser) == expected(site))
    assert browser.console() == []

    browser.run(
        "const added = document.createElement('script'); document.body.append(added);"
        "try { added.textContent = 'document.title = 1' } catch (error) { window.stopped = error }"
        "const far = new Image(); far.src = 'http://127.0.0.1:9/x.png'; document.body.append(far)"
    )

    assert browser.run("return document.title") == "Scoreboard"
    assert "TrustedScript" in str(browser.run("return String(window.stopped)"))
    eventually_sync(lambda: any("Content Security" in line for line in browser.console()))


@pytest.mark.parametrize("size", [DESKTOP, PHONE, (320, 640)])
def test_nothing_needs_scrolling_sideways(
    browser: Browser, site: BoardSite, size: tuple[int, int]
) -> None:
    site.put({"An exceedingly long name without any good place to break it": 9_007_199_254_740_991})
    browser.resize(size)
    opened(browser, site)

    site.change(("P02", 5_000_000))
    eventually_sync(lambda: shown(browser) == expected(site))

    # A line on its way to its place may reach out for a moment.
    eventually_sync(lambda: browser.run("return document.documentElement.scrollWidth") == size[0])


def test_bars_of_all_lines_have_one_scale(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    site.change(("P04", 905))
    eventually_sync(lambda: shown(browser) == expected(site))

    def widths() -> bool:
        found = browser.run(
            "return [...document.querySelectorAll('.bar-fill')]"
            ".map((bar) => bar.getBoundingClientRect().width)"
        )
        assert isinstance(found, list)
        scores = [score for _, score in shown(browser)]
        return all(
            abs(width / found[0] - score / scores[0]) < 0.01
            for width, score in zip(found, scores, strict=True)
        )

    eventually_sync(widths)


def test_screen_readers_meet_a_table_with_ranks_names_and_scores(
    browser: Browser, site: BoardSite
) -> None:
    opened(browser, site)

    tree = browser.accessibility_tree()

    assert ("table", "Top ten") in tree
    assert tree.count(("rowheader", "P01")) == 1
    assert [role for role, _ in tree].count("row") == 11
    assert ("columnheader", "Score") in tree
    assert ("cell", "1,200") in tree
    assert any(role == "button" and "Pause" in name for role, name in tree)


def test_announcements_are_rare_and_name_the_leader(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    announcer = "return announcer.textContent"
    eventually_sync(lambda: "P01 leads with 1,200" in str(browser.run(announcer)))
    browser.run(
        "window.said = 0;"
        "new MutationObserver(() => { window.said += 1 }).observe(announcer, {childList: true})"
    )

    began = time.monotonic()
    for score in range(40):
        site.change((f"P{2 + score % 8:02d}", 2000 + score))
        time.sleep(0.05)
    eventually_sync(lambda: "leads with 2,039" in str(browser.run(announcer)), timeout_s=15)

    said = browser.run("return window.said")
    assert isinstance(said, int)
    assert said <= 1 + (time.monotonic() - began) / 9


def test_everything_can_be_reached_and_used_by_keyboard(browser: Browser, site: BoardSite) -> None:
    opened(browser, site)
    body = browser.find("body")

    reached = []
    for _ in range(4):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.driver.switch_to.active_element.get_attribute("id"))
        outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
    assert reached[1:3] == ["pause", "theme"]
    assert browser.driver.switch_to.active_element.text == "Operator view"

    browser.find("#pause").send_keys(Keys.ENTER)
    assert "paused" in str(body.get_attribute("class"))
    browser.run("document.querySelector('.skip').focus()")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.driver.switch_to.active_element.get_attribute("id") == "board"


def test_colours_follow_the_system_until_someone_chooses(browser: Browser, site: BoardSite) -> None:
    background = "return getComputedStyle(document.documentElement).backgroundColor"
    browser.prefer(prefers_color_scheme="dark")
    opened(browser, site)
    dark = browser.run(background)
    browser.prefer(prefers_color_scheme="light")
    assert browser.run(background) != dark

    theme = browser.find("#theme")
    theme.click()
    assert theme.text == "Light"
    theme.click()
    assert browser.run(background) == dark
    opened(browser, site)
    assert browser.run(background) == dark
    browser.find("#theme").click()
    assert browser.run(background) != dark


CONTRASTS = """
const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const low = [];
let seen = 0;
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!own || !node.checkVisibility()) continue;
  if (node.closest(".visually-hidden, .skip, noscript")) continue;
  let back = node;
  while (back && rgba(getComputedStyle(back).backgroundColor)[3] < 255) back = back.parentElement;
  const pair = [getComputedStyle(node).color, getComputedStyle(back ?? document.documentElement)
    .backgroundColor].map((colour) => light(rgba(colour))).sort((a, b) => b - a);
  const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
  seen += 1;
  if (ratio < 4.5) low.push(`${node.className} "${node.textContent}" ${ratio.toFixed(2)}`);
}
return { seen, low };
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_background(
    browser: Browser, site: BoardSite, scheme: str
) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    browser.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    opened(browser, site)
    site.change(("P09", 5000), ("P01", 900))
    eventually_sync(lambda: shown(browser) == expected(site))

    found = browser.run(CONTRASTS)

    assert isinstance(found, dict)
    assert found["seen"] > 60
    assert found["low"] == []
