"""The page's model of the board, run in a real browser against a full sort."""

from typing import Any

from tests.support.board_site import BoardSite
from tests.support.browser import Browser

MODEL_TEST = """
const { Board } = await load("board.js");
let state = 12345;
// mulberry32: the usual congruential one repeats too soon in its low bits.
const random = (n) => {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) % n;
};
const seen = { checked: 0, uncertain: 0, merged: 0, stale: 0, ties: 0 };
for (let round = 0; round < 200; round += 1) {
  const users = new Map();
  const count = 1 + random(16);
  for (let u = 0; u < count; u += 1) users.set(`u${u}`, { score: random(30), since: u - 100 });
  const sorted = () => [...users].map(([user, { score, since }]) => ({ user, score, since }))
    .sort((a, b) => b.score - a.score || a.since - b.since);
  const top = () => sorted().slice(0, 5).map(({ user, score }) => ({ user, score }));
  const copies = [];
  let seq = random(50);
  const board = new Board(5);
  board.reset(seq, top());
  for (let step = 0; step < 60; step += 1) {
    seq += 1;
    const user = `u${random(count + 1)}`;
    const before = users.get(user)?.score ?? 0;
    const score = before + random(21) - (random(3) ? 4 : 12);
    if (users.size > 1 && random(12) === 0) {
      users.delete(user);
      board.apply(seq, { user, score: 0, removed: true });
    } else {
      users.set(user, { score, since: seq });
      board.apply(seq, { user, score });
    }
    copies.push({ seq, scores: top() });
    if (board.uncertain) {
      seen.uncertain += 1;
      // A copy read a little before, at, or after what the page has.
      const copy = copies[Math.max(0, copies.length - 1 - random(4))];
      const merged = board.merge(copy.seq, copy.scores);
      if (!merged) throw new Error("a recent copy must be usable");
      seen.merged += 1;
    }
    if (!board.uncertain) {
      const mine = JSON.stringify(board.rows.map(({ user, score }) => ({ user, score })));
      if (mine !== JSON.stringify(top())) {
        throw new Error(`round ${round} step ${step}: ${mine} is not ${JSON.stringify(top())}`);
      }
      seen.checked += 1;
      if (new Set(board.rows.map((row) => row.score)).size < board.rows.length) seen.ties += 1;
    }
  }
}
return seen;
"""


def module(browser: Browser, site: BoardSite, script: str) -> Any:
    browser.open(site.url + "/assets/icon.svg")
    answer = browser.module(script)
    assert isinstance(answer, dict)
    assert "error" not in answer, answer
    return answer["value"]


def test_board_kept_from_changes_is_the_top_of_a_full_sort(
    browser: Browser, site: BoardSite
) -> None:
    seen = module(browser, site, MODEL_TEST)

    assert seen["checked"] > 8000
    assert seen["uncertain"] > 300
    assert seen["merged"] == seen["uncertain"]
    assert seen["ties"] > 300


def test_a_copy_from_before_the_known_changes_is_refused(browser: Browser, site: BoardSite) -> None:
    seen = module(
        browser,
        site,
        """
        const { Board } = await load("board.js");
        const board = new Board(3);
        board.reset(10, [{ user: "a", score: 1 }]);
        board.apply(11, { user: "a", score: 2 });
        return { old: board.merge(8, []), rows: board.rows, seq: board.seq };
        """,
    )

    assert seen["old"] is False
    assert [(row["user"], row["score"]) for row in seen["rows"]] == [("a", 2)]
    assert seen["seq"] == 11


def test_saved_board_ahead_of_the_stream_ignores_older_updates(
    browser: Browser, site: BoardSite
) -> None:
    seen = module(
        browser,
        site,
        """
        const { Board } = await load("board.js");
        const board = new Board(3);
        board.reset(1, [{ user: "a", score: 1 }]);
        board.merge(4, [{ user: "a", score: 9 }]);
        const changed = board.apply(3, { user: "a", score: 5 });
        const { score } = board.rows[0];
        return { changed, score, next: board.apply(5, { user: "a", score: 6 }) };
        """,
    )

    assert seen == {"changed": False, "score": 9, "next": True}


def test_two_users_with_one_name_are_two_lines(browser: Browser, site: BoardSite) -> None:
    seen = module(
        browser,
        site,
        """
        const { Board } = await load("board.js");
        const board = new Board(3);
        const sams = [[500, 9], [501, 8]];
        board.reset(1, sams.map(([userId, score]) => ({ user: "Sam", score, userId })));
        board.apply(2, { user: "Sam", score: 13, userId: 501 });
        board.apply(3, { user: "Sue", score: 10, userId: 502 });
        board.apply(4, { user: "Samuel", score: 11, userId: 500 });
        return board.rows;
        """,
    )

    assert [(row["user"], row["userId"], row["score"]) for row in seen] == [
        ("Sam", 501, 13),
        ("Samuel", 500, 11),
        ("Sue", 502, 10),
    ]


def test_rates_count_by_second_and_forget_a_pause(browser: Browser, site: BoardSite) -> None:
    seen = module(
        browser,
        site,
        """
        const { Rates } = await load("rates.js");
        const rates = new Rates(5);
        rates.add(1000, 3); rates.add(1999, 1); rates.add(2000, 2);
        const early = [...rates.series(3500)];
        return { early, mean: rates.mean(3500, 2), late: rates.series(99000) };
        """,
    )

    assert seen == {"early": [0, 0, 4, 2, 0], "mean": 3, "late": [0, 0, 0, 0, 0]}


def test_quantiles_come_from_the_bucket_they_fall_into(browser: Browser, site: BoardSite) -> None:
    seen = module(
        browser,
        site,
        """
        const { quantile } = await load("quantile.js");
        return [
          quantile([1, 2, 4], [0, 10, 0, 0], 0.5), quantile([1, 2, 4], [5, 5, 0, 0], 0.99),
          quantile([1, 2, 4], [0, 0, 0, 3], 0.5), quantile([1, 2, 4], [0, 0, 0, 0], 0.5),
        ];
        """,
    )

    assert seen == [1.5, 1.98, 4, None]
